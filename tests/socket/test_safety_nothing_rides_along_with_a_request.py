"""What comes around a body is neither a header nor a request of its own, and there is an end to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guard_server import read_all
from tests.support.raw_http import prompt
from tests.support.server import KEY, PortsBinding, Served, running_server

BODY = json.dumps(prompt("x")).encode()
PLAIN = b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WITH_KEY = PLAIN + f"X-API-Key: {KEY}\r\n".encode()
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
LAST = (
    b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nConnection: close\r\n"
    b"Access-Control-Request-Method: GET\r\n\r\n"
)  # answered with 204, as nothing else here
UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n",
    b"Connection: close, Upgrade\r\nUpgrade: anything/1.0\r\n",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with running_server({"main": PortsBinding(lambda call: "fine")}) as served:
        yield served


@contextlib.contextmanager
def connected(server: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as client:
        yield client


def statuses(replies: bytes) -> list[bytes]:
    return [each.split(b" ", 1)[0] for each in replies.split(b"HTTP/1.1 ")[1:]]


def exchanged(server: Served, *parts: bytes) -> list[bytes]:
    """The status of every reply to the parts, each in a packet of its own; a last request of ours ends the reading."""
    replies = b""
    with connected(server) as client, contextlib.suppress(ConnectionError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
            replies += early(client, 0.05)
        if not replies:
            replies += early(client, 3)
        client.sendall(LAST)
        replies += read_all(client)
    found = statuses(replies)
    return found[:-1] if found[-1:] == [b"204"] else found


def early(client: socket.socket, seconds: float) -> bytes:
    """What comes within that time."""
    client.settimeout(seconds)
    try:
        return client.recv(65536)
    except TimeoutError:
        return b""
    finally:
        client.settimeout(3)


def test_a_trailer_is_no_header(server: Served) -> None:
    key = f"X-API-Key: {KEY}\r\n".encode()
    assert exchanged(server, PLAIN + CHUNKED + key + b"\r\n") == [b"403"]
    without_host = PLAIN.replace(b"Host: localhost\r\n", b"")
    assert exchanged(server, without_host + CHUNKED + b"Host: localhost\r\n" + key + b"\r\n") == [b"421"]


@pytest.mark.parametrize("head", [WITH_KEY, PLAIN], ids=["with a key", "without"])
@pytest.mark.parametrize("line", [b"A%d: " + b"b" * 500 + b"\r\n", b"c" * 500], ids=["many trailers", "an endless one"])
def test_trailers_have_an_end_and_take_no_memory(server: Served, head: bytes, line: bytes) -> None:
    before = resident_bytes()
    sent = 0
    piece = b"".join(line % number if b"%d" in line else line for number in range(200))
    with connected(server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
            deadline = time.monotonic() + 5
            while sent < 64 << 20 and time.monotonic() < deadline:
                client.sendall(piece)
                sent += len(piece)
        read_all(client)
    assert sent < 32 << 20
    assert resident_bytes() - before < 16 << 20


@pytest.mark.parametrize("offer", UPGRADES)
def test_an_offer_of_another_protocol_does_not_cost_the_body(server: Served, offer: bytes) -> None:
    head = WITH_KEY + offer + b"Content-Length: %d\r\n\r\n" % len(BODY)
    assert exchanged(server, head + BODY) == [b"200"]
    assert exchanged(server, head, BODY) == [b"200"]
    assert exchanged(server, head[:60], head[60:] + BODY[:7], BODY[7:]) == [b"200"]
    assert exchanged(server, WITH_KEY + offer + CHUNKED + b"\r\n") == [b"200"]


@pytest.mark.parametrize("offer", UPGRADES[:2])
def test_the_body_behind_an_offer_is_not_the_next_request(server: Served, offer: bytes) -> None:
    inner = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = WITH_KEY + offer + b"Content-Length: %d\r\n\r\n" % len(inner)
    assert exchanged(server, head + inner) == [b"422"]
    assert exchanged(server, head, inner) == [b"422"]


def resident_bytes() -> int:
    """Memory of this process, which the server shares."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
