import json
import math

import pytest

from mrcom.scenarios import Box, LimbScale, Scenario, sample_scenarios
from mrcom.simulate import UNITS, physical_values
from mrcom.simulate.listing import sliding_friction, total_mass


def test_a_default_walker_in_physical_values():
    (row,) = physical_values([Scenario("walker", target_speed=4.0)])
    radius, half = 0.07, 0.3
    mass = 1000 * math.pi * radius**2 * (2 * half + 4 / 3 * radius)
    assert row["target_speed"] == 4.0
    assert row["torso_length"] == pytest.approx(0.6)
    assert row["torso_radius"] == pytest.approx(0.07)
    assert row["torso_mass"] == pytest.approx(mass)
    assert row["total_mass"] > row["torso_mass"]
    assert row["gravity"] == 9.81


def test_factors_show_in_physical_values():
    scenario = Scenario(
        "cheetah", torso_length=1.2, torso_size=0.9, gravity=0.5, limbs=(LimbScale("bfoot", 1.1),)
    )
    (row,) = physical_values([scenario])
    assert row["torso_length"] == pytest.approx(1.2)
    assert row["torso_radius"] == pytest.approx(0.046 * 0.9)
    assert row["total_mass"] == total_mass(scenario) == pytest.approx(14.0)
    assert total_mass(Scenario("cheetah", mass=1.5)) == pytest.approx(21.0)
    assert row["gravity"] == pytest.approx(4.905)
    assert row["limbs"] == "bfoot length x1.1, size x1"


def test_the_larger_coefficient_of_two_that_touch_counts():
    assert sliding_friction(Scenario("walker", friction=0.5)) == pytest.approx((0.35, 0.35))
    assert sliding_friction(Scenario("cheetah")) == (1.0, 1.0)  # its own is 0.4, the ground's 1
    assert sliding_friction(Scenario("quadruped", friction=2.0)) == (2.0, 3.0)  # toes have more


def test_every_column_has_a_unit_and_rows_are_json():
    rows = physical_values(sample_scenarios("hopper", Box(20, 100), 3, 0, observation="msk_f"))
    assert all(list(row) == list(UNITS) for row in rows)
    assert json.loads(json.dumps(rows)) == rows
    assert len({row["torso_mass"] for row in rows}) == 3
