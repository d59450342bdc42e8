"""What a model is asked about episodes that it was taught, and about others."""

import importlib.util
import pathlib

import numpy as np
import pytest

FILE = pathlib.Path(__file__).parents[2] / "benchmarks" / "memorised.py"


@pytest.fixture
def memorised(monkeypatch):
    """The script, which finds the other one beside it."""
    monkeypatch.syspath_prepend(str(FILE.parent))
    spec = importlib.util.spec_from_file_location("memorised", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def symlog(values):
    return np.sign(values) * np.log1p(np.abs(values))


def test_every_fifth_episode_is_left_out_and_each_kind_is_judged_by_itself(
    memorised, tmp_path, capsys, monkeypatch
):
    asked, told = [], memorised.said
    monkeypatch.setattr(
        memorised, "said", lambda run, steps: asked.append(steps) or told(run, steps)
    )
    given = ["--out", str(tmp_path), "--episodes", "6", "--updates", "2", "--every", "2"]
    assert memorised.main([*given, "--size", "debug"]) == 0
    taught, left = asked
    assert len(taught.reward) == 5 and len(left.reward) == 1
    found = [np.abs(taught.obs - left.obs[0]).max(axis=(1, 2))]
    assert np.min(found) > 0.1
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[1] for row in rows] == ["taught", "left out"]
    assert head.count("|") == rule.count("|") == rows[0].count("|") == rows[1].count("|")
    # Nothing but the episode itself is needed to say what came, and how far it moved.
    *_, both, errors = rows[1].rstrip(" |").split(" | ")
    after = slice(memorised.BEGINS, None)
    moved = np.diff(symlog(left.obs[0]), axis=0)[memorised.BEGINS - 1 :]
    assert both.split(" / ")[1] == f"{left.reward[0, after].mean():.3f}"
    assert float(errors.split(" / ")[1]) == pytest.approx((moved**2).sum(1).mean(), abs=0.006)


def test_a_folder_that_is_no_such_run_is_refused(memorised, tmp_path, capsys):
    assert memorised.main(["--run", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
