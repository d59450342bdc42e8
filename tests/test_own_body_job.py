"""The main job with a body of the user's own: from its file to policies, without it afterwards."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

import mrcom
from mrcom.behaviour import expert
from mrcom.cli.main import main
from mrcom.evaluate.scores import read_scores
from mrcom.scenarios import bodies as registry

pytestmark = pytest.mark.slow

EXAMPLES = pathlib.Path(mrcom.__file__).parents[2] / "examples"
AMOUNT = ("--budget", "debug", "--seed", "3")
ACTS_ELSEWHERE = """
import sys, numpy as np, mrcom
run = mrcom.load(sys.argv[1])
env, policy = run.env(), run.policy()
assert [s.body for s in run.targets] == ["hopper", "crawler"]
assert np.isfinite(policy(env.reset())).all()
"""


@pytest.fixture
def crawler(tmp_path, monkeypatch):
    """A copy of the example, which only this test knows."""
    monkeypatch.setattr(registry, "_bodies", dict(registry._bodies))
    monkeypatch.setattr(expert, "_own", {})
    for name in ("crawler.py", "crawler.xml"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    return tmp_path / "crawler.py"


def forget(crawler):
    for path in crawler.parent.glob("crawler.*"):
        path.unlink()


def test_a_body_without_an_expert_is_trained_and_judged(crawler, tmp_path, capsys):
    run = tmp_path / "run"
    train = ["train", *AMOUNT, "--bodies", "hopper", str(crawler), "--run-dir", str(run)]
    assert main(train) == 2
    assert "'crawler' has no expert" in capsys.readouterr().err
    assert main([*train, "--prompt", "own"]) == 0
    forget(crawler)
    assert main(["evaluate", str(run)]) == 0
    scores = read_scores(run / "scores.jsonl")
    assert {s.body for s in scores if s.method == "behaviour"} == {"hopper", "crawler"}
    assert {s.body for s in scores if s.method == "expert"} == {"hopper"}
    assert all(s.normalised is None for s in scores if s.body == "crawler")
    assert (run / "figures" / "dreams_crawler.png").is_file()
    checkpoint = next((run / "checkpoints").glob("[0-9]*"))
    alone = subprocess.run([sys.executable, "-c", ACTS_ELSEWHERE, str(checkpoint)], text=True)
    assert alone.returncode == 0


def test_an_expert_beside_the_file_prompts_and_is_the_hundred(crawler, tmp_path, capsys):
    amount = ("--env-steps", "6400", "--run-dir", str(tmp_path / "expert"))
    assert main(["expert", "--body", str(crawler), *amount]) == 0
    assert f"copy them to {tmp_path / 'crawler.npz'}" in capsys.readouterr().out
    shutil.copy(tmp_path / "expert" / "best.npz", tmp_path / "crawler.npz")
    run = tmp_path / "run"
    method = ("--method", "sac", "--bodies", str(crawler))
    assert main(["train", *AMOUNT, *method, "--run-dir", str(run)]) == 0
    forget(crawler)
    assert main(["evaluate", str(run)]) == 0
    scores = read_scores(run / "scores.jsonl")
    assert {s.method for s in scores} == {"random", "expert", "behaviour"}
    assert main(["train", "--resume", str(run)]) == 0
    record = json.loads((run / "config.json").read_text())["config"]
    assert [one["body"] for one in record["own_experts"]] == ["crawler"]


def test_going_on_with_another_file_of_that_name_is_refused(crawler, tmp_path, capsys):
    run = tmp_path / "run"
    given = ["--method", "sac", "--bodies", str(crawler), "--prompt", "own"]
    assert main(["train", *AMOUNT, *given, "--run-dir", str(run)]) == 0
    crawler.write_text(crawler.read_text() + "\n# changed\n")
    registry._bodies.pop("crawler")
    assert main(["train", "--resume", str(run), *given]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ") and len(said) < 300
