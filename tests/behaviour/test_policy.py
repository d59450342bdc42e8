"""The squashed Gaussian and the actor that makes it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.policy import Actor, ActorConfig, PlainNormal, SquashedNormal, log_slope
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key

CONFIG = ActorConfig(units=16, layers=1)


def normal(mean, std, mask=None):
    mean, std = jnp.asarray(mean), jnp.asarray(std)
    mask = jnp.ones_like(mean) if mask is None else jnp.asarray(mask)
    return SquashedNormal(mask * mean, mask * jnp.log(std), mask)


def test_density_integrates_to_one():
    actions = jnp.linspace(-1, 1, 20001)[1:-1]
    for mean, std in [(0.0, 0.7), (1.5, 0.3), (-0.4, 1.0)]:
        policy = normal(jnp.full((actions.size, 1), mean), jnp.full((actions.size, 1), std))
        mass = jnp.trapezoid(jnp.exp(policy.log_prob(actions[:, None])), actions)
        assert mass == pytest.approx(1.0, abs=2e-3)


def test_density_at_zero_by_hand():
    # d tanh = 1 at 0, so the density is that of the Gaussian: 1 / (.5 sqrt(2 pi))
    assert normal([0.0], [0.5]).log_prob(jnp.zeros(1)) == pytest.approx(-0.2257914, abs=1e-5)


def test_a_sample_has_the_log_probability_it_says():
    policy = normal(jnp.full((500, 3), 0.3), jnp.full((500, 3), 0.6))
    action, log_prob = policy.sample(root_key(0))
    np.testing.assert_allclose(policy.log_prob(action), log_prob, atol=2e-3)


def test_entropy_is_minus_the_mean_log_probability():
    for mean, std in [(0.0, 0.05), (0.0, 0.7), (2.0, 0.5), (-1.0, 1.0)]:
        shape = (200_000, 1)
        _, log_prob = normal(jnp.full(shape, mean), jnp.full(shape, std)).sample(root_key(1))
        entropy = normal([mean], [std]).entropy()
        assert entropy == pytest.approx(-float(jnp.mean(log_prob)), abs=0.01)


def test_log_slope_stays_finite_far_out():
    np.testing.assert_allclose(
        log_slope(jnp.asarray(0.7)), np.log(1 - np.tanh(0.7) ** 2), rtol=1e-5
    )
    # ln(4 exp(-2 * 50)) = 2 ln 2 - 100
    np.testing.assert_allclose(log_slope(jnp.asarray(50.0)), 2 * np.log(2) - 100, rtol=1e-6)
    assert jnp.isfinite(normal([5.0], [0.05]).log_prob(jnp.ones(1)))


def test_padded_dimensions_act_zero_and_have_no_share():
    mask = [1.0, 1.0, 0.0]
    padded = normal([0.5, -0.2, 9.0], [0.3, 0.6, 0.01], mask)
    plain = normal([0.5, -0.2], [0.3, 0.6])
    action, _ = padded.sample(root_key(2))
    assert action[2] == 0.0
    assert padded.mode()[2] == 0.0
    np.testing.assert_allclose(padded.log_prob(action), plain.log_prob(action[:2]), rtol=1e-6)
    np.testing.assert_allclose(padded.entropy(), plain.entropy(), rtol=1e-6)


def test_parameters_of_padded_dimensions_change_nothing():
    actor = Actor(5, 3, CONFIG, key=root_key(0))
    mask = jnp.array([1.0, 1.0, 0.0])
    feature = jax.random.normal(root_key(1), (4, 5))
    dead = np.array([2, 5])  # the third mean and the third log standard deviation
    other = eqx.tree_at(
        lambda a: (a.net.out.weight, a.net.out.bias),
        actor,
        (actor.net.out.weight.at[:, dead].add(3.0), actor.net.out.bias.at[dead].add(-3.0)),
    )
    for one, two in zip(
        actor.sample(feature, mask, root_key(2)),
        other.sample(feature, mask, root_key(2)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(actor.mode(feature, mask), other.mode(feature, mask))

    def loss(actor):
        action, log_prob = actor.sample(feature, mask, root_key(2))
        return jnp.sum(action) + jnp.sum(log_prob) + jnp.sum(actor(feature, mask).entropy())

    grads = eqx.filter_jit(eqx.filter_grad(loss))(actor)
    np.testing.assert_array_equal(grads.net.out.weight[:, dead], 0.0)
    assert jnp.all(jnp.any(grads.net.out.weight[:, [0, 1, 3, 4]] != 0.0, axis=0))


def test_a_new_actor_is_centred_and_explores():
    policy = Actor(5, 2, CONFIG, key=root_key(0))(jnp.ones((1, 5)), jnp.ones(2))
    np.testing.assert_allclose(policy.mean, 0.0, atol=0.05)
    np.testing.assert_allclose(jnp.exp(policy.log_std), CONFIG.init_std, rtol=0.05)


def test_standard_deviation_and_mean_stay_in_range():
    actor = Actor(5, 2, CONFIG, key=root_key(0))
    wild = eqx.tree_at(lambda a: a.net.out.weight, actor, 1e3 * jnp.ones((16, 4)))
    features = jnp.stack([jnp.ones(5), -jnp.ones(5)])
    policy = wild(features, jnp.ones(2))
    assert jnp.all(jnp.abs(policy.mean) <= CONFIG.max_mean)
    std = jnp.exp(policy.log_std)
    assert jnp.all((std >= CONFIG.min_std * 0.999) & (std <= CONFIG.max_std * 1.001))


def test_a_mask_for_each_row_or_one_for_all():
    actor = Actor(5, 2, CONFIG, key=root_key(0))
    feature = jax.random.normal(root_key(1), (3, 4, 5))
    mask = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    rows = actor.mode(feature, mask[:, None])
    for i in range(3):
        np.testing.assert_allclose(rows[i], actor.mode(feature[i], mask[i]), atol=1e-6)


def test_an_impossible_range_is_refused():
    with pytest.raises(ConfigError, match=r"0\.05, 2\.0, 1\.0"):
        dataclasses.replace(CONFIG, init_std=2.0)


def test_divergence_by_hand_and_by_samples():
    """KL(N(0, 1) || N(1, 2)) = ln 2 + (1 + 1) / 8 - 1/2, squashed or not."""
    one, two = normal([0.0], [1.0]), normal([1.0], [2.0])
    assert one.divergence(two) == pytest.approx(np.log(2) - 0.25, abs=1e-6)
    assert one.divergence(one) == pytest.approx(0.0, abs=1e-7)
    near, far = normal([0.3], [0.5]), normal([-0.2], [0.8])
    shape = (200_000, 1)
    wide = lambda p: SquashedNormal(
        *(jnp.broadcast_to(x, shape) for x in (p.mean, p.log_std, p.mask))
    )
    action, log_prob = wide(near).sample(root_key(2))
    sampled = jnp.mean(log_prob - wide(far).log_prob(action))
    assert near.divergence(far) == pytest.approx(float(sampled), abs=0.01)


def test_padded_dimensions_do_not_diverge():
    one = normal([0.1, 5.0], [0.5, 0.1], [1.0, 0.0])
    two = normal([0.4, -5.0], [0.7, 0.9], [1.0, 0.0])
    alone = normal([0.1], [0.5]).divergence(normal([0.4], [0.7]))
    assert one.divergence(two) == pytest.approx(float(alone), rel=1e-6)


PLAIN = dataclasses.replace(
    CONFIG, distribution="plain_normal", min_std=0.1, init_std=0.1 + 0.9 / (1 + np.exp(-2.0))
)


def plain(mean, std, mask=None):
    mean, std = jnp.asarray(mean), jnp.asarray(std)
    return PlainNormal(mean, std, jnp.ones_like(mean) if mask is None else jnp.asarray(mask))


def test_a_plain_actor_is_tanh_of_its_mean_and_a_deviation_between_its_bounds():
    """.9 sigmoid(x + 2) + .1, whatever the feature."""
    actor = Actor(5, 2, PLAIN, key=root_key(0))
    feature = jax.random.normal(root_key(1), (3, 5))
    policy = actor(feature, jnp.ones(2))
    mean, x = jnp.split(actor.net(feature), 2, axis=-1)
    np.testing.assert_allclose(policy.mode(), jnp.tanh(mean), rtol=1e-6)
    np.testing.assert_allclose(policy.std, 0.9 * jax.nn.sigmoid(x + 2) + 0.1, rtol=1e-5)


def test_a_plain_density_entropy_and_divergence_by_hand():
    one, two = plain([0.0], [1.0]), plain([1.0], [2.0])
    # ln(1 / sqrt(2 pi)) - .5 at one deviation; entropy ln sqrt(2 pi e)
    assert one.log_prob(jnp.ones(1)) == pytest.approx(-0.9189385 - 0.5, abs=1e-5)
    assert one.entropy() == pytest.approx(1.4189385, abs=1e-5)
    assert one.divergence(two) == pytest.approx(np.log(2) - 0.25, abs=1e-6)
    assert two.entropy() == pytest.approx(1.4189385 + np.log(2), abs=1e-5)


def test_a_plain_sample_has_the_log_probability_it_says_and_may_leave_the_bounds():
    policy = plain(jnp.full((500, 3), 0.9), jnp.full((500, 3), 0.6))
    action, log_prob = policy.sample(root_key(0))
    np.testing.assert_allclose(policy.log_prob(action), log_prob, atol=1e-5)
    assert jnp.any(action > 1)


def test_padded_dimensions_of_a_plain_actor_act_zero_and_have_no_share():
    actor = Actor(5, 3, PLAIN, key=root_key(0))
    mask = jnp.array([1.0, 1.0, 0.0])
    feature = jax.random.normal(root_key(1), (4, 5))
    dead = np.array([2, 5])

    def loss(actor):
        policy = actor(feature, mask)
        action, log_prob = policy.sample(root_key(2))
        assert action.shape == (4, 3)
        return jnp.sum(action + policy.mode()) + jnp.sum(log_prob + policy.entropy())

    grads = eqx.filter_grad(loss)(actor)
    np.testing.assert_array_equal(grads.net.out.weight[:, dead], 0.0)
    assert jnp.all(jnp.any(grads.net.out.weight[:, [0, 1, 3, 4]] != 0.0, axis=0))
    action, _ = actor.sample(feature, mask, root_key(2))
    np.testing.assert_array_equal(action[:, 2], 0.0)
    one, two = plain([0.1, 5.0], [0.5, 0.1], [1.0, 0.0]), plain([0.4, -5.0], [0.7, 0.9], [1.0, 0.0])
    alone = plain([0.1], [0.5]).divergence(plain([0.4], [0.7]))
    assert one.divergence(two) == pytest.approx(float(alone), rel=1e-6)


def test_an_unknown_distribution_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="'plain_normal'"):
        dataclasses.replace(CONFIG, distribution="plane_normal")
