"""What does DreamerV3's world model know of episodes that it was not taught?

    python benchmarks/memorised.py --out runs/memorised --episodes 15
    python benchmarks/memorised.py --of runs/reproduce/walker-walk-1M-100k-0.5-0 --episodes 15
    python benchmarks/memorised.py --run runs/reproduce/walker-walk-1M-100k-0.5-0

With `--out`, a new world model alone is taught random episodes of a task of `reproduce.py`, all but
every fifth, in batches of the size's own, whose windows start without a memory. With `--of`, they
are the first that a run of `reproduce.py` stored, whatever version made it. With `--run`, nothing
is taught: such a run is asked about the last episodes that it stored, and about as many new ones of
its own policy. What a run was given with `--set` holds here too, unless something else is given.

Either way a row says, of whole episodes filtered from their start: the loss terms of observations
(squared error of symlog, summed), of the divergence and of the reward; the reward's correlation
with what came, and both means; and the squared error one step ahead, before the observation is
seen, beside that of "the last observation stays".
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from reproduce import TASKS, config_of, with_longer_actions

from mrcom.agents.agent import AgentPolicy
from mrcom.agents.dreamer import Dreamer, DreamerState, loss_of
from mrcom.core.config import from_json
from mrcom.core.errors import ConfigError, MrcomError
from mrcom.core.numerics import symlog
from mrcom.core.rng import named_generator, root_key
from mrcom.core.steps import Steps
from mrcom.core.types import Batch
from mrcom.models.rssm_parts import feature_of
from mrcom.replay.store import Store
from mrcom.replay.windows import Windows, draw_windows, gather
from mrcom.simulate.rollout import rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.episodes import EpisodeFiles
from mrcom.train.loop import train
from mrcom.train.run import Run, begin, empty_store, restore
from mrcom.train.run_folder import open_run
from mrcom.train.settings import RunConfig

EVERY = 5
"""One episode of so many is left out."""
ASKED = 8
"""Episodes of each kind that a model is asked about, at most."""
TERMS = ("reconstruction", "kl_dyn", "reward")
BEGINS = 5
"""Steps of an episode that are not judged: of its first ones no model can know much."""


def steps_of(store: Store, slots: np.ndarray) -> Steps:
    """Some episodes of a store's only scenario."""
    return Steps(**{name: array[0, slots] for name, array in store.ring.arrays.items()})


def store_with(run: Run, steps: Steps) -> Store:
    """A store like the run's with these episodes of its only scenario."""
    store = empty_store(run.config, run.agent, run.worlds)
    store.add(np.zeros(len(steps.reward), int), steps)
    return store


def batch_of(run: Run, store: Store, windows: Windows, length: int) -> Batch:
    """Steps of the store, with the stored state before each window."""
    places = run.worlds.masks, run.experience.prompt, windows
    return gather(store, *places, context=0, length=length)


@eqx.filter_jit
def judged(agent: Dreamer, state: DreamerState, batch: Batch) -> dict[str, jax.Array]:
    """The terms of every step of whole episodes, [B, T]; what was read and predicted of it."""
    windows = dataclasses.replace(agent.config.windows, length=batch.reward.shape[1])
    whole = dataclasses.replace(agent, config=dataclasses.replace(agent.config, windows=windows))
    _, (forward, terms) = loss_of(state.learnt, whole, state, batch, root_key(0))
    model, seen, posterior = state.model, forward.batch, forward.posterior
    drawn = posterior.prior.sample(root_key(1))
    ahead, now = model.decode(feature_of(posterior.deter, drawn)), symlog(seen.obs)
    error = lambda guess: jnp.sum((guess - now) ** 2 * seen.obs_mask[:, None], axis=-1)
    return {name: terms[name] for name in TERMS} | {
        "read": model.reward(posterior.feature),
        "came": seen.reward,
        "ahead": error(ahead),
        "stays": error(jnp.roll(now, 1, axis=1)),
    }


def said(run: Run, steps: Steps) -> str:
    """What the run's model says of episodes, in one row of the table."""
    rows, length = steps.reward.shape
    slots = np.arange(rows)
    windows = Windows(np.zeros(rows, int), slots, np.zeros(rows, int))
    batch = batch_of(run, store_with(run, steps), windows, length)
    found = {
        name: np.asarray(value)[:, BEGINS:]
        for name, value in judged(run.agent, run.state, batch).items()
    }
    mean = {name: value.mean() for name, value in found.items()}
    with np.errstate(invalid="ignore"):  # a new model reads the same everywhere: nan
        related = np.corrcoef(found["read"].ravel(), found["came"].ravel())[0, 1]
    cells = [f"{mean[name]:.2f}" for name in TERMS]
    cells += [f"{related:.2f}", f"{mean['read']:.3f} / {mean['came']:.3f}"]
    return " | ".join([*cells, f"{mean['ahead']:.2f} / {mean['stays']:.2f}"])


def head() -> str:
    """The table's head."""
    columns = "updates | episodes | observation | divergence | reward | correlation"
    return f"| {columns} | read / came | ahead / stays |\n| ---: | --- |{' ---: |' * 4} --- | --- |"


def begun(folder: pathlib.Path, settings: Sequence[str] = ()) -> tuple[Run, list[int]]:
    """A run of `reproduce.py` before it saw anything, and the checksums of what it stored."""
    found = open_run(folder)
    meta = Checkpoints(found.checkpoints).read_meta()
    config = from_json(RunConfig, meta["config"])
    if not any(f"{task.runs}-{task.speed:g}" == config.split.name for task in TASKS.values()):
        raise ConfigError(f"{folder} is not a run of benchmarks/reproduce.py.")
    settings = tuple(settings) or config.settings
    return begin(dataclasses.replace(config, settings=settings), found), meta["rounds"]


def stored_by(folder: pathlib.Path, settings: Sequence[str], episodes: int | None = None) -> Run:
    """The first episodes that a run of `reproduce.py` stored, in a run that has learnt nothing."""
    run, rounds = begun(folder, settings)
    if episodes is not None and len(rounds) < episodes:
        raise ConfigError(f"--episodes {episodes}: {folder} has stored {len(rounds)}; give those.")
    for number, checksum in enumerate(rounds[:episodes]):
        steps, expert = EpisodeFiles(run.folder.replay).read(number, checksum)
        run.experience.add(steps, run.worlds, expert=expert)
    return run


def drawn(run: Run, store: Store, update: int) -> Batch:
    """The windows that an update learns from."""
    windows, who = run.agent.windows, named_generator(run.config.seed, "memorised", update)
    amount = {"num_scenarios": 1, "per_scenario": windows.per_scenario}
    return batch_of(
        run, store, draw_windows(store, who, length=windows.length, **amount), windows.length
    )


def as_new(run: Run) -> None:
    """Give a run, which has seen something, a state that has learnt nothing."""
    seen = run.experience.normaliser
    state = run.agent.init(root_key(run.config.seed))
    run.state = run.agent.with_statistics(state, seen.mean, seen.std)


def teach_model(run: Run, store: Store, update: int) -> None:
    """An update of the run's world model alone."""
    key = jax.random.fold_in(root_key(run.config.seed), update)
    run.state, _ = run.agent.update_model(run.state, drawn(run, store, update), key)


def teach(run: Run, updates: int, every: int) -> None:
    """Teach a new world model four episodes of five, and say what it knows of both kinds."""
    number = np.arange(run.experience.store.added[0])
    left = number % EVERY == EVERY - 1
    if not left.any():
        raise ConfigError(f"--episodes {len(number)}: one of {EVERY} is left out; give {EVERY}.")
    taught, unseen = (steps_of(run.experience.store, number[at]) for at in (~left, left))
    store = store_with(run, taught)
    known = steps_of(store, np.arange(len(taught.reward))[-ASKED:])
    as_new(run)
    print(head(), flush=True)
    for update in range(1, updates + 1):
        teach_model(run, store, update)
        if update % every == 0:
            print(f"| {update:,} | taught | {said(run, known)} |")
            print(f"| {update:,} | left out | {said(run, unseen)} |", flush=True)


def new_episodes(run: Run, number: int, length: int) -> Steps:
    """Episodes of the run's policy, with its sampled actions, that nobody stored."""
    scenarios = [run.worlds.scenarios[0]] * number
    simulator = Simulator(scenarios, layout=run.worlds.layout)
    prompt = jax.tree.map(lambda leaf: np.repeat(leaf[:1], number, 0), run.experience.prompt)
    policy = AgentPolicy(run.agent, run.state, simulator.masks, prompt, root_key(3))
    return rollout(simulator, policy, num_steps=length, seed=7)


def ask(folder: pathlib.Path) -> None:
    """Say what a run's model knows of its last stored episodes, and of as many new ones."""
    run, _ = begun(folder)
    restore(run, Checkpoints(run.folder.checkpoints), replay=True)
    store = run.experience.store
    newest = store.added[0] - 1 - np.arange(min(ASKED, store.added[0]))
    known = steps_of(store, newest % store.capacity)
    length = known.reward.shape[1] - 1
    print(head())
    print(f"| {run.counters.updates:,} | stored | {said(run, known)} |")
    print(f"| {run.counters.updates:,} | new | {said(run, new_episodes(run, ASKED, length))} |")


def collected(given: argparse.Namespace) -> Run:
    """Episodes of random actions, and a run that has learnt nothing."""
    amount = {"steps": 100_000, "ratio": 0.5, "size": given.size, "seed": given.seed}
    config = config_of(TASKS[given.task], settings=given.set, **amount)
    only = {"random_rounds": given.episodes, "rounds": 0, "updates": 0}
    config = dataclasses.replace(config, budget=dataclasses.replace(config.budget, **only))
    folder = given.out / f"{given.task}-{given.episodes}-{given.seed}"
    return train(config, folder, resume=folder.exists())


DEFAULTS = {
    "task": "walker-walk",
    "size": "1M",
    "seed": 0,
    "episodes": 15,
    "updates": 1500,
    "every": 500,
    "set": (),
}
"""What may be left out."""
READ = {"out": set(DEFAULTS), "of": {"episodes", "updates", "every", "set"}, "run": set()}
"""Which of it each way of asking reads; the rest is the run's own."""


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, without anything that would not be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=pathlib.Path, help="folder of the episodes")
    where.add_argument("--of", type=pathlib.Path, help="a run of reproduce.py that stored them")
    where.add_argument("--run", type=pathlib.Path, help="a run of reproduce.py; nothing is taught")
    parser.add_argument("--task", choices=sorted(TASKS))
    parser.add_argument("--size")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--episodes", type=int, help="the first so many")
    parser.add_argument("--updates", type=int)
    parser.add_argument("--every", type=int, help="updates between two rows")
    parser.add_argument("--set", nargs="+", metavar="NAME=VALUE", help="other values of the size")
    given = parser.parse_args(arguments)
    way = next(name for name in READ if getattr(given, name) is not None)
    for name, value in DEFAULTS.items():
        if getattr(given, name) is None:
            setattr(given, name, value)
        elif name not in READ[way]:
            parser.error(f"--{name} is not read beside --{way}, which has its own")
    if given.every < 1:
        parser.error(f"--every {given.every}: at least 1")
    return given


def ended(work: Callable[[], None]) -> int:
    """Do something with the bodies of all tasks known; what the process exits with."""
    try:
        for task in TASKS.values():
            with_longer_actions(task)
        work()
    except MrcomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Teach a new model, or ask a run's."""
    given = parsed(arguments)

    def work() -> None:
        if given.run is not None:
            ask(given.run)
            return
        whose = given.of is not None
        run = stored_by(given.of, given.set, given.episodes) if whose else collected(given)
        teach(run, given.updates, given.every)

    return ended(work)


if __name__ == "__main__":
    sys.exit(main())
