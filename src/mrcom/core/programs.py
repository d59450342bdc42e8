"""What JAX's program of a function tells before it is compiled."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


def body_of(program: Jaxpr | ClosedJaxpr) -> Jaxpr:
    """A program without the constants that it closes over."""
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def inside(equation: Any) -> Iterator[Jaxpr | ClosedJaxpr]:
    """The programs that an equation runs: a loop's body, a condition's branches."""
    for value in equation.params.values():
        for one in value if isinstance(value, tuple | list) else [value]:
            if isinstance(one, Jaxpr | ClosedJaxpr):
                yield one


def num_equations(program: Jaxpr | ClosedJaxpr) -> int:
    """How many equations there are in it, wherever; loops count once."""
    found = 0
    for equation in body_of(program).eqns:
        found += 1 + sum(map(num_equations, inside(equation)))
    return found


def bytes_between(program: Jaxpr | ClosedJaxpr) -> int:
    """Memory [bytes] of what it computes and needs later, results included, arguments not.

    The most there is at any equation, if they are made in their order, each value is kept until
    its last use and no two share memory. A compiler fuses and reorders, and mostly needs less.
    """
    body = body_of(program)
    last = {v: n for n, eqn in enumerate(body.eqns) for v in eqn.invars if not _literal(v)}
    kept = {v for v in body.outvars if not _literal(v)}
    size: dict[Any, int] = {}
    now = most = 0
    for number, equation in enumerate(body.eqns):
        within = max(map(bytes_between, inside(equation)), default=0)
        for made in equation.outvars:
            size[made] = _bytes(made)
            now += size[made]
        if equation.primitive.name not in ("scan", "while"):
            # What a call makes inside is what comes out of it.
            within = max(0, within - sum(size[made] for made in equation.outvars))
        most = max(most, now + within)
        for value in {v for v in (*equation.invars, *equation.outvars) if not _literal(v)}:
            if value in size and value not in kept and last.get(value, number) <= number:
                now -= size.pop(value)
    return most


def _literal(value: Any) -> bool:
    return isinstance(value, Literal)


def _bytes(value: Any) -> int:
    return math.prod(value.aval.shape) * value.aval.dtype.itemsize
