import dataclasses
import hashlib

import numpy as np
import pytest

from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.core.errors import ConfigError
from mrcom.scenarios import BODIES, SPLITS, Box, Scenario, Split, sample_scenarios, split
from mrcom.train.settings import RunConfig, target_scenarios


def test_the_same_seed_gives_the_same_list_on_every_machine():
    hashes = [s.hash for s in sample_scenarios("walker", Box(20, 100), 3, 0)]
    assert hashes == ["76f5cb46f543", "f1022fc7b3d3", "84d721ade15c"]
    everything = [
        s.hash
        for name in ("hopper", "walker", "cheetah")
        for kind in ("plain", "add_g", "add_d", "msk_r", "msk_f")
        for s in sample_scenarios(name, Box(10, 50), 16, 7, reward="reach", observation=kind)
    ]
    assert hashlib.sha256("".join(everything).encode()).hexdigest()[:16] == "d3648edd4284b088"


def test_a_longer_list_starts_with_the_shorter():
    long = sample_scenarios("hopper", Box(5, 20), 8, 1)
    assert sample_scenarios("hopper", Box(5, 20), 3, 1) == long[:3]


def test_torsos_and_targets_do_not_depend_on_reward_or_observation():
    plain = sample_scenarios("hopper", Box(5, 20), 4, 1)
    other = sample_scenarios("hopper", Box(5, 20), 4, 1, reward="reach", observation="msk_f")
    for a, b in zip(plain, other, strict=True):
        assert (a.torso_length, a.torso_size, a.target_speed) == (
            b.torso_length,
            b.torso_size,
            b.target_speed,
        )


@pytest.mark.parametrize("name", sorted(BODIES))
def test_samples_fill_the_box_evenly(name):
    found = sample_scenarios(name, Box(20, 50), 400, 0)
    values = np.array([s.parameters() for s in found])
    low, high = np.array([0, -0.2, -0.2]), np.array([0.5, 0.2, 0.2])
    assert (values >= low - 1e-6).all()
    assert (values <= high + 1e-6).all()
    shares = (values - low) / (high - low)
    # Uniform: mean 1/2, standard deviation 1/sqrt(12); 400 draws are good to 0.015.
    np.testing.assert_allclose(shares.mean(0), 0.5, atol=0.06)
    np.testing.assert_allclose(shares.std(0), 12**-0.5, atol=0.03)
    assert abs(np.corrcoef(shares.T)[np.triu_indices(3, 1)]).max() < 0.15


# Torso [+-%] and target [% of the fastest], in training and in testing: the paper's tables.
PRINTED = {"a": (5, 20, 5, 20), "b": (5, 20, 10, 50), "c": (10, 50, 10, 50), "d": (10, 50, 20, 100)}


def torso_within(scenario, alpha):
    """Both factors, which are rounded to six digits."""
    factors = scenario.torso_length, scenario.torso_size
    return all(abs(100 * (factor - 1)) <= alpha + 1e-4 for factor in factors)


def targets_of(name, num):
    """A run's targets of a walker: inside the training box, and outside."""
    config = RunConfig(MRCOM, budget("debug"), split(name), bodies=("walker",))
    found = target_scenarios(config, num, num, "target")
    return [[t.scenario for t in found if t.inside is inside] for inside in (True, False)]


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_a_run_of_every_split_has_targets_inside_and_outside_its_training_box(name):
    table, letter = name.split("-")[:2]
    alpha, beta, test_alpha, test_beta = PRINTED[letter]
    # A walker's fastest is 8 m/s; table 2 fixes the target at half of that.
    slowest = 4.0 if table == "table2" else 0.0
    fastest, test_fastest = (4.0 if table == "table2" else 0.08 * b for b in (beta, test_beta))
    found = split(name)
    train, (inside, outside) = found.train_scenarios("walker", 32), targets_of(name, 32)
    test = inside + outside
    assert all(torso_within(s, alpha) and slowest <= s.target_speed <= fastest for s in train)
    assert all(torso_within(s, test_alpha) for s in test)
    assert all(slowest <= s.target_speed <= test_fastest for s in test)
    assert not {s.hash for s in train} & {s.hash for s in test}
    within = lambda s: torso_within(s, alpha) and s.target_speed <= fastest
    assert all(map(within, inside)) and not any(map(within, outside))
    assert (len(inside), len(outside)) == (32, 0 if found.kind == "same" else 32)


@pytest.mark.parametrize("name", ["table1-b-shell", "table1-d-shell"])
def test_a_shell_holds_those_whose_target_alone_is_new_and_those_whose_torso_alone_is(name):
    torso, target = PRINTED[name[7]][0], 0.08 * PRINTED[name[7]][1]
    _, outside = targets_of(name, 64)
    where = {(torso_within(s, torso), s.target_speed <= target) for s in outside}
    assert where == {(True, False), (False, True), (False, False)}


@pytest.mark.parametrize(
    ("target", "length", "size", "inside"),
    [
        (3.0, 1.0, 1.0, True),
        (2.0, 0.8, 1.2, True),
        (4.0, 1.2, 0.8, True),
        (4.01, 1.0, 1.0, False),
        (1.99, 1.0, 1.0, False),
        (3.0, 1.21, 1.0, False),
        (3.0, 0.79, 1.0, False),
        (3.0, 1.0, 1.21, False),
        (3.0, 1.0, 0.79, False),
    ],
)
def test_a_box_holds_what_lies_within_its_torsos_and_its_targets(target, length, size, inside):
    # Of a walker, 25 % to 50 % of the fastest are 2 to 4 m/s.
    box = Box(alpha=20, beta=50, beta_low=25)
    assert box.holds(Scenario("walker", target, torso_length=length, torso_size=size)) == inside


def test_ranges_of_dynamics_are_drawn_and_leave_torsos_and_targets_as_they_are():
    plain = sample_scenarios("walker", Box(20, 100), 200, 0)
    found = sample_scenarios("walker", Box(20, 100, gravity=30, friction=50, mass=10), 200, 0)
    for name, most in {"gravity": 0.3, "friction": 0.5, "mass": 0.1}.items():
        assert {getattr(one, name) for one in plain} == {1.0}
        off = np.array([getattr(one, name) - 1 for one in found])
        assert np.abs(off).max() <= most
        # Uniform: the standard deviation of 200 is that of the range to a tenth.
        assert off.std() == pytest.approx(most / np.sqrt(3), rel=0.1)
    same = ("target_speed", "torso_length", "torso_size")
    assert [[getattr(one, n) for n in same] for one in found] == [
        [getattr(one, n) for n in same] for one in plain
    ]
    alone = sample_scenarios("walker", Box(20, 100, friction=50), 200, 0)
    assert [one.friction for one in alone] == [one.friction for one in found]


def test_a_shell_of_dynamics_holds_those_with_another_gravity():
    train = Box(20, 100, gravity=10)
    test = dataclasses.replace(train, gravity=20)
    assert test.share_outside(train) == pytest.approx(0.5)
    found = sample_scenarios("hopper", test, 50, 0, outside=train)
    assert all(0.1 < abs(one.gravity - 1) <= 0.2 for one in found)
    assert test.contains(train) and not train.contains(test)
    assert str(train) == "torso +-20 %, gravity +-10 %, target 0..100 % of the fastest"
    assert split("wide:20,100,gravity=10:20,100,gravity=20").test == test


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("20,100,gravity=95", "gravity=95 % .* nearest legal value is 90"),
        ("20,100,gravty=5", "gravty.*Did you mean 'gravity'"),
        ("20,100,mass=5,mass=6", "mass twice"),
        ("20,100,mass", "must be ALPHA,BETA"),
        ("20,100,mass=-5", "must be ALPHA,BETA"),
    ],
)
def test_a_range_that_cannot_be_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        split(f"same:{text}:{text}")


@pytest.mark.parametrize("name", ["table1-b", "table1-d", "table2-d"])
def test_strata_weighed_by_their_share_are_a_draw_from_the_whole_test_box(name):
    wide = split(name)
    drawn = sample_scenarios("walker", wide.test, 4000, 0)
    inside = [one for one in drawn if wide.train.holds(one)]
    # 4,000 draws of a share of 0.1 to 0.25 are good to 0.007.
    assert len(inside) / len(drawn) == pytest.approx(wide.share_inside(), abs=0.02)
    alone = wide.share_inside(speeds=False)
    torso, test = PRINTED[name[7]][0], PRINTED[name[7]][2]
    assert alone == pytest.approx((torso / test) ** 2)


def test_table_two_fixes_the_target_at_half_the_fastest_speed():
    inside, outside = targets_of("table2-d", 8)
    assert {scenario.target_speed for scenario in inside + outside} == {4.0}


@pytest.mark.parametrize(
    ("alpha", "beta", "words"),
    [
        (-1, 50, ["alpha=-1 %", "nearest legal value is 0"]),
        (120, 50, ["alpha=120 %", "nearest legal value is 90"]),
        (float("nan"), 50, ["alpha=nan"]),
        (20, 0, ["beta=0 %", "above 0"]),
        (20, 150, ["beta=150 %", "nearest legal value is 100"]),
        (20, float("nan"), ["beta=nan"]),
    ],
)
def test_a_box_out_of_range_is_refused_with_the_nearest(alpha, beta, words):
    with pytest.raises(ConfigError) as error:
        Box(alpha, beta)
    for word in words:
        assert word in str(error.value)


def test_a_shell_inside_its_training_box_is_refused():
    with pytest.raises(ConfigError, match=r"'mine'.*'shell'.*lies inside the training box"):
        Split("mine", "shell", train=Box(10, 50), test=Box(5, 50))
    with pytest.raises(ConfigError, match="lies inside"):
        Split("mine", "shell", train=Box(10, 50), test=Box(10, 50))


def test_other_kinds_are_checked_too():
    with pytest.raises(ConfigError, match=r"'same'.*is not its training box"):
        Split("mine", "same", train=Box(5, 20), test=Box(5, 21))
    with pytest.raises(ConfigError, match=r"'wide'.*does not contain"):
        Split("mine", "wide", train=Box(5, 20), test=Box(10, 10))
    with pytest.raises(ConfigError, match=r"'shel'.*Did you mean 'shell'"):
        Split("mine", "shel", train=Box(5, 20), test=Box(10, 50))
    with pytest.raises(ConfigError, match="table1-z"):
        split("table1-z")


def test_sampling_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match="count=0"):
        sample_scenarios("walker", Box(5, 20), 0, 0)
    with pytest.raises(ConfigError, match="Unknown body 'dog'"):
        sample_scenarios("dog", Box(5, 20), 1, 0)
    with pytest.raises(ConfigError, match="0 % of the box"):
        sample_scenarios("walker", Box(5, 20), 1, 0, outside=Box(5, 20))


def test_standing_scenarios_have_no_target():
    found = sample_scenarios("walker", Box(5, 20), 2, 0, reward="stand")
    assert [s.target_speed for s in found] == [0.0, 0.0]
