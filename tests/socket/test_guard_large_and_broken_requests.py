"""Requests that are too large or not HTTP are refused on a real socket, and the application never sees them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guard_server import Server, connected, read_all, read_reply, running
from tests.support.guarded import KEY, Recorder, guarded, settings

LIMIT = 1 << 20
HEAD = f"POST /x HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n".encode()
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def shared(one_server: tuple[Server, Recorder]) -> tuple[Server, Recorder]:
    """The one server, with nothing remembered."""
    one_server[1].scopes.clear()
    return one_server


@pytest.fixture(scope="module")
def one_server() -> Iterator[tuple[Server, Recorder]]:
    """One server for all requests that it must refuse."""
    app, recorder = guarded(config=settings(webui={"enable_ui": True}, limits={"failed_keys_per_minute": 1000}))
    with running(app) as server:
        yield server, recorder


def resident_bytes() -> int:
    """Memory of this process, which the server shares."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_chunked_body_without_end_stops_at_the_limit_and_memory_stays_flat() -> None:
    app, recorder = guarded(config=settings(limits={"max_body_bytes": LIMIT}))
    chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    before = resident_bytes()
    sent = 0
    with running(app) as server, connected(server) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                client.sendall(chunk)
                sent += 0x40000
        reply = read_all(client)
        assert reply == b"" or b" 413 " in reply.split(b"\r\n")[0]
    assert recorder.received <= LIMIT
    assert recorder.disconnects == 1
    assert sent < 64 << 20
    assert resident_bytes() - before < 64 << 20


def test_a_body_a_little_over_the_limit_gets_its_answer() -> None:
    app, recorder = guarded(config=settings(limits={"max_body_bytes": LIMIT}))
    with running(app) as server:
        for encoding in (b"Content-Length: %d\r\n\r\n" % (LIMIT + 1000), b"Transfer-Encoding: chunked\r\n\r\n"):
            with connected(server) as client:
                body = b"x" * (LIMIT + 1000)
                chunked = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
                client.sendall(HEAD + encoding + (chunked if b"chunked" in encoding else body))
                reply = read_reply(client)
                assert reply.startswith(b"HTTP/1.1 413 ")
                assert b"payload_too_large" in reply
    assert recorder.received <= LIMIT


def test_a_stated_length_over_the_limit_is_answered_before_the_body_comes() -> None:
    app, recorder = guarded(config=settings(limits={"max_body_bytes": LIMIT}))
    with running(app) as server, connected(server) as client:
        client.sendall(HEAD + b"Content-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n")
        reply = read_reply(client)
        assert reply.startswith(b"HTTP/1.1 413 ")
    assert recorder.scopes == []


def test_many_bodies_at_the_limit_are_served() -> None:
    app, _ = guarded(config=settings(limits={"max_body_bytes": LIMIT}))
    replies: list[bytes] = []
    with running(app) as server:

        def one() -> None:
            with connected(server) as client:
                client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % LIMIT + b"x" * LIMIT)
                replies.append(read_reply(client))

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(replies) == 8
    assert all(reply.endswith(str(LIMIT).encode()) for reply in replies)


def test_a_refused_request_with_a_large_body_still_gets_its_answer() -> None:
    app, recorder = guarded()
    with running(app) as server, connected(server) as client:
        head = HEAD.replace(KEY.encode(), b"wrong")
        client.sendall(head + b"Content-Length: 500000\r\n\r\n" + b"x" * 500_000)
        assert read_all(client).startswith(b"HTTP/1.1 401 ")
    assert recorder.received == 0


TOO_LARGE = [
    GET + b"X-Filler: " + b"y" * (1 << 20) + b"\r\n\r\n",
    GET + b"X-Filler: " + b"y" * (1 << 20),
    GET + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
    GET + b"".join(b"X-%d: y\r\n" % number for number in range(101)) + b"\r\n",
    GET + b"X-Filler: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /health?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"a" * (1 << 20),
    b"y" * (1 << 20),
    GET + b"y" * (1 << 20),
]


@pytest.mark.parametrize("request_bytes", TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_a_head_over_a_limit_never_reaches_the_application(
    shared: tuple[Server, Recorder], request_bytes: bytes
) -> None:
    server, recorder = shared
    with connected(server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(request_bytes)
        reply = read_all(client)
        assert reply == b"" or reply.split(b" ")[1] in (b"400", b"431")
    assert recorder.scopes == []


def test_a_head_over_a_limit_in_small_pieces_is_refused_in_words() -> None:
    app, recorder = guarded()
    with running(app) as server, connected(server) as client:
        client.sendall(GET)
        for number in range(101):
            client.sendall(b"X-%d: y\r\n" % number)
        client.sendall(b"\r\n")
        reply = read_all(client)
        assert reply.startswith(b"HTTP/1.1 431 ")
        assert b"too large" in reply
    assert recorder.scopes == []


def test_an_ordinary_large_head_passes() -> None:
    app, _ = guarded()
    head = GET + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 500) for number in range(90)) + b"\r\n"
    with running(app) as server, connected(server) as client:
        for _ in range(3):
            client.sendall(head)
            assert read_reply(client).startswith(b"HTTP/1.1 200 ")


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n\r\n",
    b"GET /health\r\n\r\n",
    b"GET /health HTTP/9.9\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHo st: localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
    b"GET /h\xe4alth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    HEAD + b"Content-Length: 5, 6\r\n\r\n12345",
    HEAD + b"Content-Length: -5\r\n\r\n12345",
    HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n12345",
    HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", NOT_HTTP, ids=range(len(NOT_HTTP)))
def test_what_is_not_http_or_could_be_read_in_two_ways_is_refused(
    shared: tuple[Server, Recorder], request_bytes: bytes
) -> None:
    server, recorder = shared
    with connected(server) as client:
        client.sendall(request_bytes)
        reply = read_all(client)
        assert reply == b"" or reply.split(b" ")[1] in (b"400", b"421")
        assert reply.count(b"HTTP/1.1 ") <= 1
    assert recorder.scopes == []


def test_garbage_after_a_body_is_not_part_of_it_and_ends_the_connection(shared: tuple[Server, Recorder]) -> None:
    server, recorder = shared
    before = recorder.received
    with connected(server) as client:
        client.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}\x00garbage\r\n\r\n")
        reply = read_all(client)
        assert b"HTTP/1.1 400 " in reply
    assert recorder.received - before in (0, 2)
    assert len(recorder.scopes) == 1


@pytest.mark.parametrize("size", [b"zz", b"-5", b"FFFFFFFFFFFFFFFFF", b"0x5"])
def test_a_broken_chunk_ends_the_connection(shared: tuple[Server, Recorder], size: bytes) -> None:
    server, recorder = shared
    before = recorder.received
    with connected(server) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n12345\r\n0\r\n\r\n")
        reply = read_all(client)
        assert b" 200 " not in reply
    assert recorder.received == before


@pytest.mark.parametrize(
    "path",
    [b"/%", b"/%zz", b"/%2", b"/%ff%fe", b"/%00", b"/%2e%2e/health", b"/ui/%2e%2e/%2e%2e/etc/passwd", b"/%5c..%5cx"],
)
def test_a_path_with_strange_percents_needs_a_key_like_any_other(shared: tuple[Server, Recorder], path: bytes) -> None:
    server, recorder = shared
    with connected(server) as client:
        client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 403 ")
    assert recorder.scopes == []


def test_an_upgrade_is_served_as_a_plain_request() -> None:
    app, recorder = guarded()
    with running(app) as server, connected(server) as client:
        client.sendall(GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n")
        assert read_reply(client).startswith(b"HTTP/1.1 200 ")
    assert len(recorder.scopes) == 1
