import dataclasses
import json

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.scenarios import LimbScale, Scenario, body, observation_function

RICH = Scenario(
    "walker",
    target_speed=2.5,
    reward="reach",
    torso_length=1.1,
    torso_size=0.9,
    gravity=0.8,
    friction=1.2,
    damping=1.5,
    mass=1.3,
    actuator=0.7,
    limbs=(LimbScale("left_leg", length=1.1), LimbScale("right_foot", size=1.2)),
    observation=observation_function("add_g", body("walker"), seed=3),
)


def test_a_record_survives_json():
    again = Scenario.from_json(json.loads(json.dumps(RICH.to_json())))
    assert again == RICH
    assert again.hash == RICH.hash


def test_hashes_never_change():
    assert Scenario("hopper", target_speed=1).hash == "0ee761cc10fc"
    assert RICH.hash == "f7b6581fd60c"


def test_every_field_changes_the_hash():
    changed = {
        "body": "cheetah",
        "target_speed": 1.0,
        "reward": "reach",
        "torso_length": 1.1,
        "torso_size": 1.1,
        "gravity": 1.1,
        "friction": 1.1,
        "damping": 1.1,
        "mass": 1.1,
        "actuator": 1.1,
        "limbs": (LimbScale("foot", 1.1),),
        "observation": observation_function("msk_r", body("hopper"), seed=0),
    }
    assert set(changed) == {field.name for field in dataclasses.fields(Scenario)}
    base = Scenario("hopper")
    hashes = {dataclasses.replace(base, **{name: value}).hash for name, value in changed.items()}
    assert len(hashes | {base.hash}) == len(changed) + 1


def test_whole_numbers_and_floats_are_the_same_record():
    assert Scenario("hopper", target_speed=1, gravity=2).hash == (
        Scenario("hopper", target_speed=1.0, gravity=2.0).hash
    )


def test_parameters_are_relative():
    np.testing.assert_allclose(RICH.parameters(), [2.5 / 8, 0.1, -0.1], rtol=1e-6)
    assert RICH.parameters().dtype == np.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body": "hoper"}, ["hoper", "Did you mean 'hopper'"]),
        ({"reward": "trak"}, ["trak", "Did you mean 'track'"]),
        ({"target_speed": -1.0}, ["target_speed=-1.0", "at least 0"]),
        ({"target_speed": float("nan")}, ["target_speed=nan"]),
        ({"torso_length": 0.0}, ["torso_length=0.0", "nearest legal value is 0.1"]),
        ({"gravity": 20.0}, ["gravity=20.0", "nearest legal value is 10.0"]),
        ({"limbs": (LimbScale("knee"),)}, ["knee", "Known: calf, foot, pelvis, thigh, torso"]),
        ({"limbs": (LimbScale("torso"),)}, ["torso_length and torso_size"]),
        ({"limbs": (LimbScale("foot", size=0.0),)}, ["foot.size=0.0"]),
        ({"limbs": (LimbScale("foot"), LimbScale("foot"))}, ["must differ"]),
        ({"body": "cheetah", "reward": "stand"}, ["cheetah", "'track'"]),
        ({"reward": "stand", "target_speed": 1.0}, ["target_speed=1.0", "must be 0"]),
        (
            {"observation": observation_function("add_g", body("walker"), 0)},
            ["noise_std has 24", "needs 15"],
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_value(change, words):
    with pytest.raises(ConfigError) as error:
        Scenario(**({"body": "hopper"} | change))
    for word in words:
        assert word in str(error.value)


def test_an_unknown_field_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"torso_lenght.*Did you mean 'torso_length'"):
        Scenario.from_json({"body": "hopper", "torso_lenght": 1.0})
