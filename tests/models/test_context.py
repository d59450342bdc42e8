import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.models.context import ContextConfig, ContextTransformer, NoContext

OBS, ACT, LENGTH = 5, 3, 14


def context(window=6, layers=2, observe_reward=True):
    config = ContextConfig(window=window, layers=layers, width=12, heads=3)
    fresh = ContextTransformer(config, OBS, ACT, observe_reward=observe_reward, key=root_key(0))
    bias = lambda c: [block.attention.bias for block in c.blocks]
    drawn = [jax.random.normal(root_key(1), leaf.shape) for leaf in bias(fresh)]
    return eqx.tree_at(bias, fresh, drawn)


def steps(seed=2, rows=2, length=LENGTH):
    keys = [jax.random.fold_in(root_key(seed), number) for number in range(3)]
    obs = jax.random.normal(keys[0], (rows, length, OBS))
    action = jax.random.normal(keys[1], (rows, length, ACT))
    reward = jax.random.uniform(keys[2], (rows, length))
    return obs, action, reward, jnp.ones((rows, length))


@pytest.mark.parametrize(("window", "layers"), [(6, 1), (6, 2), (6, 3), (3, 3)])
def test_a_context_knows_exactly_its_window(window, layers):
    net = context(window, layers)
    obs, action, reward, valid = steps(rows=1)
    read = lambda obs: net.read(obs[None], action, reward, valid)[0][0]
    seen = jax.jit(jax.jacobian(read))(obs[0])  # [t, context, step, entry of the observation]
    seen = np.abs(seen).max((1, 3)) > 1e-9
    age = np.arange(LENGTH)[:, None] - np.arange(LENGTH)[None]
    np.testing.assert_array_equal(seen, (age >= 0) & (age < window))


@pytest.mark.parametrize(("window", "layers"), [(6, 1), (6, 2), (6, 3), (3, 3)])
def test_step_by_step_equals_in_parallel(window, layers):
    net = context(window, layers)
    obs, action, reward, valid = steps()
    parallel, memory = net.read(obs, action, reward, valid)
    rows = jnp.arange(2)
    now = net.recall(memory, rows, jnp.full(2, window - 1))
    push = eqx.filter_jit(net.push)
    for t in range(window, LENGTH):
        one, now = push(now, obs[:, t], action[:, t], reward[:, t])
        np.testing.assert_allclose(one, parallel[:, t], rtol=1e-5, atol=1e-5)
        recalled = net.recall(memory, rows, jnp.full(2, t))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), now, recalled)


@pytest.mark.parametrize("since", [0, 2, 5, 9])
def test_what_nobody_asks_for_is_left_out_and_the_rest_unchanged(since):
    net, given = context(layers=3), steps()
    whole, later = net.read(*given), net.read(*given, since=since)
    np.testing.assert_allclose(later[0], whole[0][:, since:], rtol=1e-5, atol=1e-5)
    assert bool(jnp.any(later[1][-1][:, 0] == 0)) == (since > 2)
    rows = jnp.arange(2)
    for step in range(max(since, 5), LENGTH):
        one, two = (net.recall(memory, rows, jnp.full(2, step)) for _, memory in (whole, later))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, two)


def test_the_first_memory_is_complete():
    # Right after one window the memory holds no trace of what came before the window.
    net, (obs, action, reward, valid) = context(), steps()
    late = [array[:, 4:] for array in (obs, action, reward, valid)]
    whole = net.recall(net.read(obs, action, reward, valid)[1], jnp.arange(2), jnp.full(2, 9))
    alone = net.recall(net.read(*late)[1], jnp.arange(2), jnp.full(2, 5))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, alone)


def test_a_step_that_is_not_valid_is_the_empty_token():
    net, (obs, action, reward, valid) = context(), steps()
    valid = valid.at[:, 3].set(0.0)
    context_of = eqx.filter_jit(lambda net, *steps: net.read(*steps)[0])
    read = context_of(net, obs, action, reward, valid)
    other = context_of(net, obs.at[:, 3].add(5.0), action, reward.at[:, 3].add(1.0), valid)
    assert jnp.array_equal(read, other)
    assert not jnp.allclose(read, context_of(net, obs, action, reward, jnp.ones_like(valid)))
    of_net = eqx.filter_grad(lambda net: jnp.sum(context_of(net, obs, action, reward, valid)))
    assert jnp.any(of_net(net).empty)


def test_order_matters():
    net, (obs, action, reward, valid) = context(), steps()
    swapped = jnp.array([1, 0, *range(2, LENGTH)])
    other, _ = net.read(obs[:, swapped], action[:, swapped], reward[:, swapped], valid)
    assert not jnp.allclose(net.read(obs, action, reward, valid)[0][:, 5], other[:, 5], atol=1e-4)


def test_rewards_are_seen_or_not_as_configured():
    obs, action, reward, valid = steps()
    for observe_reward in (True, False):
        net = context(observe_reward=observe_reward)
        changed = (
            net.read(obs, action, reward + 1, valid)[0] - net.read(obs, action, reward, valid)[0]
        )
        assert bool(jnp.any(changed)) is observe_reward


def test_no_context_is_one_learned_vector():
    net, (obs, action, reward, valid) = NoContext(12, key=root_key(0)), steps()
    read, memory = net.read(obs, action, reward, valid)
    pushed, _ = net.push(memory, obs[:, 0], action[:, 0], reward[:, 0])
    assert jnp.array_equal(read, jnp.broadcast_to(net.constant, read.shape))
    assert jnp.array_equal(pushed, read[:, 0]) and jax.tree.leaves(memory) == []


def test_a_window_that_layers_do_not_divide_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"window=17 must be .* layers=2; the nearest: 16 and 18"):
        ContextConfig(window=17)
    with pytest.raises(ConfigError, match=r"the nearest: 3"):
        ContextConfig(window=2, layers=3)


def test_bands_add_up_to_the_window():
    assert ContextConfig(window=16, layers=2).bands == (8, 9)
    assert ContextConfig(window=6, layers=3).bands == (2, 3, 3)
