"""`mrcom doctor RUN` says what is wrong with a run's folder, and mends what can be mended."""

import json
import re
import shutil

import numpy as np
import pytest
from toy import contents, toy_run

from mrcom.cli.main import main
from mrcom.core.errors import RunFolderError
from mrcom.train import member
from mrcom.train.checkpoint import RECORD, Checkpoints
from mrcom.train.repair import repair

# A read that fails leaves the storage library's event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def states(path):
    return {finding.name: finding.state for finding in repair(path)}


def test_a_whole_folder_is_left_as_it_is(run):
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert set(states(run).values()) == {"ok"}
    lock = run / ".lock"
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {p: d for p, d in after.items() if p != lock} == {
        p: d for p, d in files.items() if p != lock
    }


def test_leftovers_of_killed_writers_are_removed(run):
    (run / "checkpoints" / "9.orbax-checkpoint-tmp").mkdir()
    for name in ("replay/.000009.npz.draft", ".config.json.draft"):
        (run / name).write_bytes(b"half")
    assert states(run)["unfinished files"] == "mended"
    assert not [*run.rglob(".*.draft"), *run.rglob("*.orbax-checkpoint-tmp")]
    assert states(run)["unfinished files"] == "ok"


@pytest.mark.parametrize("name", ["metrics.jsonl", "scores.jsonl"])
def test_a_torn_last_line_is_dropped_and_a_damaged_one_named(run, name):
    file = run / name
    file.write_text('{"a": 1}\n{"a": 2}\n{"a": ')
    assert states(run)[name] == "mended"
    assert file.read_text() == '{"a": 1}\n{"a": 2}\n'
    file.write_text('{"a": 1}\n{"a": 2}')  # whole but for its end
    assert states(run)[name] == "mended"
    assert file.read_text() == '{"a": 1}\n{"a": 2}\n'
    file.write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    (found,) = [finding for finding in repair(run) if finding.name == name]
    assert (found.state, found.advice) == ("broken", f"delete line 2 of {file}")


def test_lines_of_the_log_that_are_lost_are_said(run, capsys):
    file = run / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[1:]))
    (found,) = (one for one in repair(run) if one.name == file.name)
    assert found.state == "ok"
    assert f"at least {len(lines[0])} bytes of lines before checkpoint 60 lost" in found.found
    file.unlink()
    assert states(run)[file.name] == "broken"
    assert main(["doctor", str(run)]) != 0
    assert "missing" in capsys.readouterr().out


def test_a_lost_configuration_is_written_anew_from_the_newest_checkpoint(run, whole):
    before = json.loads((whole / "config.json").read_text())
    (run / "config.json").write_text("{")
    assert states(run)["config.json"] == "mended"
    assert json.loads((run / "config.json").read_text()) == before


def test_a_damaged_checkpoint_is_moved_aside_and_the_one_before_counts(run, whole):
    steps = Checkpoints(run / "checkpoints").steps()
    (run / "checkpoints" / str(steps[-1]) / RECORD).write_text("{")
    assert states(run)[f"checkpoints/{steps[-1]}"] == "mended"
    assert (run / "broken" / f"checkpoints-{steps[-1]}" / "arrays").is_dir()
    assert Checkpoints(run / "checkpoints").steps() == steps[:-1]
    toy_run(run, resume=True)
    assert contents(run) == contents(whole)


def test_a_finished_run_keeps_its_checkpoints_whatever_happens_to_its_episodes(tmp_path, capsys):
    run = tmp_path / "run"
    toy_run(run, save_every=1000)  # one checkpoint a round: those before do without the last
    steps = Checkpoints(run / "checkpoints").steps()
    (run / "replay" / "000003.npz").unlink()
    assert main(["doctor", str(run)]) == 2
    assert "evaluate and adapt work" in capsys.readouterr().out
    assert Checkpoints(run / "checkpoints").steps()[-1] == steps[-1]


def test_what_was_collected_after_the_last_checkpoint_is_no_damage(tmp_path, monkeypatch):
    class Cut(BaseException):
        pass

    def cut(*args):
        raise Cut

    monkeypatch.setattr(member, "write_back", cut)
    with pytest.raises(Cut):
        toy_run(tmp_path / "run")
    (found,) = [finding for finding in repair(tmp_path / "run") if finding.name == "checkpoints"]
    assert found.state == "ok" and "starts from the beginning" in found.found


def test_what_another_version_wrote_stays_where_it_is(run, capsys):
    Checkpoints(run / "adapted" / "sac").save(0, {"x": np.zeros(3)}, meta={})
    for path in run.rglob(str(RECORD)):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"format": 1, "mrcom": "0.0"}))
    files = sorted(path for path in run.rglob("*"))
    assert main(["doctor", str(run)]) == 2
    said = capsys.readouterr().out
    assert "has format 1" in said and "use the version of mrcom that wrote it" in said
    assert sorted(path for path in run.rglob("*") if path.name != ".lock") == [
        f for f in files if f.name != ".lock"
    ]
    assert "starts from the beginning" not in said


def test_a_damaged_adaptation_is_moved_aside(run):
    kept = Checkpoints(run / "adapted" / "sac")
    kept.save(0, {"x": np.zeros(3)}, meta={})
    assert states(run)["adapted/sac"] == "ok"
    kept.close()
    shutil.rmtree(kept.path(0) / "arrays")
    assert "mended" in states(run).values()
    assert kept.steps() == [] and (run / "broken" / "sac-0").is_dir()


def test_what_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(RunFolderError, match="not a run folder"):
        repair(tmp_path / "nothing")
    assert main(["doctor", str(tmp_path / "nothing")]) == 2


def test_a_folder_of_runs_is_refused_and_nothing_in_it_is_removed(run, capsys):
    writing = [run / "replay" / ".000009.npz.draft", run / "checkpoints" / ".9.draft"]
    for file in writing:
        file.write_bytes(b"half")
    assert main(["doctor", str(run.parent)]) == 2
    said = capsys.readouterr().err
    assert "is not a run folder" in said and "Runs in it: run." in said
    assert all(file.exists() for file in writing) and not (run.parent / ".lock").exists()


def test_a_folder_without_a_configuration_is_a_run_where_there_are_checkpoints(run):
    (run / "config.json").unlink()
    assert states(run)["config.json"] == "mended"


def test_a_folder_that_cannot_be_written_is_a_one_line_error(run, capsys):
    step = Checkpoints(run / "checkpoints").steps()[-1]
    (run / "checkpoints" / str(step) / RECORD).write_text("{")
    (run / "broken").touch()
    assert main(["doctor", str(run)]) == 2
    assert re.search(r"broken/.* cannot be written", capsys.readouterr().err)
    (run / ".lock").unlink()
    (run / ".lock").mkdir()
    assert main(["doctor", str(run)]) == 2
    assert re.search(r"\.lock cannot be written", capsys.readouterr().err)


def test_the_findings_can_be_had_as_json(run, capsys):
    assert main(["doctor", str(run), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ok"] and {check["state"] for check in record["checks"]} == {"ok"}
