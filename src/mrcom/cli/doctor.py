"""`mrcom doctor`: is everything here, and if not, what to do; `mrcom doctor RUN` mends a run."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from mrcom.cli.options import ANY_SIZE, Json
from mrcom.core.errors import MrcomError


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Check this machine; or check a run's folder and mend what can be mended."""

    run: Annotated[
        tyro.conf.Positional[pathlib.Path | None],
        tyro.conf.arg(
            help="Folder of a run whose files are checked and mended instead.", metavar="[RUN]"
        ),
    ] = None
    run_dir: Annotated[
        pathlib.Path, tyro.conf.arg(help="Folder in which runs are to be written.")
    ] = pathlib.Path("runs")
    size: Annotated[
        str | None,
        ANY_SIZE,
        tyro.conf.arg(
            help="Say besides what an update of this size needs, and how fast it can be here.",
            metavar=ANY_SIZE.metavar,
        ),
    ] = None
    json: Json = False


def run(options: Doctor) -> int:
    """Print the findings; 1 if something of the machine is broken, 2 if something of a run is."""
    if options.run is not None:
        found = _runs(options.run)
        return 2 if _print(found, "this run is whole", as_json=options.json) else 0
    from mrcom.cli import checks

    checked = [
        *checks.guarded("python", checks.check_python),
        *checks.guarded("libraries", checks.check_libraries),
        *checks.guarded("mujoco library", checks.check_mujoco),
        *checks.guarded("threads", checks.check_threads),
        *checks.guarded("memory", checks.check_memory),
        *checks.guarded("run folder", checks.check_writing, options.run_dir),
        *checks.guarded("experts", checks.check_experts),
        *checks.guarded("compiler", checks.check_jax),
        *checks.guarded("simulator", checks.check_simulator),
        *checks.guarded("pictures", checks.check_drawing),
    ]
    if options.size is not None:
        checked += checks.guarded("operations", _operations, options.size)
    return 1 if _print(checked, "everything needed is here", as_json=options.json) else 0


def _runs(path: pathlib.Path) -> list[Any]:
    """What was found, and mended, in a run's folder or in those of several that learn together."""
    from mrcom.train.population import begun_population, folder_of, is_population
    from mrcom.train.repair import Finding, repair

    if not is_population(path):
        return repair(path)
    found = []
    for config in begun_population(path):
        folder = folder_of(path, config)
        try:
            begins = Finding("folder", "ok", f"none: --resume {path} begins the run")
            checks = repair(folder) if folder.exists() else [begins]
        except MrcomError as error:  # the others may be whole, or can be mended
            checks = [Finding("folder", "broken", str(error))]
        found += [dataclasses.replace(one, name=f"{folder.name} {one.name}") for one in checks]
    return found


def _operations(size: str) -> list[Any]:
    """What an update of every method that has this size needs, and how fast it can be here."""
    from mrcom.benchmark.operations import floors
    from mrcom.cli.checks import Check
    from mrcom.cli.options import METHOD

    rate, needed = floors(METHOD.names, size)
    return [
        Check(f"update of {name}", "ok", f"{gflop:.3g} GFLOP, {gflop / rate:.2g} s at {rate:.0f}/s")
        for name, gflop in needed.items()
    ]


def _print(found: Sequence[Any], good: str, *, as_json: bool) -> bool:
    """Whether anything of what was printed is broken."""
    broken = [check.name for check in found if check.state == "broken"]
    if as_json:
        record = {"ok": not broken, "checks": [dataclasses.asdict(check) for check in found]}
        print(json.dumps(record, indent=2))
        return bool(broken)
    width = max(len(check.name) for check in found)
    for check in found:
        print(f"{check.state:6}  {check.name:{width}}  {check.found}")
        if check.advice:
            print(f"{'':6}  {'':{width}}  -> {check.advice}")
    print(f"broken: {', '.join(broken)}" if broken else good)
    return bool(broken)
