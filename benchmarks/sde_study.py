"""The small-error expansion of latent dynamics, against Monte Carlo.

    python benchmarks/sde_study.py        # the numbers of docs/sde.md and docs/figures/sde.png

A linear latent with a closed form and a nonlinear one, both by diffrax. Every path is solved with
and without the error on the same noise, and once more with the encoder's noise turned round, so
that what is odd in it cancels.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable, Sequence

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.rng import named_keys, root_key
from mrcom.nn.mlp import MLP
from mrcom.report.style import BLUE, GREEN, GREY, ORANGE, RED, drawing
from mrcom.theory.sde import (
    ErrorProcess,
    Expansion,
    Field,
    Joint,
    Loss,
    begin,
    joint_drift,
    joint_noise,
    linear_orders,
)

TIME, STD, SIZE = 2.0, 0.3, 3
EPS = tuple(float(x) for x in np.geomspace(0.02, 0.4, 7))
MATRIX = np.array([[-0.5, 1.5, 0.0], [-1.5, -0.3, 0.8], [0.0, 0.0, -0.7]])
START = np.array([0.4, -0.2, 0.3])
GROWTH = np.array([[0.6, 0.4, 0.0], [0.0, 0.5, 0.3], [0.2, 0.0, 0.4]])
DRIFT = np.array([0.6, 0.3, 0.4])


def quadratic(x: Float[Array, " D"]) -> Float[Array, ""]:
    return 0.5 * jnp.sum(jnp.square(x))


def bent(x: Float[Array, " D"]) -> Float[Array, ""]:
    return jnp.sum(jax.nn.softplus(2.0 * x))


def linear(x: Float[Array, " D"]) -> Float[Array, " D"]:
    return jnp.asarray(MATRIX) @ x


def growing(x: Float[Array, " D"]) -> Float[Array, " D"]:
    return jnp.asarray(GROWTH) @ x


def recurrent(gain: float) -> Field:
    """A small random network that leaks; `gain` scales its weights."""
    weight = np.eye(SIZE) + 0.2 * np.random.default_rng(0).normal(size=(SIZE, SIZE))
    return lambda x: jnp.asarray(gain * weight) @ jnp.tanh(x + 0.2) - x


@functools.partial(jax.jit, static_argnames=("field", "loss", "paths", "steps", "same_noise"))
def solve(
    field: Field,
    loss: Loss,
    error: ErrorProcess,
    key: PRNGKeyArray,
    *,
    paths: int,
    steps: int,
    same_noise: bool = False,
) -> tuple[Expansion, Float[Array, "2 paths"]]:
    """Expansions of [2, paths], the second row with the encoder's noise turned; also |Phi|."""
    start = begin(jnp.asarray(START))
    flat, unflatten = ravel_pytree(start)

    def noise(sign: Float[Array, ""], increments: Float[Array, "2 D"]) -> Float[Array, " J"]:
        latent, encoder = increments[0], sign * increments[0 if same_noise else 1]
        return ravel_pytree(joint_noise(jnp.asarray(STD), error, latent, encoder))[0]

    def one(sign: Float[Array, ""], key: PRNGKeyArray) -> tuple[Expansion, Float[Array, ""]]:
        # The noise is the same everywhere, so it is one matrix.
        matrix = jax.jacobian(lambda x: noise(sign, x.reshape(2, SIZE)))(jnp.zeros(2 * SIZE))
        path = diffrax.UnsafeBrownianPath(shape=(2 * SIZE,), key=key)
        drift = lambda t, y, args: ravel_pytree(joint_drift(field, error, unflatten(y)))[0]
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(drift), diffrax.ControlTerm(lambda t, y, args: matrix, path)
        )
        found = diffrax.diffeqsolve(
            *(terms, diffrax.Heun(), 0.0, TIME, TIME / steps, flat),
            max_steps=steps + 2,
            adjoint=diffrax.ForwardMode(),
        )
        end: Joint = unflatten(found.ys[-1])
        return Expansion(loss, end), jnp.linalg.norm(end.fundamental)

    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(paths))
    return jax.vmap(lambda sign: jax.vmap(functools.partial(one, sign))(keys))(
        jnp.array([1.0, -1.0])
    )


def error_of(drift: float, std: float, eps: float) -> ErrorProcess:
    return ErrorProcess(jnp.asarray(drift * DRIFT), jnp.asarray(std), jnp.asarray(eps))


def slope(values: Sequence[float]) -> float:
    """Of the logarithm of values over that of EPS."""
    return float(np.polyfit(np.log(EPS), np.log(np.abs(values)), 1)[0])


def orders(
    field: Field, loss: Loss, drift: float, key: PRNGKeyArray, paths: int, steps: int
) -> dict[str, list[float]]:
    """At every factor: what the error does in the mean, and the remainders' size on a path."""
    rows: dict[str, list[float]] = {"mean": [], "order 0": [], "order 1": [], "order 2": []}
    for eps in EPS:
        error = error_of(drift, 1.0, eps)
        found, _ = solve(field, loss, error, key, paths=paths, steps=steps)
        rows["mean"].append(float(jnp.mean(found.exact - found.clean)))
        for order in range(3):
            size = jnp.mean(jnp.abs(found.remainder(error.eps, order)))
            rows[f"order {order}"].append(float(size))
    return rows


def closed_form(key: PRNGKeyArray, paths: int, steps: int) -> None:
    """Print orders of the linear latent: exact, and by Monte Carlo with standard error."""
    exact = linear_orders(MATRIX, START, STD, DRIFT, 1.0, TIME)
    error = error_of(1.0, 1.0, 0.1)
    found, _ = solve(linear, quadratic, error, key, paths=paths, steps=steps)
    print("linear latent, L = |x|^2 / 2: order, closed form, Monte Carlo, standard error")
    for name, value, terms in zip(
        ("0", "1", "2"), exact, (found.clean, found.first, found.second), strict=True
    ):
        each = terms.mean(axis=0)
        print(f"  {name}: {value:.5f}  {each.mean():.5f}  {each.std() / paths**0.5:.5f}")


def penalised(
    target_field: Field, weight: float, key: PRNGKeyArray, updates: int = 1500
) -> tuple[MLP, float]:
    """A network fitted to a latent, with a penalty on the Jacobian of a step, x + f(x).

    Also the mean squared error of the fit.
    """
    keys = named_keys(key, "net", "points")
    net = MLP(SIZE, 32, 2, SIZE, key=keys.net)
    points = 1.5 * jax.random.normal(keys.points, (256, SIZE))
    target, optimizer = jax.vmap(target_field)(points), optax.adam(3e-3)

    def terms(net: MLP) -> tuple[Array, Array]:
        fit = jnp.mean(jnp.square(net(points) - target))
        jacobians = jnp.eye(SIZE)[None] + jax.vmap(jax.jacfwd(net))(points)
        return fit, jnp.mean(jnp.square(jacobians)) * SIZE

    @eqx.filter_jit
    def step(net: MLP, moments: optax.OptState) -> tuple[MLP, optax.OptState]:
        total = lambda net: terms(net)[0] + weight * terms(net)[1]
        grads = eqx.filter_grad(total)(net)
        changes, moments = optimizer.update(grads, moments)
        return eqx.apply_updates(net, changes), moments

    moments = optimizer.init(eqx.filter(net, eqx.is_inexact_array))
    for _ in range(updates):
        net, moments = step(net, moments)
    return net, float(terms(net)[0])


Row = tuple[float, float, float, float]


def biases(make: Callable[[float], Field], at: Sequence[float], key: PRNGKeyArray) -> list[Row]:
    """At each value: it, |Phi|, the first order with drift, and that without."""
    rows = []
    for value in at:
        field = make(value)
        found, carried = solve(field, bent, error_of(1.0, 1.0, 0.1), key, paths=1024, steps=100)
        still, _ = solve(field, bent, error_of(0.0, 1.0, 0.1), key, paths=1024, steps=100)
        row = value, carried.mean(), jnp.abs(found.bias.mean()), jnp.abs(still.first.mean())
        rows.append(tuple(float(x) for x in row))
        print(
            f"  {value:7.4f}: |Phi| {rows[-1][1]:.3f}, first order with drift {rows[-1][2]:.4f}, "
            f"without {rows[-1][3]:.1e}"
        )
    return rows


def main() -> None:
    """Print the numbers and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--figure",
        type=pathlib.Path,
        default=pathlib.Path(__file__).parents[1] / "docs" / "figures" / "sde.png",
    )
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    keys = named_keys(root_key(args.seed), "linear", "orders", "gain", "penalty", "fit")
    closed_form(keys.linear, args.paths, args.steps)
    field, found = recurrent(1.5), {}
    for name, drift in (("without drift", 0.0), ("with drift", 1.0)):
        found[name] = orders(field, bent, drift, keys.orders, args.paths, args.steps)
        slopes = ", ".join(f"{key} {slope(row):.2f}" for key, row in found[name].items())
        print(f"nonlinear latent {name}: slopes over eps: {slopes}")
    shared, _ = solve(
        field,
        bent,
        error_of(0.0, 1.0, 0.1),
        keys.orders,
        paths=args.paths,
        steps=args.steps,
        same_noise=True,
    )
    each = shared.first[0]
    print(
        f"nonlinear latent, no drift, the encoder's noise is the latent's own: first order "
        f"{each.mean():.4f}, standard error {each.std() / args.paths**0.5:.4f}"
    )
    print("gain of the latent's network:")
    gains = biases(recurrent, (0.0, 0.5, 1.0, 1.5, 2.0, 2.5), keys.gain)
    by_target: dict[str, list[Row]] = {}
    fits: dict[str, dict[float, float]] = {"growing": {}, "saturating": {}}
    for name, target in (("growing", growing), ("saturating", recurrent(2.0))):
        print(f"weight of the penalty, {name} latent:")

        def fitted(weight: float, name: str = name, target: Field = target) -> Field:
            net, fits[name][weight] = penalised(target, weight, keys.fit)
            print(f"  weight {weight}: mean squared error of the fit {fits[name][weight]:.4f}")
            return lambda x: net(x)

        by_target[name] = biases(fitted, (0.0, 0.03, 0.1, 0.3, 1.0, 3.0), keys.penalty)
    draw(args.figure, found, gains, by_target, fits)


def draw(
    path: pathlib.Path,
    found: dict[str, dict[str, list[float]]],
    gains: list[Row],
    penalties: dict[str, list[Row]],
    fits: dict[str, dict[float, float]],
) -> None:
    with drawing(path, figsize=(10.5, 3.3)) as figure:
        orders_, gain_, penalty_ = figure.subplots(1, 3)
        for name, colour in (("with drift", RED), ("without drift", BLUE)):
            mean = np.abs(found[name]["mean"])
            label = f"mean, {name}: slope {slope(mean):.2f}"
            orders_.plot(EPS, mean, "o-", color=colour, label=label, markersize=3)
        for order, colour in (("order 1", ORANGE), ("order 2", GREEN)):
            row = found["with drift"][order]
            label = f"on a path, after {order}: slope {slope(row):.2f}"
            orders_.plot(EPS, row, "--", color=colour, label=label)
        orders_.set(xscale="log", yscale="log", xlabel="size of the error (eps)")
        orders_.set(title="What the error changes in the loss")
        orders_.set_xticks([0.02, 0.05, 0.1, 0.2, 0.4], ["0.02", "0.05", "0.1", "0.2", "0.4"])
        orders_.set_xticks([], minor=True)
        orders_.legend(fontsize=7)
        _, carried, drifting, still = np.transpose(gains)
        gain_.plot(carried, drifting, "o-", color=RED, label="with drift", markersize=3)
        gain_.plot(carried, still, "o-", color=BLUE, label="without drift", markersize=3)
        gain_.set(xlabel="propagated Jacobian |Phi|", title="First order of the loss")
        gain_.legend(fontsize=7)
        for name, line in (("growing", "-"), ("saturating", "--")):
            weights, _, drifting, _ = np.transpose(penalties[name])
            at, off = np.arange(len(weights)), [fits[name][weight] for weight in weights]
            for row, colour, what in ((drifting, RED, "first order"), (off, GREY, "fit's error")):
                penalty_.plot(at, row, line, color=colour, label=f"{what}, {name} latent")
        penalty_.set_xticks(at, [f"{weight:g}" for weight in weights])
        penalty_.set(xlabel="weight of the penalty on a step's Jacobian", title="With drift")
        penalty_.legend(fontsize=7)


if __name__ == "__main__":
    main()
