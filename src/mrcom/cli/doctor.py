"""`mrcom doctor`: is everything here, and if not, what to do."""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from mrcom.cli.options import Json


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Check versions, threads, memory, folders, experts, compiler and simulator."""

    run_dir: Annotated[
        pathlib.Path, tyro.conf.arg(help="Folder in which runs are to be written.")
    ] = pathlib.Path("runs")
    json: Json = False


def run(options: Doctor) -> int:
    """Print the findings; 1 if something is broken."""
    from mrcom.cli import checks

    found = [
        *checks.guarded("python", checks.check_python),
        *checks.guarded("libraries", checks.check_libraries),
        *checks.guarded("mujoco library", checks.check_mujoco),
        *checks.guarded("threads", checks.check_threads),
        *checks.guarded("memory", checks.check_memory),
        *checks.guarded("run folder", checks.check_writing, options.run_dir),
        *checks.guarded("experts", checks.check_experts),
        *checks.guarded("compiler", checks.check_jax),
        *checks.guarded("simulator", checks.check_simulator),
    ]
    broken = [check.name for check in found if check.state == "broken"]
    if options.json:
        record = {"ok": not broken, "checks": [dataclasses.asdict(check) for check in found]}
        print(json.dumps(record, indent=2))
        return 1 if broken else 0
    width = max(len(check.name) for check in found)
    for check in found:
        print(f"{check.state:6}  {check.name:{width}}  {check.found}")
        if check.advice:
            print(f"{'':6}  {'':{width}}  -> {check.advice}")
    print(f"broken: {', '.join(broken)}" if broken else "everything needed is here")
    return 1 if broken else 0
