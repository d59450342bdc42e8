"""What each choice of an adaptation is worth: the same trained run, adapted in several ways.

    python benchmarks/adaptation_study.py runs/demo --out runs/study --seeds 5 6
    python benchmarks/adaptation_study.py runs/demo --out runs/study --only default anchor-0.05

For each seed and way: the return of every real episode while the policies learn, then the mean
return of the adapted policies, after that of the behaviour they started from. The run folder stays
as it is; its copies, one for each seed, keep what was adapted. Targets, real steps, updates and
evaluation are those of the run's budget, as in `mrcom demo`.
"""

import argparse
import dataclasses
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from mrcom.core.progress import SilentBar
from mrcom.evaluate.judge import Trial
from mrcom.train.adapt_config import AdaptConfig
from mrcom.train.adaptation import CONTROL, adapt_run, adaptation, targets_of_run
from mrcom.train.contestants import contestants
from mrcom.train.log import read_log
from mrcom.train.run import Run, open_trained
from mrcom.train.run_folder import RunFolder


def _with(run: Run, **changes: Any) -> AdaptConfig:
    return dataclasses.replace(adaptation(run), **changes)


def _with_sac(run: Run, **changes: float) -> AdaptConfig:
    return _with(run, sac=dataclasses.replace(adaptation(run).sac, **changes))


WAYS: dict[str, Callable[[Run], AdaptConfig]] = {
    "default": adaptation,
    "anchor-0.02": lambda run: _with_sac(run, anchor=0.02),
    "anchor-0.4": lambda run: _with_sac(run, anchor=0.4),
    "anchor_step-1": lambda run: _with(run, anchor_step=1.0),
    "actor_rate-1e-4": lambda run: _with_sac(run, actor_rate=1e-4),
    "slow_rate-0.05": lambda run: _with_sac(run, slow_rate=0.05),
    "real_share-1": lambda run: _with(run, real_share=1.0),
    "last_horizon-1": lambda run: _with(run, last_horizon=1),
    "last_horizon-15": lambda run: _with(run, last_horizon=15),
    "critics-new": lambda run: adaptation(run, critics="new"),
    "scratch": lambda run: adaptation(run, policy_init="scratch"),
    "imagination": lambda run: adaptation(run, learner="imagination"),
    "finetune": lambda run: adaptation(run, model="finetune"),
    "sac": lambda run: CONTROL,
}
"""The default, the default with one choice another, and the control."""


def study(folder: pathlib.Path, out: pathlib.Path, seed: int, names: list[str]) -> None:
    """Adapt a copy of a run and judge it; what the copy has already is not done again."""
    copy = out / f"{folder.name}-{seed}"
    if not copy.exists():
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("adapted", "scores.jsonl"))
    run = open_trained(RunFolder(copy))
    budget, targets = run.config.budget, targets_of_run(run, run.config.budget)
    scenarios = tuple(target.scenario for target in targets)
    inside = tuple(target.inside for target in targets)
    trial = Trial(scenarios, inside, run.worlds.layout, budget, seed=0)
    print(f"{copy}:", *[f"{one.body} {one.target_speed:.1f}" for one in scenarios])

    def judge(name: str) -> None:
        returns = trial.returns(contestants(run, scenarios)[name].make_policy, SilentBar())
        print(f"{name:<16} judged    ", _row(returns.mean(axis=1)), flush=True)

    judge("behaviour")
    for name in names:
        adapt_run(run, dataclasses.replace(WAYS[name](run), name=name), budget, seed=seed)
        for line in read_log(run.folder.metrics_file):
            if line["stage"] == name:
                earned = [line[f"return/{one.body}/{one.hash}"] for one in scenarios]
                steps = line["env_steps"] // len(scenarios)
                print(f"{name:<16} real {steps:>5}", _row(earned))
        judge(name)


def _row(returns: np.ndarray | list[float]) -> str:
    return " ".join(f"{earned:>8.0f}" for earned in returns)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=pathlib.Path, help="folder of a trained run")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of its copies")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5])
    parser.add_argument("--only", nargs="+", choices=sorted(WAYS), default=["default"])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        study(given.run, given.out, seed, given.only)


if __name__ == "__main__":
    main()
