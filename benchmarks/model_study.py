"""What each choice of the world model is worth: prediction error of one trained without it.

    python benchmarks/model_study.py --out runs/study              # all variants, resumable
    python benchmarks/model_study.py --out runs/study --only full stems

The world model alone learns, without behaviour but where L_v is what varies, always from the same
experience of 48 scenarios: random actions and disturbed experts, as collected at budget `tiny`. The
number is that of `make demo`: RMSE of dreamt observations over that of "the last observation
stays", on held-out scenarios. One seed unless `--seeds` says otherwise, so small differences mean
nothing.
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable

import jax
import numpy as np

from mrcom.agents.agent import dreaming
from mrcom.agents.method import without
from mrcom.agents.mrcom import MRCOM, MrCom
from mrcom.agents.presets import budget
from mrcom.core.config import to_json
from mrcom.core.rng import named_generator, root_key
from mrcom.evaluate.predictions import measure_predictions
from mrcom.objectives.kl import KLConfig
from mrcom.replay.windows import sample_batch
from mrcom.scenarios.splits import split
from mrcom.train.held_out import held_out
from mrcom.train.loop import train
from mrcom.train.run import Run
from mrcom.train.settings import RunConfig

AMOUNT = dataclasses.replace(budget("tiny"), rounds=0, updates=0)
CONFIG = RunConfig(method=MRCOM, budget=AMOUNT, split=split("table1-d-shell"))


def _part(name: str) -> Callable[[MrCom], MrCom]:
    return lambda agent: dataclasses.replace(agent, method=without(agent.method, name))


def _weight(name: str, weight: float) -> Callable[[MrCom], MrCom]:
    def change(agent: MrCom) -> MrCom:
        weights = tuple((dict(agent.method.weights) | {name: weight}).items())
        return dataclasses.replace(agent, method=dataclasses.replace(agent.method, weights=weights))

    return change


def _set(**changes: object) -> Callable[[MrCom], MrCom]:
    """Another value of the method's configuration, or of its `model`'s."""

    def change(agent: MrCom) -> MrCom:
        fields = {field.name for field in dataclasses.fields(agent.config)}
        own = {name: value for name, value in changes.items() if name in fields}
        rest = {name: value for name, value in changes.items() if name not in fields}
        model = dataclasses.replace(agent.config.model, **rest)
        config = dataclasses.replace(agent.config, **({"model": model} | own))
        return dataclasses.replace(agent, config=config)

    return change


AGENTS: dict[str, Callable[[MrCom], MrCom]] = {
    "full": lambda agent: agent,
    "without d": _part("deter"),
    "without context": _part("context"),
    "without L_s": _part("meta_state"),
    "without dreamt context": _part("dreamt_context"),
    "bodies stems": _set(bodies="stems"),
    "meta_state bound": _set(meta_state="bound"),
    "kl as_printed": _set(
        kl=KLConfig(direction="as_printed"), kl_aux=KLConfig(direction="as_printed", rep=1.0)
    ),
    "kl_aux rep 0.1": _set(kl_aux=KLConfig()),
    "observe_reward off": _set(observe_reward=False),
    "lambda_s 0.1": _weight("meta_state", 0.1),
    "lambda_s 0.3": _weight("meta_state", 0.3),
    "lambda_s 3": _weight("meta_state", 3.0),
    "decoder_std 1": _set(decoder_std=1.0),
    "min_std 0.03": _set(min_std=0.03),
    "action current": _set(action_index="current"),
}
"""Variants of the agent by name."""

VALUES: dict[str, Callable[[MrCom], MrCom]] = {
    "with behaviour": lambda agent: agent,
    "with behaviour, lambda_v 0.01": _weight("meta_value", 0.01),
    "with behaviour, lambda_v 1": _weight("meta_value", 1.0),
    "with behaviour, without L_v": _part("meta_value"),
}
"""Variants in which the behaviour learns too: L_v needs its values."""

RUNS = {name: {"prompt": name.split()[1]} for name in ("prompt own", "prompt none")}
"""Variants of the run by name."""


def experience(out: pathlib.Path, variant: str, seed: int) -> Run:
    """A run that has collected and learnt nothing; the same steps in every variant."""
    config = dataclasses.replace(CONFIG, seed=seed, **RUNS.get(variant, {}))
    folder = out / f"{_slug(variant)}-{seed}"
    return train(config, folder, resume=folder.exists())


def learn(run: Run, agent: MrCom, updates: int, *, behaviour: bool) -> float:
    """Train the run's world model, alone or with the behaviour; seconds of an update.

    Compilation is left out.
    """
    steps = updates * agent.config.model_steps
    agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, decay_steps=steps))
    mean, std = run.experience.normaliser.mean, run.experience.normaliser.std
    run.agent = agent
    run.state = agent.with_statistics(agent.init(root_key(run.config.seed)), mean, std)
    update_of, begun = agent.update if behaviour else agent.update_model, 0.0
    for update in range(updates):
        batch = sample_batch(
            run.experience.store,
            run.worlds.masks,
            run.experience.prompt,
            named_generator(run.config.seed, "study", update),
            num_scenarios=agent.windows.scenarios,
            per_scenario=agent.windows.per_scenario,
            context=agent.windows.context,
            length=agent.windows.length,
        )
        key = jax.random.fold_in(root_key(run.config.seed), update)
        run.state, metrics = update_of(run.state, batch, key)
        if update == 0:
            jax.block_until_ready(metrics)
            begun = time.monotonic()
    jax.block_until_ready(run.state)
    return (time.monotonic() - begun) / max(updates - 1, 1)


def main() -> None:
    """Run the variants that have no result yet, and print the table of all that have."""
    changes = AGENTS | VALUES
    names = [*changes, *RUNS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the results")
    parser.add_argument("--updates", type=int, default=500, help="of 3 model steps each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="VARIANT")
    given = parser.parse_args()
    print("| variant | seed | s / update | hopper | walker | cheetah |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for seed in given.seeds:
        for name in given.only:
            file = given.out / f"{_slug(name)}-{seed}-{given.updates}.json"
            if not file.exists():
                run = experience(given.out, name, seed)
                agent = changes.get(name, AGENTS["full"])(run.agent)
                seconds = learn(run, agent, given.updates, behaviour=name in VALUES)
                own, unseen = run.experience.normaliser, held_out(run, AMOUNT)
                errors = measure_predictions(dreaming(run.agent), run.state, own, unseen).errors
                result = {"seconds": seconds, "errors": to_json(errors)}
                file.write_text(json.dumps(result))
            print(_row(name, seed, json.loads(file.read_text())), flush=True)


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


def _row(name: str, seed: int, result: dict) -> str:
    cells = [name, str(seed), f"{result['seconds']:.3f}"]
    for body in CONFIG.bodies:
        errors = result["errors"][body]
        at = errors["horizons"].index(10)
        cells.append(f"{np.sqrt(errors['mse'][at] / errors['last_mse'][at]):.3f}")
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
