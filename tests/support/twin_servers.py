"""Two servers that differ in one thing, the quick route, and exchanges of bytes with both of them.

    with twins({"main": PortsBinding(...)}) as pair:
        quick, documented, by_quick = pair.both(raw_request(b"{}"))

The ids that the servers make, their clock and the date are fixed, so nothing of an answer may differ. `by_quick` tells
whether the quick route answered by itself.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from lollms_server.core.bindings import Binding
from lollms_server.core.quick_route import QuickRoute
from lollms_server.middleware.guard import _RequestIds
from tests.support.server import KEY, Served, running_server

__all__ = ["DEFAULTS", "ID", "MADE_ID", "PATH", "Taken", "Twins", "answered_by_quick", "raw_request", "twins"]

PATH = "/api/v1/generate"
ID = "the-same-request-id"
MADE_ID = "made-by-the-server-0"
DEFAULTS: Mapping[str, str] = {
    "host": "localhost",
    "x-api-key": KEY,
    "x-request-id": ID,
    "content-type": "application/json",
    "connection": "close",
}
Headers = Sequence[tuple[str, str | None]]


def raw_request(
    body: bytes, headers: Headers = (), *, chunks: Sequence[bytes] | None = None, first: str = f"POST {PATH} HTTP/1.1"
) -> bytes:
    """A whole request. `headers` stand after the usual ones and replace those of their name; None leaves one out.

    With `chunks` the body goes out in these pieces, and not in one with its length.
    """
    named = {name.lower() for name, _ in headers}
    pairs: list[tuple[str, str | None]] = [each for each in DEFAULTS.items() if each[0] not in named]
    if chunks is not None:
        pairs.append(("transfer-encoding", "chunked"))
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    elif "content-length" not in named:
        pairs.append(("content-length", str(len(body))))
    lines = [first, *(f"{name}: {value}" for name, value in (*pairs, *headers) if value is not None)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Taken(NamedTuple):
    """One answer: the lines of its head in order, its events if it is a stream, its body without the framing."""

    head: list[str]
    events: list[bytes]
    body: bytes


class Twins:
    """The servers, with and without the quick route; `reached` grows when the first uses its other route."""

    def __init__(self, quick: Served, documented: Served, reached: list[str]) -> None:
        self.quick = quick
        self.documented = documented
        self.reached = reached

    def both(self, request: bytes, *, answers: int = 1) -> tuple[list[Taken], list[Taken], bool]:
        """What each of them answers to the same bytes, and whether the quick route did."""
        before = len(self.reached)
        quick, documented = (exchange(server.port, request, answers) for server in (self.quick, self.documented))
        return quick, documented, len(self.reached) == before

    def check(self, request: bytes, *, answers: int = 1) -> tuple[Taken, bool]:
        """Both must answer with the same; the last answer, and whether the quick route gave it."""
        quick, documented, by_quick = self.both(request, answers=answers)
        for one, other in zip(quick, documented, strict=True):
            assert one.head == other.head
            assert one.events == other.events
            assert one.body == other.body and len(one.body) == len(other.body)
        return quick[-1], by_quick


def exchange(port: int, request: bytes, answers: int = 1) -> list[Taken]:
    """Send the bytes, and read as many answers as come to them, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(request)
        raw = bytearray()
        while data := sock.recv(1 << 18):
            raw += data
    taken = []
    rest = bytes(raw)
    for _ in range(answers):
        each, rest = _parsed(rest)
        taken.append(each)
    assert not rest, rest[:200]
    return taken


def _parsed(raw: bytes) -> tuple[Taken, bytes]:
    """The first answer of these bytes, and what follows it."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if lines[0].startswith("HTTP/1.1 100 "):  # the caller asked whether to go on, and this comes before the answer
        taken, rest = _parsed(rest)
        return taken._replace(head=[*lines, *taken.head]), rest
    named = dict(line.lower().split(": ", 1) for line in lines[1:])
    if named.get("transfer-encoding") == "chunked":
        body, rest = _unchunked(rest)
    else:
        length = int(named.get("content-length", "0"))
        assert len(rest) >= length, "the answer was cut off"
        body, rest = rest[:length], rest[length:]
    if not named.get("content-type", "").startswith("text/event-stream"):
        return Taken(lines, [], body), rest
    assert body.endswith(b"\n\n")
    return Taken(lines, body[:-2].split(b"\n\n"), body), rest


def _unchunked(raw: bytes) -> tuple[bytes, bytes]:
    body = bytearray()
    while True:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size, 16)
        assert raw[length : length + 2] == b"\r\n", "the answer was cut off"
        if not length:
            return bytes(body), raw[2:]
        body += raw[:length]
        raw = raw[length + 2 :]


class _FixedIds(_RequestIds):
    def __init__(self) -> None:
        super().__init__()
        self._ready = _Always(MADE_ID)


class _Always(list[str]):
    """Ids that never run out, all the same."""

    def __init__(self, value: str) -> None:
        super().__init__([value])

    def pop(self, index: Any = -1) -> str:
        return self[0]


def answered_by_quick(app: Any, reached: list[str]) -> None:
    """Note every request that the quick route of an application plays to the documented route."""
    quick = app._guarded._app
    assert isinstance(quick, QuickRoute)
    documented = quick._inner

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])
        await documented(scope, receive, send)

    quick._inner = noted


@contextlib.contextmanager
def twins(
    bindings: Callable[[], Mapping[str, Binding]], config: Mapping[str, Any] | None = None, **more: Any
) -> Iterator[Twins]:
    """Serve twice, with bindings of its own for each, until the block ends."""
    still = SimpleNamespace(monotonic=lambda: 1000.0)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr("lollms_server.core.delivery.time", still)
        patch.setattr("lollms_server.core.requests.time", still)
        patch.setattr("uvicorn.server.formatdate", lambda *args, **named: "Sat, 21 Nov 2026 10:00:00 GMT")
        quick, documented = (
            stack.enter_context(running_server(bindings(), config, quick=route, **more)) for route in (True, False)
        )
        for server in (quick, documented):
            server.app._guarded._ids = _FixedIds()
        reached: list[str] = []
        answered_by_quick(quick.app, reached)
        yield Twins(quick, documented, reached)
