"""The gate of DreamerV3 alone on one task, on logs that nobody had to train for."""

import importlib.util
import json
import pathlib

import pytest

from mrcom.core.errors import Stopped

FILE = pathlib.Path(__file__).parents[2] / "benchmarks" / "reproduce.py"
SPEC = importlib.util.spec_from_file_location("reproduce", FILE)
reproduce = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reproduce)


def log_of(folder, task, end, steps):
    """A run whose last ten episodes earned `end`, and all before them nothing."""
    episodes = steps // reproduce.EPISODE
    lines = [{"stage": "collect/random", "env_steps": 500, f"return/{task.runs}": 1e6}]
    for number in range(2, episodes + 1):
        earned = end if number > episodes - 10 else 0.0
        of_actions = {"env_steps": 500 * number, f"return/{task.runs}": earned / 2}
        lines.append({"stage": "collect", **of_actions})
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("name", "steps", "least"),
    [
        ("walker-walk", 500_000, 878.0),
        ("walker-run", 500_000, 514.0),
        ("cheetah-run", 500_000, 494.0),
        ("hopper-hop", 500_000, 73.0),
        ("walker-walk", 100_000, 382.4),
        ("cheetah-run", 100_000, 237.6),
    ],
)
def test_the_lower_of_mean_less_spread_and_rerun_passes_and_nothing_below(
    tmp_path, name, steps, least
):
    task = reproduce.TASKS[name]
    assert reproduce.verdict(task, log_of(tmp_path / "up", task, least + 0.2, steps), steps)
    assert not reproduce.verdict(task, log_of(tmp_path / "low", task, least - 0.2, steps), steps)


def test_what_was_published_stands_beside_ours_at_its_own_steps(tmp_path, capsys):
    task = reproduce.TASKS["walker-walk"]
    reproduce.verdict(task, log_of(tmp_path / "run", task, 900.0, 500_000), 500_000)
    *curve, said = capsys.readouterr().out.splitlines()
    beside = {line.split()[0]: line.split("  ")[-1] for line in curve if "published" in line}
    assert beside == {"100,000": "published 478", "500,000": "published 941 +- 13, rerun 878"}
    assert len(curve) == 50 and curve[-1].split()[:3] == ["500,000", "steps:", "900.0"]
    assert said.startswith("passes: 900.0; published 941 +- 13, rerun 878; needed 878")


def test_a_tolerance_of_our_own_is_called_so(tmp_path, capsys):
    task = reproduce.TASKS["cheetah-run"]
    assert not reproduce.verdict(task, log_of(tmp_path / "run", task, 200.0, 100_000), 100_000)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("FAILS: 200.0; published 297; needed 238") and "of our own" in said


def test_where_nothing_is_published_one_line_says_so_and_nothing_is_trained(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(reproduce, "train", lambda *args, **options: pytest.fail("it trained"))
    asked = ["--task", "walker-run", "--steps", "100000", "--out", str(tmp_path / "runs")]
    assert reproduce.main(asked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "100,000" in line and "at 500,000" in line


def test_a_run_that_was_asked_to_stop_has_neither_passed_nor_failed(tmp_path, monkeypatch, capsys):
    def stopped(*args, **options):
        raise Stopped

    monkeypatch.setattr(reproduce, "train", stopped)
    assert reproduce.main(["--out", str(tmp_path)]) == 3
    assert capsys.readouterr().err == "stopped and saved; the same command goes on\n"


def test_runs_of_two_sizes_have_two_folders(tmp_path, monkeypatch):
    seen = []

    def trained(config, folder, *, resume):
        seen.append(folder.name)
        log_of(folder, reproduce.TASKS["walker-walk"], 400.0, 100_000)

    monkeypatch.setattr(reproduce, "train", trained)
    asked = ["--out", str(tmp_path), "--size"]
    assert [reproduce.main([*asked, size]) for size in ("1M", "12M")] == [0, 0]
    assert seen == ["walker-walk-1M-100k-0.5-0", "walker-walk-12M-100k-0.5-0"]


def test_a_run_with_other_values_says_so_in_its_folder_and_its_configuration(tmp_path, monkeypatch):
    seen = []

    def trained(config, folder, *, resume):
        seen.append((folder.name, config.settings))
        log_of(folder, reproduce.TASKS["walker-walk"], 400.0, 100_000)

    monkeypatch.setattr(reproduce, "train", trained)
    rate = "optimizer.learning_rate=0.00016"
    assert reproduce.main(["--out", str(tmp_path), "--set", rate]) == 0
    assert seen == [(f"walker-walk-1M-100k-0.5-0-{rate}", (rate,))]
