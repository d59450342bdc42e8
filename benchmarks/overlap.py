"""What waits for what while a run trains: updates, rounds of collection and checkpoints.

    python benchmarks/overlap.py --figure docs/figures/overlap.png

Trains a run in a folder of its own, with `--apart` once more with every round made between two
updates, which changes no number, and notes when each update was done and when each round and each
checkpoint began and ended. Prints how fast training was as a whole beside its updates alone.
"""

import argparse
import contextlib
import dataclasses
import itertools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from typing import Any
from unittest import mock

from mrcom.agents.build import behaviour_of, method_named
from mrcom.agents.presets import budget
from mrcom.core.process import keep_compiled_programs, keep_freed_memory, seal_after_compiling
from mrcom.report.style import BLUE, GREY, ORANGE, drawing
from mrcom.scenarios.splits import split
from mrcom.train import learner
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.collector import Collector
from mrcom.train.loop import train
from mrcom.train.settings import RunConfig

SKIPPED = 20
"""Updates at the start that do not count: the first ones compile."""
Span = tuple[float, float]
"""When something began and ended [s]."""


@dataclasses.dataclass
class Trace:
    """What a run did, and when."""

    updates: list[float] = dataclasses.field(default_factory=list)
    """When each was done [s]."""
    rounds: list[Span] = dataclasses.field(default_factory=list)
    checkpoints: list[Span] = dataclasses.field(default_factory=list)

    @property
    def each(self) -> list[float]:
        """Seconds from one update to the next, without the first ones."""
        done = self.updates[SKIPPED:]
        return [after - before for before, after in itertools.pairwise(done)]

    def said(self, name: str) -> str:
        """A row of the table."""
        alone, whole = statistics.median(self.each), statistics.mean(self.each)
        took = [end - begin for begin, end in self.rounds if begin > self.updates[0]]
        a_round = f"{statistics.mean(took):.2f}" if took else "-"
        return f"| {name} | {alone:.3f} | {whole:.3f} | {alone / whole:.0%} | {a_round} |"


@contextlib.contextmanager
def traced(*, apart: bool) -> Generator[Trace]:
    """What runs do in this block; with `apart` no update is made while a round is."""
    trace = Trace()

    def spanned(real: Callable[..., Any], spans: list[Span]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.monotonic()
            try:
                return real(*args, **kwargs)
            finally:
                spans.append((begin, time.monotonic()))

        return timed

    check, begin = learner.check_finite, Collector.begin_ahead

    def checked(*args: Any) -> None:
        check(*args)  # waits for the update's losses
        trace.updates.append(time.monotonic())

    def waiting(self: Collector, state: Any) -> None:
        begin(self, state)
        if apart:
            self.wait()

    with (
        mock.patch.object(learner, "check_finite", checked),
        mock.patch.object(Collector, "begin_ahead", waiting),
        mock.patch.object(Collector, "_make", spanned(Collector._make, trace.rounds)),
        mock.patch.object(Checkpoints, "save", spanned(Checkpoints.save, trace.checkpoints)),
    ):
        yield trace


def main() -> None:
    """Train, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="mrcom")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--figure", type=pathlib.Path)
    given = parser.parse_args()
    keep_freed_memory()
    keep_compiled_programs()
    seal_after_compiling()
    amount = dataclasses.replace(budget("tiny"), rounds=given.rounds, updates=given.updates)
    config = RunConfig(
        method := method_named(given.method),
        amount,
        split("table1-d-shell"),
        given.size,
        behaviour=behaviour_of(method.family),
    )
    print("| rounds | an update alone [s] | with all else [s] | share | a round [s] |")
    print("| --- | ---: | ---: | ---: | ---: |")
    traces = {}
    with tempfile.TemporaryDirectory() as folder:
        for apart in (True, False) if given.apart else (False,):
            name = "between updates" if apart else "beside them"
            with traced(apart=apart) as trace:
                train(config, pathlib.Path(folder) / name.replace(" ", "-"))
            print(trace.said(name), flush=True)
            traces[name] = trace
    if given.figure is not None:
        draw(given.figure, traces)


def draw(path: pathlib.Path, traces: dict[str, Trace]) -> None:
    """One panel a run: what was under way at each time."""
    with drawing(path, figsize=(8.4, 1.7 * len(traces))) as figure:
        axes = figure.subplots(len(traces), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (name, trace) in zip(axes, traces.items(), strict=True):
            start = trace.updates[SKIPPED]
            since = lambda spans, start=start: [
                (begin - start, end - begin) for begin, end in spans if begin > start
            ]
            done = [at - start for at in trace.updates[SKIPPED:]]
            axis.plot(done, [2.5] * len(done), "|", color=BLUE, markersize=12)
            axis.broken_barh(since(trace.rounds), (1.1, 0.8), color=ORANGE)
            axis.broken_barh(since(trace.checkpoints), (0.1, 0.8), color=GREY)
            axis.set_yticks([0.5, 1.5, 2.5], ["checkpoint", "round", "updates done"])
            axis.set_title(f"rounds {name}", loc="left", fontsize=9)
        axes[-1].set_xlabel("seconds")


if __name__ == "__main__":
    main()
