"""The bound of Theorem 6 in finite worlds, where both of its sides are exact."""

import dataclasses

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.theory.bound import (
    dynamics_bound,
    generalisation_bound,
    policy_bound,
    return_bound,
    total_variation,
)
from mrcom.theory.finite import (
    FiniteWorlds,
    Sizes,
    differences,
    expected_return,
    quantities,
    worlds_of,
)

SIZES = (Sizes(2, 2, 2), Sizes(3, 2, 2), Sizes(5, 3, 3))
NUMBERS = {"eps_t": 0.1, "eps_s": 0.2, "eps_pi": 0.05, "c_t": 3.0, "c_pi": 2.0}


def random_worlds(sizes: Sizes, num: int, seed: int = 0) -> FiniteWorlds:
    rng = np.random.default_rng(seed)
    return worlds_of(rng.normal(size=(num, sizes.parameters)), sizes)


def theorem(worlds: FiniteWorlds, *, as_printed: bool) -> np.ndarray:
    found = dataclasses.asdict(quantities(worlds))
    given = {"largest_reward": worlds.largest_reward, "discount": worlds.discount}
    return generalisation_bound(**found, **given, as_printed=as_printed)


def at_most(difference: np.ndarray, bound: np.ndarray) -> bool:
    return bool((difference <= bound * (1 + 1e-9) + 1e-9).all())


def test_bound_by_hand():
    assert dynamics_bound(0.1, 0.2, 3.0) == pytest.approx(0.7)
    assert policy_bound(0.05, 0.2, 2.0) == pytest.approx(0.25)
    # 2 * 3 * 0.5 * 0.3 / 0.25 + 2 * 3 * 0.2 / 0.5
    assert return_bound(0.1, 0.2, largest_reward=3.0, discount=0.5) == pytest.approx(6.0)
    # 0.5 * (0.2 + 0.2 + (2 + 6) * 0.2) / 0.25 + 2 * (0.1 + 0.4) / 0.5
    given = {"largest_reward": 1.0, "discount": 0.5}
    printed = generalisation_bound(**NUMBERS, **given, as_printed=True)
    assert printed == pytest.approx(6.0)
    # 0.5 * 2 * 0.2 / 0.25 more
    derived = generalisation_bound(**NUMBERS, **given, as_printed=False)
    assert derived == pytest.approx(6.8)


def test_the_derived_bound_is_lemma_5_twice_with_lemma_3_once_and_lemma_4_twice():
    given = {"largest_reward": 2.0, "discount": 0.9}
    off = dynamics_bound(NUMBERS["eps_t"], NUMBERS["eps_s"], NUMBERS["c_t"])
    policy = policy_bound(NUMBERS["eps_pi"], NUMBERS["eps_s"], NUMBERS["c_pi"])
    twice = return_bound(0.0, policy, **given) + return_bound(off, policy, **given)
    derived = generalisation_bound(**NUMBERS, **given, as_printed=False)
    assert derived == pytest.approx(twice)


def test_the_printed_bound_is_no_smaller_than_with_an_encoder_that_errs_in_one_world_only():
    rng = np.random.default_rng(0)
    for draw in rng.exponential(size=(200, 5)):
        numbers = dict(zip(NUMBERS, draw, strict=True))
        given = {"largest_reward": 1.0, "discount": float(rng.uniform(0, 0.99))}
        off = dynamics_bound(numbers["eps_t"], numbers["eps_s"], numbers["c_t"])
        policy = policy_bound(2 * numbers["eps_pi"], numbers["eps_s"], numbers["c_pi"])
        printed = generalisation_bound(**numbers, **given, as_printed=True)
        assert return_bound(off, policy, **given) <= printed * (1 + 1e-12)
        assert printed <= generalisation_bound(**numbers, **given, as_printed=False)


def test_a_bound_without_discounting_is_refused():
    with pytest.raises(ConfigError, match=r"discount=1.0 must lie in \[0, 1\)"):
        return_bound(0.1, 0.1, largest_reward=1.0, discount=1.0)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_no_bound_is_violated_in_thousands_of_random_worlds(sizes):
    worlds = random_worlds(sizes, 3000)
    q, d = quantities(worlds), differences(worlds)
    assert at_most(d.dynamics, dynamics_bound(q.eps_t, q.eps_s, q.c_t))
    assert at_most(d.policy, policy_bound(q.eps_pi, q.eps_s, q.c_pi))
    given = {"largest_reward": worlds.largest_reward, "discount": worlds.discount}
    assert at_most(d.plain, return_bound(q.eps_t, q.eps_pi, **given))
    assert at_most(d.gap, theorem(worlds, as_printed=False))
    assert at_most(d.gap, theorem(worlds, as_printed=True))
    # The test is no empty one: errors of all kinds occur, and some gaps are large.
    for one in (q.eps_t, q.eps_s, q.eps_pi):
        assert (one > 0).mean() > 0.2
    assert (d.gap / theorem(worlds, as_printed=True).clip(1e-9)).max() > 0.1


def two_states(scenario: np.ndarray, model: np.ndarray, encoded: tuple[int, int]) -> FiniteWorlds:
    """Rewards -1 and 1 in two states that are observed, one action, a start in the first."""
    one = np.ones((1, 2, 1))
    return FiniteWorlds(
        place=np.array([[0.0, 1.0]]),
        true=np.array([[0, 1]]),
        encoded=np.array([encoded]),
        shown=np.eye(2)[None],
        scenario=scenario[None, :, None],
        model=model[None, :, None],
        collector=one,
        acting=one,
        dreaming=one,
        reward=np.array([[[-1.0], [1.0]]]),
        start=np.array([[1.0, 0.0]]),
        discount=np.array([0.9]),
    )


def test_the_bound_is_reached_by_a_world_of_two_states():
    """The scenario slips into an absorbing state, which the model does not know of."""
    slip, discount = 1e-4, 0.9
    worlds = two_states(np.array([[1 - slip, slip], [0, 1]]), np.eye(2), (0, 1))
    # 2 sum_t gamma^t (1 - (1 - slip)^t) = 2 gamma slip / ((1 - gamma) (1 - gamma + gamma slip))
    exact = 2 * discount * slip / ((1 - discount) * (1 - discount + discount * slip))
    gap, bound = differences(worlds).gap, theorem(worlds, as_printed=True)
    np.testing.assert_allclose(gap, exact, rtol=1e-9)
    assert 0.999 < gap[0] / bound[0] <= 1


@pytest.mark.parametrize("symbol", ["eps_t", "eps_pi", "c_t", "c_pi"])
def test_every_constant_of_the_printed_bound_is_reached(symbol):
    """An early state, its near twin, and a far one that is never left and pays 1 instead of -1.

    The second action leads there and pays 1 at once. What goes wrong is a slip of 1e-5 a step.
    """
    slip, slipped, encoded = 1e-5, np.array([1 - 1e-5, 0, 1e-5]), np.array([0, 1, 2])
    scenario, model = (np.array([[[1.0, 0, 0], [0, 0, 1]]] * 2 + [[[0, 0, 1]] * 2]) for _ in "sm")
    acting, collector, dreaming = (np.array([[1.0, 0]] * 3) for _ in "acd")
    match symbol:
        case "eps_t":
            scenario[:2, 0] = slipped
        case "eps_pi":
            collector[:2], acting[:2] = [1 - slip, slip], [1 - 2 * slip, 2 * slip]
        case "c_t":
            model[1, 0] = scenario[1, 0] = slipped
        case "c_pi":
            acting[1] = collector[1] = dreaming[1] = [1 - slip, slip]
    if symbol in ("c_t", "c_pi"):  # the early state is taken for its twin
        encoded[0] = 1
    worlds = FiniteWorlds(
        place=np.array([[0.0, 1, 1e9]]),
        true=np.array([[0, 1, 2]]),
        encoded=encoded[None],
        shown=np.eye(3)[None],
        scenario=scenario[None],
        model=model[None],
        collector=collector[None],
        acting=acting[None],
        dreaming=dreaming[None],
        reward=np.array([[[-1.0, 1], [-1, 1], [1, 1]]]),
        start=np.array([[1.0, 0, 0]]),
        discount=np.array([0.999]),
    )
    found = dataclasses.asdict(quantities(worlds))
    expected = {"eps_t": 0.0, "eps_pi": 0.0, "c_t": 1e-9, "c_pi": 0.0}
    expected[symbol] = 2 * slip if symbol == "c_pi" else slip
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-8)
    ratio = differences(worlds).gap / theorem(worlds, as_printed=True)
    assert 0.97 < ratio[0] <= 1 + 1e-9


def test_the_bound_does_not_hold_where_a_dream_starts_at_the_encoded_state():
    """All states lead to the first one, so nothing is sensitive: the bound is 0."""
    worlds = two_states(np.array([[1.0, 0], [1, 0]]), np.array([[1.0, 0], [1, 0]]), (1, 0))
    found = differences(worlds)
    assert theorem(worlds, as_printed=True)[0] == found.gap[0] == 0
    np.testing.assert_allclose(found.gap_encoded_start, 2)  # 1 instead of -1, once


def test_the_bound_to_the_letter_does_not_hold():
    """With f(o') as the next state, and with the gradient of a sum of probabilities, which is 0."""
    worlds = random_worlds(SIZES[1], 2000)
    q, d = quantities(worlds), differences(worlds)
    assert not at_most(d.dynamics_encoded, dynamics_bound(q.eps_t, q.eps_s, q.c_t))
    assert not at_most(d.policy, policy_bound(q.eps_pi, q.eps_s, np.zeros_like(q.c_pi)))


def test_quantities_of_the_bound_equal_a_slow_twin():
    worlds = random_worlds(SIZES[1], 3)
    q = quantities(worlds)
    for w in range(3):
        place, true, seen = worlds.place[w], worlds.true[w], worlds.encoded[w]
        eps_t = c_t = c_pi = eps_s = 0.0
        for m, s in enumerate(true):
            eps_s = max(eps_s, abs(place[seen[m]] - place[s]))
            for a in range(2):
                off = np.abs(worlds.model[w, s, a] - worlds.scenario[w, m, a]).sum() / 2
                eps_t = max(eps_t, off)
        for i in range(3):
            for j in range(i):
                apart = abs(place[i] - place[j])
                for a in range(2):
                    moved = np.abs(worlds.model[w, i, a] - worlds.model[w, j, a]).sum() / 2
                    c_t = max(c_t, moved / apart)
                c_pi = max(c_pi, np.abs(worlds.acting[w, i] - worlds.acting[w, j]).sum() / apart)
        got = [q.eps_t[w], q.eps_s[w], q.c_t[w], q.c_pi[w]]
        np.testing.assert_allclose(got, [eps_t, eps_s, c_t, c_pi])


def test_returns_under_the_bound_equal_iterated_ones():
    worlds = random_worlds(SIZES[1], 4)
    args = worlds.model, worlds.reward, worlds.acting
    start = np.full((4, 3), 1 / 3)
    got = expected_return(*args, start, worlds.discount)
    for w in range(4):
        value = np.zeros(3)
        for _ in range(3000):
            value = np.array([
                sum(
                    worlds.acting[w, s, a]
                    * (worlds.reward[w, s, a] + worlds.discount[w] * worlds.model[w, s, a] @ value)
                    for a in range(2)
                )
                for s in range(3)
            ])  # fmt: skip
        np.testing.assert_allclose(got[w], value.mean(), rtol=1e-6)


def test_a_dream_on_meta_states_equals_one_on_observations():
    worlds = random_worlds(SIZES[2], 50)
    rows = np.arange(50)[:, None], worlds.true
    moves = np.einsum("wmas,wsn->wman", worlds.model[rows], worlds.shown)
    lifted = expected_return(
        moves, worlds.reward[rows], worlds.dreaming[rows], worlds.start, worlds.discount
    )
    meta = np.stack([worlds.start[:, worlds.true[0] == s].sum(axis=1) for s in range(5)], axis=1)
    dreamt = expected_return(worlds.model, worlds.reward, worlds.dreaming, meta, worlds.discount)
    np.testing.assert_allclose(lifted, dreamt, rtol=1e-9)


def test_total_variation_of_the_bound_is_half_the_sum_of_differences():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    assert total_variation(p, q) == pytest.approx(0.5)
