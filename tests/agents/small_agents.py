"""Invented experience for agents of the smallest size."""

import jax.numpy as jnp
import numpy as np

from mrcom.agents.build import build_agent
from mrcom.agents.method import Method
from mrcom.agents.mrcom import MRCOM
from mrcom.core.types import Batch, Layout, Masks

LAYOUT = Layout(("long", "short"), 5, 3)


def agent(method: Method = MRCOM, behaviour: str | None = None, **options):
    if method.family == "mrcom" and behaviour is None:
        behaviour = "imagination"
    options |= {"layout": LAYOUT, "num_scenarios": 6, "behaviour": behaviour}
    return build_agent(method, "debug", **options)


def batch(windows, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    rows, steps = windows.scenarios, windows.context + windows.length
    draw = lambda *shape: jnp.asarray(rng.normal(size=(rows, steps, *shape)), jnp.float32)
    body = np.arange(rows) % 2
    return Batch(
        obs=draw(LAYOUT.obs),
        action=jnp.tanh(draw(LAYOUT.act)),
        reward=jnp.abs(draw()) / 3,
        is_terminal=jnp.zeros((rows, steps), bool),
        first=jnp.zeros((rows, steps), bool),
        valid=jnp.ones((rows, steps)),
        obs_mask=jnp.asarray(np.where(body[:, None] == 0, 1.0, [1, 1, 1, 0, 0]), jnp.float32),
        act_mask=jnp.asarray(np.where(body[:, None] == 0, 1.0, [1, 1, 0]), jnp.float32),
        told=jnp.zeros((rows, 3)),
        scenario=jnp.asarray(rng.permutation(6)[:rows], jnp.int32),
        body=jnp.asarray(body, jnp.int32),
        expert=jnp.asarray(body == 0),
        stored={},
    )


def masks_of(batch: Batch) -> Masks:
    """Those of a batch's rows, for acting in their scenarios."""
    arrays = (batch.obs_mask, batch.act_mask, batch.body, batch.told)
    return Masks(*(np.asarray(array) for array in arrays))
