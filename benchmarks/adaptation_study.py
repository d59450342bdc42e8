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

import numpy as np

from mrcom.core.progress import SilentBar
from mrcom.evaluate.judge import Trial
from mrcom.train.adapt_config import AdaptConfig
from mrcom.train.adaptation import ADAPTED, CONTROL, adapt_run, adaptation, targets_of_run
from mrcom.train.contestants import contestants
from mrcom.train.log import read_log
from mrcom.train.run import open_trained
from mrcom.train.run_folder import RunFolder


def _sac(**changes: float) -> AdaptConfig:
    return dataclasses.replace(ADAPTED, sac=dataclasses.replace(ADAPTED.sac, **changes))


_WAYS = {
    "default": ADAPTED,
    "anchor-0.05": _sac(anchor=0.05),
    "anchor-0.8": _sac(anchor=0.8),
    "anchor_step-1": dataclasses.replace(ADAPTED, anchor_step=1.0),
    "real_share-1": dataclasses.replace(ADAPTED, real_share=1.0),
    "last_horizon-1": dataclasses.replace(ADAPTED, last_horizon=1),
    "last_horizon-15": dataclasses.replace(ADAPTED, last_horizon=15),
    "discount-0.99": _sac(discount=0.99),
    "scratch": adaptation("scratch", policy_init="scratch"),
    "imagination": adaptation("imagination", policy_init="behaviour", learner="imagination"),
    "finetune": adaptation("finetune", policy_init="behaviour", model="finetune"),
    "sac": CONTROL,
}
WAYS = {name: dataclasses.replace(config, name=name) for name, config in _WAYS.items()}
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
        adapt_run(run, WAYS[name], budget, seed=seed)
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
