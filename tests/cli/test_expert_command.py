"""`mrcom expert` passes on what was asked for and shows how far it is."""

import pytest

from mrcom.cli import expert as command
from mrcom.cli.main import main


class Told:
    def __init__(self):
        self.done, self.texts = 0, []

    def advance(self, by: int = 1, text: str = "") -> None:
        self.done += by
        self.texts.append(text)


def test_the_bar_follows_the_steps_and_never_passes_the_end():
    bar = Told()
    report = command._report_to(bar, 100, by_time=False)
    for env_steps in (30, 60, 130):
        report({"env_steps": env_steps, "best": -1.0 if env_steps < 60 else 512.0})
    assert bar.done == 100
    assert bar.texts == ["", "best return 512", "best return 512"]


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What training was called with; it does nothing."""
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "mrcom.train.expert.train_expert", lambda body, **kw: calls.append(kw | {"body": body})
    )
    return calls


def test_an_hour_and_a_half_is_the_default_and_said_first(asked, capsys):
    assert main(["expert", "--body", "walker"]) == 0
    (call,) = asked
    assert (call["body"], call["seconds"], call["env_steps"]) == ("walker", 5400.0, None)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "training for 1.5 hours; choose otherwise by --seconds or --env-steps"


@pytest.mark.parametrize(
    ("args", "seconds", "env_steps"),
    [
        ("--env-steps 70", None, 70),
        ("--seconds 60", 60.0, None),
        ("--seconds 60 --env-steps 70", 60.0, 70),
    ],
)
def test_a_limit_that_was_asked_for_is_the_only_one(asked, capsys, args, seconds, env_steps):
    assert main(["expert", "--body", "walker", *args.split()]) == 0
    (call,) = asked
    assert (call["seconds"], call["env_steps"]) == (seconds, env_steps)
    assert "choose otherwise" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--body walker --run-dir notes", "notes exists already"),
        ("--body walker --seconds nan", "--seconds nan must be a finite number above 0"),
        ("--body walker --seconds inf", "--seconds inf must be a finite number above 0"),
        ("--body walker --seconds -5", "--seconds -5 must be a finite number above 0"),
        ("--body walker --seconds 0", "--seconds 0 must be a finite number above 0"),
        ("--body walker --env-steps -1", "--env-steps -1 must be at least 1"),
        ("--body cat --seconds 1", "Unknown body 'cat'"),
        ("--body walker --seconds 1 --run-dir file/runs", "cannot be written"),
        ("--body walker --seconds 1 --run-dir notes", "notes exists already"),
        ("--body walker --seconds 1 --resume notes", "no checkpoint in notes to resume from"),
        ("--body walker --seconds 1 --resume nowhere", "no checkpoint in nowhere to resume"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(capsys, tmp_path, args, said):
    (tmp_path / "file").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    before = set(tmp_path.rglob("*"))
    assert main(["expert", *args.split()]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before
