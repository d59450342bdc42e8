import dataclasses
import errno
import json
import os
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from invented import invented_log, invented_scores, invented_start

from mrcom.core.config import to_json
from mrcom.core.errors import ConfigError, RunFolderError
from mrcom.evaluate.dreams import load_starts, save_starts
from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.evaluate.pictures import DreamtPictures, load_pictures, save_pictures
from mrcom.evaluate.predictions import _titles
from mrcom.evaluate.scores import append_scores
from mrcom.report import run_report
from mrcom.report.curves import draw_learning_curves
from mrcom.report.figures import draw_dreams, draw_scores
from mrcom.report.observations import panels_of
from mrcom.report.run_report import (
    dreams_folder,
    open_loop_file,
    pictures_folder,
    write_report,
)
from mrcom.scenarios.scenario import Scenario
from mrcom.train.run_folder import RunFolder


def has_content(path):
    picture = matplotlib.image.imread(path)[..., :3]
    return picture.shape[0] > 200 and picture.shape[1] > 300 and picture.std() > 0.05


def test_every_figure_is_drawn_and_no_setting_of_matplotlib_changes(tmp_path):
    before = dict(matplotlib.rcParams)
    draw_dreams(tmp_path / "dreams.png", "walker", [invented_start(obs=24)], control_dt=0.025)
    draw_learning_curves(tmp_path / "deep" / "curves.png", invented_log(400))
    draw_scores(tmp_path / "scores.png", invented_scores(episodes=3))
    for name in ("dreams.png", "deep/curves.png", "scores.png"):
        assert has_content(tmp_path / name), name
    assert dict(matplotlib.rcParams) == before


def test_figures_without_data_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least one start"):
        draw_dreams(tmp_path / "a.png", "walker", [], control_dt=0.025)
    with pytest.raises(ConfigError, match="train first"):
        draw_learning_curves(tmp_path / "a.png", [])
    with pytest.raises(ConfigError, match="at least one score"):
        draw_scores(tmp_path / "a.png", [])


def test_a_figure_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        draw_scores(tmp_path / "file" / "a.png", invented_scores(episodes=2))


def test_a_known_body_shows_named_quantities_and_any_other_its_first():
    assert panels_of("walker", 24)[14] == "torso height [m]"
    assert panels_of("mine", 2) == {0: "observation 0", 1: "observation 1"}


@pytest.mark.parametrize("name", ["report.md", "figures/scores.png", "figures/dream_hopper.gif"])
def test_a_disk_that_is_full_leaves_the_old_report_and_says_so(tmp_path, monkeypatch, name):
    folder, real = RunFolder(tmp_path / "run"), os.replace
    append_scores(folder.scores_file, invented_scores(episodes=2))
    grey = np.full((3, 8, 8, 3), 128, np.uint8)
    save_pictures(pictures_folder(folder), [DreamtPictures("hopper", 0.02, grey, grey)])
    write_report(folder)
    before = (folder.path / name).read_bytes()

    def full(draft, path):
        if Path(path).name == Path(name).name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(draft, path)

    monkeypatch.setattr(os, "replace", full)
    append_scores(folder.scores_file, invented_scores(episodes=3))
    with pytest.raises(RunFolderError, match=rf"{name} cannot be written \(No space left"):
        write_report(folder)
    assert (folder.path / name).read_bytes() == before


def test_dreams_that_are_cut_short_are_refused_in_one_line(tmp_path):
    folder = RunFolder(tmp_path / "run")
    grey = np.full((3, 8, 8, 3), 128, np.uint8)
    save_pictures(pictures_folder(folder), [DreamtPictures("hopper", 0.02, grey, grey)])
    save_starts(dreams_folder(folder) / "hopper.npz", "hopper", 0.02, [invented_start(obs=15)])
    readers = {
        dreams_folder(folder) / "hopper.npz": load_starts,
        pictures_folder(folder) / "hopper.npz": lambda path: load_pictures(path.parent),
    }
    for path, read in readers.items():
        whole = path.read_bytes()
        for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(RunFolderError, match=r"hopper\.npz cannot be read"):
                read(path)


def test_a_report_is_made_of_the_files_in_the_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    append_scores(folder.scores_file, invented_scores(episodes=3))
    errors = {"hopper": OpenLoopErrors((1, 10), (0.01, 0.36), (0.04, 1.0))}
    open_loop_file(folder).write_text(json.dumps(to_json(errors)))
    folder.metrics_file.write_text("".join(json.dumps(r) + "\n" for r in invented_log(100)))
    save_starts(dreams_folder(folder) / "hopper.npz", "hopper", 0.02, [invented_start(obs=15)])
    report = write_report(folder)
    assert [path.name for path in report.figures] == [
        "dreams_hopper.png", "learning_curves.png", "scores.png",
    ]  # fmt: skip
    assert all(path.is_file() for path in report.figures)
    assert len(report.tables) == 4
    summary = json.loads(folder.summary_file.read_text())
    assert [c["name"] for c in summary["claims"]] == [c.name for c in report.claims]
    text = (folder.path / "report.md").read_text()
    assert "| hopper | 1 |" in text and "HOLDS" in text and "figures/scores.png" in text


def test_curves_know_the_targets_of_every_budget(tmp_path, monkeypatch):
    folder, known = RunFolder(tmp_path / "run"), []
    folder.metrics_file.parent.mkdir(parents=True)
    folder.metrics_file.write_text("".join(json.dumps(r) + "\n" for r in invented_log(40)))
    scores = invented_scores(episodes=1)
    small = [dataclasses.replace(s, budget="small", scenario=s.scenario + "b") for s in scores]
    append_scores(folder.scores_file, [*scores, *small])
    monkeypatch.setattr(run_report, "draw_learning_curves", lambda *given: known.extend(given[2]))
    tables = write_report(folder).tables
    assert "Budget: small." in tables[0].notes
    assert {target.scenario for target in known} == {s.scenario for s in (*scores, *small)}


def test_a_run_that_was_not_evaluated_has_nothing_to_report(tmp_path):
    with pytest.raises(ConfigError, match="nothing to report: evaluate the run first"):
        write_report(RunFolder(tmp_path))


def test_damaged_errors_name_their_file(tmp_path):
    folder = RunFolder(tmp_path)
    for text in ("{", "[]", '{"hopper": {"horizonts": [1]}}'):
        open_loop_file(folder).write_text(text)
        with pytest.raises(RunFolderError, match=r"open_loop\.json cannot be read"):
            write_report(folder)


def test_columns_of_dreams_are_told_apart_by_scenario_and_by_start():
    walker = Scenario("walker", target_speed=0.124, torso_length=1.05, torso_size=0.9)
    longer = dataclasses.replace(walker, torso_length=1.1)
    assert _titles([walker, longer, walker]) == [
        "target 0.12 m/s\ntorso length x1.05, size x0.90",
        "target 0.12 m/s\ntorso length x1.10, size x0.90",
        "target 0.12 m/s, start 2\ntorso length x1.05, size x0.90",
    ]
