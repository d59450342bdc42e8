"""`mrcom evaluate`: returns of a trained run, inside and outside its training range."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from mrcom.cli.options import (
    EVALUATION_SEED,
    PROMPT,
    LatentErrorText,
    OtherBudget,
    Run,
    budget_for,
)

if TYPE_CHECKING:
    from mrcom.agents.presets import Budget
    from mrcom.models.latent_error import LatentError
    from mrcom.train.run import Run as TrainedRun


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure a run's predictions and returns; append the returns to its scores.jsonl."""

    run: Run
    budget: OtherBudget = None
    seed: Annotated[
        int,
        tyro.conf.arg(
            help="Seed of the episodes, the same for all runs unless one is given. Scores of other "
            "seeds stay, and count as more episodes."
        ),
    ] = EVALUATION_SEED
    planner: Annotated[
        bool,
        tyro.conf.arg(
            help="Also judge the frozen model with its method's planner, such as CaDM's; says "
            "before how long that takes."
        ),
    ] = False
    oracle_planner: Annotated[
        bool,
        tyro.conf.arg(
            help="Also judge that planner with the scenarios' true rewards, which no other policy "
            "is told: what is lost by learning them."
        ),
    ] = False
    latent_error: LatentErrorText = "none"
    prompt: Annotated[
        str | None,
        PROMPT,
        tyro.conf.arg(
            help="Judge what training learnt with other prompts than it had; adapted policies have "
            "those of `mrcom adapt --prompt`.",
            metavar=PROMPT.metavar,
        ),
    ] = None


def run(options: Evaluate) -> int | None:
    """Run the command."""
    from mrcom.agents.planning import PLANNERS, planning_of
    from mrcom.behaviour.observed_reward import observed_reward
    from mrcom.cli.report import print_report
    from mrcom.models.latent_error import latent_error
    from mrcom.train.adaptation import targets_of_run
    from mrcom.train.adapted import check_prompt
    from mrcom.train.run import open_trained
    from mrcom.train.run_folder import open_run

    trained = open_trained(open_run(options.run))
    budget = budget_for(trained, options.budget)
    error = latent_error(options.latent_error)
    asked = options.planner, options.oracle_planner
    planners = [name for name, wanted in zip(PLANNERS, asked, strict=True) if wanted]
    if planners:  # refused before anything is computed
        planning_of(trained.agent)
    if options.prompt is not None:
        check_prompt(trained, options.prompt)
    if options.oracle_planner:
        observed_reward([target.scenario for target in targets_of_run(trained, budget)])
    predict_held_out(trained, budget)
    seed, prompt = options.seed, options.prompt
    judge_run(trained, budget, seed=seed, planners=planners, error=error, prompt=prompt)
    print_report(trained.folder, budget.name)
    return None


def predict_held_out(run: "TrainedRun", budget: "Budget") -> None:
    """Keep a run's prediction errors and some of its dreams; without a world model it has none."""
    from mrcom.agents.agent import WorldModelAgent
    from mrcom.evaluate.dreams import save_starts
    from mrcom.evaluate.pictures import dreamt_pictures, save_pictures
    from mrcom.evaluate.predictions import measure_predictions
    from mrcom.report.run_report import dreams_folder, open_loop_file, pictures_folder
    from mrcom.scenarios.bodies import body
    from mrcom.train.held_out import held_out
    from mrcom.train.run_folder import write_json

    if not isinstance(run.agent, WorldModelAgent):
        return
    unseen = held_out(run, budget)
    if unseen.layout.image:
        pictures = dreamt_pictures(run.agent, run.state, unseen)
        save_pictures(pictures_folder(run.folder), pictures)
    if unseen.layout.blind:
        return  # it decodes no observation whose error could be measured
    found = measure_predictions(run.agent, run.state, run.experience.normaliser, unseen)
    errors = {
        body: dataclasses.replace(one, budget=budget.name) for body, one in found.errors.items()
    }
    write_json(open_loop_file(run.folder), errors)
    for name, starts in found.starts.items():
        file = dreams_folder(run.folder) / f"{name}.npz"
        save_starts(file, name, body(name).control_dt, starts)


def judge_run(
    run: "TrainedRun",
    budget: "Budget",
    *,
    seed: int,
    planners: Sequence[str] = (),
    error: "LatentError | None" = None,
    prompt: str | None = None,
) -> None:
    """Append the returns of every policy in every target to a run's scores.

    With a latent error, policies act on states that are wrong by it; with a kind of prompt, the
    behaviour alone is judged. Names say both.
    """
    from mrcom.core.progress import duration
    from mrcom.evaluate.judge import Trial, judge
    from mrcom.evaluate.scores import append_scores
    from mrcom.models.latent_error import NONE
    from mrcom.train.adaptation import targets_of_run
    from mrcom.train.contestants import contestants, planner, with_latent_error, with_prompt
    from mrcom.train.settings import worlds_of

    targets = targets_of_run(run, budget)
    worlds = worlds_of(run.config, [target.scenario for target in targets])
    inside = tuple(target.inside for target in targets)
    trial = Trial(worlds.scenarios, inside, worlds.layout, budget, seed)
    policies = contestants(run, worlds.scenarios) if prompt is None else with_prompt(run, prompt)
    if error not in (None, NONE):
        wrong = with_latent_error(run, policies, error, seed=seed)
        policies = {f"{name}, latent error {error.text}": one for name, one in wrong.items()}
    for name in planners:
        policies[name] = planner(run, name, seed=seed)
        each = trial.seconds_a_step(policies[name].make_policy)
        print(
            f"{name}: {budget.evaluation_steps} steps of "
            f"{len(targets) * budget.evaluation_episodes} episodes, {each:.2g} s for a step of "
            f"all: about {duration(each * budget.evaluation_steps)}",
            flush=True,
        )
    for scores in judge(policies, trial, run_seed=run.config.seed):
        append_scores(run.folder.scores_file, scores)
