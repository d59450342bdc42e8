"""A run that takes a second: a learner of a few numbers in real scenarios, with real files."""

import contextlib
import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.agents.agent import Windows
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.core.types import Layout
from mrcom.scenarios.splits import split
from mrcom.train import run as run_module
from mrcom.train.checkpoint import RECORD, Checkpoints
from mrcom.train.log import read_log
from mrcom.train.loop import How, train
from mrcom.train.settings import RunConfig

BUDGET = dataclasses.replace(
    budget("debug"), name="toy", episode_steps=20, random_rounds=2, expert_rounds=0, rounds=2
)
CONFIG = RunConfig(
    MRCOM,
    dataclasses.replace(BUDGET, updates=60),
    split("table1-d-shell"),
    "debug",
    seed=3,
    bodies=("hopper",),
    prompt="none",
)


@dataclasses.dataclass(frozen=True)
class Toy:
    """Learns a running mean of noise, rewards, and of what it wrote into replay itself."""

    layout: Layout
    windows = Windows(scenarios=2, context=2, length=4)
    sub_episodes = 1
    dream_steps = 5
    stored = {"seen": jax.ShapeDtypeStruct((3,), np.float16)}  # noqa: RUF012

    def init(self, key):
        return {"mean": jax.random.normal(key, (1000,)), "std": jnp.ones(())}

    def with_statistics(self, state, mean, std):
        return state | {"std": jnp.asarray(np.mean(std), jnp.float32)}

    def update(self, state, batch, key):
        noise = jax.random.normal(key, (1000,))
        seen = batch.stored["seen"].astype(jnp.float32).mean() + batch.reward.mean()
        mean = 0.9 * state["mean"] + 0.1 * (noise + seen) / state["std"]
        written = jnp.broadcast_to(mean[:3].astype(jnp.float16), (*batch.reward[:, -4:].shape, 3))
        row = jnp.full(len(batch.reward), mean.sum())
        return state | {"mean": mean}, {
            "loss": mean.sum(),
            "row/loss": row,
            "stored/seen": written,
        }

    learn = update

    def start(self, state, masks, prompt):
        return ()

    def act(self, state, carry, obs, action, reward, key):
        noise = jax.random.normal(key, np.shape(action))
        return jnp.tanh(noise + state["mean"][0]), carry

    # An agent has these too; training asks for none of them.
    observe_step = actor = meta_value = sac = act
    discount = 0.99


@contextlib.contextmanager
def toys():
    """Runs that begin here learn with the toy."""
    real, run_module.agent_of = run_module.agent_of, lambda config, worlds: Toy(worlds.layout)
    try:
        yield
    finally:
        run_module.agent_of = real


def toy_run(path, config=CONFIG, *, resume=False, **options):
    """Train the toy in a folder."""
    with toys():
        return train(config, path, resume=resume, how=How(**{"save_every": 7, **options}))


def contents(path: pathlib.Path):
    """All that a run is, without times: newest checkpoint (arrays by checksum), episodes, log."""
    checkpoints = Checkpoints(path / "checkpoints")
    newest = checkpoints.steps()[-1]
    checkpoints.verify(newest)
    record = json.loads((checkpoints.path(newest) / RECORD).read_text())
    record["meta"].pop("log_position")
    record.pop("hash")  # of that, too
    log = [{k: v for k, v in line.items() if k != "wall_s"} for line in read_log(path / LOG)]
    episodes = {file.name: file.read_bytes() for file in sorted((path / "replay").iterdir())}
    return {"record": record, "log": log, "episodes": episodes}


LOG = "metrics.jsonl"
