"""A client that says nothing, or too little, costs a socket for a limited time and never holds up the others."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from typing import Any

import pytest

from lollms_server.core.http_protocol import LimitedHttpProtocol, protocol_class
from tests.support.guard_server import connected, eventually, read_all, read_reply, running
from tests.support.guarded import KEY, guarded

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = f"POST /x HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n".encode()


def test_the_limits_are_seconds_not_minutes() -> None:
    assert LimitedHttpProtocol.head_seconds == 15
    assert protocol_class(3, 4).head_seconds == 3
    assert protocol_class(3, 4).body_seconds == 4


@pytest.mark.parametrize("said", [b"", b"G", b"GET /health HTTP/1.1\r\n", HEALTH[:-2], b"POST /x HTTP/1.1\r\nHost: l"])
def test_an_unfinished_head_is_dropped(said: bytes) -> None:
    app, recorder = guarded()
    with running(app, protocol_class(0.5, 5)) as server, connected(server) as client:
        client.sendall(said)
        reply = read_all(client)
        assert reply == b"" if not said else reply.startswith(b"HTTP/1.1 408 ")
        eventually(lambda: server.open_connections == 0)
    assert recorder.scopes == []


def test_one_byte_at_a_time_does_not_extend_the_time() -> None:
    app, recorder = guarded()
    with running(app, protocol_class(0.4, 5)) as server, connected(server) as client:
        client.settimeout(0.05)
        start = time.monotonic()
        reply = b""
        with contextlib.suppress(ConnectionError):
            for byte in HEALTH[:-2] + b"X-Filler: " + b"y" * 10_000:
                client.sendall(bytes([byte]))
                try:
                    reply = client.recv(4096)
                    break
                except TimeoutError:
                    continue
        assert b" 408 " in reply
        assert time.monotonic() - start < 5
    assert recorder.scopes == []


def test_a_second_request_on_a_kept_connection_has_the_same_limit() -> None:
    app, recorder = guarded()
    with running(app, protocol_class(0.5, 5), timeout_keep_alive=5) as server, connected(server) as client:
        client.sendall(HEALTH)
        assert b" 200 " in read_reply(client)
        client.sendall(HEALTH[:20])
        assert b" 408 " in read_all(client)
    assert len(recorder.scopes) == 1


def test_an_unfinished_body_is_dropped_and_the_application_hears_of_it() -> None:
    app, recorder = guarded()
    with running(app, protocol_class(5, 0.2)) as server, connected(server) as client:
        client.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        assert read_all(client) == b""
        eventually(lambda: recorder.disconnects == 1)


def test_a_body_that_keeps_coming_is_not_dropped() -> None:
    app, recorder = guarded()
    with running(app, protocol_class(0.5, 0.7)) as server, connected(server) as client:
        client.sendall(POST + b"Content-Length: 10\r\n\r\n")
        for count in range(1, 11):
            client.sendall(b"x")
            eventually(lambda wanted=count: recorder.received >= wanted)
            client.settimeout(0.1)
            if count < 10:
                with pytest.raises(TimeoutError):  # the wait that makes the whole body slower than the limit
                    client.recv(1)
        client.settimeout(5)
        assert b" 200 " in read_reply(client)


def test_a_long_reply_is_not_limited_by_the_times_for_requests() -> None:
    steps: list[asyncio.Event] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        loops.append(asyncio.get_running_loop())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        for more in (True, True, False):
            steps.append(asyncio.Event())
            await steps[-1].wait()
            await send({"type": "http.response.body", "body": b"x", "more_body": more})

    app, _ = guarded(slow)
    with running(app, protocol_class(0.1, 0.1)) as server, connected(server) as client:
        client.sendall(HEALTH)
        while b"\r\n\r\n" not in client.recv(65536):
            pass
        for number in range(3):
            client.settimeout(0.25)
            with pytest.raises(TimeoutError):  # silence for longer than both limits, and no end of the connection
                client.recv(1)
            eventually(lambda wanted=number: len(steps) == wanted + 1)
            loops[0].call_soon_threadsafe(steps[number].set)
            client.settimeout(5)
            assert client.recv(10) == b"x"


def test_a_crowd_of_half_open_sockets_does_not_hold_up_health() -> None:
    app, _ = guarded()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    crowd = min(5000, ((hard if hard != resource.RLIM_INFINITY else 20_000) - 500) // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, crowd * 2 + 400), hard))
    try:
        with running(app, protocol_class(60, 60), backlog=8192) as server, contextlib.ExitStack() as stack:
            for _ in range(crowd):
                half = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
                half.sendall(HEALTH[:25])
            eventually(lambda: server.open_connections == crowd)
            for _ in range(20):
                with connected(server) as client:
                    start = time.monotonic()
                    client.sendall(HEALTH)
                    assert b" 200 " in read_reply(client)
                    assert time.monotonic() - start < 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
