"""Adaptation at the smallest size: what each learner may touch, and where it starts."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.agents.build import build_agent
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.sac import SACConfig
from mrcom.core.errors import ConfigError
from mrcom.core.progress import SilentBar
from mrcom.core.rng import root_key
from mrcom.replay.prompts import make_prompts
from mrcom.replay.windows import sample_batch
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import split
from mrcom.train import adapt as adaptation_loop
from mrcom.train.adapt import adapt, sized
from mrcom.train.adapt_config import AdaptConfig, Amount, ImaginationConfig, settings
from mrcom.train.adapt_imagination import ImaginationLearner
from mrcom.train.log import Log
from mrcom.train.settings import RunConfig, worlds_of
from mrcom.train.target_models import Teacher
from mrcom.train.targets import Targets, Views
from mrcom.train.views import LatentView, ObservationView, Shown, act_each

RUN = RunConfig(MRCOM, budget("debug"), split("table1-d-shell"), bodies=("hopper", "cheetah"))
HOPPER, SLOW, FAST = (
    Scenario("hopper", target_speed=1.0),
    Scenario("cheetah", target_speed=2.0),
    Scenario("cheetah", target_speed=7.0),
)
AMOUNT = Amount(steps=32, updates=6, episode_steps=16)
CONFIG = AdaptConfig(
    chunk=4,
    dreams=4,
    last_horizon=2,
    model_ratio=0.125,
    sac=SACConfig(batch=8),
    imagination=ImaginationConfig(dreams=4, horizon=2),
)
WAYS = {
    "sac": CONFIG,
    "imagination": dataclasses.replace(CONFIG, learner="imagination"),
    "observation": dataclasses.replace(CONFIG, reads="observation", policy_init="scratch"),
    "finetune": dataclasses.replace(CONFIG, model="finetune"),
    "finetune, imagination": dataclasses.replace(CONFIG, model="finetune", learner="imagination"),
}


@pytest.fixture(scope="module")
def agent():
    layout = worlds_of(RUN, (HOPPER,)).layout
    return build_agent(MRCOM, "debug", layout=layout, num_scenarios=2)


@pytest.fixture(scope="module")
def state(agent):
    """A state whose meta value, decoder and rewards are not those of a beginner."""
    state = agent.init(root_key(0))
    where = lambda s: (
        s.behaviour.meta.online.net.out.weight,
        s.model.decoder.out.weight,
        s.model.reward_head.net.out.weight,
    )
    drawn = [jax.random.normal(root_key(5), leaf.shape) for leaf in where(state)]
    bodies, obs = len(agent.layout.bodies), agent.layout.obs
    rng = np.random.default_rng(0)
    state = eqx.tree_at(where, state, [drawn[0], 8 * drawn[1], drawn[2]])
    mean, std = rng.normal(size=(bodies, obs)), rng.uniform(0.5, 2, (bodies, obs))
    return agent.with_statistics(state, mean.astype(np.float32), std.astype(np.float32))


def views_of(agent, state, worlds, config=CONFIG):
    window, num = agent.windows.context, len(worlds.scenarios)
    prompt = make_prompts("none", num=num, layout=worlds.layout, window=window)
    latent = LatentView(agent, state, worlds.masks, prompt)
    if config.reads == "feature":
        return Views(latent, latent)
    return Views(observations(state, worlds.masks), latent)


def observations(state, masks):
    mean, std = np.asarray(state.mean), np.asarray(state.std)
    return ObservationView(masks, mean, std, observe_reward=True)


@pytest.fixture(scope="module")
def adapted(agent, state, tmp_path_factory):
    """Adapts to two targets in one of the ways; the same question is answered once."""
    known = {}

    def ask(way, second=SLOW, again=0):
        if (way, second, again) not in known:
            worlds = worlds_of(RUN, (HOPPER, second))
            path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
            views = views_of(agent, state, worlds, WAYS[way])
            # The last policy is kept, which has learnt.
            with Log(path) as log, pytest.MonkeyPatch.context() as patch:
                patch.setattr(adaptation_loop, "_act", earning((0.0, 1.0)))
                known[way, second, again] = adapt(
                    agent, state, worlds, views, WAYS[way], AMOUNT,
                    seed=1, log=log, bar=SilentBar(),
                )  # fmt: skip
        return known[way, second, again]

    return ask


def earning(returns, acted=None):
    """An episode that really is acted, but counts as if it had earned so much."""
    act = adaptation_loop._act

    def acts(targets, actors, amount, episode, *given):
        act(targets, actors, amount, episode, *given)
        if acted is not None:
            acted.append(jax.tree.map(np.array, actors))
        return np.full(len(targets.real.reward), returns[episode])

    return acts


def of_target(tree, target):
    return jax.tree.map(lambda leaf: leaf[target], tree)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_data_of_one_target_change_nothing_for_another(adapted, way):
    one, other = adapted(way), adapted(way, second=FAST)
    assert eqx.tree_equal(of_target(one.actors, 0), of_target(other.actors, 0))
    assert eqx.tree_equal(one.states[0].model, other.states[0].model)
    assert not eqx.tree_equal(of_target(one.actors, 1), of_target(other.actors, 1))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["imagination", "observation", "finetune"])
def test_the_same_seed_gives_the_same_numbers(adapted, way):
    one, two = adapted(way), adapted(way, again=1)
    assert eqx.tree_equal((one.actors, one.states[0].model), (two.actors, two.states[0].model))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("earned", "kept"), [((1.0, 3.0, 2.0), 1), ((2.0, 1.0, 0.0), 0), ((0.0, 1.0, 2.0), 2)]
)
def test_what_comes_back_is_the_policy_whose_episode_earned_most(
    agent, state, monkeypatch, tmp_path, earned, kept
):
    worlds, acted = worlds_of(RUN, (HOPPER,)), []
    monkeypatch.setattr(adaptation_loop, "_act", earning(earned, acted))
    amount = Amount(steps=12, updates=4, episode_steps=4)
    with Log(tmp_path / "metrics.jsonl") as log:
        views = views_of(agent, state, worlds)
        given = dict(seed=1, log=log, bar=SilentBar())
        found = adapt(agent, state, worlds, views, CONFIG, amount, **given)
    assert eqx.tree_equal(jax.tree.map(np.array, found.actors), acted[kept])
    same = [eqx.tree_equal(acted[n], acted[m]) for n, m in ((0, 1), (0, 2), (1, 2))]
    assert same == [False] * 3
    assert eqx.tree_equal(of_target(acted[0], 0), jax.tree.map(np.array, agent.actor(state)))
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["updates"] for line in logged] == [0, 2, 4]


@pytest.mark.parametrize(("steps", "nearest"), [(16, 32), (40, 32), (45, 48)])
def test_an_adaptation_is_at_least_two_whole_episodes(steps, nearest):
    with pytest.raises(ConfigError, match=rf"steps={steps} .* the nearest is {nearest}"):
        Amount(steps=steps, updates=1, episode_steps=16)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_frozen_model_stays_bit_for_bit_and_another_is_the_targets_own(
    agent, state, adapted, way
):
    found = adapted(way)
    kept = [eqx.tree_equal(agent.model(after), state.model) for after in found.states]
    assert kept == [WAYS[way].model == "frozen"] * 2
    same = eqx.tree_equal(*[agent.model(after) for after in found.states])
    assert same == (WAYS[way].model == "frozen")
    for after in found.states:
        rest = agent.with_model(after, state.model)
        assert eqx.tree_equal((rest.behaviour, rest.mean), (state.behaviour, state.mean))


def targets_after(agent, state, config, steps):
    worlds = worlds_of(RUN, (HOPPER, SLOW))
    views = views_of(agent, state, worlds, config)
    targets = Targets(worlds, views, config, Amount(steps=48, updates=6, episode_steps=16), seed=2)
    width, size = targets.now.feature.shape[-1], agent.actor(state).config
    actors = [Actor(width, worlds.layout.act, size, key=root_key(n)) for n in range(2)]
    actors = jax.tree.map(lambda *leaves: jnp.stack(leaves), *actors)
    for step in range(steps):
        if step == AMOUNT.episode_steps:
            targets.begin_episode(step)
        targets.step(actors, jax.random.fold_in(root_key(3), step))
    return worlds, views, targets, actors


@pytest.mark.parametrize(("learner", "drawn"), [("sac", [0, 1, 2, 6, 7, 8]), ("ppo", range(10))])
def test_real_steps_are_by_turns_drawn_and_the_mode_but_those_of_ppo(agent, state, learner, drawn):
    worlds, _, targets, actors = targets_after(agent, state, CONFIG, 0)
    config = dataclasses.replace(CONFIG, learner=learner, stretch=3)
    amount = Amount(steps=20, updates=6, episode_steps=10)
    adaptation_loop._act(targets, actors, amount, 0, config, root_key(1), SilentBar())
    mask, real = jnp.asarray(worlds.masks.act), targets.real
    for step in range(10):
        mode = act_each(actors, jnp.asarray(real.feature[:, step]), mask, None)
        assert np.allclose(real.action[:, step], mode, atol=1e-5) == (step not in drawn), step


def test_a_model_that_learns_fits_the_targets_own_windows_better(agent, state):
    worlds, views, targets, _ = targets_after(agent, state, WAYS["finetune"], 32)
    store = targets.store(1)
    masks = worlds.masks.rows(np.arange(1, len(worlds.masks.body)))
    prompt = of_target(views.latent.prompt, slice(1, 2))
    windows, key = agent.windows, root_key(4)
    batch = sample_batch(
        store, masks, prompt, np.random.default_rng(9), num_scenarios=1, per_scenario=8,
        context=windows.context, length=windows.length,
    )  # fmt: skip
    teacher = Teacher(agent, worlds.masks, views.latent.prompt, ("hopper", "cheetah"), 0)
    before = float(agent.update_model(state, batch, key)[1]["loss"])
    learnt = teacher.learn(state, 1, store, first=0, num=20)
    assert float(agent.update_model(learnt, batch, key)[1]["loss"]) < 0.9 * before


def test_the_stored_steps_are_those_that_happened(agent, state):
    _, _, targets, _ = targets_after(agent, state, WAYS["finetune"], 32)
    ring = targets.store(0).ring
    assert ring.length.tolist() == [[17, 17]]
    real = targets.real
    played = np.concatenate([ring.action[0, 0, 1:17], ring.action[0, 1, 1:17]])
    np.testing.assert_array_equal(played, real.action[0, :32])
    rewards = np.concatenate([ring.reward[0, 0, 1:17], ring.reward[0, 1, 1:17]])
    np.testing.assert_array_equal(rewards, real.reward[0, :32])
    assert not ring.action[0, :, 0].any()


@pytest.mark.parametrize("way", ["finetune", "observation"])
def test_looking_again_with_the_same_model_changes_nothing(agent, state, way):
    config = dataclasses.replace(WAYS[way], model="finetune", keep_states=10)
    _, _, targets, actors = targets_after(agent, state, config, 32)
    take = lambda t: (t.real.feature, t.real.next_feature, t.real.states)
    before = jax.tree.map(np.array, take(targets))
    targets.look_again([state, state])
    close = lambda was, now: np.testing.assert_allclose(now, was, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, before, take(targets))
    # The next episode too is seen as if nothing had happened.
    _, _, other, _ = targets_after(agent, state, config, 32)
    for each in (targets, other):
        each.begin_episode(32)
        each.step(actors, root_key(7))
    np.testing.assert_allclose(targets.now.feature, other.now.feature, rtol=1e-3, atol=1e-3)


def test_after_the_model_learnt_everything_is_seen_with_the_new_one(agent, state):
    _, _, targets, _ = targets_after(agent, state, WAYS["finetune"], 32)
    before = targets.real.feature.copy()
    moved = jax.tree.map(lambda x: 1.1 * x if eqx.is_inexact_array(x) else x, state.model)
    targets.look_again([state, agent.with_model(state, moved)])
    np.testing.assert_allclose(targets.real.feature[0], before[0], rtol=1e-4, atol=1e-4)
    assert np.abs(targets.real.feature[1] - before[1]).max() > 1e-2


@pytest.mark.parametrize("policy_init", ["behaviour", "scratch"])
def test_the_critic_in_dreams_starts_as_the_meta_value(agent, state, policy_init):
    config = dataclasses.replace(WAYS["imagination"], policy_init=policy_init)
    learner = ImaginationLearner(agent, sized(config, agent.actor(state).config))
    width = agent.model_config.feature
    new = learner.begin(state, width, key=root_key(1))
    meta = state.behaviour.meta.online
    assert eqx.tree_equal(of_target(new.critics.online, 0), meta)
    assert eqx.tree_equal(of_target(new.critics.slow, 0), meta)
    feature = jax.random.normal(root_key(2), (1, 5, width))
    value = new.critics.value(feature)[0]
    np.testing.assert_allclose(value, meta(feature[0]), rtol=1e-5)
    assert float(jnp.abs(value).max()) > 0
    same = eqx.tree_equal(new.actor, agent.actor(state))
    assert same == (policy_init == "behaviour")


def test_a_policy_on_observations_reads_in_dreams_what_its_view_would_show(agent, state):
    worlds = worlds_of(RUN, (HOPPER, SLOW))
    latent = views_of(agent, state, worlds).latent
    rng = np.random.default_rng(1)
    obs = rng.normal(size=worlds.masks.obs.shape).astype(np.float32)
    action, reward = np.zeros_like(worlds.masks.act), np.zeros(2, np.float32)
    feature, carry = latent.see(latent.start(), obs, action, reward)
    start, body = carry.model, worlds.masks.body
    decoded = np.asarray(state.model.decode(feature, jnp.asarray(body)))
    raw = decoded * np.asarray(state.std)[body] + np.asarray(state.mean)[body]
    predicted = np.asarray(state.model.reward(feature))
    for seen in (True, False):
        view = ObservationView(
            worlds.masks, np.asarray(state.mean), np.asarray(state.std), observe_reward=seen
        )
        shown, _ = view.see(None, raw, action, predicted)
        read = view.shown.of_dreams(agent, state, start)
        np.testing.assert_allclose(read(feature), shown, rtol=1e-4, atol=1e-4)
        several = read(jnp.stack([feature, feature], axis=1))
        np.testing.assert_allclose(several[:, 1], shown, rtol=1e-4, atol=1e-4)
    assert np.abs(predicted).min() > 1e-3
    assert np.abs(decoded).max() > 10 and worlds.masks.obs.min() == 0  # clip and mask have work


def test_actions_in_dreams_depend_on_what_is_read_alone(agent, state):
    worlds = worlds_of(RUN, (HOPPER, SLOW))
    latent = views_of(agent, state, worlds).latent
    start = latent.start().model
    blind = lambda feature: jnp.zeros((*feature.shape[:-1], 2))
    dreams = agent.dream_from(state, start, horizon=3, key=root_key(2), reads=blind)
    certain = dict(min_std=1e-6, init_std=1e-5, max_std=2e-5)
    certain = dataclasses.replace(agent.actor(state).config, **certain)
    actor = Actor(2, worlds.layout.act, certain, key=root_key(1))
    actor = eqx.tree_at(lambda a: a.net.out.bias, actor, actor.net.out.bias + 0.5)
    action = dreams(actor).action
    np.testing.assert_allclose(action[:, 1:], action[:, :-1], atol=1e-3)
    assert float(action.max()) > 0.1
    assert Shown("feature", False).of_dreams(agent, state, start)(action) is action


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"learner": "dreams"}, "Unknown learner 'dreams'"),
        ({"reads": "observations"}, "Did you mean 'observation'"),
        ({"model": "fine-tune"}, "Did you mean 'finetune'"),
        ({"reads": "observation"}, "policy_init='behaviour'.*policy_init='scratch'"),
        ({"reads": "observation", "learner": "imagination"}, "reads='observation'.*'feature'"),
        ({"learner": "imagination", "real_share": 1.0}, "real_share=1.0"),
        (
            {"model": "finetune", "reads": "observation", "policy_init": "scratch",
             "real_share": 1.0},
            "model='finetune'.*model='frozen'",
        ),
        ({"name": "a/b"}, "name='a/b'.*'a-b'"),
        ({"name": "expert"}, "name='expert'.*'expert-adapted'"),
        ({"model_ratio": 0.0}, "model_ratio=0.0.*model='frozen'"),
    ],
)  # fmt: skip
def test_choices_that_do_not_exist_or_go_together_are_refused(choices, said):
    with pytest.raises(ConfigError, match=said):
        AdaptConfig(**choices)


def test_tables_are_told_where_a_policy_started_and_what_differs_from_the_default():
    assert settings(AdaptConfig(name="x", real_share=0.5)) == (
        "policy_init behaviour, critics training"
    )
    assert settings(WAYS["observation"]) == "policy_init scratch, reads observation"
    assert settings(WAYS["finetune, imagination"]) == (
        "policy_init behaviour, learner imagination, model finetune"
    )
