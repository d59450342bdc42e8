"""Options that take one of a few names: a wrong one is answered in one line, with the nearest."""

import dataclasses
from typing import Any

from mrcom.core.errors import ConfigError, unknown

LARGEST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Choice:
    """Stands in the annotation of an option whose values have names.

    The parser of options would answer a wrong name in a box of several lines.
    """

    kind: str
    """What errors call it."""
    names: tuple[str, ...]
    """What it may be."""

    @property
    def metavar(self) -> str:
        """How help shows it."""
        return "{" + ",".join(self.names) + "}"


def check_choices(options: Any) -> None:
    """Raise where an option is none of its names; one that was not given is right.

    Raises:
        ConfigError: an unknown name; the message has the nearest and all others.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        given = value if isinstance(value, tuple) else (value,)
        for choice in getattr(field.type, "__metadata__", ()):
            if not isinstance(choice, Choice):
                continue
            for name in given:
                if name is not None and name not in choice.names:
                    raise unknown(choice.kind, name, choice.names)


def check_seeds(options: Any) -> None:
    """Raise where a seed is not one.

    Raises:
        ConfigError: with the nearest that is.
    """
    for name in ("seed", "seeds"):
        value = getattr(options, name, None)
        for seed in value if isinstance(value, tuple) else (value,):
            if seed is not None and not 0 <= seed <= LARGEST_SEED:
                nearest = 0 if seed < 0 else LARGEST_SEED
                raise ConfigError(
                    f"--{name} {seed} must lie in [0, {LARGEST_SEED}]; the nearest is {nearest}."
                )
