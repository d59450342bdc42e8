"""Everything that can go wrong, in five classes; each message is one sentence or two."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class MrcomError(Exception):
    """Something the user can mend: the command line prints it and exits with code 2."""


class ConfigError(MrcomError, ValueError):
    """A setting, or a pair of settings, that cannot work."""


class RunFolderError(MrcomError):
    """A run folder that exists, is missing, cannot be written or is not ours."""


class HostLostError(MrcomError):
    """Another machine that trained the same run is gone."""


class CheckpointError(MrcomError):
    """A checkpoint of another version, shape or configuration, or a damaged one."""


class OtherVersionError(CheckpointError):
    """A checkpoint that another version of the software wrote; there is nothing wrong with it."""


class TrainingDivergedError(MrcomError):
    """A loss or a simulation that is no longer finite."""


class Stopped(Exception):
    """A run that was asked to stop, by SIGTERM, and has saved itself: nothing went wrong."""


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """An error that names the value, the nearest legal one and all legal ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def check_once(kind: str, names: Sequence[str] | Sequence[int]) -> None:
    """Nothing, where no name or number is given twice.

    Raises:
        ConfigError: one is.
    """
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{kind} {name!r} is given {names.count(name)} times; give it once.")


def check_least(config: Any, least: int, *names: str) -> None:
    """Nothing, where these values of a configuration are no less.

    Raises:
        ConfigError: one is; the message has the nearest that is not.
    """
    for name in names:
        if not (value := getattr(config, name)) >= least:
            raise ConfigError(
                f"{type(config).__name__}.{name}={value} must be at least {least}; the nearest is "
                f"{least}."
            )


def nearest_multiples(value: int, of: int) -> list[str]:
    """The positive multiples of a number that lie next to a value: one or two, written out."""
    below = value // of * of
    return [str(n) for n in (below, below + of) if n > 0] or [str(of)]


def check_multiple(what: str, value: int, of: int) -> None:
    """Nothing, where a value is a positive multiple of another.

    Args:
        what: names both and says that one must be a multiple; the message begins so.
        value: the value.
        of: the other.

    Raises:
        ConfigError: it is none; the message has the nearest.
    """
    if value < 1 or value % of:
        near = nearest_multiples(value, of)
        verb = "is" if len(near) == 1 else "are"
        raise ConfigError(f"{what}; the nearest {verb} {' and '.join(near)}.")


def check_shares(config: Any, *names: str) -> None:
    """Nothing, where these values of a configuration lie in [0, 1].

    Raises:
        ConfigError: one does not; the message has the nearest that does.
    """
    for name in names:
        if not 0 <= (value := getattr(config, name)) <= 1:
            nearest = 1 if value > 1 else 0
            raise ConfigError(
                f"{type(config).__name__}.{name}={value} must lie in [0, 1]; the nearest is "
                f"{nearest}."
            )
