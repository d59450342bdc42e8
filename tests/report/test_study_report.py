"""The study of latent errors as tables and figures, of whatever cells there are."""

import dataclasses

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.evaluate.latent_study import Cell, Curves
from mrcom.report.latent_study import below_zero, change_of, draw_study, rmse, study_tables
from mrcom.report.table import to_text
from mrcom.train.latent_study import CONTROLS


def cell(control="no penalty", error="drift", body="walker", seed=0, last=1.0, diverged=""):
    given = body, control, error, seed, "tiny", 500
    if diverged:
        return Cell(*given, diverged=diverged)
    curves = Curves((0.1, last), (0.25, last), (0.01, 0.04 * last))
    return Cell(*given, episode_return=10.0, gain=0.5, erring=curves, exact=curves)


def seeds(control, *lasts, **where):
    return [cell(control, seed=seed, last=last, **where) for seed, last in enumerate(lasts)]


NONE = seeds("no penalty", 1.0, 0.81, 0.64)
BETTER = seeds("Jacobian 0.1", 0.81, 0.64, 0.49)  # a tenth of a standard deviation each
MIXED = seeds("Jacobian 0.01", 0.81, 1.0, 0.49)


def test_a_change_is_that_of_root_mean_squared_errors_at_the_same_seed():
    cells = BETTER[::-1] + NONE
    change = change_of(cells, "walker", "drift", "Jacobian 0.1")
    np.testing.assert_allclose(change, [-0.1, -0.1, -0.1])
    np.testing.assert_allclose(rmse(NONE[1].erring, "obs"), [0.5, 0.9])


def test_an_error_falls_only_where_its_interval_lies_below_0():
    of = lambda name: change_of(NONE + BETTER + MIXED, "walker", "drift", name)
    assert below_zero(of("Jacobian 0.1"))
    assert not below_zero(of("Jacobian 0.01"))
    assert not below_zero(of("Jacobian 0.1")[:1])  # a single seed has no interval


def test_the_first_table_counts_the_bodies_in_which_it_falls():
    other = seeds("no penalty", 1.0, 1.0, body="hopper")
    other += seeds("Jacobian 0.1", 1.2, 0.9, body="hopper")
    table, *_ = study_tables(NONE + BETTER + MIXED + other)
    assert [row[:2] for row in table.rows] == [
        ("drift", "walker"), ("", "hopper"), ("", "interval below 0"),
    ]  # fmt: skip
    assert table.rows[-1][2:] == ("0 of 2", "0 of 2", "1 of 2", "0 of 2", "0 of 2")
    assert table.rows[0][2] == "–"  # no cell of that weight yet
    assert table.rows[0][4].startswith("-0.100 (-0.100 to -0.100)")


def test_diverged_seeds_are_counted_and_otherwise_left_out():
    cells = [*NONE, *BETTER[:2], cell("Jacobian 0.1", seed=2, diverged="not finite")]
    assert len(change_of(cells, "walker", "drift", "Jacobian 0.1")) == 2
    _, table = study_tables(cells)
    assert [row[-1] for row in table.rows] == ["0 of 3", "1 of 3"]


def test_a_study_in_which_all_diverged_is_still_a_table(tmp_path):
    cells = [cell(name, diverged="not finite") for name in CONTROLS]
    assert "1 of 1" in to_text(study_tables(cells)[1])
    assert draw_study(tmp_path, cells)


def test_every_error_has_a_figure_and_all_of_them_one(tmp_path):
    cells = NONE + BETTER + seeds("no penalty", 0.5, error="none", body="hopper")
    files = draw_study(tmp_path, cells)
    assert [path.name for path in files] == [
        "open_loop_drift.png", "open_loop_none.png", "controls.png",
    ]  # fmt: skip
    assert all(path.stat().st_size > 10_000 for path in files)


def test_without_a_cell_there_is_nothing_to_say():
    with pytest.raises(ConfigError, match="no finished cell"):
        study_tables([])


def test_what_is_left_of_the_error_has_a_table_where_it_was_measured(tmp_path):
    left = lambda cells, *ends: [
        dataclasses.replace(cell, apart=Curves((0.1, 9.0), (0.1, end), (0.1, 9.0)))
        for cell, end in zip(cells, ends, strict=True)
    ]
    cells = left(NONE, 0.04, 0.09, 0.16) + left(BETTER, 0.01, 0.04, 0.09)  # a tenth less each
    _, table, _ = study_tables(cells)
    assert "left of the latent error at horizon 2" in table.title
    assert table.rows[0][4] == "-0.100 (-0.100 to -0.100)"
    assert table.rows[-1][4] == "1 of 1"
    draw_study(tmp_path, cells)
    with_it = (tmp_path / "open_loop_drift.png").stat().st_size
    draw_study(tmp_path, NONE + BETTER)
    assert (tmp_path / "open_loop_drift.png").stat().st_size < with_it
