import subprocess
import sys

import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.steps import Layout
from mrcom.scenarios import Box, Scenario, layout_of, masks_of, sample_scenarios

BODIES = ("hopper", "walker", "cheetah")


def test_a_layout_is_as_wide_as_its_widest_body():
    assert layout_of(BODIES) == Layout(BODIES, 24, 6)
    assert layout_of([Scenario("cheetah"), Scenario("hopper")]) == Layout(
        ("cheetah", "hopper"), 17, 6
    )


def test_added_dimensions_have_room():
    extended = sample_scenarios("walker", Box(5, 20), 2, 0, observation="add_d")
    assert layout_of(extended).obs == 27
    assert layout_of(BODIES, observation="add_d").obs == 27


def test_masks_count_the_real_entries():
    scenarios = [Scenario("walker"), Scenario("hopper"), Scenario("walker")]
    scenarios += sample_scenarios("cheetah", Box(5, 20), 1, 0, observation="add_d")
    masks = masks_of(scenarios, layout_of(BODIES))
    assert masks.obs.sum(1).tolist() == [24, 15, 24, 19]
    assert masks.act.sum(1).tolist() == [6, 4, 6, 6]
    assert masks.body.tolist() == [1, 0, 1, 2]
    assert masks.obs[1].tolist() == [1.0] * 15 + [0.0] * 9


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="'walker' is not in the layout of hopper"):
        masks_of([Scenario("walker")], layout_of(["hopper"]))
    with pytest.raises(ConfigError, match="27 observed quantities"):
        masks_of(
            sample_scenarios("walker", Box(5, 20), 1, 0, observation="add_d"), layout_of(BODIES)
        )
    with pytest.raises(ConfigError, match="at least one"):
        layout_of([])


def test_scenarios_and_simulator_import_neither_jax_nor_a_renderer_nor_the_suite():
    code = (
        "import sys, mrcom.scenarios, mrcom.simulate;"
        "print([m for m in ('jax', 'dm_control', 'OpenGL', 'glfw', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
