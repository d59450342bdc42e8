"""Operations are counted as the compiler counts them, and as the sizes say."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from mrcom.agents import cadm_config, mamba_config, model_free, mrcom_config
from mrcom.agents.dreamer_config import operations as needed_by_dreamer
from mrcom.benchmark.invented import measured_agent, shapes_of_update
from mrcom.benchmark.operations import operations, operations_of_update


def test_a_product_by_hand_and_a_loop_as_often_as_it_goes_round():
    a, b = jnp.ones((3, 5)), jnp.ones((5, 5))
    assert operations(lambda a: a @ b, a) == 2 * 3 * 5 * 5
    loop = lambda a: jax.lax.scan(lambda x, _: (x @ b, None), a, None, length=7)[0]
    assert operations(jax.jit(loop), a) == 7 * 2 * 3 * 5 * 5


def test_a_gradient_has_one_more_product_for_each_operand():
    loss = lambda both: jnp.sum((both[0] @ both[1]) ** 2)
    assert operations(jax.grad(loss), (jnp.ones((3, 5)), jnp.ones((5, 4)))) == 3 * 2 * 3 * 5 * 4


def test_a_convolution_by_hand():
    picture, kernel = jnp.ones((2, 4, 8, 8)), jnp.ones((6, 4, 3, 3))
    run = lambda x: jax.lax.conv(x, kernel, (1, 1), "SAME")
    assert operations(run, picture) == 2 * (4 * 3 * 3) * (2 * 6 * 8 * 8)


def test_the_dearest_branch_counts():
    a = jnp.ones((4, 4))
    both = lambda a, at: jax.lax.cond(at, lambda: a @ a @ a, lambda: a @ a)
    assert operations(both, a, True) == 2 * 2 * 4**3


@pytest.mark.parametrize("size", ["debug", "tiny", "1M", "12M"])
def test_an_update_makes_the_operations_that_its_sizes_need_and_no_more(size):
    agent = measured_agent("dreamer", size)
    rows, layout = agent.windows.rows(agent.num_scenarios), agent.layout
    needed = needed_by_dreamer(agent.config, rows, layout.obs, layout.act)
    # At `debug`, small products besides (means of bins, sums of classes) are a larger share.
    allowed = 0.1 if size == "debug" else 0.02
    assert operations_of_update(agent) == pytest.approx(needed, rel=allowed)


NEEDED = {
    "mrcom": mrcom_config.operations,
    "mamba": mamba_config.operations,
    "cadm": cadm_config.operations,
    "sac": model_free.operations,
}


@pytest.mark.parametrize(
    ("name", "behaviour", "size", "of_needed"),
    [
        # Why those that make more do is in docs/speed.md.
        ("mrcom", "sac", "tiny", 1.065),
        ("mrcom", "sac", "full", 1.060),
        ("mrcom", "imagination", "tiny", 1.219),
        ("mamba", "imagination", "tiny", 1.159),
        ("cadm", "sac", "small", 1.117),
        ("sac", "sac", "tiny", 1.060),
        ("sac", "sac", "small", 1.053),
    ],
)
def test_other_methods_make_so_much_more_than_their_sizes_need(name, behaviour, size, of_needed):
    agent = measured_agent(name, size, behaviour=behaviour)
    config = model_free.SIZES[size] if name == "sac" else agent.config
    rows, layout = agent.windows.rows(agent.num_scenarios), agent.layout
    needed = NEEDED[name](config, rows, layout.obs, layout.act)
    assert operations_of_update(agent) / needed == pytest.approx(of_needed, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [("dreamer", "1M"), ("mrcom", "small"), ("sac", "small")]
)
def test_the_compiler_counts_the_same_once_its_loops_are_written_out(monkeypatch, name, size):
    """It counts a loop's body once, and additions of activations and optimisers as well."""
    agent = measured_agent(name, size, bodies=("cheetah",), scenarios=4)
    change = {"windows": dataclasses.replace(agent.windows, length=4, scenarios=4, per_scenario=64)}
    if name == "sac":
        agent = dataclasses.replace(agent, **change)
    else:
        config = dataclasses.replace(agent.config, horizon=2, **change)
        agent = dataclasses.replace(agent, config=config)
    given, scan = shapes_of_update(agent), jax.lax.scan
    ours = operations(agent.update, *given)
    jax.clear_caches()
    monkeypatch.setattr(jax.lax, "scan", lambda *a, **given: scan(*a, **given | {"unroll": True}))
    counted = jax.jit(lambda *a: agent.update(*a)).lower(*given).cost_analysis()["flops"]
    jax.clear_caches()
    assert ours == pytest.approx(counted, rel=0.07) and ours < counted
