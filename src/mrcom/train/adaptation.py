"""Adapting a run to its targets: the paper's way, the control from scratch, and others."""

import dataclasses

from mrcom.agents.agent import WorldModelAgent
from mrcom.agents.presets import Budget
from mrcom.behaviour.sac import SACConfig
from mrcom.core.errors import ConfigError
from mrcom.core.progress import progress
from mrcom.train.adapt import adapt
from mrcom.train.adapt_config import AdaptConfig, Amount
from mrcom.train.adapted import (
    Record,
    check_prompt,
    policy_size,
    same_adaptation,
    save_adapted,
    views_of,
)
from mrcom.train.log import Log
from mrcom.train.run import Run
from mrcom.train.run_folder import locked
from mrcom.train.settings import Target, target_scenarios, worlds_of

# Critics that know nothing have few updates: they hurry, and look less far ahead than in training.
_SAC = SACConfig(critic_rate=1e-3, slow_rate=0.05, discount=0.97, init_temperature=0.01)
# A policy that was learnt explores as little as it learnt to, and moves as far as real episodes
# allow. Critics that were learnt with it go on from there.
_GENTLE = SACConfig(critic_rate=1e-3, anchor=0.1, init_temperature=0.001, target_entropy=-2.0)
# New critics would spoil it: they get the first updates for themselves, and it moves more slowly.
_GENTLE_NEW = dataclasses.replace(
    _GENTLE, slow_rate=0.05, discount=0.97, actor_rate=1e-4, anchor=0.2, actor_start=250
)
CONTROL = AdaptConfig(
    name="sac",
    policy_init="scratch",
    critics="new",
    reads="observation",
    real_share=1.0,
    sac=_SAC,
)
"""SAC from scratch on the same real steps with as many updates: does the world model help?"""


def adaptation(
    run: Run,
    name: str = "adapted",
    *,
    policy_init: str = "behaviour",
    critics: str = "training",
    **choices: str,
) -> AdaptConfig:
    """The paper's adaptation of a run, in dreams of its frozen model, or with other choices.

    Its prompts are of the run's kind, unless another is chosen.

    Critics are new where policies are, and where SAC learnt none in training. Those that go on do
    so under the discount they were learnt with.

    Raises:
        ConfigError: an unknown choice, or two that do not go together.
    """
    if policy_init == "scratch" or run.agent.sac(run.state) is None:
        critics = "new"
    config = AdaptConfig(name, policy_init=policy_init, critics=critics, prompt=run.config.prompt)
    config = dataclasses.replace(config, **choices)
    if policy_init == "scratch":
        sac = _SAC
    elif critics == "new":
        sac = _GENTLE_NEW
    else:
        sac = dataclasses.replace(_GENTLE, discount=run.agent.discount)
    return dataclasses.replace(config, sac=sac)


def targets_of_run(run: Run, budget: Budget) -> list[Target]:
    """The unseen scenarios a run is adapted to and judged in."""
    return target_scenarios(run.config, budget.targets_inside, budget.targets_outside, "target")


def amount_of(budget: Budget) -> Amount:
    """What a budget gives each target; episodes there are as long as those that judge."""
    return Amount(budget.adapt_steps, budget.adapt_updates, budget.evaluation_steps)


def adapt_run(run: Run, config: AdaptConfig, budget: Budget, *, seed: int) -> None:
    """Policies for all targets, kept in the run's folder; a finished one is left as it is.

    A method without a world model adapts on real steps alone.

    Raises:
        CheckpointError: one of this name was made with other settings, or of an earlier state.
        RunFolderError: another process writes in the run's folder, or it cannot be written to.
        ConfigError: a policy that reads observations, in a run that sees nothing but pictures.
    """
    if config.reads == "observation" and run.config.inputs == "images":
        raise ConfigError(
            f"reads={config.reads!r}: {run.folder.path} was trained with --inputs images, so there "
            f"are no vectors to read; reads='feature' is what its policies can have."
        )
    if config.asks_model:
        check_prompt(run, config.prompt)
    if not isinstance(run.agent, WorldModelAgent):
        config = dataclasses.replace(config, real_share=1.0)
    scenarios = tuple(target.scenario for target in targets_of_run(run, budget))
    amount = amount_of(budget)
    record = Record(config, scenarios, amount, seed, run.counters.updates)
    if same_adaptation(run, record):
        return
    worlds = worlds_of(run.config, scenarios)
    views = views_of(run, config, scenarios, worlds.masks)
    title = f"{config.name}: updates in {len(scenarios)} targets"
    total = amount.updates * len(scenarios)
    with (
        locked(run.folder),
        Log(run.folder.metrics_file) as log,
        progress(title, total=total) as bar,
    ):
        found = adapt(
            run.agent,
            run.state,
            worlds,
            views,
            config,
            amount,
            seed=seed,
            log=log,
            bar=bar,
            size=policy_size(run, config),
        )
        save_adapted(run, found, record)
