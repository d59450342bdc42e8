"""A method as data: the parts of its model and the weights of its loss terms."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import TypeVar

from mrcom.core.errors import ConfigError, unknown

Entry = TypeVar("Entry")

JACOBIAN = "jacobian"
"""A loss term that no method has unless it is asked for."""

WEIGHTS = "weights."
"""Begins the name of a loss term's weight where values are set by name."""

IMAGE = "image"
"""The loss term of pictures, which a method has where it sees some."""


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

    def check_terms(self, known: Collection[str]) -> None:
        """Nothing, where every loss term is known.

        Raises:
            ConfigError: one is not; the message names the nearest.
        """
        for name in self.terms:
            if name == JACOBIAN and name not in known:
                raise no_dynamics(self)
            if name == IMAGE and name not in known:
                raise ConfigError(
                    f"{self.name} sees no pictures: train it on vectors (--inputs vectors), or "
                    f"choose mrcom or dreamer."
                )
            if name not in known:
                raise unknown("loss term", name, known)

    def check_recurrent(self, parts: tuple[str, ...]) -> None:
        """Nothing, where a recurrent state-space model has all its parts.

        Raises:
            ConfigError: one was taken out.
        """
        if self.parts != parts:
            raise ConfigError(
                f"{self.name} has the parts {self.parts}; a recurrent state-space "
                f"model needs {parts}. Loss terms can be taken out, parts cannot."
            )

    def check_behaviour(self, given: str, *, own: str, because: str) -> None:
        """Nothing, where what is to learn to act is the method's own behaviour.

        Raises:
            ConfigError: it is another's.
        """
        if given != own:
            raise ConfigError(f"{self.name} {because}: behaviour={given!r} must be {own!r}.")


def named(kind: str, name: str, known: Mapping[str, Entry]) -> Entry:
    """The entry of that name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in known:
        raise unknown(kind, name, known)
    return known[name]


def no_dynamics(method: Method) -> ConfigError:
    """What to say where the Jacobian is asked for, or how to take it, and there is none."""
    return ConfigError(
        f"{method.name} has no latent dynamics whose Jacobian could be taken: leave out "
        f"{JACOBIAN!r} and its settings, or choose mrcom, dreamer or mamba."
    )


def with_jacobian(method: Method, weight: float) -> Method:
    """The same method, with the gain of its latent dynamics as one more loss term.

    With weight 0 it is measured and logged, and teaches nothing.

    Raises:
        ConfigError: a weight below 0, which would reward dynamics that enlarge errors.
    """
    if not 0 <= weight < float("inf"):
        raise ConfigError(f"jacobian={weight} must be a finite weight of 0 or more.")
    name = f"{method.name} + {JACOBIAN} {weight:g}"
    return dataclasses.replace(method, name=name, weights=(*method.weights, (JACOBIAN, weight)))


def with_weights(method: Method, weights: Mapping[str, float]) -> Method:
    """The same method with other weights of some of its loss terms.

    Raises:
        ConfigError: a term that the method does not have, or a weight that is not above 0.
    """
    for name, weight in weights.items():
        if name not in method.terms:
            raise unknown("loss term", name, tuple(method.terms))
        if not 0 < weight < float("inf"):
            raise ConfigError(
                f"{WEIGHTS}{name}={weight} must be a finite number above 0; a term is taken out by "
                f"--without {name}."
            )
    changed = tuple((name, weights.get(name, weight)) for name, weight in method.weights)
    return dataclasses.replace(method, weights=changed)


def with_images(method: Method) -> Method:
    """The same method, with the reconstruction of pictures as one more loss term."""
    weights = (*method.weights, (IMAGE, 1.0))
    return dataclasses.replace(method, name=f"{method.name} + images", weights=weights)


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
