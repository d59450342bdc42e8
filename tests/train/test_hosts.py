"""Several machines train one run: processes that meet on loopback do what one process does."""

import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from mrcom.cli.main import main
from mrcom.core.errors import ConfigError, HostLostError, RunFolderError
from mrcom.train import hosts
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.leaves import leaves
from mrcom.train.run import open_trained
from mrcom.train.run_folder import RunFolder

COMMAND = ["train", "--budget=debug", "--bodies=hopper", "--method=sac", "--save-every=4"]


def start(*args):
    """A process of its own with the command, and these arguments besides."""
    run = [sys.executable, "-m", "mrcom.cli", *COMMAND, *map(str, args)]
    return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*processes):
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), said


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def two(first, second):
    """Two hosts, each with arguments of its own."""
    place = f"127.0.0.1:{free_port()}"
    own = enumerate((first, second))
    ended(*[start("--devices=2", f"--host={n}/2@{place}", *args) for n, args in own])


def weights(folder):
    """All that was learnt, by the newest checkpoint."""
    arrays = leaves(open_trained(RunFolder(folder)).state)
    return {name: np.asarray(x) for name, x in arrays.items()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.mark.slow
def test_two_hosts_train_one_run_and_go_on_from_what_both_have(tmp_path):
    one, both = tmp_path / "one", [tmp_path / "host0", tmp_path / "host1"]
    alone = start("--run-dir", one)
    two(*(["--run-dir", folder] for folder in both))
    ended(alone)
    whole = weights(both[0])
    assert same(weights(both[1]), whole)
    for name, alone in weights(one).items():
        np.testing.assert_allclose(whole[name], alone, rtol=2e-3, atol=2e-4, err_msg=name)

    # One host was stopped before its last checkpoints: both go on from the newest they share.
    steps = Checkpoints(both[1] / "checkpoints").steps()
    for step in steps[1:]:
        shutil.rmtree(both[1] / "checkpoints" / str(step))
    two(*(["--resume", folder] for folder in both))
    assert same(weights(both[0]), whole) and same(weights(both[1]), whole)


@pytest.fixture
def others_say(monkeypatch):
    """Stands for the gathering of every host's answer, which two processes above really do."""

    def answer(of_all):
        monkeypatch.setattr(hosts, "several_hosts", lambda: True)
        monkeypatch.setattr(hosts, "_everyones", lambda own: np.stack(of_all(own)))

    return answer


def test_all_go_on_from_checkpoints_that_every_host_has(others_say):
    others_say(lambda own: [own, np.array([4, 8, 12] + [-1] * (len(own) - 3))])
    assert hosts.kept_by_all([8, 12, 16]) == {8, 12}
    with pytest.raises(RunFolderError, match=r"in common \(host 0: \[16\]; host 1: \[4, 8, 12\]\)"):
        hosts.kept_by_all([16])
    others_say(lambda own: [own, np.full_like(own, -1)])
    assert hosts.kept_by_all([]) == set()


def test_other_settings_are_refused_and_one_that_stops_stops_all(others_say):
    others_say(lambda own: [own, own])
    hosts.check_alike([{"seed": 0}])
    assert not hosts.any_host(False)
    others_say(lambda own: [own, own + 1])
    with pytest.raises(ConfigError, match="given other settings"):
        hosts.check_alike([{"seed": 0}])
    others_say(lambda own: [own, np.array(True)])
    assert hosts.any_host(False)


def test_a_lost_host_is_said_in_one_line_by_one_that_waits_for_nobody(
    others_say, tmp_path, monkeypatch
):
    others_say(lambda own: [own])
    at_exit = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    lost = pytest.raises(HostLostError, match=r"gone.*broken pipe.*--resume")
    with lost, hosts.with_others(tmp_path):
        raise jax.errors.JaxRuntimeError("broken pipe")
    assert at_exit == [hosts._leave]


def test_a_host_is_written_as_its_number_the_count_and_where_the_first_one_is():
    assert hosts.host_of("1/2@10.0.0.1:9876") == hosts.Host(1, 2, "10.0.0.1:9876")
    with pytest.raises(ConfigError, match=r"'here' must be NUMBER/COUNT@ADDRESS:PORT"):
        hosts.host_of("here")
    with pytest.raises(ConfigError, match=r"must be below 2; the nearest is 1/2"):
        hosts.host_of("2/2@10.0.0.1:9876")
    for port, nearest in ((0, 1), (99999, 65535)):
        with pytest.raises(ConfigError, match=rf"from 1 to 65535; the nearest is {nearest}\."):
            hosts.host_of(f"0/2@10.0.0.1:{port}")


def test_a_wrong_host_is_one_line_and_leaves_nothing(tmp_path, capsys):
    args = [*COMMAND, "--run-dir", str(tmp_path / "run"), "--host", "0/0@a:1"]
    assert main(args) == 2
    assert "must be below 0; the nearest is 0/1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_process_that_was_not_joined_asks_nobody():
    assert hosts.any_host(True) and not hosts.any_host(False)
    assert hosts.kept_by_all([3, 1]) == {1, 3}
