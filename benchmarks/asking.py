"""Sending many different requests over kept connections, and the CPU time of the process that answers them.

The load generator in C sends one body over and over; here each request may have its own, so that a server cannot live
on what it remembers of the last one. It runs in this process, on the core of the load.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Iterator, Sequence

from benchmarks import processes

SECONDS = 60.0
"""After which an answer is not waited for any more."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, with all its threads, in nanosecond steps (the kernel's clock of that process)."""
    return time.clock_gettime((~pid << 3) | 2)


def request(body: bytes, path: str = "/api/v1/generate") -> bytes:
    """A whole HTTP request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nX-API-Key: {processes.KEY}\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def on_the_core_of_the_load() -> Iterator[None]:
    """Keeps this process off the core of what is measured."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(processes.LOAD_CORE)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class _Caller:
    """One kept connection: sends a request, and knows when its answer is complete."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._left = memoryview(b"")
        self._answer = bytearray()
        self._length = 0

    def ask(self, whole: bytes) -> bool:
        """Begin a request; False while a part of it still waits for room."""
        self._left, self._length = memoryview(whole), 0
        self._answer.clear()
        return self.push()

    def push(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while self._left:
                self._left = self._left[self.socket.send(self._left) :]
        return not self._left

    def take(self) -> bool:
        """Read what is there; True when the answer is whole. Raises `SystemExit` when it is not a 200."""
        piece = self.socket.recv(1 << 18)
        self._answer += piece
        if not self._length:
            end = self._answer.find(b"\r\n\r\n")
            if end >= 0:
                head = bytes(self._answer[:end]).lower()
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                if not head.startswith(b"http/1.1 200") or not length:
                    raise SystemExit(f"not the answer that was hoped for: {bytes(self._answer[:500])!r}")
                self._length = end + 4 + int(length)
        if not piece:
            raise SystemExit("the connection was closed in the middle of an answer")
        return 0 < self._length <= len(self._answer)


def ask_all(port: int, requests: Sequence[bytes], total: int, clients: int = 8) -> int:
    """Send `total` requests, in turn those that are given, `clients` at a time; returns how many were answered.

    Raises `SystemExit` when one is not answered with 200 in time.
    """
    callers = [_Caller(port) for _ in range(min(clients, total))]
    begun = done = 0
    with selectors.DefaultSelector() as selector:
        for caller in callers:
            _begin(selector, caller, requests[begun % len(requests)], new=True)
            begun += 1
        while done < total:
            ready = selector.select(SECONDS)
            if not ready:
                raise SystemExit(f"no answer within {SECONDS:g} s; {done} of {total} came")
            for key, events in ready:
                caller = key.data
                if events & selectors.EVENT_WRITE and caller.push():
                    selector.modify(caller.socket, selectors.EVENT_READ, caller)
                if events & selectors.EVENT_READ and caller.take():
                    done += 1
                    if begun < total:
                        _begin(selector, caller, requests[begun % len(requests)])
                        begun += 1
    for caller in callers:
        caller.socket.close()
    return done


def _begin(selector: selectors.BaseSelector, caller: _Caller, whole: bytes, *, new: bool = False) -> None:
    sent = caller.ask(whole)
    events = selectors.EVENT_READ if sent else selectors.EVENT_READ | selectors.EVENT_WRITE
    if new:
        selector.register(caller.socket, events, caller)
    elif not sent:
        selector.modify(caller.socket, events, caller)


def cost(port: int, pid: int, requests: Sequence[bytes], total: int, clients: int = 8) -> float:
    """Microseconds of CPU of process `pid` for one of `total` requests."""
    before = cpu_seconds(pid)
    done = ask_all(port, requests, total, clients)
    return 1e6 * (cpu_seconds(pid) - before) / done
