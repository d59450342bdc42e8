"""Robustness as a table and as curves."""

import dataclasses

import pytest

from mrcom.core.errors import ConfigError
from mrcom.evaluate.robustness import Cell
from mrcom.report.robustness import draw_robustness, robustness_table
from mrcom.report.table import to_text


def cell(kind, degree, policy="behaviour", score=(40.0, 60.0), exact=()):
    returns = (tuple(10 * value for value in score), (1.0, 1.0))
    given = (kind, degree, "times", policy, 0, 0, "debug", 5, 0, "", ("a", "b"))
    return Cell(*given, returns=returns, normalised=(score, (None, None)), exact=exact)


CELLS = [
    cell("none", 0.0, "random"),
    cell("none", 0.0, "expert"),
    cell("none", 0.0),
    cell("gravity", 1.5, score=(10.0, 20.0), exact=("14.71 m/s^2", "11.77 m/s^2")),
    cell("gravity", 0.5, score=(30.0, 30.0)),
    cell("latent-drift", 5.0, score=(0.0, 2.0)),
]


def test_the_table_is_by_perturbation_and_degree_with_exact_values():
    table = robustness_table(CELLS[::-1])
    assert [(row[0], row[3]) for row in table.rows] == [
        ("undisturbed", "–"), ("gravity", "0.5"), ("", "1.5"), ("latent drift", "5"),
    ]  # fmt: skip
    assert table.rows[2][2] == "14.71 m/s^2, 11.77 m/s^2"


def test_means_are_over_episodes_and_the_targets_that_have_a_score():
    undisturbed, low, *_ = robustness_table(CELLS).rows
    assert (undisturbed[4], undisturbed[6]) == ("250.5", "50.0")  # (400 + 600 + 1 + 1) / 4
    assert low[6:] == ("30.0", "30.0 to 30.0")
    assert "over 1 of 2 of them" in to_text(robustness_table(CELLS))


def test_a_single_episode_has_no_interval():
    one = dataclasses.replace(CELLS[2], returns=((1.0,), (2.0,)), normalised=((3.0,), (4.0,)))
    assert robustness_table([one]).rows[0][4:] == ("1.5", "–", "3.5", "–")


def test_without_any_score_there_are_still_returns():
    none = [dataclasses.replace(c, normalised=((None, None),) * 2) for c in CELLS]
    assert robustness_table(none).rows[0][4:] == (
        "250.5",
        robustness_table(CELLS).rows[0][5],
        "–",
        "–",
    )


def test_every_perturbation_has_a_plot(tmp_path):
    draw_robustness(tmp_path / "a.png", CELLS)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    none = [dataclasses.replace(c, normalised=((None, None),) * 2) for c in CELLS]
    draw_robustness(tmp_path / "b.png", none)


@pytest.mark.parametrize("cells", [[], CELLS[:2]])
def test_references_alone_are_no_result(cells, tmp_path):
    with pytest.raises(ConfigError, match="no policy"):
        robustness_table(cells)
    with pytest.raises(ConfigError, match="no policy"):
        draw_robustness(tmp_path / "a.png", cells)
