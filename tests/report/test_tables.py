import dataclasses
import io
import re

import numpy as np
import pytest
from invented import invented_scores
from rich.console import Console

from mrcom.core.errors import ConfigError
from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.report.body_table import body_table
from mrcom.report.table import Table, to_markdown, to_rich, to_text
from mrcom.report.tables import (
    NOTHING,
    aggregate_table,
    improvement_table,
    open_loop_table,
    target_table,
)

ERRORS = {"hopper": OpenLoopErrors((1, 10), (0.01, 0.36), (0.04, 1.0))}
SMALL = Table("What", ("a", "bb"), ((("x|y", "1"), ("z", "22")), (("w", "3"),)), ("A note.",))


def test_a_table_as_text_by_hand():
    assert to_text(SMALL) == (
        "What\n\na    bb\n---  --\nx|y   1\nz    22\n---  --\nw     3\nA note.\n"
    )


def test_a_table_as_markdown_by_hand():
    assert to_markdown(SMALL) == (
        "**What**\n\n| a | bb |\n| --- | ---: |\n| x\\|y | 1 |\n| z | 22 |\n| w | 3 |\n\nA note.\n"
    )


def test_a_table_in_a_terminal_holds_every_cell_literally():
    console = Console(width=60, record=True, file=io.StringIO())
    table = dataclasses.replace(SMALL, groups=((("[red]x[/red]", "1"),),))
    console.print(to_rich(table))
    assert "[red]x[/red]" in console.export_text()


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ConfigError, match="2 columns, a row has 1"):
        Table("t", ("a", "b"), ((("x",),),))


def test_prediction_errors_stand_beside_those_of_the_last_observation():
    assert open_loop_table(ERRORS).rows == (
        ("hopper", "1", "0.100", "0.200", "0.50", "0.25"),
        ("", "10", "0.600", "1.000", "0.60", "0.36"),
    )


def test_prediction_errors_say_the_budget_they_were_measured_with_where_it_is_known():
    tiny = {body: dataclasses.replace(error, budget="tiny") for body, error in ERRORS.items()}
    assert "Budget: tiny." in open_loop_table(tiny).notes
    assert "Budget" not in "".join(open_loop_table(ERRORS).notes)


def test_a_target_has_a_row_per_policy_from_random_to_scratch():
    table = target_table(invented_scores())
    assert len(table.groups) == 6
    first = table.groups[0]
    assert [row[1] for row in first] == [
        "random actions", "expert", "behaviour, not adapted", "adapted", "SAC from scratch",
    ]  # fmt: skip
    assert [group[0][0] for group in table.groups[:2]] == [
        "hopper 0.70 m/s, inside", "hopper 1.80 m/s, outside",
    ]  # fmt: skip
    means = [
        s.episode_return
        for s in invented_scores()
        if s.scenario == "hopper0.7" and s.method == "adapted"
    ]
    adapted = first[3]
    assert adapted[2] == f"{np.mean(means):.1f}"
    low, high = map(float, adapted[3].split(" to "))
    assert min(means) < low < np.mean(means) < high < max(means)
    assert "adapted: 3,000 real steps, 1,500 updates in each target." in table.notes
    assert "Budget: tiny." in table.notes


def test_the_note_says_how_a_policy_was_found_where_that_is_not_the_usual_way():
    chosen = {"sac": "policy_init scratch, reads observation"}
    scores = [dataclasses.replace(s, settings=chosen.get(s.method, "")) for s in invented_scores()]
    notes = target_table(scores).notes
    assert "adapted: 3,000 real steps, 1,500 updates in each target." in notes
    (note,) = [note for note in notes if note.startswith("SAC from scratch")]
    assert note.startswith("SAC from scratch (policy_init scratch, reads observation): 3,000 real")
    other = [dataclasses.replace(s, method="tuned", settings="model finetune") for s in scores
             if s.method == "adapted"]  # fmt: skip
    notes = target_table([*scores, *other]).notes
    assert "tuned (model finetune): 3,000 real steps, 1,500 updates in each target." in notes


def test_a_note_says_by_hand_what_adapting_changed():
    first = [s for s in invented_scores(episodes=1) if s.body == "hopper"]
    returns = {("adapted", True): 30.0, ("adapted", False): 10.0, ("behaviour", True): 15.0,
               ("behaviour", False): 30.0}  # fmt: skip
    scores = [
        dataclasses.replace(s, episode_return=returns.get((s.method, s.inside), 0.0)) for s in first
    ]
    said = "The mean return of 'adapted' is above that of 'behaviour, not adapted' in {}."
    changed = lambda some: [n for n in target_table(some).notes if n.startswith("The mean return")]
    assert changed(scores) == [said.format("1 of 2 targets; the mean of all changes is -2.5")]
    half = [s for s in scores if s.inside or s.method != "behaviour"]
    assert changed(half) == [said.format("1 of 1 targets; the mean of all changes is +15.0")]
    for method in ("adapted", "behaviour"):
        assert changed([s for s in scores if s.method != method]) == []


def test_one_episode_has_no_interval_and_an_unknown_score_no_number():
    scores = [dataclasses.replace(s, normalised=None) for s in invented_scores(episodes=1)]
    row = target_table(scores).groups[0][3]
    assert row[3:] == (NOTHING, NOTHING, NOTHING)
    assert any("too close to random" in note for note in target_table(scores).notes)
    assert aggregate_table(scores).groups[0][0][2:] == (*[NOTHING] * 4, "0 of 3")


def test_targets_that_would_be_called_the_same_are_told_apart():
    twins = [dataclasses.replace(s, target_speed=1.0, scenario=s.scenario[::-1])
             for s in invented_scores() if s.body == "hopper"]  # fmt: skip
    twins = [dataclasses.replace(s, inside=True) for s in twins]
    labels = [group[0][0] for group in target_table(twins).groups]
    assert labels == ["hopper 1.00 m/s, inside [7.0r]", "hopper 1.00 m/s, inside [8.1r]"]


def test_aggregates_count_targets_and_lie_in_their_intervals():
    table = aggregate_table(invented_scores(seeds=(0, 1, 2)))
    assert [group[0][0] for group in table.groups] == ["inside", "outside", "all"]
    for row in table.rows:
        low, high = map(float, row[5].split(" to "))
        assert low <= float(row[4]) <= high
    assert table.groups[2][0][6] == "6 of 6" and "3 runs" in table.notes[0]
    only = [s for s in invented_scores() if s.inside]
    assert [group[0][0] for group in aggregate_table(only).groups] == ["inside"]


def numbers(cell):
    """Mean, low and high of a cell."""
    return [float(number) for number in re.findall(r"-?[0-9.]+", cell)]


def test_scores_by_body_are_their_means_and_lie_in_their_intervals():
    scores = invented_scores(seeds=(0, 1, 2))
    table = body_table(scores)
    assert table.columns == ("targets", "policy", "hopper", "walker", "cheetah", "all")
    assert [group[0][0] for group in table.groups] == ["inside", "outside"]
    by_policy = {row[1]: row for row in table.groups[1]}
    adapted = [s for s in scores if s.method == "adapted" and not s.inside]
    for column, body in enumerate(("hopper", "walker", "cheetah"), start=2):
        expected = np.mean([s.normalised for s in adapted if s.body == body])
        found, low, high = numbers(by_policy["adapted"][column])
        assert found == pytest.approx(expected, abs=0.06) and low < found < high
    every = np.mean([s.normalised for s in adapted])
    assert numbers(by_policy["adapted"][5])[0] == pytest.approx(every, abs=0.06)
    once = body_table(invented_scores(episodes=1)).groups[0][0]
    assert "(" not in once[2], "one episode has no interval"


def test_a_wide_test_box_has_means_of_its_own_between_those_of_its_parts():
    scores = invented_scores(seeds=(0, 1, 2))
    table = body_table(scores, share_inside=0.1)
    assert [group[0][0] for group in table.groups] == ["inside", "outside", "test box"]
    assert table.groups[:2] == body_table(scores).groups
    assert table.notes[0] == "test box: the whole of it, of which 10 % is inside."
    inside, outside, whole = [{row[1]: row for row in group} for group in table.groups]
    for column in range(2, 6):
        cells = [numbers(part["adapted"][column]) for part in (inside, outside, whole)]
        found, low, high = cells[2]
        assert found == pytest.approx(0.1 * cells[0][0] + 0.9 * cells[1][0], abs=0.1)
        assert low < found < high
    # Of scores in one part alone nothing can be said about the whole.
    only = [s for s in scores if s.inside]
    assert body_table(only, share_inside=0.1) == body_table(only)
    lost = [s if s.inside else dataclasses.replace(s, normalised=None) for s in scores]
    assert body_table(lost, share_inside=0.1).groups[2][0][2:] == (NOTHING,) * 4


def test_improvement_is_certain_where_every_episode_is_better():
    rows = {row[1]: row for row in improvement_table(invented_scores(spread=1.0)).groups[0]}
    assert rows["SAC from scratch"][2:] == ("1.00", "1.00 to 1.00")
    assert rows["expert"][2] == "0.00"
    nobody = [s for s in invented_scores() if s.method != "adapted"]
    assert improvement_table(nobody).rows == ()


def test_the_same_scores_print_the_same_table():
    assert to_text(target_table(invented_scores())) == to_text(target_table(invented_scores()))
