"""`mrcom benchmark learn` and `mrcom doctor --size` say what an update costs."""

import json

import jax
import jax.numpy as jnp
import pytest

from mrcom.benchmark.invented import invent, measured_agent
from mrcom.benchmark.learn import Program
from mrcom.benchmark.rate import MatrixProducts
from mrcom.cli.main import main
from mrcom.core.rng import root_key

PARTS = {"batch", "world_model", "dreams", "actor_and_critics", "host"}


@pytest.mark.slow
def test_every_number_of_the_benchmark_is_there_and_agrees_with_the_others(capsys):
    given = ["--size", "debug", "--methods", "dreamer", "sac", "--updates", "2"]
    assert main(["benchmark", "learn", *given, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["matmul_gflops"] > 0 and set(record["methods"]) == {"dreamer", "sac"}
    for cost in record["methods"].values():
        assert set(cost["shares"]) == PARTS and sum(cost["shares"].values()) == pytest.approx(1)
        assert 0 < cost["share_of_matmul_rate"] < 1
        assert min(cost[key] for key in ("updates_per_s", "compile_s", "peak_memory_mb")) > 0
    assert record["methods"]["sac"]["shares"]["dreams"] == 0


def test_compiling_takes_as_long_as_it_does_where_nothing_is_cached():
    agent = measured_agent("sac", "debug")
    invented = invent(agent, agent.num_scenarios)
    given = agent.init(root_key(0)), invented.batch(invented.draw(0))
    found = []
    event = lambda name, **_: found.append(name)
    jax.monitoring.register_event_listener(event)
    try:
        Program(agent, *given)  # now an earlier process might have left it
        Program(agent, *given)
    finally:
        jax.monitoring.unregister_event_listener(event)
    assert "/jax/compilation_cache/cache_hits" not in found


def test_a_wrong_number_of_updates_is_refused_with_the_nearest(capsys):
    assert main(["benchmark", "learn", "--updates", "0"]) == 2
    assert "nearest is 1" in capsys.readouterr().err


def test_an_unknown_size_or_benchmark_is_answered_with_the_nearest(capsys):
    assert main(["benchmark", "lern"]) == 2
    assert "learn" in capsys.readouterr().err
    assert main(["benchmark", "learn", "--size", "2M"]) == 2
    assert "1M" in capsys.readouterr().err


def test_the_rate_is_operations_over_the_median_time():
    products = MatrixProducts(side=8, times=3)
    products.measure()
    assert len(products.seconds) == len(products.core_seconds) == 1
    assert products.gflops([1e-6, 4e-6, 1e-3]) == pytest.approx(2 * 8**3 * 3 / 4e-6 / 1e9)
    assert jnp.isfinite(products.gflops(products.seconds))


@pytest.mark.slow
def test_the_doctor_says_what_an_update_of_a_size_needs(capsys):
    main(["doctor", "--size", "1M", "--json"])
    checks = {
        check["name"]: check["found"] for check in json.loads(capsys.readouterr().out)["checks"]
    }
    assert checks["update of dreamer"].startswith("28.7 GFLOP")
    assert "update of mrcom" not in checks  # it has no such size
