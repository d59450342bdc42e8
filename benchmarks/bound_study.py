"""How tight the bound of MrCoM's Theorem 6 is, and which readings of its print hold.

    python benchmarks/bound_study.py                  # the table of docs/theory.md

Random finite worlds with every quantity computed exactly, then a search that climbs from the
tightest of them towards a violation, one for each statement.
"""

import argparse
import dataclasses
from collections.abc import Callable

import numpy as np

from mrcom.core.generators import named_generator
from mrcom.theory.bound import (
    dynamics_bound,
    generalisation_bound,
    policy_bound,
    return_bound,
)
from mrcom.theory.finite import FiniteWorlds, Sizes, differences, quantities, worlds_of

Pair = Callable[[FiniteWorlds], tuple[np.ndarray, np.ndarray]]
"""What a statement bounds, and its bound, of each world."""
SHAPES = (Sizes(2, 1, 1), Sizes(2, 2, 2), Sizes(3, 2, 2), Sizes(5, 3, 3))
LEAST, ROUNDING = 1e-6, 1e-5
"""Bounds below LEAST count as LEAST, since returns of 100 are rounded to 1e-12 or so; ratios up to
1 + ROUNDING violate nothing."""


def theorem(as_printed: bool, *, mean: bool = False, gap: str = "gap") -> Pair:
    def pair(worlds: FiniteWorlds) -> tuple[np.ndarray, np.ndarray]:
        q = quantities(worlds, mean=mean)
        bound = generalisation_bound(
            *(q.eps_t, q.eps_s, q.eps_pi, q.c_t, q.c_pi),
            largest_reward=worlds.largest_reward,
            discount=worlds.discount,
            as_printed=as_printed,
        )
        return getattr(differences(worlds), gap), bound

    return pair


def dynamics(gap: str) -> Pair:
    def pair(worlds: FiniteWorlds) -> tuple[np.ndarray, np.ndarray]:
        q = quantities(worlds)
        return getattr(differences(worlds), gap), dynamics_bound(q.eps_t, q.eps_s, q.c_t)

    return pair


def policy(inside: bool) -> Pair:
    def pair(worlds: FiniteWorlds) -> tuple[np.ndarray, np.ndarray]:
        q = quantities(worlds)
        # Probabilities add up to 1: the gradient of their sum is 0.
        c_pi = q.c_pi if inside else np.zeros_like(q.c_pi)
        return differences(worlds).policy, policy_bound(q.eps_pi, q.eps_s, c_pi)

    return pair


def returns(worlds: FiniteWorlds) -> tuple[np.ndarray, np.ndarray]:
    q = quantities(worlds)
    given = {"largest_reward": worlds.largest_reward, "discount": worlds.discount}
    # The collector and the dreamer differ by no more than eps_pi.
    return differences(worlds).plain, return_bound(q.eps_t, q.eps_pi, **given)


def one_use(worlds: FiniteWorlds) -> tuple[np.ndarray, np.ndarray]:
    q = quantities(worlds)
    given = {"largest_reward": worlds.largest_reward, "discount": worlds.discount}
    off = dynamics_bound(q.eps_t, q.eps_s, q.c_t)
    return differences(worlds).gap, return_bound(
        off, policy_bound(2 * q.eps_pi, q.eps_s, q.c_pi), **given
    )


def encoder_alone(pair: Pair) -> Pair:
    """The same in worlds whose model is right and whose policies are one."""

    def alone(worlds: FiniteWorlds) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(worlds.true))[:, None], worlds.true
        right = {"scenario": worlds.model[rows], "collector": worlds.acting[rows]}
        return pair(dataclasses.replace(worlds, dreaming=worlds.acting, **right))

    return alone


STATEMENTS: dict[str, Pair] = {
    "Lemma 3, next state by f*": dynamics("dynamics"),
    "Lemma 4, C_pi of magnitudes": policy(inside=True),
    "Lemma 5": returns,
    "Theorem 6 as printed": theorem(as_printed=True),
    "Theorem 6 as derived": theorem(as_printed=False),
    "Lemma 5 used once": one_use,
    "Theorem 6 as printed, encoder errs alone": encoder_alone(theorem(as_printed=True)),
    "Theorem 6 as derived, encoder errs alone": encoder_alone(theorem(as_printed=False)),
    "Lemma 3, next state by f": dynamics("dynamics_encoded"),
    "Lemma 4, C_pi to the letter (0)": policy(inside=False),
    "Theorem 6 printed, dream starts at f(o)": theorem(True, gap="gap_encoded_start"),
    "Theorem 6 printed, errors are means": theorem(True, mean=True),
}
"""By the name that the table calls them."""


def ratio(difference: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Above 1 where the statement is violated."""
    return difference / np.maximum(bound, LEAST)


def climb(
    pair: Pair, sizes: Sizes, start: np.ndarray, steps: int, rng: np.random.Generator
) -> float:
    """The largest ratio that hill climbing reaches from some worlds."""
    best, at = ratio(*pair(worlds_of(start, sizes))), start
    for step in range(steps):
        scale = 10.0 ** rng.uniform(-3, 0.5, (len(at), 1))
        which = rng.random(at.shape) < rng.choice([0.02, 0.1, 0.5], (len(at), 1))
        tried = at + scale * which * rng.normal(size=at.shape)
        found = ratio(*pair(worlds_of(tried, sizes)))
        better = found > best
        best, at = np.where(better, found, best), np.where(better[:, None], tried, at)
        if step % 200 == 199:  # the weaker half starts again from the stronger
            order = np.argsort(best)
            half = len(order) // 2
            at[order[:half]], best[order[:half]] = at[order[-half:]], best[order[-half:]]
    return float(best.max())


def study(name: str, num: int, chains: int, steps: int, seed: int) -> tuple[str, ...]:
    ratios, climbed = [], []
    for number, sizes in enumerate(SHAPES):
        rng = named_generator(seed, name, number)
        parameters = rng.normal(size=(num, sizes.parameters))
        found = ratio(*STATEMENTS[name](worlds_of(parameters, sizes)))
        ratios.append(found)
        tightest = parameters[np.argsort(found)[-chains:]]
        if found.max() <= 1 + ROUNDING:
            climbed.append(climb(STATEMENTS[name], sizes, tightest, steps, rng))
    every = np.concatenate(ratios)
    over = int((every > 1 + ROUNDING).sum())
    return (
        name,
        f"{over} of {len(every)}",
        f"{np.median(every):.3f}",
        f"{every.max():.4f}" if every.max() < 1e3 else ">1000",
        f"{max(climbed):.5f}" if climbed and len(climbed) == len(SHAPES) else "-",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=10000, help="random worlds of each size")
    parser.add_argument("--chains", type=int, default=64, help="climbs from the tightest of them")
    parser.add_argument("--steps", type=int, default=3000, help="of each climb")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| statement | violated | median ratio | largest | after climbing |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in STATEMENTS:
        row = study(name, args.worlds, args.chains, args.steps, args.seed)
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
