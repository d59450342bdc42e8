"""Shapes stay the same through a run: nothing is compiled twice."""

import collections
import dataclasses

import jax
import pytest
from toy import BUDGET, CONFIG

from mrcom.agents.build import method_named
from mrcom.train.loop import train

EVENT = "/jax/core/compile/jaxpr_to_mlir_module_duration"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mrcom", "dreamer"])
def test_a_run_compiles_its_update_once_and_nothing_in_later_rounds(tmp_path, name):
    compiled: list[str] = []
    count = lambda event, seconds, **about: compiled.extend(
        [about["fun_name"]] if event == EVENT else []
    )
    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(count)
    counts = []
    try:
        for rounds in (1, 4):
            compiled.clear()
            budget = dataclasses.replace(BUDGET, rounds=rounds, updates=10)
            config = dataclasses.replace(CONFIG, method=method_named(name), budget=budget)
            train(config, tmp_path / str(rounds))
            counts.append(collections.Counter(compiled))
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    first, longer = counts
    assert first["jit(_update)"] == first["jit(_act)"] == 1
    assert longer == {}, "with the same shapes, more rounds need no other programs"
