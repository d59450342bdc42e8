"""What two updates say that were made on so many devices; a program, as devices must be forced."""

import dataclasses
import json
import sys
import traceback

import one_context  # noqa: F401  # isort: skip
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from agents.small_agents import agent, batch
from mrcom.agents.build import method_named
from mrcom.core.rng import root_key
from mrcom.train.devices import gathered, spread
from mrcom.train.population import joined, learner_of


@dataclasses.dataclass(frozen=True)
class Watched:
    """A learner, with how each batch lay on the devices."""

    learner: object
    seen_by: list

    def update(self, state, batch, key):
        self.seen_by.append(batch.reward.sharding)
        return self.learner.update(state, batch, key)


def metrics_of(method: str, runs: int, devices: int) -> dict[str, list]:
    """The second update's, which depend on all that the first changed."""
    one = agent(method_named(method))
    state = joined([one.init(root_key(n)) for n in range(runs)])
    # Updates take the memory of the states that they are given.
    state = jax.tree.map(lambda x: jnp.copy(x) if eqx.is_array(x) else x, state)
    batches = [joined([batch(one.windows, seed + n) for n in range(runs)]) for seed in (0, 9)]
    keys = joined([root_key(5 + n) for n in range(runs)])
    watched = Watched(learner_of([one] * runs, side_by_side=True), [])
    shared = spread(watched, devices, runs=runs, rows=len(batch(one.windows).body))
    for seen in batches:
        state, metrics = shared.update(state, seen, keys)
    arrays = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    assert watched.seen_by[-1].is_fully_replicated == (devices == 1)
    assert max(len(x.sharding.device_set) for x in arrays) == devices
    kept = jax.tree.leaves(eqx.filter(gathered(state), eqx.is_array))
    assert {len(x.devices()) for x in kept} == {1}
    return {name: np.asarray(value, float).tolist() for name, value in metrics.items()}


if __name__ == "__main__":
    said = {}
    for comparison in sys.argv[2:]:
        name, num = comparison.split("-")
        try:
            said[comparison] = metrics_of(name, int(num), int(sys.argv[1]))
        except Exception:
            said[comparison] = traceback.format_exc()
    print(json.dumps(said))
