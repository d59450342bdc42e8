"""A method as data: the parts of its model and the weights of its loss terms."""

import dataclasses
from collections.abc import Mapping

from mrcom.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Method:
    """What distinguishes one row of a table from another.

    An ablation is the same method with one entry taken out, never a switch inside the code.
    """

    name: str
    """How tables call it."""
    family: str
    """Whose code it is: what `agents.build` knows it by. An ablation keeps it."""
    parts: tuple[str, ...]
    """Parts of the world model's state that exist."""
    weights: tuple[tuple[str, float], ...]
    """Weight of each loss term; a term without a weight does not exist."""

    @property
    def terms(self) -> Mapping[str, float]:
        """The weights by name."""
        return dict(self.weights)


def without(method: Method, *names: str) -> Method:
    """The same method with some parts or loss terms taken out: an ablation.

    Raises:
        ConfigError: a name that the method does not have.
    """
    known = (*method.parts, *method.terms)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"Cannot remove {name!r} from {method.name}; it has {', '.join(known)}."
            )
    return Method(
        family=method.family,
        name=f"{method.name} w/o {', '.join(names)}" if names else method.name,
        parts=tuple(part for part in method.parts if part not in names),
        weights=tuple((name, weight) for name, weight in method.weights if name not in names),
    )
