"""What a state takes grows by one scenario's critics a scenario, and by nothing else."""

import equinox as eqx
import jax
import pytest

from mrcom.benchmark.invented import measured_agent
from mrcom.core.rng import root_key


@pytest.mark.parametrize("behaviour", ["sac", "imagination"])
def test_memory_is_a_line_in_the_number_of_scenarios(behaviour):
    def numbers(scenarios: int) -> tuple[int, int]:
        agent = measured_agent("mrcom", "tiny", scenarios=scenarios, behaviour=behaviour)
        state = eqx.filter_eval_shape(agent.init, root_key(0))
        critics = state.behaviour.critics
        one = sum(leaf.size for leaf in jax.tree.leaves(critics.online)) // scenarios
        return sum(leaf.size for leaf in jax.tree.leaves(state)), one

    (eight, one), (many, _) = numbers(8), numbers(512)
    # Critic, slow critic, two moments of Adam, and the number of its steps.
    assert many - eight == (512 - 8) * (4 * one + 1)
