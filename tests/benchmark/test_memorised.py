"""What a model is asked about episodes that it was taught, and about others."""

import importlib.util
import pathlib

import equinox as eqx
import jax
import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
CALL = ["--episodes", "6", "--size", "debug"]


def script(name):
    """A script, which finds those beside it."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def memorised():
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield script("memorised")


@pytest.fixture(scope="module")
def stored(memorised, tmp_path_factory):
    """The folder of a short run as `reproduce.py` makes it, that has learnt nothing."""
    out = tmp_path_factory.mktemp("stored")
    assert memorised.main([*CALL, "--out", str(out), "--updates", "0"]) == 0
    return out / "walker-walk-6-0"


def same(one, other):
    """Whether two modules have the same numbers."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs if eqx.is_array(b))


def symlog(values):
    return np.sign(values) * np.log1p(np.abs(values))


def test_every_fifth_episode_is_left_out_and_each_kind_is_judged_by_itself(
    memorised, stored, capsys, monkeypatch
):
    asked, told = [], memorised.said
    monkeypatch.setattr(
        memorised, "said", lambda run, steps: asked.append(steps) or told(run, steps)
    )
    stores, draw = [], memorised.drawn
    monkeypatch.setattr(
        memorised, "drawn", lambda run, store, at: stores.append(store) or draw(run, store, at)
    )
    given = ["--out", str(stored.parent), "--updates", "2", "--every", "2"]
    assert memorised.main([*CALL, *given]) == 0
    taught, left = asked
    assert len(taught.reward) == 5 and len(left.reward) == 1
    found = [np.abs(taught.obs - left.obs[0]).max(axis=(1, 2))]
    assert np.min(found) > 0.1
    assert [store.added[0] for store in stores] == [5, 5]
    assert np.array_equal(stores[0].ring.obs[0, :5], taught.obs)
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[1] for row in rows] == ["taught", "left out"]
    assert head.count("|") == rule.count("|") == rows[0].count("|") == rows[1].count("|")
    # Nothing but the episode itself is needed to say what came, and how far it moved.
    *_, both, errors = rows[1].rstrip(" |").split(" | ")
    after = slice(memorised.BEGINS, None)
    moved = np.diff(symlog(left.obs[0]), axis=0)[memorised.BEGINS - 1 :]
    assert both.split(" / ")[1] == f"{left.reward[0, after].mean():.3f}"
    assert float(errors.split(" / ")[1]) == pytest.approx((moved**2).sum(1).mean(), abs=0.006)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--run", "r", "--updates", "3"], "--updates is not read beside --run"),
        (["--of", "r", "--size", "12M"], "--size is not read beside --of"),
        (["--of", "r", "--every", "0"], "--every 0: at least 1"),
    ],
)
def test_what_would_not_be_read_is_refused(memorised, capsys, given, said):
    with pytest.raises(SystemExit) as ended:
        memorised.main(given)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_a_folder_that_is_no_such_run_is_refused(memorised, tmp_path, capsys):
    assert memorised.main(["--run", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_episodes_of_a_run_are_those_that_it_stored(memorised, stored, capsys):
    capsys.readouterr()
    more = ["--updates", "1", "--every", "1"]
    assert memorised.main(["--of", str(stored), "--episodes", "6", *more]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    run = memorised.stored_by(stored, (), 6)
    left = run.experience.store.ring.reward[0, 4, memorised.BEGINS :]
    assert rows[1].split(" | ")[6].split(" / ")[1] == f"{left.mean():.3f}"
    assert run.experience.store.added[0] == 6
    assert memorised.main(["--of", str(stored), "--episodes", "4"]) == 2
    assert memorised.main(["--of", str(stored), "--episodes", "7"]) == 2
    assert "has stored 6" in capsys.readouterr().err


def test_a_behaviour_alone_learns_in_a_model_that_stays_as_it_is(memorised, stored):
    offline = script("offline")
    run = memorised.stored_by(stored, ())
    memorised.as_new(run)
    memorised.teach_model(run, run.experience.store, 0)
    before = jax.tree.map(lambda leaf: np.array(leaf) if eqx.is_array(leaf) else leaf, run.state)
    offline.teach_behaviour(run, 1e-3, updates=3, every=4)
    assert same(run.state.model, before.model)
    assert not same(run.state.behaviour.actor, before.behaviour.actor)
    assert not same(run.state.behaviour.critic, before.behaviour.critic)
