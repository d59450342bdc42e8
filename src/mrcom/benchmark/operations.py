"""Operations of matrix products, counted in a program's own text without running it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from mrcom.agents.agent import Agent
from mrcom.agents.build import has_size
from mrcom.benchmark.invented import measured_agent, shapes_of_update
from mrcom.benchmark.rate import MatrixProducts
from mrcom.core.programs import body_of, inside


def operations(function: Callable[..., Any], *args: Any) -> int:
    """Floating-point operations of a function's matrix products on arguments of these shapes.

    A multiplication and its addition are two. Loops count as often as they go round, branches as
    the dearest of them; what is recomputed on a gradient's way back counts again. Everything else
    (activations, normalisations, random numbers) is left out: it can be fast, products cannot be
    faster than the machine multiplies.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*args))


def operations_of_update(agent: Agent) -> int:
    """The same of one whole update of an agent, from its sizes alone."""
    return operations(agent.update, *shapes_of_update(agent))


def floors(names: Sequence[str], size: str) -> tuple[float, dict[str, float]]:
    """The rate of matrix products here [GFLOP/s], and what an update of each method needs [GFLOP].

    Their quotient is the least time of an update. Methods that have no such size are left out.
    """
    products = MatrixProducts()
    for _ in range(5):
        products.measure()
    having = [name for name in names if has_size(name, size)]
    needed = {name: operations_of_update(measured_agent(name, size)) / 1e9 for name in having}
    return products.gflops(products.seconds), needed


def _of_jaxpr(jaxpr: Jaxpr | ClosedJaxpr) -> int:
    return sum(map(_of_equation, body_of(jaxpr).eqns))


def _of_equation(equation: Any) -> int:
    if equation.primitive.name == "dot_general":
        left, _ = equation.params["dimension_numbers"][0]
        shape = equation.invars[0].aval.shape
        summed = math.prod(shape[axis] for axis in left)
        return 2 * summed * math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out = equation.params["dimension_numbers"].rhs_spec[0]
        per_output = math.prod(kernel) // kernel[out]
        return 2 * per_output * math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "cond":
        return max(_of_jaxpr(branch) for branch in equation.params["branches"])
    inner = map(_of_jaxpr, inside(equation))
    times = equation.params["length"] if equation.primitive.name == "scan" else 1
    return times * sum(inner)
