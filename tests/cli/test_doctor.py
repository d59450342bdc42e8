"""`mrcom doctor` finds what is broken and says what to do."""

import importlib.metadata
import json
import subprocess
import sys
import types

import pytest

from mrcom.cli import checks
from mrcom.cli.main import main


def states(found: list[checks.Check]) -> dict[str, str]:
    return {check.name: check.state for check in found}


def test_the_library_versions_here_are_the_ones_asked_for():
    found = states(checks.check_libraries())
    assert found["mujoco"] == "ok"
    assert set(found.values()) == {"ok"}


@pytest.mark.parametrize(
    ("library", "version", "state"),
    [
        ("mujoco", "3.17.0", "ok"),
        ("mujoco", "3.17.9", "ok"),
        ("mujoco", "4.0.0", "broken"),
        ("mujoco", "3.9", "broken"),
        ("jax", "0.10.1", "ok"),
        ("jax", "0.10.2", "broken"),
        ("jax", "0.11.4", "broken"),
        ("jax", "0.12.0.1", "ok"),
    ],
)
def test_a_library_must_lie_in_its_range_and_outside_the_gaps(monkeypatch, library, version, state):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: version if name == library else real(name)
    )
    (check,) = [check for check in checks.check_libraries() if check.name == library]
    assert check.state == state
    assert bool(check.advice) == (state == "broken")


def test_a_mujoco_package_without_contents_is_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", types.ModuleType("mujoco"))
    (check,) = checks.check_mujoco()
    assert check.state == "broken"
    assert "make clean setup" in check.advice


def test_too_little_memory_is_told_for_each_budget(monkeypatch):
    monkeypatch.setattr(checks, "memory_available", lambda: checks.BASE_BYTES * 5 // 4)
    found = states(checks.check_memory())
    assert found["memory for debug"] == "ok"
    assert found["memory for full"] == "warn"


def test_a_folder_that_cannot_be_written_is_broken(tmp_path):
    (tmp_path / "file").touch()
    (check,) = checks.check_writing(tmp_path / "file" / "runs")
    assert check.state == "broken"


def test_looking_at_a_folder_leaves_nothing_behind(tmp_path):
    assert states(checks.check_writing(tmp_path / "runs")) == {"run folder": "ok"}
    assert list(tmp_path.iterdir()) == []


def test_compiler_and_simulator_work_here():
    found = checks.check_jax() + checks.check_simulator() + checks.check_mujoco()
    assert set(states(found).values()) == {"ok"}


@pytest.mark.parametrize("draws", [("egl",), ("osmesa",), ("egl", "osmesa"), ()])
def test_each_way_to_draw_is_said_to_be_what_it_is(monkeypatch, draws):
    """A missing one is no error where the other draws, but never shown as one that works."""
    asked = lambda command, env, **_: types.SimpleNamespace(returncode=0)
    monkeypatch.setattr(checks.subprocess, "run", asked)
    monkeypatch.setattr("mrcom.simulate.render.is_installed", lambda name: name in draws)
    found = {check.name.removeprefix("pictures by "): check for check in checks.check_drawing()}
    assert {name for name, check in found.items() if check.state == "ok"} == set(draws)
    for name in {"egl", "osmesa"} - set(draws):
        assert (found[name].state, found[name].found) == ("warn", "is not installed")
        assert "apt install" in found[name].advice
        assert ("not needed" in found[name].advice) == bool(draws)


def drawing(monkeypatch, **how):
    """What is said of each way to draw: one that draws, one that fails or is too slow, or none."""

    def asked(command, env, timeout, **_):
        if how[env["MUJOCO_GL"]] == "slow":
            raise subprocess.TimeoutExpired(command, timeout)
        return types.SimpleNamespace(returncode=int(how[env["MUJOCO_GL"]] == "fails"))

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(checks.subprocess, "run", asked)
    monkeypatch.setattr("mrcom.simulate.render.is_installed", lambda name: how[name] != "none")
    said = checks.guarded("pictures", checks.check_drawing)
    assert [check.name for check in said] == ["pictures by egl", "pictures by osmesa"]
    assert "broken" not in states(said).values()
    return said


def test_a_library_that_is_there_but_cannot_draw_needs_a_driver_not_itself(monkeypatch):
    egl, osmesa = drawing(monkeypatch, egl="fails", osmesa="none")
    assert egl.found == "is installed, but cannot draw"
    assert egl.advice == "install a driver (apt install libegl-mesa0 libgl1-mesa-dri)"
    assert osmesa.advice == "apt install libosmesa6"
    _, osmesa = drawing(monkeypatch, egl="none", osmesa="fails")
    assert "apt install --reinstall libosmesa6" in osmesa.advice


def test_where_what_is_asked_first_cannot_draw_the_other_is_named(monkeypatch):
    egl, osmesa = drawing(monkeypatch, egl="fails", osmesa="draws")
    assert egl.advice.startswith("set MUJOCO_GL=osmesa, or install a driver")
    assert (osmesa.state, osmesa.advice) == ("ok", "")
    egl, osmesa = drawing(monkeypatch, egl="draws", osmesa="fails")
    assert egl.state == "ok" and osmesa.advice.startswith("not needed while another draws")


def test_a_slow_drawing_is_a_warning(monkeypatch):
    egl, _ = drawing(monkeypatch, egl="slow", osmesa="none")
    assert (egl.state, egl.found) == ("warn", "did not draw within 60 s")
    assert egl.advice == "look again while less else runs here"


def test_a_check_that_fails_is_a_finding():
    def fails():
        raise OSError("no such disk\nand more")

    (check,) = checks.guarded("disk", fails)
    assert (check.state, check.found) == ("broken", "OSError: no such disk")


@pytest.fixture
def only(monkeypatch):
    """The command with every check replaced by one finding of a state."""

    def replace(state):
        for name in vars(checks):
            if name.startswith("check_"):
                monkeypatch.setattr(checks, name, lambda *args: [])
        finding = checks.Check("python", state, "3.0", "" if state == "ok" else "get another")
        monkeypatch.setattr(checks, "check_python", lambda: [finding])

    return replace


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warn", 0), ("broken", 1)])
def test_the_code_says_whether_something_is_broken(capsys, only, state, code):
    only(state)
    assert main(["doctor"]) == code
    said = capsys.readouterr().out
    assert ("-> get another" in said) == (state != "ok")
    assert main(["doctor", "--json"]) == code
    record = json.loads(capsys.readouterr().out)
    assert record["ok"] == (code == 0)
    assert record["checks"][0]["state"] == state
