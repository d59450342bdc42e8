"""Hosts that come meet; one that waits in vain, or cannot be, is told so in one line."""

import concurrent.futures
import socket
import time

import pytest

from mrcom.core.errors import ConfigError
from mrcom.train.meeting import meet

PATIENCE = 20.0


@pytest.fixture
def place():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{opened.getsockname()[1]}"


@pytest.fixture
def started(place):
    """A function that starts a host in a thread of its own."""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        yield lambda number, count, patience=PATIENCE: threads.submit(
            meet, place, number, count, patience=patience
        )


def open_to(place):
    """A connection to host 0 once it listens."""
    name, port = place.split(":")
    for _ in range(100):
        try:
            return socket.create_connection((name, int(port)))
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_go_on_once_the_last_has_come(started, order):
    hosts = [started(number, 3) for number in order[:2]]
    time.sleep(0.5)
    assert not any(host.done() for host in hosts)
    for host in (*hosts, started(order[2], 3)):
        host.result(PATIENCE)


def test_one_alone_waits_for_nobody():
    meet("nowhere:1", 0, 1)


def test_host_0_names_those_who_did_not_come(started):
    waits, comes = started(0, 4, 1.0), started(2, 4, 1.0)
    with pytest.raises(ConfigError, match=r"did not come to port .* in time: 1, 3"):
        waits.result(PATIENCE)
    with pytest.raises(ConfigError, match="2 of 4 did not meet the others at 127"):
        comes.result(PATIENCE)


def test_a_second_of_the_same_number_and_one_of_another_count_are_refused(started):
    waits, comes = started(0, 3), started(1, 3)
    time.sleep(0.5)
    with pytest.raises(ConfigError, match="there is a host 1 already"):
        started(1, 3).result(PATIENCE)
    with pytest.raises(ConfigError, match="as one of 2 hosts, host 0 as one of 3"):
        started(1, 2).result(PATIENCE)
    assert not waits.done() and not comes.done()
    for host in (started(2, 3), waits, comes):
        host.result(PATIENCE)


def test_one_that_left_again_may_come_back_and_strangers_do_not_count(place, started):
    waits = started(0, 3)
    with open_to(place) as link:
        link.sendall(b"mrcom 1/3\n")
    with open_to(place) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n")
        comes = started(2, 3)
        time.sleep(0.5)
        assert not waits.done() and not comes.done()
    for host in (started(1, 3), waits, comes):
        host.result(PATIENCE)


def test_a_port_that_is_taken_is_said(place, started):
    port = place.split(":")[1]
    with socket.create_server(("", int(port))), pytest.raises(ConfigError, match=f"Port {port} "):
        meet(place, 0, 2)
