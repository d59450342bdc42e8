import contextlib
import dataclasses
import json
import multiprocessing
import os

import numpy as np
import pytest

from mrcom.core.errors import ConfigError, RunFolderError
from mrcom.evaluate.normalise import normalised_score
from mrcom.evaluate.scores import (
    Score,
    append_scores,
    read_records,
    read_scores,
    score_matrix,
    select,
)

SCORE = Score(
    method="adapted", seed=0, scenario="ab12", body="walker", inside=True, target_speed=1.5,
    episode=0, episode_return=321.5, normalised=40.25, env_steps=3000, updates=1500, budget="tiny",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Measured(Score):
    """A score as one of the records that `read_records` reads."""

    key = property(lambda self: self.cell)


def changed(**fields):
    return dataclasses.replace(SCORE, **fields)


def test_what_is_written_is_read_back(tmp_path):
    file = tmp_path / "run" / "scores.jsonl"
    scores = [changed(episode=e, normalised=None if e else 40.25) for e in range(3)]
    append_scores(file, scores[:2])
    append_scores(file, scores[2:])
    assert read_scores(file) == scores
    assert len(file.read_text().splitlines()) == 3


def test_a_measurement_made_again_replaces_the_earlier_one(tmp_path):
    file = tmp_path / "scores.jsonl"
    append_scores(file, [SCORE, changed(episode=1)])
    append_scores(file, [changed(episode_return=1.0)])
    assert [s.episode_return for s in read_scores(file)] == [1.0, 321.5]


def test_a_measurement_that_found_the_same_again_has_one_line(tmp_path):
    file = tmp_path / "scores.jsonl"
    for value in (321.5, 321.5, 1.0, 1.0, 321.5):
        append_scores(file, [changed(episode_return=value), changed(episode=1)])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [s["episode_return"] for s in lines if s["episode"] == 0] == [321.5, 1.0, 321.5]
    assert len([s for s in lines if s["episode"] == 1]) == 1


def test_measurements_of_other_evaluation_seeds_are_kept_beside_each_other(tmp_path):
    file = tmp_path / "scores.jsonl"
    for seed, value in ((0, 1.0), (7, 2.0), (7, 3.0)):
        append_scores(file, [changed(evaluation_seed=seed, episode_return=value)])
    kept = [(s.evaluation_seed, s.episode_return) for s in read_scores(file)]
    assert kept == [(0, 1.0), (7, 3.0)]


def test_an_older_line_without_an_evaluation_seed_has_that_of_its_run(tmp_path):
    file, line = tmp_path / "scores.jsonl", dataclasses.asdict(changed(seed=4))
    del line["evaluation_seed"]
    file.write_text(json.dumps(line) + "\n")
    (old,) = read_scores(file)
    assert old.evaluation_seed is None and old.drawn == (4, 0)
    again = changed(seed=4, evaluation_seed=4, episode_return=1.0)
    append_scores(file, [again, changed(seed=4, evaluation_seed=5)])
    assert read_scores(file) == [again, changed(seed=4, evaluation_seed=5)]


def test_a_line_from_before_there_were_settings_has_the_usual_ones(tmp_path):
    file, line = tmp_path / "scores.jsonl", dataclasses.asdict(SCORE)
    del line["settings"]
    file.write_text(json.dumps(line) + "\n")
    assert read_scores(file) == [SCORE]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2 holds"),
        ('{"methd": "sac"}', "line 2: Unknown field of a score 'methd'. Did you mean 'method'"),
        ('{"method": "sac"}', "line 2 has no 'seed'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, what):
    file = tmp_path / "scores.jsonl"
    append_scores(file, [SCORE])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(RunFolderError, match=rf"scores\.jsonl, {what}"):
        read_scores(file)


def test_a_torn_last_line_is_not_read_and_the_next_scores_take_its_place(tmp_path):
    file = tmp_path / "scores.jsonl"
    append_scores(file, [SCORE])
    whole = file.read_bytes()
    for length in (1, 20, len(whole) - 2):
        file.write_bytes(whole + whole[:length])
        assert read_scores(file) == [SCORE]
        append_scores(file, [changed(episode=1)])
        assert read_scores(file) == [SCORE, changed(episode=1)]
    file.write_bytes(whole[:-1])  # a last line that lacks its end alone is none
    append_scores(file, [changed(episode=1)])
    assert read_scores(file) == [SCORE, changed(episode=1)]


def test_scores_that_do_not_fit_on_the_disk_leave_nothing_behind(tmp_path, monkeypatch):
    file, real = tmp_path / "scores.jsonl", os.write
    append_scores(file, [SCORE])
    before = file.read_bytes()
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:-9]))
    with pytest.raises(RunFolderError, match=r"cannot be written .*No space left"):
        append_scores(file, [changed(episode=1), changed(episode=2)])
    assert file.read_bytes() == before


def test_whatever_bit_flips_in_scores_they_are_read_or_refused_in_one_line(tmp_path, flipped):
    file = tmp_path / "scores.jsonl"
    append_scores(file, [SCORE, changed(episode=1)])
    for damaged in flipped(file.read_bytes(), every=3):
        file.write_bytes(damaged)
        for read in (read_scores, lambda path: read_records(path, Measured)):
            with contextlib.suppress(RunFolderError):
                read(file)
        append_scores(file, [changed(episode=2)])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("seed", "0", "finite int"),
        ("seed", True, "finite int"),
        ("inside", 1, "finite bool"),
        ("evaluation_seed", "7", "finite int or null"),
        ("episode_return", None, "finite int or float"),
        ("normalised", "x", "finite int or float or null"),
    ],
)
def test_a_wrong_kind_of_value_is_named(tmp_path, field, value, expected):
    file = tmp_path / "scores.jsonl"
    file.write_text(json.dumps(dataclasses.asdict(SCORE) | {field: value}) + "\n")
    with pytest.raises(RunFolderError, match=rf"line 1: {field} is .*, expected a {expected}"):
        read_scores(file)


def test_a_return_that_is_not_finite_is_neither_written_nor_read(tmp_path):
    file = tmp_path / "scores.jsonl"
    with pytest.raises(ValueError, match="JSON"):
        append_scores(file, [changed(episode_return=float("nan"))])
    file.write_text(json.dumps(dataclasses.asdict(changed(episode_return=float("inf")))) + "\n")
    with pytest.raises(RunFolderError, match="finite"):
        read_scores(file)


def test_a_half_written_line_does_not_swallow_the_next(tmp_path):
    file = tmp_path / "scores.jsonl"
    file.write_text('{"method": "adap')
    append_scores(file, [SCORE])
    assert read_scores(file) == [SCORE]


def test_a_missing_or_unwritable_file_says_so(tmp_path):
    with pytest.raises(RunFolderError, match="Run `mrcom evaluate` first"):
        read_scores(tmp_path / "scores.jsonl")
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        append_scores(tmp_path / "file" / "scores.jsonl", [SCORE])


def _write(arguments):
    path, seed = arguments
    for episode in range(50):
        append_scores(path, [changed(seed=seed, episode=episode)])


def test_writers_at_the_same_time_never_mix_their_lines(tmp_path):
    file = tmp_path / "scores.jsonl"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_write, [(file, 0), (file, 1)])
    assert len(read_scores(file)) == 100


def told_scores(seeds):
    return [
        changed(
            seed=seed, scenario=name, episode=episode, normalised=100.0 * seed + value + episode
        )
        for seed in seeds
        for name, value in (("b", 20), ("a", 10))
        for episode in (0, 1)
    ]


def test_several_runs_are_rows_of_means_over_episodes():
    matrix = score_matrix(told_scores([0, 1]))
    assert (matrix.scenarios, matrix.unit) == (("a", "b"), "run")
    np.testing.assert_allclose(matrix.values, [[10.5, 20.5], [110.5, 120.5]])
    np.testing.assert_allclose(
        score_matrix(told_scores([0, 1]), field="episode_return").values, 321.5
    )


def test_of_a_single_run_every_episode_is_a_row():
    matrix = score_matrix(told_scores([3]))
    assert matrix.unit == "episode"
    np.testing.assert_allclose(matrix.values, [[310, 320], [311, 321]])


def test_episodes_of_other_evaluation_seeds_are_more_episodes_not_the_same_again():
    more = [dataclasses.replace(s, evaluation_seed=9, episode_return=7.0) for s in told_scores([3])]
    matrix = score_matrix([*told_scores([3]), *more], field="episode_return")
    assert matrix.unit == "episode" and matrix.values.shape == (4, 2)
    np.testing.assert_allclose(matrix.values[2:], 7.0)
    with pytest.raises(
        ConfigError, match="no score of episode 0 of evaluation seed 9 in scenario a"
    ):
        score_matrix([*told_scores([3]), *more[:1]])


def test_a_scenario_without_a_normalised_score_is_left_out_of_the_matrix():
    scores = [
        dataclasses.replace(s, normalised=None) if s.scenario == "a" else s
        for s in told_scores([0, 1])
    ]
    assert score_matrix(scores).scenarios == ("b",)
    with pytest.raises(ConfigError, match="No score of 'adapted' has a normalised"):
        score_matrix([changed(normalised=None)])


def test_a_hole_in_the_matrix_is_named():
    with pytest.raises(ConfigError, match="no score of run 1 in scenario cd"):
        score_matrix([SCORE, changed(scenario="cd"), changed(seed=1)])
    with pytest.raises(ConfigError, match="no score of episode 1 in scenario cd"):
        score_matrix([SCORE, changed(scenario="cd"), changed(episode=1)])
    with pytest.raises(ConfigError, match="got adapted, sac"):
        score_matrix([SCORE, changed(method="sac")])
    with pytest.raises(ConfigError, match="got none"):
        score_matrix([])


def test_selected_by_any_field():
    scores = [SCORE, changed(body="hopper"), changed(method="sac")]
    assert select(scores, body="walker", method="adapted") == [SCORE]
    with pytest.raises(ConfigError, match="Did you mean 'body'"):
        select(scores, bdy="walker")


def test_random_is_zero_expert_is_one_hundred():
    returns = np.array([[100.0, 300, 500, 50], [10, 20, 30, 40]])
    got = normalised_score(returns, np.array([100.0, 10]), np.array([500.0, 30]))
    np.testing.assert_allclose(got, [[0, 50, 100, -12.5], [0, 50, 100, 150]])


def test_there_is_no_score_where_the_expert_is_not_above_random():
    returns = np.array([[100.0], [100], [100]])
    got = normalised_score(returns, np.array([5.0, 5, 5]), np.array([14.9, 15, 1]))
    np.testing.assert_array_equal(np.isnan(got[:, 0]), [True, False, True])
