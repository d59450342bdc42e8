"""A study that is interrupted goes on where it stopped, and a finished one only prints."""

import pytest

from mrcom.cli.main import main
from mrcom.cli.study import cells_of
from mrcom.evaluate.latent_study import Cell
from mrcom.evaluate.scores import read_records
from mrcom.report.latent_study import COLOURS
from mrcom.train import latent_study

AMOUNT = latent_study.AMOUNTS["debug"]


def test_a_study_is_ordered_by_seed_then_error_then_body():
    cells = cells_of(AMOUNT, (3, 1), ("walker", "hopper"))
    each = len(latent_study.CONTROLS)
    assert len(cells) == len({cell.key for cell in cells}) == 2 * 3 * 2 * each
    assert [cell.seed for cell in cells] == [3] * (6 * each) + [1] * (6 * each)
    assert {cell.error for cell in cells[: 2 * each]} == {"drift"}
    assert {cell.body for cell in cells[:each]} == {"walker"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["latent-eror"], "Did you mean 'latent-error'?"),
        (["latent-error", "--bodies", "wlaker"], "Did you mean 'walker'?"),
        (["latent-error", "--budget", "ful"], "Known: debug, tiny"),
        (["latent-error", "--budget", "debug", "--bodies", "hopper", "hopper"], "given 2 times"),
        (
            ["latent-error", "--budget", "debug", "--seeds", "0", "1", "0"],
            "seed 0 is given 2 times",
        ),
    ],
)
def test_a_wrong_name_is_one_line(given, message, capsys):
    assert main(["study", *given]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_only_what_is_missing_is_measured_and_the_rest_is_shown(tmp_path, capsys, monkeypatch):
    learnt, learn = [], latent_study.learn
    monkeypatch.setattr(latent_study, "ERRORS", {"none": latent_study.ERRORS["none"]})
    two = {name: latent_study.CONTROLS[name] for name in ("no penalty", "augmentation")}
    assert set(two) < set(COLOURS)
    monkeypatch.setattr(latent_study, "CONTROLS", two)
    monkeypatch.setattr(
        latent_study, "learn", lambda *given: (learnt.append(given[1]), learn(*given))[1]
    )
    command = ["study", "latent-error", "--budget", "debug", "--bodies", "hopper", "--seeds", "0"]
    command += ["--out", str(tmp_path)]
    file = tmp_path / "cells.jsonl"
    assert main(command) == 0
    whole = file.read_bytes()
    first, second = whole.splitlines(keepends=True)
    file.write_bytes(first + second[:40])  # as a kill while writing would leave it
    assert main(command) == 0
    assert learnt == ["no penalty", "augmentation", "augmentation"]
    assert len(read_records(file, Cell)) == 2
    capsys.readouterr()
    assert main(command) == 0
    assert len(learnt) == 3
    shown = capsys.readouterr()
    assert "augmentation" in shown.out and "open_loop_none.png" in shown.out
    assert "studying" not in shown.err
    assert (tmp_path / "controls.png").is_file()
