"""What limits a run of DreamerV3: its data, its model, or its behaviour?

    python benchmarks/offline.py --of RUN --set optimizer.learning_rate=0.00064 optimizer.warmup=250

Teaches a new world model all episodes that a run of `reproduce.py` stored, then a new actor and
critic in its dreams, the model held fixed; nothing real is added. Prints what the model says of the
last stored episodes, as `memorised.py` does, and every so many updates of the behaviour the mean
return of new real episodes (with its standard error, environment steps as published), with the
means of dreams and the entropy per dimension of an action. Where this passes the run's own end, the
data were enough, and so is the way in which behaviour is learnt.
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from memorised import (
    ASKED,
    as_new,
    drawn,
    ended,
    head,
    new_episodes,
    said,
    steps_of,
    stored_by,
    teach_model,
)
from reproduce import REPEAT

from mrcom.agents.dreamer import Dreamer
from mrcom.behaviour.steps import start_moments
from mrcom.core.rng import root_key
from mrcom.train.run import Run

TERMS = ("actor", "critic")
"""What is taught when the model is held fixed."""
SHOWN = ("dreamt_return", "dreamt_reward", "entropy")
"""Of the dreams, in a row of the table."""
REAL = 16
"""Episodes that a behaviour is judged by."""


def behaviour_alone(agent: Dreamer, rate: float) -> Dreamer:
    """The agent that learns nothing but to act in its dreams."""
    weights = tuple((name, weight) for name, weight in agent.method.weights if name in TERMS)
    optimizer = dataclasses.replace(agent.config.optimizer, learning_rate=rate)
    return dataclasses.replace(
        agent,
        method=dataclasses.replace(agent.method, weights=weights),
        config=dataclasses.replace(agent.config, optimizer=optimizer),
    )


def teach_behaviour(run: Run, rate: float, updates: int, every: int) -> None:
    """A behaviour in dreams of the run's model; a row of the table every so many updates."""
    alone = behaviour_alone(run.agent, rate)
    moments = start_moments(alone.config.optimizer.optimizer, run.state.learnt)
    run.state = eqx.tree_at(lambda state: state.moments, run.state, moments)
    print("| updates | real return | dreamt return | dreamt reward | entropy |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    print(f"| 0 | {really(run)} | | | |", flush=True)
    for update in range(1, updates + 1):
        key = jax.random.fold_in(root_key(run.config.seed + 1), update)
        batch = drawn(run, run.experience.store, update)
        run.state, metrics = alone.update(run.state, batch, key)
        if update % every == 0:
            shown = (metrics[f"actor/{name}"] for name in SHOWN)
            cells = " | ".join(f"{float(value):.2f}" for value in shown)
            print(f"| {update:,} | {really(run)} | {cells} |", flush=True)


def really(run: Run) -> str:
    """What new episodes of the run's behaviour return, with the standard error of the mean."""
    steps = new_episodes(run, REAL, run.config.budget.episode_steps)
    returns = REPEAT * steps.reward[:, 1:].sum(axis=1)
    return f"{returns.mean():.0f} +- {returns.std(ddof=1) / np.sqrt(REAL):.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Teach a model, then a behaviour in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--of", type=pathlib.Path, required=True, help="a run of reproduce.py")
    parser.add_argument("--model-updates", type=int, default=2500)
    parser.add_argument("--rate", type=float, default=1.6e-4, help="of actor and critic")
    parser.add_argument("--updates", type=int, default=3000, help="of actor and critic")
    parser.add_argument("--every", type=int, default=500, help="updates between two rows")
    parser.add_argument(
        "--set", nargs="+", default=(), metavar="NAME=VALUE", help="other values of the size"
    )
    given = parser.parse_args(arguments)
    if given.every < 1:
        parser.error(f"--every {given.every}: at least 1")

    def work() -> None:
        run = stored_by(given.of, given.set)
        store = run.experience.store
        as_new(run)
        for update in range(given.model_updates):
            teach_model(run, store, update)
        known = steps_of(store, np.arange(store.added[0])[-ASKED:])
        print(head())
        print(f"| {given.model_updates:,} | taught | {said(run, known)} |\n", flush=True)
        teach_behaviour(run, given.rate, given.updates, given.every)

    return ended(work)


if __name__ == "__main__":
    sys.exit(main())
