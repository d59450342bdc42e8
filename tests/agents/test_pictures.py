"""Agents that see pictures: from the store to the gradient, with pictures nobody had to draw."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents import acting
from mrcom.agents.agent import AgentPolicy
from mrcom.agents.build import build_agent, method_named
from mrcom.agents.method import with_images
from mrcom.agents.picturing import draw_open_loop
from mrcom.core.errors import ConfigError
from mrcom.core.steps import Layout, Steps
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store, bytes_per_episode
from mrcom.replay.windows import Windows, gather
from mrcom.scenarios import Scenario
from mrcom.scenarios.layout import masks_of

KEY = jax.random.key(0)
PLAIN = Layout(("cheetah",), 17, 6)
LAYOUT = dataclasses.replace(PLAIN, image=16, blind=True)
SCENARIOS = [Scenario("cheetah", 1.0), Scenario("cheetah", 2.0)]
MASKS = masks_of(SCENARIOS, LAYOUT)
BOTH = ("dreamer", "mrcom")


def steps_of(length, seed=0):
    rng = np.random.default_rng(seed)
    return Steps(
        obs=rng.normal(size=(2, length, 17)).astype(np.float32),
        action=rng.uniform(-1, 1, (2, length, 6)).astype(np.float32),
        reward=rng.random((2, length)).astype(np.float32),
        is_terminal=np.zeros((2, length), bool),
        image=rng.integers(0, 256, (2, length, 16, 16, 3)).astype(np.uint8),
    )


def agent_of(name, layout=LAYOUT):
    method = with_images(method_named(name))
    return build_agent(method, "debug", layout=layout, num_scenarios=2)


def batch_of(agent, start=0, steps=None):
    store = Store(2, LAYOUT, steps=40, capacity=1, written=agent.stored)
    steps = steps_of(40) if steps is None else steps
    store.add(np.arange(2), steps)
    prompts = make_prompts("own", num=2, layout=LAYOUT, window=16, steps=steps_of(20, 1))
    windows = Windows(np.arange(2), np.zeros(2, int), np.full(2, start))
    return gather(store, MASKS, prompts, windows, context=16, length=8)


@pytest.fixture(scope="module", params=BOTH)
def learner(request):
    agent = agent_of(request.param)
    return agent, agent.init(KEY)


def test_replay_keeps_bytes_and_a_prompt_stands_before_the_first_picture():
    steps, prompt = steps_of(40), steps_of(20, 1)
    batch = batch_of(agent_of("mrcom"), start=3)
    assert batch.image.dtype == jnp.uint8
    np.testing.assert_array_equal(batch.image[:, 13:], steps.image[:, :11])
    np.testing.assert_array_equal(batch.image[:, :13], prompt.image[:, 3:16])
    more = bytes_per_episode(LAYOUT, 10) - bytes_per_episode(PLAIN, 10)
    assert more == 10 * 16 * 16 * 3


def test_a_store_of_pictures_takes_no_steps_without_them():
    store = Store(2, LAYOUT, steps=40, capacity=1)
    with pytest.raises(ConfigError, match="both have pictures, or neither"):
        store.add(np.arange(2), dataclasses.replace(steps_of(40), image=None))


def test_to_who_is_blind_no_entry_of_an_observation_is_real():
    assert not MASKS.obs.any()
    assert masks_of(SCENARIOS, dataclasses.replace(LAYOUT, blind=False)).obs.all()


def test_who_is_blind_acts_by_pictures_alone(learner):
    agent, state = learner
    prompt = make_prompts("none", num=2, layout=LAYOUT, window=16)

    def chosen(obs, image):
        policy = AgentPolicy(agent, state, MASKS, prompt)
        policy.show(image)
        zeros = np.zeros((2, 6), np.float32), np.zeros(2, np.float32)
        return policy.act(policy.start(2), obs, *zeros)[0]

    steps = steps_of(2)
    obs, image = steps.obs[:, 0], steps.image[:, 0]
    np.testing.assert_array_equal(chosen(obs, image), chosen(2 * obs, image))
    assert (chosen(obs, image) != chosen(obs, 255 - image)).any()


def test_filtering_step_by_step_gives_what_filtering_at_once_gives(learner):
    agent, state = learner
    steps = steps_of(9)
    prompt = make_prompts("own", num=2, layout=LAYOUT, window=16, steps=steps_of(20, 1))
    carry, features = agent.start(state, MASKS, prompt), []
    for t in range(8):
        carry = dataclasses.replace(carry, image=jnp.asarray(steps.image[:, t]))
        seen = steps.obs[:, t], steps.action[:, t] * (t > 0), steps.reward[:, t] * (t > 0)
        feature, carry = agent.observe_step(state, carry, *seen)
        features.append(feature)
    first = np.arange(40) == 0
    whole = steps_of(9)
    whole = dataclasses.replace(
        whole,
        action=whole.action * ~first[None, :9, None],
        reward=whole.reward * ~first[None, :9],
    )
    store = Store(2, LAYOUT, steps=9, capacity=1)
    store.add(np.arange(2), whole)
    windows = Windows(np.arange(2), np.zeros(2, int), np.zeros(2, int))
    batch = gather(store, MASKS, prompt, windows, context=16, length=8)
    seen = acting.normalised(state.filter, batch)
    # A recurrent model alone goes on from what is stored; its context is not filtered here.
    if agent.stored:
        seen = acting.steps_of(seen, slice(-8, None))
    posterior = eqx.filter_jit(lambda m, b: m.observe(b, key=None))(state.model, seen)
    np.testing.assert_allclose(posterior.feature, np.stack(features, 1), atol=2e-5)


def test_every_weight_that_reads_or_draws_pictures_learns(learner):
    agent, state = learner
    after, metrics = agent.update_model(state, batch_of(agent), KEY)
    after, _ = agent.update_model(after, batch_of(agent), KEY)  # the first rate may be 0
    assert float(metrics["loss/image"]) > 0
    assert "loss/reconstruction" in metrics
    assert float(metrics["loss/reconstruction"]) == 0  # blind
    changed = jax.tree.map(
        lambda a, b: bool((a != b).any()), state.model.pixels, after.model.pixels
    )
    assert all(jax.tree.leaves(eqx.filter(changed, lambda x: isinstance(x, bool))))


def test_dreamt_pictures_know_nothing_of_what_was_not_seen_yet(learner):
    agent, state = learner
    batch = batch_of(agent, start=16)
    draw = lambda b: draw_open_loop(
        state.filter, b, KEY, horizon=4, dream_context=agent.dream_context
    )
    drawn = draw(batch)
    assert drawn.shape == (2, 4, 16, 16, 3)
    for steps, same in ((slice(-4, None), True), (slice(None, -4), False)):
        other = eqx.tree_at(lambda b: b.image, batch, batch.image.at[:, steps].set(0))
        assert bool((draw(other) == drawn).all()) == same


def test_pictures_that_are_missing_are_said(learner):
    agent, state = learner
    batch = dataclasses.replace(batch_of(agent), image=None)
    with pytest.raises(ConfigError, match="a picture is missing"):
        state.model.observe(acting.normalised(state.filter, batch), key=None)


def test_with_pictures_dreams_leave_the_context_as_it_is():
    agent = agent_of("mrcom")
    assert agent.dream_context == "frozen"
    state = agent.init(KEY)
    prompt = make_prompts("none", num=2, layout=LAYOUT, window=16)
    start = agent.start(state, MASKS, prompt).model
    with pytest.raises(ConfigError, match="use dream_context='frozen'"):
        state.model.predict(start, jnp.zeros((2, 6)), key=None)


@pytest.mark.parametrize("name", ["mamba", "cadm", "sac"])
def test_methods_without_a_place_for_pictures_refuse_them(name):
    behaviour = "imagination" if name == "mamba" else "sac"
    options = {"layout": LAYOUT, "num_scenarios": 2, "behaviour": behaviour}
    with pytest.raises(ConfigError, match="sees no pictures"):
        build_agent(with_images(method_named(name)), "debug", **options)
    with pytest.raises(ConfigError, match="sees no pictures"):
        build_agent(method_named(name), "debug", **options)


@pytest.mark.parametrize("name", BOTH)
def test_without_pictures_a_model_has_no_weights_for_them(name):
    agent = build_agent(method_named(name), "debug", layout=PLAIN, num_scenarios=2)
    assert agent.config.model.pixels is None
    assert eqx.filter_eval_shape(agent.init, KEY).model.pixels is None


def moved_dots(length=60):
    """A white square that the first action moves two pixels to the right or the left."""
    rng = np.random.default_rng(0)
    steps = steps_of(length)
    right = rng.random((2, length)) < 0.5
    place = (8 + np.cumsum(np.where(right, 2, -2), axis=1)) % 16
    column = (np.arange(16)[None, None] - place[..., None]) % 16 < 4
    row = (np.arange(16) >= 6) & (np.arange(16) < 10)
    image = 255 * (row[None, None, :, None] & column[:, :, None, :])
    action = np.where(right, 1.0, -1.0).astype(np.float32)
    return dataclasses.replace(
        steps,
        action=np.concatenate([action[..., None], 0 * steps.action[..., 1:]], axis=-1),
        reward=0 * steps.reward,
        image=np.repeat(image[..., None], 3, axis=-1).astype(np.uint8),
    )


@pytest.fixture
def optimised():
    """Convolutions that are not optimised are slow, and this is where they run long."""
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, False)
    yield
    jax.config.update(option, before)


@pytest.mark.learns
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("name", BOTH)
def test_where_an_action_moves_what_is_seen_is_learnt(name):
    agent = agent_of(name)
    config = agent.config
    sizes = {"deter": 64, "units": 64, "pixels": dataclasses.replace(config.model.pixels, units=64)}
    sizes |= {"stoch": 8, "hidden": 64} if name == "dreamer" else {"stoch": 16}
    optimizer = (
        {"optimizer": dataclasses.replace(config.optimizer, learning_rate=2e-3, warmup=10)}
        if name == "dreamer"
        else {"learning_rate": 2e-3}
    )
    model = dataclasses.replace(config.model, **sizes)
    agent = dataclasses.replace(agent, config=dataclasses.replace(config, model=model, **optimizer))
    steps = moved_dots()
    store = Store(2, LAYOUT, steps=60, capacity=1)
    store.add(np.arange(2), steps)
    prompts = make_prompts("own", num=2, layout=LAYOUT, window=16, steps=steps)
    rng = np.random.default_rng(0)

    def batch(starts):
        rows = np.repeat(np.arange(2), len(starts) // 2)
        windows = Windows(rows, 0 * rows, starts)
        return gather(store, MASKS, prompts, windows, context=16, length=8)

    state, seen = agent.init(KEY), []
    for update in range(250):
        given = batch(rng.integers(0, 52, 16))
        state, metrics = agent.update_model(state, given, jax.random.fold_in(KEY, update))
        seen.append(float(metrics["loss/image"]))
    real = steps.image / 255
    mean = np.square(real - real.mean(axis=(0, 1))).sum(axis=(2, 3, 4)).mean()
    assert np.mean(seen[-20:]) < 0.2 * mean
    given = batch(np.tile(np.arange(4, 52, 2), 2))
    drawn = draw_open_loop(state.filter, given, KEY, horizon=1, dream_context="frozen")
    truth, last = np.asarray(given.image)[:, -1] / 255, np.asarray(given.image)[:, -2] / 255
    error = np.square(drawn[:, 0] - truth).sum(axis=(1, 2, 3)).mean()
    copied = np.square(last - truth).sum(axis=(1, 2, 3)).mean()
    assert error < 0.5 * copied
