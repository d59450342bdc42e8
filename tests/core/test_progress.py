"""Long steps say how far they are, also where there is no terminal."""

import io
import re
import time

from mrcom.core.progress import StepWithin, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_count_and_tell_the_time_left():
    stream = io.StringIO()
    with progress("training", total=4, stream=stream, interval_s=0.0) as bar:
        bar.advance(1, text="loss 1.2")
        bar.advance(1)
        bar.advance(2)
    first, second, last = stream.getvalue().splitlines()
    assert re.fullmatch(r"training: 1/4, loss 1\.2", first)
    assert re.fullmatch(r"training: 2/4, \d+:\d\d left, loss 1\.2", second)
    assert re.fullmatch(r"training: 4/4, took \d+:\d\d, loss 1\.2", last)


def test_a_step_within_a_step_is_counted_beside_the_whole_which_has_no_pace_meanwhile(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    with progress("training", total=4, stream=stream, interval_s=1.0) as bar:
        inner = StepWithin(bar, "collecting", 5)
        for text in ("", "upright"):
            clock[0] += 2.0
            inner.advance(2, text=text)
        for _ in range(2):
            clock[0] += 2.0
            bar.advance(1, text="learning")
    assert stream.getvalue().splitlines() == [
        "training: 0/4, collecting 2/5",
        "training: 0/4, collecting 4/5, upright",
        "training: 1/4, learning",
        "training: 2/4, 0:04 left, learning",
        "training: 2/4, took 0:08, learning",
    ]


def test_what_was_done_before_counts_but_says_nothing_of_the_pace(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    with progress("training", total=100, done=90, stream=stream, interval_s=1.0) as bar:
        for _ in range(2):
            clock[0] += 2.0
            bar.advance()
    first, second, _ = stream.getvalue().splitlines()
    assert (first, second) == ("training: 91/100", "training: 92/100, 0:16 left")
    monkeypatch.undo()  # rich, imported here, would keep this clock for all tests that follow
    live = Terminal()
    with progress("training", total=100, done=90, stream=live) as bar:
        bar.advance()
    assert "91/100" in live.getvalue()


def test_lines_are_rare():
    stream = io.StringIO()
    with progress("training", total=1000, stream=stream) as bar:
        for _ in range(1000):
            bar.advance()
    assert len(stream.getvalue().splitlines()) == 1


def test_the_time_left_knows_nothing_of_the_first_step_which_waits_for_a_compiler(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    with progress("training", total=100, stream=stream, interval_s=1.0) as bar:
        clock[0] = 1000.0  # compiling
        for _ in range(20):
            clock[0] += 2.0
            bar.advance()
    first, second, *_, late, _ = stream.getvalue().splitlines()
    assert first == "training: 1/100"  # it took 1002 s
    assert second == "training: 2/100, 3:16 left"  # 98 steps of 2 s
    assert late == "training: 20/100, 2:40 left"  # 80 steps of 2 s


def test_the_time_left_follows_the_pace_of_late(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    with progress("training", total=100, stream=stream, interval_s=1.0) as bar:
        for step in range(40):
            clock[0] += 20.0 if step < 20 else 2.0
            bar.advance()
    slow, late = (stream.getvalue().splitlines()[done - 1] for done in (20, 40))
    assert slow == "training: 20/100, 26:40 left"  # 80 steps of 20 s
    assert late == "training: 40/100, 2:00 left"  # 60 steps of 2 s


def test_a_terminal_shows_no_time_left_before_the_second_step_either():
    for steps, left in ((1, "-:--:--"), (2, r"\d+:\d\d:\d\d")):
        stream = Terminal()
        with progress("training", total=4, stream=stream) as bar:
            for _ in range(steps):
                bar.advance()
                time.sleep(0.001)
        last = stream.getvalue().split("\r")[-1]
        assert re.search(rf"training.*{steps}/4.*left .*{left}", last), last


def test_a_terminal_shows_a_bar_and_a_step_within_a_step_a_second_one():
    stream = Terminal()
    with (
        progress("adapting", total=2, stream=stream) as outer,
        progress("rolling out", total=3, stream=stream) as inner,
    ):
        inner.advance(3, text="return 12")
        outer.advance()
    drawn = stream.getvalue()
    assert re.search(r"adapting.*1/2", drawn)
    assert re.search(r"rolling out.*3/3.*return 12", drawn)
    assert re.search(r"adapting[^\n]*\n[^\n]*rolling out", drawn)  # one below the other


def test_an_error_inside_passes_through_and_frees_the_terminal():
    stream = Terminal()
    for _ in range(2):
        try:
            with progress("training", total=2, stream=stream) as bar:
                bar.advance()
                raise KeyError
        except KeyError:
            continue
    assert stream.getvalue()
