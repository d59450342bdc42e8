"""What was saved comes back bit for bit; what cannot come back is refused in one line."""

import errno
import json
import os
import pathlib
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

from mrcom.core.errors import CheckpointError, OtherVersionError, RunFolderError
from mrcom.core.files import drop_leftovers
from mrcom.core.rng import named_generator, root_key
from mrcom.train import checkpoint
from mrcom.train.checkpoint import RECORD, Checkpoints

# A read that fails leaves the storage library's event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


OPTIMISER = optax.adam(0.1)


class Learner(eqx.Module):
    net: eqx.nn.MLP
    moments: optax.OptState
    key: Array
    empty: Array
    updates: Array
    label: str = eqx.field(static=True, default="left alone")


def learner(width: int = 32) -> Learner:
    net = eqx.nn.MLP(3, 2, width, 1, key=root_key(0))
    moments = OPTIMISER.init(eqx.filter(net, eqx.is_array))
    return Learner(net, moments, root_key(7), jnp.zeros((0, 3)), jnp.zeros((), jnp.int32))


@eqx.filter_jit
def update(state: Learner) -> Learner:
    key = jax.random.fold_in(state.key, state.updates)
    x = jax.random.normal(key, (3,))
    grads = eqx.filter_grad(lambda net: jnp.sum(net(x) ** 2))(state.net)
    steps, moments = OPTIMISER.update(grads, state.moments)
    net = eqx.apply_updates(state.net, steps)
    return Learner(net, moments, state.key, state.empty, state.updates + 1)


def same(a, b) -> bool:
    return bool(eqx.tree_equal(a, b, typematch=True))


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    checkpoints.save(1, update(learner()), meta={"config": {"seed": 3}})
    yield checkpoints
    checkpoints.close()


def test_stop_save_load_continue_equals_not_stopping(saved):
    straight = update(update(learner()))
    resumed = update(saved.restore(learner()).state)
    assert same(straight, resumed)
    assert not same(resumed, update(learner()))


def test_shapes_do_as_a_template(saved):
    shapes = eqx.filter_eval_shape(learner)
    assert same(saved.restore(shapes).state, update(learner()))
    with pytest.raises(CheckpointError, match="of another model"):
        saved.restore(eqx.filter_eval_shape(learner, 5))


def test_arrays_of_the_host_keep_every_bit_and_type(tmp_path):
    rng = named_generator(0, "host")
    host = {
        "replay/obs[0].raw": rng.normal(size=(3, 2)),
        "ids": np.array([2**63 + 1], np.uint64),
        "mask": np.array([True, False]),
        "nothing": np.zeros((0, 4), np.float32),
        "count": np.array(5),
    }
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, {}, meta={}, host=host)
    back = checkpoints.restore({}).host
    assert list(back) == list(host)
    for name, array in host.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    back["mask"][0] = False  # a restored ring buffer is written to again


def test_a_generator_goes_on_where_it_was(tmp_path):
    rng = named_generator(0, "batches")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, {}, meta={"rng": rng.bit_generator.state})
    expected = rng.normal(size=3)
    other = named_generator(1)
    other.bit_generator.state = checkpoints.read_meta()["rng"]
    np.testing.assert_array_equal(other.normal(size=3), expected)


def test_only_the_newest_are_kept_and_the_newest_is_restored(saved):
    for step in (2, 3):
        saved.save(step, learner(), meta={"step": step})
    assert saved.steps() == [2, 3]
    assert saved.restore(learner()).step == 3
    assert saved.restore(learner(), step=2).meta == {"step": 2}


def test_what_is_no_array_comes_from_the_template(saved):
    template = eqx.tree_at(lambda s: s.net.activation, learner(), jnp.tanh)
    assert saved.restore(template).state.net.activation is jnp.tanh


def test_a_half_written_checkpoint_is_not_seen(saved):
    (saved.folder / "5.orbax-checkpoint-tmp").mkdir()
    assert saved.steps() == [1]


def test_other_shapes_are_refused_with_the_first_leaf_that_differs(saved):
    with pytest.raises(
        CheckpointError, match=r"net\.layers\[0\]\.weight is float32\[32, 3\] there"
    ):
        saved.restore(learner(width=5))


def test_another_kind_of_key_is_refused(saved):
    template = eqx.tree_at(lambda s: s.key, learner(), jax.random.key(7, impl="threefry2x32"))
    with pytest.raises(CheckpointError, match=r"rbg.* there and .*fry"):
        saved.restore(template)


def test_missing_arrays_are_refused(saved):
    with pytest.raises(CheckpointError, match=r"is absent there"):
        saved.restore({"state": learner()})


def test_another_format_is_refused_with_both_versions(saved):
    path = saved.folder / "1" / RECORD
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"format": 99, "mrcom": "9.9"}))
    with pytest.raises(CheckpointError, match=r"format 99.*9\.9.*format 2 only"):
        saved.restore(learner())


def test_an_equal_step_is_left_where_it_says_the_same_and_replaced_where_it_does_not(saved):
    before = (saved.path(1) / RECORD).stat().st_mtime_ns
    saved.save(1, update(learner()), meta={"config": {"seed": 3}})
    assert (saved.path(1) / RECORD).stat().st_mtime_ns == before
    saved.save(1, learner(), meta={"config": {"seed": 3}, "rounds": (5, 6)})
    found = saved.restore(learner())
    assert found.meta["rounds"] == [5, 6] and same(found.state, learner())
    saved.save(2, update(learner()), meta={})
    assert saved.steps() == [1, 2]


def test_a_step_that_cannot_be_replaced_stays(saved, monkeypatch):
    def full(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "sync_folder", full)
    with pytest.raises(RunFolderError, match="No space left"):
        saved.save(1, learner(), meta={"config": {"seed": 4}})
    found = Checkpoints(saved.folder).restore(learner())
    assert found.meta == {"config": {"seed": 3}} and same(found.state, update(learner()))
    assert [file.name for file in saved.folder.iterdir()] == ["1"]


def test_a_step_that_was_half_deleted_is_none(saved, monkeypatch):
    saved.save(2, learner(), meta={})

    def killed(path, **more):
        if pathlib.Path(path).exists():
            (pathlib.Path(path) / RECORD).unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        saved.drop_after(1)
    assert saved.steps() == [1]
    monkeypatch.undo()
    assert same(saved.restore(learner()).state, update(learner()))
    assert drop_leftovers(saved.folder) == [".2.draft"]


def test_a_step_is_on_disk_once_it_is_saved(saved, monkeypatch):
    seen, real = set(), os.fsync
    name = lambda handle: pathlib.Path(os.readlink(f"/proc/self/fd/{handle}"))
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.add(name(handle)), real(handle)))
    saved.save(2, update(learner()), meta={})
    step = saved.path(2)
    assert {step / RECORD, (step / RECORD).parent, step, saved.folder} <= seen
    assert {path for path in step.rglob("*") if path.is_file()} <= seen


def test_no_checkpoint_and_no_such_step_are_refused(saved, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        Checkpoints(tmp_path / "elsewhere").restore(learner())
    with pytest.raises(CheckpointError, match="no step 7; the nearest is 1"):
        saved.restore(learner(), step=7)


def largest_file(folder):
    return max((f for f in folder.rglob("*") if f.is_file()), key=os.path.getsize)


@pytest.mark.parametrize("part", ["arrays", "record"])
def test_a_torn_file_is_refused_in_one_line(saved, part):
    path = largest_file(saved.folder / "1" / part)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="damaged") as error:
        saved.restore(learner())
    assert "\n" not in str(error.value)


def test_a_changed_number_is_noticed(saved):
    path = saved.folder / "1" / RECORD
    record = json.loads(path.read_text())
    record["arrays"]["state"][".updates"]["checksum"] += 1
    del record["hash"]
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="checksum"):
        saved.restore(learner())


def test_a_record_that_was_changed_is_noticed(saved):
    path = saved.folder / "1" / RECORD
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"meta": record["meta"] | {"more": 1}}))
    with pytest.raises(CheckpointError, match="checksum of its record"):
        saved.read_meta()


def test_a_format_that_a_flipped_bit_made_is_damage_and_not_another_version(saved):
    path = saved.folder / "1" / RECORD
    written = path.read_bytes()
    place = written.index(b'"format": ') + len(b'"format": ')
    for bit in range(4):  # those of a digit that leave a digit
        flipped = bytes([written[place] ^ 1 << bit])
        if not flipped.isdigit():
            continue
        path.write_bytes(written[:place] + flipped + written[place + 1 :])
        with pytest.raises(CheckpointError, match="damaged") as raised:
            saved.read_meta()
        assert not isinstance(raised.value, OtherVersionError)


def test_reading_leaves_alone_what_is_being_written_beside(saved):
    draft = saved.folder / "2.orbax-checkpoint-tmp"
    draft.mkdir()
    (draft / "part").write_text("half")
    Checkpoints(saved.folder).restore(learner())
    assert (draft / "part").read_text() == "half"


def test_a_step_before_the_newest_is_not_left_out_unsaid(saved):
    with pytest.raises(RunFolderError, match="step 0 comes before 1"):
        saved.save(0, learner(), meta={})


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        Checkpoints(tmp_path / "file" / "checkpoints").save(0, {"x": jnp.ones(1)}, meta={})


def test_a_bit_that_flipped_on_disk_changes_no_number_unnoticed(saved):
    path, expected = largest_file(saved.folder / "1" / "arrays"), update(learner())
    data, noticed = path.read_bytes(), 0
    places = range(0, len(data), max(1, len(data) // 29))
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            assert same(saved.restore(learner()).state, expected)
        except CheckpointError as error:
            assert "damaged" in str(error)
            noticed += 1
    assert noticed > len(places) / 2


def test_types_that_numpy_does_not_know_keep_every_bit(tmp_path):
    state = {"x": jnp.arange(5, dtype=jnp.bfloat16) / 3}
    Checkpoints(tmp_path).save(0, state, meta={})
    assert same(Checkpoints(tmp_path).restore(state).state, state)
