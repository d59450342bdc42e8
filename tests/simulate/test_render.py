"""Pictures of scenarios; skipped where nothing can draw."""

import subprocess
import sys

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.steps import Layout
from mrcom.scenarios import BODIES, Scenario, layout_of
from mrcom.simulate import RandomPolicy, Simulator, render, rollout

draws = pytest.mark.skipif(
    not any(map(render.is_installed, render.LIBRARIES)), reason="neither EGL nor OSMesa is here"
)


def run_python(text, **environment):
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=environment
    )


def seen(bodies, **kinds):
    scenarios = [Scenario(name) for name in bodies]
    layout = layout_of(scenarios)
    return Simulator(scenarios, layout=Layout(layout.bodies, layout.obs, layout.act, image=64))


def test_who_wants_no_pictures_loads_no_renderer():
    done = run_python(
        "import sys, mrcom.cli.train, mrcom.train.loop\n"
        "from mrcom.scenarios import Scenario\n"
        "from mrcom.simulate import Simulator\n"
        "simulator = Simulator([Scenario('walker')]); simulator.reset(seed=0)\n"
        "assert simulator.image() is None\n"
        "ends = 'egl', 'simulate.render'\n"
        "loaded = [m for m in sys.modules if 'OpenGL' in m or m.endswith(ends)]\n"
        "assert not loaded, loaded\n"
    )
    assert done.returncode == 0, done.stderr


@draws
@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_body_is_in_the_middle_of_its_picture_wherever_it_is(name):
    renderer = render.Renderer([Scenario(name)], 64)
    start = render._visible(Scenario(name)).qpos0
    away = start.copy()
    free = {"hopper": 0, "walker": 1, "cheetah": 0, "quadruped": 0}[name]
    away[free] += 20  # along x
    for qpos in (start, away):
        (picture,) = renderer.draw(qpos[None])
        assert picture.shape == (64, 64, 3)
        assert picture.dtype == np.uint8
        red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
        rows, columns = np.nonzero(red > blue + 20)  # only bodies are orange
        assert 20 < len(rows) < 1200
        assert abs(columns.mean() - 31.5) < 10
        assert rows.min() > 0


@draws
def test_each_scenario_has_its_own_geometry_and_bodies_keep_their_places():
    bodies = ("walker", "cheetah", "walker")
    simulator = seen(bodies)
    simulator.reset(seed=0)
    together = simulator.image()
    assert together.shape == (3, 64, 64, 3)
    long = render.Renderer([Scenario("walker"), Scenario("walker", torso_length=1.2)], 64)
    qpos = np.repeat(render._visible(Scenario("walker")).qpos0[None], 2, axis=0)
    one, other = long.draw(qpos).astype(int)
    orange = [(picture[..., 0] > picture[..., 2] + 20).sum() for picture in (one, other)]
    assert orange[1] > orange[0] + 5
    # The place in the list decides the initial state: the same body alone looks the same.
    herd = simulator._herds[0]
    alone = render.Renderer([Scenario("walker")] * 2, 64).draw(herd.physics.field("qpos"))
    np.testing.assert_array_equal(together[[0, 2]], alone)


@draws
def test_a_rollout_has_the_picture_of_every_step_and_the_same_vectors():
    simulator = seen(("cheetah",))
    steps = rollout(simulator, RandomPolicy(simulator.masks), num_steps=5, seed=0)
    assert steps.image.shape == (1, 6, 64, 64, 3)
    assert all((steps.image[0, t] != steps.image[0, t + 1]).any() for t in range(5))
    np.testing.assert_array_equal(steps.image[:, -1], simulator.image())
    plain = Simulator([Scenario("cheetah")])
    vectors = rollout(plain, RandomPolicy(plain.masks), num_steps=5, seed=0)
    assert vectors.image is None
    np.testing.assert_array_equal(vectors.obs, steps.obs)


@draws
def test_pictures_do_not_depend_on_what_is_not_seen():
    qpos = render._visible(Scenario("hopper")).qpos0[None]
    looks = [
        render.Renderer([scenario], 64).draw(qpos)
        for scenario in (Scenario("hopper"), Scenario("hopper", 1.0, gravity=0.5, mass=2.0))
    ]
    np.testing.assert_array_equal(*looks)


def test_what_cannot_draw_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "elg")
    with pytest.raises(ConfigError, match=r"'elg'.*Did you mean 'egl'"):
        render.backend()
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(render, "is_installed", lambda name: False)
    with pytest.raises(ConfigError, match="apt install libegl1 or libosmesa6"):
        render.backend()


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        (True, r"here \(no driver\): set MUJOCO_GL=osmesa, or install a driver \(apt install lib"),
        (
            False,
            r"\): install the other way \(apt install libosmesa6\) and set MUJOCO_GL=osmesa, or",
        ),
    ],
)
def test_a_library_that_cannot_draw_names_the_other_and_a_driver(monkeypatch, installed, said):
    def broken(*_):
        raise RuntimeError("no driver\nand more")

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(render, "is_installed", lambda name: installed or name == "egl")
    monkeypatch.setattr(render.importlib, "import_module", broken)
    with pytest.raises(ConfigError, match=said):
        render._gl.__wrapped__()


def test_a_picture_that_is_too_large_is_refused():
    with pytest.raises(ConfigError, match="side=641 pixels"):
        render.Renderer([Scenario("hopper")], 641)
