"""Runs side by side: what is comparable, and whose row a score belongs to."""

import dataclasses
import itertools
import json

import pytest
from invented import LEVELS, invented_scores

from mrcom.agents.cadm import CADM
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.cli.main import main
from mrcom.core.config import short_hash, to_json
from mrcom.core.errors import ConfigError, RunFolderError
from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.evaluate.scores import append_scores, read_scores
from mrcom.models.latent_error import LatentError
from mrcom.objectives.jacobian import JacobianConfig
from mrcom.report.comparison import compare
from mrcom.report.run_report import open_loop_file, write_report
from mrcom.scenarios.splits import split
from mrcom.train.run_folder import create_run, open_run
from mrcom.train.settings import RunConfig

ONE = RunConfig(MRCOM, budget("tiny"), split("table1-d-shell"), seed=0, behaviour="sac")
OTHER = dataclasses.replace(ONE, method=dataclasses.replace(MRCOM, name="Other"))


def a_run(path, config, adapted=450.0):
    folder = create_run(path, config)
    levels = LEVELS | {"adapted": adapted}
    append_scores(folder.scores_file, invented_scores(seeds=(config.seed,), levels=levels))
    return folder


def test_each_methods_policies_have_rows_of_their_own_and_controls_are_counted_once(tmp_path):
    folders = [a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", OTHER, adapted=700.0)]
    scores = compare(folders).scores
    methods = {score.method for score in scores}
    policies = {
        f"{name}: {what}" for name in ("MrCoM", "Other") for what in ("adapted", "behaviour")
    }
    assert methods == {"random", "expert", "sac"} | policies
    assert len(scores) == len(methods) * len(invented_scores(levels={"sac": 1.0}))


def test_the_better_run_is_said_to_be_better(tmp_path):
    folders = [a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", OTHER, adapted=700.0)]
    *_, ours, theirs = compare(folders).tables
    rows = {row[1]: row[2] for row in ours.groups[-1]}
    assert "'MrCoM: adapted'" in ours.title and rows["Other: adapted"] == "0.00"
    rows = {row[1]: row[2] for row in theirs.groups[-1]}
    assert "'Other: adapted'" in theirs.title and rows["MrCoM: adapted"] == "1.00"


def test_runs_that_were_not_adapted_are_compared_by_their_behaviours(tmp_path):
    folders = [create_run(tmp_path / str(k), run) for k, run in enumerate((ONE, OTHER))]
    for folder, level in zip(folders, (250.0, 700.0), strict=True):
        levels = {"random": 40.0, "expert": 800.0, "behaviour": level}
        append_scores(folder.scores_file, invented_scores(levels=levels))
    *_, ours, theirs = compare(folders).tables
    rows = {row[1]: row[2] for row in ours.groups[-1]}
    assert "'MrCoM: behaviour'" in ours.title and rows["Other: behaviour"] == "0.00"
    assert "'Other: behaviour'" in theirs.title


@pytest.mark.parametrize(
    ("name", "said"),
    [("table1-d", "of which 12.5 % is inside."), ("table1-d-shell", None)],
)
def test_a_wide_split_has_the_mean_over_its_whole_test_box(tmp_path, name, said):
    folders = [
        a_run(tmp_path / method.method.name, dataclasses.replace(method, split=split(name)))
        for method in (ONE, OTHER)
    ]
    compared, reported = compare(folders).tables, write_report(folders[0]).tables
    by_body = [
        [one for one in tables if one.title.startswith("Normalised score by body")]
        for tables in (compared, reported)
    ]
    assert [len(found) for found in by_body] == [1, int(bool(said))]
    for table in itertools.chain(*by_body):
        boxes = [note for note in table.notes if note.startswith("test box")]
        assert boxes == ([f"test box: the whole of it, {said}"] if said else [])
        assert ("test box" in [group[0][0] for group in table.groups]) == bool(said)


def test_predictions_name_every_budget_that_they_were_measured_with(tmp_path):
    folders = [a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", OTHER)]
    for folder, name in zip(folders, ("tiny", "debug"), strict=True):
        errors = {"hopper": OpenLoopErrors((1, 10), (0.1, 0.1), (1.0, 1.0), name)}
        open_loop_file(folder).write_text(json.dumps(to_json(errors)))
    assert "Budget: debug, tiny." in compare(folders).tables[0].notes


def test_seeds_of_one_method_share_its_rows_and_intervals_are_over_runs(tmp_path):
    second = dataclasses.replace(ONE, seed=1)
    folders = [a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", second)]
    comparison = compare(folders)
    assert {run.name for run in comparison.runs} == {"MrCoM"}
    assert "bootstrap over 2 runs" in comparison.tables[0].notes[0]


def test_a_folder_that_is_older_than_a_setting_has_its_default(tmp_path):
    older = a_run(tmp_path / "a", ONE)
    config = json.loads(older.config_file.read_text())
    del config["config"]["settings"]
    config["hash"] = short_hash(config["config"])
    older.config_file.write_text(json.dumps(config))
    names = {run.name for run in compare([open_run(older.path), a_run(tmp_path / "b", OTHER)]).runs}
    assert names == {"MrCoM", "Other"}


def test_what_differs_besides_the_method_is_named(tmp_path):
    silent = dataclasses.replace(ONE, prompt="none")
    names = {
        run.name
        for run in compare([a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", silent)]).runs
    }
    assert names == {"MrCoM, prompt expert", "MrCoM, prompt none"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"inputs": "both"}, {"MrCoM, inputs vectors", "MrCoM, inputs both"}),
        (
            {"jacobian": JacobianConfig(probes=4)},
            {"MrCoM, jacobian probes 1", "MrCoM, jacobian probes 4"},
        ),
        (
            {"latent_error": LatentError(variance=(0.5, 0.5))},
            {"MrCoM, latent error variance [0.0, 0.0]", "MrCoM, latent error variance [0.5, 0.5]"},
        ),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "named",
)
def test_runs_that_were_trained_otherwise_are_not_seeds_of_one_method(changes, names, tmp_path):
    other = dataclasses.replace(ONE, seed=1, **changes)
    runs = compare([a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", other)]).runs
    assert {run.name for run in runs} == names


def test_runs_of_another_protocol_or_without_a_difference_are_refused(tmp_path):
    first = a_run(tmp_path / "a", ONE)
    reach = a_run(tmp_path / "b", dataclasses.replace(OTHER, reward="reach"))
    with pytest.raises(ConfigError, match="reward is track in one and reach in the other"):
        compare([first, reach])
    with pytest.raises(ConfigError, match="second run of MrCoM with seed 0"):
        compare([first, a_run(tmp_path / "c", ONE)])
    with pytest.raises(ConfigError, match="two runs at least"):
        compare([open_run(tmp_path / "a")])


def test_a_behaviour_is_named_where_it_is_not_the_methods_own(tmp_path):
    cadm = dataclasses.replace(ONE, method=CADM)
    dreams = dataclasses.replace(cadm, behaviour="imagination")
    folders = [a_run(tmp_path / str(k), run) for k, run in enumerate((ONE, cadm, dreams))]
    names = [run.name for run in compare(folders).runs]
    assert names == ["MrCoM", "CaDM", "CaDM, behaviour imagination"]


def test_runs_that_were_judged_in_other_episodes_or_not_at_all_are_refused(tmp_path):
    first, second = a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", OTHER)
    longer = [dataclasses.replace(s, budget="small") for s in invented_scores(levels=LEVELS)]
    append_scores(second.scores_file, longer)
    with pytest.raises(ConfigError, match="budgets tiny and small"):
        compare([first, second])
    second.scores_file.write_text("")
    with pytest.raises(RunFolderError, match="is empty"):
        compare([first, second])


def test_runs_of_one_seed_must_have_been_judged_with_the_same_evaluation_seeds(tmp_path):
    first, second = a_run(tmp_path / "a", ONE), a_run(tmp_path / "b", OTHER)
    more = [dataclasses.replace(s, evaluation_seed=7) for s in invented_scores(levels=LEVELS)]
    append_scores(second.scores_file, more)
    with pytest.raises(ConfigError, match=r"other seeds \(0 and 0, 7\).*evaluate --seed"):
        compare([first, second])
    append_scores(first.scores_file, more)
    both = compare([first, second])
    assert len(both.scores) == 2 * len([s for s in both.scores if s.evaluation_seed == 7])
    table = both.tables[0]
    assert "bootstrap over 16 episodes" in table.notes[0]
    assert "Evaluation seeds: 0, 7." in table.notes


def test_a_target_without_a_score_in_one_seed_is_left_out_of_all(tmp_path):
    folders = [
        a_run(tmp_path / str(k), dataclasses.replace(config, seed=k % 2))
        for k, config in enumerate((ONE, ONE, OTHER, OTHER))
    ]
    for folder in folders[::2]:
        scores = read_scores(folder.scores_file)
        at = scores[0].scenario
        lost = [dataclasses.replace(s, normalised=None) for s in scores if s.scenario == at]
        append_scores(folder.scores_file, lost)
    tables = {table.title: table for table in compare(folders).tables}
    table = tables["Normalised score over targets (0 random, 100 expert)"]
    num = len({score.scenario for score in scores})
    assert {row[-1] for row in table.groups[-1]} == {f"{num - 1} of {num}"}


def test_the_command_prints_tables_or_json(tmp_path, capsys):
    for name, config in (("a", ONE), ("b", OTHER)):
        a_run(tmp_path / name, config)
    paths = [str(tmp_path / name) for name in "ab"]
    assert main(["compare", *paths]) == 0
    assert "Other: adapted" in capsys.readouterr().out
    assert main(["compare", *paths, "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert tables[0]["title"] == "Return by target scenario"
    assert main(["compare", paths[0], str(tmp_path / "nothing")]) == 2
