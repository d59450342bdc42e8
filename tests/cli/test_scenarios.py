"""`mrcom scenarios` lists exact physical values."""

import json
import re

import numpy as np
import pytest

from mrcom.cli.main import main
from mrcom.cli.scenarios import table
from mrcom.scenarios.scenario import Scenario


def listed(capsys, *args: str) -> list[dict]:
    assert main(["scenarios", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["scenarios"]


def test_the_same_seed_gives_the_same_list_and_another_another(capsys):
    def hashes(*args):
        return [row["physical"]["scenario"] for row in listed(capsys, *args)]

    assert hashes() == hashes()
    assert not set(hashes()) & set(hashes("--seed", "1"))


def test_a_row_holds_the_whole_record(capsys):
    for row in listed(capsys, "--body", "hopper", "--count", "3", "--observation", "msk_f"):
        scenario = Scenario.from_json(row["record"])
        assert scenario.hash == row["physical"]["scenario"]
        assert scenario.observation.kind == "msk_f"


def test_physical_values_are_those_of_the_published_torso_scaled(capsys):
    # The walker's torso: a capsule of radius 0.07 m and length 0.6 m.
    for row in listed(capsys, "--body", "walker", "--alpha", "20"):
        record, physical = row["record"], row["physical"]
        assert physical["torso_length"] == pytest.approx(0.6 * record["torso_length"])
        assert physical["torso_radius"] == pytest.approx(0.07 * record["torso_size"])
        assert physical["target_speed"] == record["target_speed"]
        assert 0 <= record["target_speed"] <= 8


def test_a_box_without_width_is_the_default_body(capsys):
    (row,) = listed(capsys, "--body", "cheetah", "--alpha", "0", "--count", "1")
    assert row["physical"]["torso_length"] == pytest.approx(1.0)
    assert row["physical"]["total_mass"] == pytest.approx(14.0)


def test_the_table_has_units_and_a_line_each(capsys):
    assert main(["scenarios", "--count", "4"]) == 0
    shared, head, *rows = capsys.readouterr().out.splitlines()
    assert "body walker, reward track, gravity 9.81 m/s^2" in shared
    assert len(rows) == 4
    assert "target_speed [m/s]" in head
    assert "torso_length [m]" in head


def test_what_differs_between_rows_becomes_a_column():
    rows = [{"scenario": "a", "gravity": 9.81}, {"scenario": "b", "gravity": 4.0}]
    shared, head, *lines = table(rows, {"scenario": "", "gravity": "m/s^2"})
    assert (shared, head.split()) == ("", ["scenario", "gravity", "[m/s^2]"])
    assert [line.split() for line in lines] == [["a", "9.81"], ["b", "4.0"]]


def test_the_table_says_the_numbers_that_json_says(capsys):
    args = ["--body", "walker", "--count", "5", "--gravity", "20", "--friction", "20"]
    physical = [row["physical"] for row in listed(capsys, *args)]
    assert main(["scenarios", *args]) == 0
    _, head, *lines = capsys.readouterr().out.splitlines()
    names = re.sub(r" \[.*?\]", "", head).split()
    assert {"target_speed", "torso_radius", "total_mass", "gravity", "friction"} <= set(names)
    for line, row in zip(lines, physical, strict=True):
        assert len(line) == len(head)
        for name, said in zip(names, line.split(), strict=True):
            assert said == str(row[name])
            assert isinstance(row[name], str) or float(said) == row[name]


def test_numbers_in_the_table_are_exact_and_its_columns_aligned():
    rows = [{"mass": 0.1 + 0.2, "size": 1e-7}, {"mass": np.float64(29.5), "size": 1 / 3}]
    assert table(rows, {"mass": "kg", "size": ""}) == [
        "",
        "          mass [kg]                size",
        "0.30000000000000004               1e-07",
        "               29.5  0.3333333333333333",
    ]
