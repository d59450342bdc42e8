"""Frozen dataclasses as configuration: JSON there and back, hash, difference."""

import copy
import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from mrcom.core.errors import ConfigError, unknown

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Dataclasses, tuples and mappings as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], value: Mapping[str, Any]) -> T:
    """The inverse of `to_json` for a dataclass whose fields are typed.

    Raises:
        ConfigError: a field is unknown or missing, named with the nearest known one.
    """
    hints = typing.get_type_hints(kind)
    names = _field_names(kind)
    for name in value:
        if name not in names:
            raise unknown(f"field of {kind.__name__}", name, names)
    try:
        return kind(**{name: _restore(hints[name], item) for name, item in value.items()})
    except TypeError as error:
        raise ConfigError(f"{kind.__name__} cannot be read: {error}.") from error


def _restore(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType) and isinstance(value, Mapping):
        # One part or another in a slot: the one whose fields these are.
        fits = [k for k in typing.get_args(hint) if _field_names(k) == value.keys()]
        hint = fits[0] if len(fits) == 1 else hint
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_json(hint, value)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        inner = typing.get_args(hint)
        kinds = [inner[0]] * len(value) if inner[-1:] == (Ellipsis,) else list(inner)
        return tuple(_restore(k, item) for k, item in zip(kinds, value, strict=True))
    return value


def _field_names(kind: Any) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()


def canonical(value: Any) -> str:
    """One line of JSON that is the same for equal values on every machine."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"))


def short_hash(value: Any) -> str:
    """Twelve hexadecimal digits of the value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]


def difference(old: Any, new: Any, at: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted names of the leaves in which two JSON values differ, with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for name in sorted(old.keys() | new.keys()):
            found |= difference(old.get(name), new.get(name), f"{at}.{name}" if at else name)
        return found
    return {} if old == new else {at: (old, new)}


def with_settings(config: T, settings: Sequence[str]) -> T:
    """A frozen dataclass with some values replaced, each written as `dotted.name=value`.

    Raises:
        ConfigError: a name that is none of its values', or a value of another type; a number
            that is not finite, or negative where the one that it replaces is not.
    """
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"setting {text!r} must be NAME=VALUE, such as model.units=64.")
        if name not in (known := list(_names(config))):
            raise unknown("setting", name, known)
        config = _replaced(config, name.split("."), name, value)
    return config


def shallow(config: T) -> T:
    """A dataclass of dataclasses with 1 wherever a number of `layers` is larger."""
    changed = {}
    for name, value in vars(config).items():
        if dataclasses.is_dataclass(value):
            changed[name] = shallow(value)
        elif name.endswith("layers") and isinstance(value, int):
            changed[name] = min(value, 1)
    return dataclasses.replace(typing.cast(Any, config), **changed)


def differing(*values: Any, at: str = "") -> dict[str, tuple[Any, ...]]:
    """Dotted names of the leaves in which equally made dataclasses differ, with all values."""
    first = values[0]
    if dataclasses.is_dataclass(first) and len({type(value) for value in values}) == 1:
        names = [field.name for field in dataclasses.fields(first)]
        pairs = [(name, [getattr(value, name) for value in values]) for name in names]
    elif isinstance(first, tuple) and len({len(value) for value in values}) == 1:
        pairs = [(str(n), list(each)) for n, each in enumerate(zip(*values, strict=True))]
    else:
        return {} if all(value == first for value in values) else {at: values}
    found: dict[str, tuple[Any, ...]] = {}
    for name, each in pairs:
        found |= differing(*each, at=f"{at}.{name}" if at else name)
    return found


def put(value: Any, name: str, leaf: Any) -> Any:
    """A copy of a dataclass with another leaf, named as by `differing`. Nothing is checked."""
    first, _, rest = name.partition(".")
    old = value[int(first)] if isinstance(value, tuple) else getattr(value, first)
    new = put(old, rest, leaf) if rest else leaf
    if isinstance(value, tuple):
        return (*value[: int(first)], new, *value[int(first) + 1 :])
    copied = copy.copy(value)
    object.__setattr__(copied, first, new)
    return copied


def _names(config: Any, at: str = "") -> Iterator[str]:
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), at + field.name
        yield from _names(value, f"{name}.") if dataclasses.is_dataclass(value) else (name,)


def _replaced(config: Any, path: Sequence[str], name: str, text: str) -> Any:
    first, *rest = path
    old = getattr(config, first)
    if rest:
        return dataclasses.replace(config, **{first: _replaced(old, rest, name, text)})
    hint = typing.get_type_hints(type(config))[first]
    value = parsed(name, text, hint, old)
    if isinstance(value, int | float) and not abs(value) < math.inf:
        raise ConfigError(f"setting {name}={text} must be a finite number, such as {old!r}.")
    if isinstance(value, int | float) and value < 0 <= old:
        raise ConfigError(f"setting {name}={text} must be 0 or more; the nearest is 0.")
    return dataclasses.replace(config, **{first: value})


def parsed(name: str, text: str, hint: Any, old: Any) -> Any:
    """A value from a word.

    Args:
        name: of the value, for messages.
        hint: its type; one of a `Literal`'s words must be given exactly, words of a tuple with
            a plus sign between them.
        old: what it was, an example.

    Raises:
        ConfigError: the word stands for no such value.
    """
    if typing.get_origin(hint) is typing.Literal:
        if text not in typing.get_args(hint):
            raise unknown(name, text, typing.get_args(hint))
        return text
    if hint == tuple[str, ...]:
        words = tuple(text.split("+"))
        if not all(words):
            raise ConfigError(f"setting {name}={text!r} must be words such as one or one+two.")
        return words
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    kind = type(old)
    if kind not in wanted:
        raise ConfigError(f"setting {name} cannot be written in a word; it stays {old!r}.")
    try:
        return {"true": True, "false": False}[text] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"setting {name}={text!r} must be {wanted[kind]}, such as {to_json(old)!r}."
        ) from error
