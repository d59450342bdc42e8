"""Robustness as a table and as curves."""

import contextlib
import dataclasses

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.evaluate.robustness import Cell
from mrcom.report import robustness
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


def notes(expert, scores):
    """What a table says of the scale, of an expert's returns and a policy's scores by target."""
    reference = dataclasses.replace(CELLS[1], returns=expert)
    return robustness_table([reference, dataclasses.replace(CELLS[2], normalised=scores)]).notes[0]


def test_why_a_target_has_no_score_is_said_by_reason():
    none, some = (None, None), (1.0, 2.0)
    assert notes((some, some), (some, some)).endswith("over 2 of 2 of them.")
    close = "over 1 of 2 of them: in 1 random actions and the expert are too close."
    assert notes((some, some), (some, none)).endswith(close)
    assert notes((none, none), (none, none)).endswith(
        "over 0 of 2 of them: in 2 there is no expert."
    )
    both = ": in 1 there is no expert, in 1 random actions and the expert are too close."
    assert notes((none, some), (none, none)).endswith(f"over 0 of 2 of them{both}")


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


@pytest.mark.parametrize("scored", [True, False])
def test_curves_are_of_scores_or_where_there_are_none_of_returns(tmp_path, monkeypatch, scored):
    figures, drawing = [], robustness.drawing

    @contextlib.contextmanager
    def kept(*given, **sizes):
        with drawing(*given, **sizes) as figure:
            yield figure
            figures.append(figure)

    monkeypatch.setattr(robustness, "drawing", kept)
    nothing = ((None, None),) * 2
    cells = CELLS if scored else [dataclasses.replace(c, normalised=nothing) for c in CELLS]
    draw_robustness(tmp_path / "a.png", cells)
    axis = figures[0].axes[0]
    assert axis.get_ylabel() == ("normalised score" if scored else "return")
    # Gravity x 0.5, 1 (undisturbed) and 1.5: means of both targets, or of the one with a score.
    expected = [30.0, 50.0, 15.0] if scored else [150.5, 250.5, 75.5]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), expected)


@pytest.mark.parametrize("cells", [[], CELLS[:2]])
def test_references_alone_are_no_result(cells, tmp_path):
    with pytest.raises(ConfigError, match="no policy"):
        robustness_table(cells)
    with pytest.raises(ConfigError, match="no policy"):
        draw_robustness(tmp_path / "a.png", cells)
