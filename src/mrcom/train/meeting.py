"""Hosts wait for each other before JAX joins them; it would abort one that waits in vain."""

import contextlib
import re
import socket
import sys
import time

from mrcom.core.errors import ConfigError

_HERE = re.compile(rb"mrcom (\d+)/(\d+)\n")
_ALL_THERE = "all are there"
_LONGEST = 1000
"""Bytes of anything that is said here."""
_PATIENCE = 300.0
"""How long hosts wait for each other [s]."""


def meet(address: str, number: int, count: int, *, patience: float = _PATIENCE) -> None:
    """Return once all hosts are there.

    Host 0 listens at the address; every other says its number, and hears when all have come.

    Args:
        address: of host 0, with a port that is free there.
        number: this host's.
        count: how many they are.
        patience: how long to wait [s].

    Raises:
        ConfigError: some did not come, or this one's number or count cannot be.
    """
    if count == 1:
        return
    name, port = address.rsplit(":", 1)
    print(f"host {number} of {count}: waiting for the others at {address}", file=sys.stderr)
    if number == 0:
        _gather(int(port), count, time.monotonic() + patience)
    else:
        _join((name.strip("[]"), int(port)), number, count, time.monotonic() + patience)


def _gather(port: int, count: int, end: float) -> None:
    links: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(_listening(port))
        except OSError as error:
            raise ConfigError(f"Port {port} cannot be listened at: {error}.") from error
        while len(links) < count - 1:
            server.settimeout(max(end - time.monotonic(), 0.001))
            try:
                link, _ = server.accept()
            except TimeoutError:
                missing = sorted(set(range(1, count)) - links.keys())
                raise ConfigError(
                    f"Of {count} hosts these did not come to port {port} in time: "
                    f"{', '.join(map(str, missing))}. Start all within five minutes."
                ) from None
            stack.enter_context(link)
            number = _welcomed(link, links, count)
            if number is not None:
                links[number] = link
            for gone in [n for n, link in links.items() if _closed(link)]:
                del links[gone]
        for link in links.values():
            link.sendall(_ALL_THERE.encode())


def _listening(port: int) -> socket.socket:
    if not socket.has_dualstack_ipv6():
        return socket.create_server(("", port))
    return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)


def _welcomed(link: socket.socket, there: dict[int, socket.socket], count: int) -> int | None:
    """The number of a host that may take part; one that may not is told why."""
    link.settimeout(5.0)
    try:
        found = _HERE.fullmatch(link.recv(_LONGEST))
        if found is None:
            return None  # somebody else
        number, theirs = int(found[1]), int(found[2])
        if theirs != count:
            wrong = f"this one was started as one of {theirs} hosts, host 0 as one of {count}"
        elif number in there and not _closed(there[number]):
            wrong = f"there is a host {number} already"
        else:
            return number
        link.sendall(wrong.encode())
    except OSError:  # it left
        pass
    return None


def _closed(link: socket.socket) -> bool:
    link.settimeout(0)
    try:
        return not link.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _join(place: tuple[str, int], number: int, count: int, end: float) -> None:
    at, heard = f"{place[0]}:{place[1]}", ""
    while not heard:
        left = end - time.monotonic()
        try:
            with socket.create_connection(place, timeout=max(left, 0.001)) as link:
                link.sendall(f"mrcom {number}/{count}\n".encode())
                heard = link.recv(_LONGEST).decode()
        except OSError as error:
            if left <= 0:
                raise ConfigError(
                    f"Host {number} of {count} did not meet the others at {at} in time ({error}). "
                    f"Start all within five minutes, host 0 on the machine of that address."
                ) from error
        if not heard:
            time.sleep(0.2)  # host 0 has not started yet, or starts again
    if heard != _ALL_THERE:
        raise ConfigError(f"--host {number}/{count}@{at}: {heard}.")
