"""Adapted policies in a run's folder, and how they act."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.behaviour.policy import Actor
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import CheckpointError
from mrcom.core.rng import root_key
from mrcom.core.types import Masks, Prompt
from mrcom.replay.prompts import choose_prompts
from mrcom.scenarios.scenario import Scenario
from mrcom.train.adapt import AdaptConfig
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.loop import Run, prompts_for
from mrcom.train.settings import worlds_of
from mrcom.train.views import ActorsPolicy, LatentView, ObservationView, View


def adapted_names(run: Run) -> list[str]:
    """The adaptations that are finished."""
    folders = sorted((run.folder.path / "adapted").glob("*"))
    return [folder.name for folder in folders if Checkpoints(folder).steps()]


def view_of(
    run: Run, config: AdaptConfig, rows: Sequence[Scenario], masks: Masks, *, seed: int
) -> View:
    """What the policies of an adaptation read, for one scenario per row.

    Args:
        seed: of the prompts.
    """
    if config.real_share == 1:
        normaliser, seen = run.experience.normaliser, run.config.observe_reward
        return ObservationView(masks, normaliser.mean, normaliser.std, observe_reward=seen)
    of_rows = prompts_of_rows(run, rows, seed=seed)
    return LatentView(run.agent, run.state, masks, of_rows)


def prompts_of_rows(run: Run, rows: Sequence[Scenario], *, seed: int) -> Prompt:
    """The prompt of each row's scenario; a scenario that comes several times has one."""
    distinct = list(dict.fromkeys(rows))
    prompts = prompts_for(run.config, run.agent, worlds_of(run.config, distinct), seed=seed)
    return choose_prompts(prompts, np.array([distinct.index(row) for row in rows]))


def save_actors(
    run: Run, config: AdaptConfig, actors: Actor, scenarios: Sequence[Scenario], *, seed: int
) -> None:
    """Keep the policies of an adaptation, stacked in the scenarios' order."""
    width = actors.net.hidden[0].weight.shape[1]
    meta = {"config": config, "targets": list(scenarios), "seed": seed, "width": width}
    _folder(run, config.name).save(0, actors, meta=meta)


def adapted_policy(
    run: Run,
    name: str,
    rows: Sequence[Scenario],
    masks: Masks,
    *,
    seed: int | None = None,
) -> ActorsPolicy:
    """The policies of a finished adaptation, for one of its targets per row.

    Args:
        seed: sample actions with it; by default act by the mode.

    Raises:
        CheckpointError: there are none, or not for one of these scenarios.
    """
    kept = _folder(run, name)
    meta = kept.read_meta()
    targets = [from_json(Scenario, value) for value in meta["targets"]]
    for row in rows:
        if row not in targets:
            raise CheckpointError(f"The policies in {kept.folder} were not made for {row.name}.")
    size = run.agent.actor(run.state).config
    one = Actor(meta["width"], run.worlds.layout.act, size, key=root_key(0))
    template = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(targets)), one)
    config = from_json(AdaptConfig, meta["config"])
    return ActorsPolicy(
        view_of(run, config, rows, masks, seed=meta["seed"]),
        kept.restore(template).state,
        np.array([targets.index(row) for row in rows]),
        masks,
        seed,
    )


def same_adaptation(run: Run, config: AdaptConfig, scenarios: Sequence[Scenario]) -> bool:
    """Whether this adaptation is finished already, for these targets.

    Raises:
        CheckpointError: one of this name exists, but with other settings or targets.
    """
    kept = _folder(run, config.name)
    if not kept.steps():
        return False
    meta = kept.read_meta()
    if meta["targets"] != to_json(list(scenarios)) or meta["config"] != to_json(config):
        raise CheckpointError(
            f"{kept.folder} holds an adaptation with other settings or targets; remove it, or "
            f"give this one another name."
        )
    return True


def _folder(run: Run, name: str) -> Checkpoints:
    return Checkpoints(run.folder.path / "adapted" / name, keep=1)
