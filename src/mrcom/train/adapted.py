"""Adapted policies in a run's folder, and how they act."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.agents.agent import PromptReader, dreaming
from mrcom.agents.model_free import SIZES
from mrcom.behaviour.policy import Actor, ActorConfig
from mrcom.core.config import from_json, to_json
from mrcom.core.errors import CheckpointError, ConfigError
from mrcom.core.rng import named_seed, root_key
from mrcom.core.types import Masks, Prompt
from mrcom.replay.prompts import choose_prompts
from mrcom.scenarios.scenario import Scenario
from mrcom.train.adapt import Adapted
from mrcom.train.adapt_config import AdaptConfig, Amount
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.run import Run, prompts_for
from mrcom.train.settings import worlds_of
from mrcom.train.targets import Views
from mrcom.train.views import ActorsPolicy, LatentView, LatentViews, ObservationView, View


@dataclasses.dataclass(frozen=True)
class Record:
    """What an adaptation in a run's folder was made with."""

    config: AdaptConfig
    targets: tuple[Scenario, ...]
    """In the order of its policies."""
    amount: Amount
    """Of real steps and updates in each target."""
    seed: int
    """Of everything random in it."""
    updates: int
    """That the run had made."""

    def check_of(self, run: Run, place: pathlib.Path) -> None:
        """Refuse policies whose features are no longer what the run's model makes.

        Raises:
            CheckpointError: the run has learnt on since, or this is an earlier checkpoint of it.
        """
        now = run.counters.updates
        if self.updates != now:
            raise CheckpointError(
                f"{place} was adapted when the run had made {self.updates} updates, and this is "
                f"the run after {now}; move it away to adapt again."
            )


def adapted_names(run: Run) -> list[str]:
    """The adaptations that are finished."""
    folders = sorted((run.folder.path / "adapted").glob("*"))
    return [folder.name for folder in folders if Checkpoints(folder).steps()]


def policy_size(run: Run, config: AdaptConfig) -> ActorConfig:
    """Of an adaptation's policy: the behaviour's, where it reads what that reads.

    One of observations owes nothing to the method, so it is the same in every method's runs.
    """
    if config.reads == "feature":
        return run.agent.actor(run.state).config
    return ActorConfig(units=SIZES.get(run.config.size, SIZES["full"]).units)


def views_of(run: Run, config: AdaptConfig, rows: Sequence[Scenario], masks: Masks) -> Views:
    """How an adaptation looks at scenarios while it learns, one for each row."""
    latent = None
    if config.asks_model:
        latent = LatentView(run.agent, run.state, masks, prompts_of_rows(run, rows, config.prompt))
    if config.reads == "feature":
        assert latent is not None
        return Views(latent, latent)
    return Views(_observations(run, masks), latent)


def prompts_of_rows(run: Run, rows: Sequence[Scenario], kind: str | None = None) -> Prompt:
    """The prompt of each row's scenario; a scenario that comes several times has one.

    Their seed is the split's: the same for all policies and all runs, so that no row of a table
    owes anything to a luckier prompt.

    Args:
        run: whose model is told them.
        rows: the scenarios.
        kind: expert, own or none; that of the run by default.
    """
    distinct, seed = list(dict.fromkeys(rows)), named_seed(run.config.split.seed, "prompt")
    config = dataclasses.replace(run.config, prompt=run.config.prompt if kind is None else kind)
    prompts = prompts_for(config, run.agent, worlds_of(config, distinct), seed=seed)
    return choose_prompts(prompts, np.array([distinct.index(row) for row in rows]))


def check_prompt(run: Run, kind: str) -> None:
    """Refuse prompts for a method that reads none.

    Raises:
        ConfigError: it would change nothing.
    """
    agent = run.agent
    if kind != run.config.prompt and not (isinstance(agent, PromptReader) and agent.prompt_steps):
        raise ConfigError(
            f"prompt={kind!r} would change nothing: {run.config.method.name} reads no prompt. "
            f"Leave it out."
        )


def save_adapted(run: Run, found: Adapted, record: Record) -> None:
    """Keep the policies of an adaptation, and each target's own world model where it has one."""
    width = found.actors.net.hidden[0].weight.shape[1]
    meta = {
        "config": record.config,
        "targets": list(record.targets),
        "seed": record.seed,
        "width": width,
        "amount": record.amount,
        "updates": record.updates,
    }
    kept: Any = found.actors
    if record.config.model == "finetune":
        agent = dreaming(run.agent)
        kept = (found.actors, [agent.model(state) for state in found.states])
    _folder(run, record.config.name).save(0, kept, meta=meta)


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
    meta, record = kept.read_meta(), adapted_record(run, name)
    record.check_of(run, kept.folder)
    for row in rows:
        if row not in record.targets:
            raise CheckpointError(f"The policies in {kept.folder} were not made for {row.name}.")
    which, num = np.array([record.targets.index(row) for row in rows]), len(record.targets)
    size = policy_size(run, record.config)
    one = Actor(meta["width"], run.worlds.layout.act, size, key=root_key(0))
    actors: Any = jax.tree.map(lambda leaf: jnp.stack([leaf] * num), one)
    if record.config.model == "finetune":
        template = (actors, [dreaming(run.agent).model(run.state)] * num)
        actors, models = kept.restore(template).state
    else:
        actors, models = kept.restore(actors).state, None
    if record.config.reads == "observation":
        view: View = _observations(run, masks)
    else:
        # The prompts that were learnt with, which depend on the whole list of targets.
        prompts = prompts_of_rows(run, record.targets, record.config.prompt)
        latent = LatentView(run.agent, run.state, masks, choose_prompts(prompts, which))
        view = latent if models is None else _by_models(run, latent, models, which)
    return ActorsPolicy(view, actors, which, masks, seed)


def adapted_record(run: Run, name: str) -> Record:
    """What a finished adaptation was made with.

    Raises:
        CheckpointError: there is none, or one that another version made.
    """
    kept = _folder(run, name)
    meta = kept.read_meta()
    try:
        return Record(
            config=from_json(AdaptConfig, meta["config"]),
            targets=tuple(from_json(Scenario, value) for value in meta["targets"]),
            amount=from_json(Amount, meta["amount"]),
            seed=meta["seed"],
            updates=meta["updates"],
        )
    except ConfigError as error:
        raise CheckpointError(
            f"{kept.folder} was made by another version ({error}) Move it out of the run's folder, "
            f"and adapt again."
        ) from error


def same_adaptation(run: Run, record: Record) -> bool:
    """Whether this adaptation is finished already, with these settings.

    Raises:
        CheckpointError: one of this name exists, but with other settings, targets, amounts or seed,
            or of another state of the run.
    """
    name = record.config.name
    kept = _folder(run, name)
    if not kept.steps():
        return False
    found = adapted_record(run, name)
    found.check_of(run, kept.folder)
    if to_json(dataclasses.replace(found, updates=record.updates)) != to_json(record):
        raise CheckpointError(
            f"{kept.folder} holds an adaptation with other settings, targets, budget or seed; "
            f"remove it, or give this one another name (the control from scratch is left out with "
            f"--no-control)."
        )
    return True


def _observations(run: Run, masks: Masks) -> ObservationView:
    normaliser, seen = run.experience.normaliser, run.config.observe_reward
    return ObservationView(masks, normaliser.mean, normaliser.std, observe_reward=seen)


def _by_models(
    run: Run, latent: LatentView, models: Sequence[Any], which: np.ndarray
) -> LatentViews:
    """The same rows, each filtered by its own target's model."""
    rows = [np.flatnonzero(which == target) for target in dict.fromkeys(which)]
    agent = dreaming(run.agent)
    states = [agent.with_model(run.state, models[which[at[0]]]) for at in rows]
    return LatentViews([latent.rows(*pair) for pair in zip(rows, states, strict=True)], rows)


def _folder(run: Run, name: str) -> Checkpoints:
    return Checkpoints(run.folder.path / "adapted" / name, keep=1)
