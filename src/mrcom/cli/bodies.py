"""Bodies on the command line: by name, or in files of the user's own."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from mrcom.behaviour.expert import OwnExpert
    from mrcom.scenarios.body_file import BodyFile

SUFFIX = ".py"
Body = Annotated[
    str,
    tyro.conf.arg(
        help="hopper, walker, cheetah, quadruped, or a Python file with a body of your own.",
        metavar="NAME|FILE.py",
    ),
]
Bodies = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Bodies whose experience is merged: names, or Python files with bodies of your own.",
        metavar="[NAME|FILE.py ...]",
    ),
]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Bodies that are known now."""

    names: tuple[str, ...]
    files: "tuple[BodyFile, ...]" = ()
    """Where those of the user's own come from."""
    experts: "tuple[OwnExpert, ...]" = ()
    """Those that lie beside the files, as NAME.npz."""


def chosen(given: Sequence[str]) -> Chosen:
    """Bodies by name, or from files, which are read and registered.

    Raises:
        ConfigError: an unknown name, or a file that cannot be read or makes no body.
        CheckpointError: a file beside is named as an expert's, but is none.
    """
    from mrcom.behaviour.expert import read_own_expert
    from mrcom.scenarios.bodies import body
    from mrcom.scenarios.body_file import read_body_file

    names, files, experts = [], [], []
    for one in given:
        if not one.endswith(SUFFIX):
            names.append(body(one).name)
            continue
        files.append(read_body_file(one))
        own = files[-1].register()
        names += own
        weights = {name: pathlib.Path(one).with_name(f"{name}.npz") for name in own}
        experts += [read_own_expert(at, name) for name, at in weights.items() if at.is_file()]
    for expert in experts:
        expert.register()
    return Chosen(tuple(names), tuple(files), tuple(experts))


def single(given: str) -> str:
    """The name of the one body that a word or a file stands for.

    Raises:
        ConfigError: as `chosen`, or a file with several.
    """
    from mrcom.core.errors import ConfigError

    names = chosen([given]).names
    if len(names) != 1:
        raise ConfigError(f"{given} makes {len(names)} bodies, {', '.join(names)}; one is wanted.")
    return names[0]
