"""Bodies of the user's own: a Python file, kept as text, so that whatever holds it knows them."""

import contextvars
import dataclasses
import os
import pathlib
import sys
import traceback
import types
from collections.abc import Callable

from mrcom.core.errors import ConfigError
from mrcom.scenarios.bodies import BODIES, register
from mrcom.scenarios.embodiment import Embodiment

_read: contextvars.ContextVar[Callable[[str], str]] = contextvars.ContextVar("read")


@dataclasses.dataclass(frozen=True)
class BodyFile:
    """A Python file whose variables hold bodies, and the text files that it asks for.

    It is code: whoever opens a run that holds one, or loads its checkpoint, executes it.
    """

    name: str
    """Of the file."""
    source: str
    """What is in it."""
    texts: tuple[tuple[str, str], ...] = ()
    """What it asks for by `beside`, such as its MJCF: names and contents."""

    def register(self) -> tuple[str, ...]:
        """Make its bodies known, and return their names.

        Raises:
            ConfigError: it does not run, makes no body, or one whose name another has.
        """
        if self not in _made:
            texts = dict(self.texts)
            _made[self] = _execute(self.name, self.source, texts.__getitem__)
        return tuple(register(one).name for one in _made[self])


_made: dict[BodyFile, tuple[Embodiment, ...]] = {}
"""Executed once: functions that are made twice are not equal."""


def read_body_file(path: str | os.PathLike[str]) -> BodyFile:
    """A file with bodies, and what it asks for; they are not registered yet.

    Raises:
        ConfigError: it, or a file that it asks for, cannot be read; or it does not run, or makes
            no body.
    """
    path, texts = pathlib.Path(path), {}

    def read(name: str) -> str:
        texts[name] = _text(path.parent / name)
        return texts[name]

    source = _text(path)
    bodies = _execute(path.name, source, read)
    file = BodyFile(path.name, source, tuple(texts.items()))
    _made.setdefault(file, bodies)
    return file


def beside(name: str) -> str:
    """The content of a text file in the folder of the file of bodies that is being read.

    Raises:
        ConfigError: no file of bodies is being read, or there is no such file.
    """
    try:
        read = _read.get()
    except LookupError:
        raise ConfigError(
            f"beside({name!r}) is for files of bodies; read yours by `read_body_file`."
        ) from None
    return read(name)


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeError) as error:
        near = sorted(entry.name for entry in path.parent.glob(f"*{path.suffix}"))[:8]
        there = f"; there are {', '.join(near)}" if near else ""
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be read ({reason}){there}.") from error


def _execute(name: str, source: str, read: Callable[[str], str]) -> tuple[Embodiment, ...]:
    module = types.ModuleType(f"bodies_of_{pathlib.Path(name).stem}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    token = _read.set(read)
    try:
        exec(compile(source, name, "exec"), module.__dict__)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    except Exception as error:
        lines = [
            at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == name
        ]
        line = getattr(error, "lineno", None) or (lines or [None])[-1]
        raise ConfigError(
            f"{name}, line {line}, does not run ({type(error).__name__}: {error})."
        ) from error
    finally:
        _read.reset(token)
    known = {id(one) for one in BODIES.values()}
    made = {id(v): v for v in vars(module).values() if isinstance(v, Embodiment)}
    bodies = tuple(one for key, one in made.items() if key not in known)
    if not bodies:
        raise ConfigError(f"{name} makes no body: it needs a variable that holds an Embodiment.")
    return bodies
