"""What a state takes grows by one scenario's critics a scenario; what an update takes is told."""

import equinox as eqx
import jax
import pytest

from mrcom.benchmark.invented import measured_agent, shapes_of_update
from mrcom.core.programs import bytes_between
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


def test_what_is_told_of_an_update_is_about_what_the_compiler_plans():
    agent = measured_agent("sac", "tiny")
    given = shapes_of_update(agent)
    plan = jax.jit(agent.update, donate_argnums=0).lower(*given).compile().memory_analysis()
    told = bytes_between(jax.make_jaxpr(agent.update)(*given))
    assert 0.5 * plan.temp_size_in_bytes < told < 2 * plan.temp_size_in_bytes
