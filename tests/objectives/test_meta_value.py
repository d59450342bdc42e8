import jax
import jax.numpy as jnp
import numpy as np

from mrcom.core.rng import root_key
from mrcom.objectives.meta_value import meta_value_loss, value_consistency

ONE = jnp.ones(())


def test_the_mean_over_samples_is_inside_the_square():
    # Samples 1 and 5 around a target of 3: the expectation is right, each sample is not.
    predicted = jnp.array([1.0, 5.0])[:, None, None]
    assert value_consistency(jnp.full((1, 1), 3.0), predicted, ONE).tolist() == [[0.0]]


def test_consistency_by_hand():
    predicted = jnp.array([1.0, 5.0])[:, None, None]
    assert value_consistency(jnp.full((1, 1), 7.0), predicted, 2 * ONE).tolist() == [[4.0]]


def test_the_target_is_stopped_and_the_prediction_is_not():
    loss = lambda value, predicted: jnp.sum(value_consistency(value, predicted, ONE))
    value, predicted = jnp.full((1, 2), 7.0), jnp.full((4, 1, 2), 3.0)
    target_grad, predicted_grad = jax.grad(loss, argnums=(0, 1))(value, predicted)
    assert not jnp.any(target_grad)
    np.testing.assert_allclose(predicted_grad, 2 * (3.0 - 7.0) / 4)


def test_an_exact_model_of_a_probe_world_has_no_error_and_a_wrong_one_has():
    # s' = A s + B a, v(s) = s . w + |s|^2: the exact model predicts every value.
    keys = [jax.random.fold_in(root_key(0), i) for i in range(5)]
    a_matrix, b_matrix = jax.random.normal(keys[0], (2, 3, 3)) * 0.5
    weight, noise = jax.random.normal(keys[1], (3,)), jax.random.normal(keys[2], (6, 2, 8, 3))
    state, action = jax.random.normal(keys[3], (2, 2, 8, 3))
    value = lambda s: s @ weight + jnp.sum(s**2, -1)
    following = state @ a_matrix + action @ b_matrix
    exact = jnp.broadcast_to(following[None], noise.shape)
    loss = value_consistency(value(following), value(exact), ONE)
    assert jnp.max(loss) < 1e-10
    wrong = value_consistency(value(following), value(exact + 0.1 * noise), ONE)
    assert jnp.mean(wrong) > 1e-3


def test_the_meta_value_follows_the_scenarios_which_stay_put():
    scenario, meta = jnp.array([1.0, 3.0]), jnp.array([2.0, 0.0])
    assert meta_value_loss(scenario, meta).tolist() == [1.0, 9.0]
    loss = lambda scenario, meta: jnp.sum(meta_value_loss(scenario, meta))
    of_scenario, of_meta = jax.grad(loss, argnums=(0, 1))(scenario, meta)
    assert of_scenario.tolist() == [0.0, 0.0] and of_meta.tolist() == [2.0, -6.0]
