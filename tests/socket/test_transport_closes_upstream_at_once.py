"""Whoever stops an exchange, at whatever moment: the caller is free at once and the server sees it within 250 ms."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Timeouts
from tests.support.aio import CLIENTS, Client
from tests.support.chaos import ChaosServer, Connection, Seen, black_hole

PATIENT = Timeouts(connect=20, first_byte=20, idle=20)
SOON = 0.25  # seconds

# When an exchange is cancelled: the mode, and whether its first bytes have been sent by then.
MOMENTS = ["never", "slow_headers", "stall", "stall_json", "drip", "endless_stream", "gzip_nothing"]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def ask(url: str, body: bytes = b"{}") -> HttpRequest:
    return HttpRequest("POST", url, {"content-type": "application/json"}, body, PATIENT)


@pytest.mark.parametrize("mode", MOMENTS)
def test_a_cancelled_exchange_is_closed(client: Client, chaos: ChaosServer, mode: str) -> None:
    def then() -> None:
        assert chaos.wait_connection().closed_after() < SOON
        assert len(chaos.connections) == 1

    def when() -> None:
        chaos.wait_request()
        if mode != "never":
            assert chaos.connections[0].sent_something(5)

    assert client.cancelled(ask(chaos.url(mode)), when, then) < SOON


def test_a_connection_that_is_still_being_made_is_given_up(client: Client) -> None:
    with black_hole() as url:
        start = time.monotonic()
        assert client.cancelled(ask(url), lambda: time.sleep(0.1), lambda: None) < SOON
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("name", ["threads", "coroutines"])  # uvloop looks names up on its own
def test_a_name_that_is_still_being_looked_up_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def look_up(host: str, *rest: object, **more: object) -> object:
        if host != "slow.example":
            return real(host, *rest, **more)  # type: ignore[arg-type]
        if more.get("flags", 0) != socket.AI_NUMERICHOST:
            asked.set()
            answer.wait(10)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert CLIENTS[name].cancelled(ask("http://slow.example/"), lambda: asked.wait(5), answer.set) < SOON
    finally:
        answer.set()


def test_a_request_that_the_server_does_not_read_is_given_up(client: Client, chaos: ChaosServer) -> None:
    def then() -> None:
        connection = chaos.wait_connection()
        connection.listen()
        assert connection.closed_after() < SOON

    request = ask(chaos.url("deaf"), b"x" * 30_000_000)
    assert client.cancelled(request, chaos.wait_request, then) < SOON


@pytest.mark.parametrize("mode", ["drip", "stall", "endless_stream", "ok_gzip", "gzip_bomb"])
def test_a_reader_that_leaves_closes_the_connection(client: Client, chaos: ChaosServer, mode: str) -> None:
    def then() -> None:
        # A short answer may have arrived whole by then; its connection is free again.
        if mode != "ok_gzip":
            assert chaos.wait_connection().closed_after() < SOON

    client.leave(ask(chaos.url(mode)), then)
    assert chaos.wait_connection().closed_after() < SOON


@pytest.mark.parametrize("mode", ["stall", "bad_chunk", "endless_stream", "gzip_bomb", "slow_headers"])
def test_an_exchange_that_fails_closes_the_connection(client: Client, chaos: ChaosServer, mode: str) -> None:
    request = HttpRequest(
        "POST", chaos.url(mode), {}, b"{}", Timeouts(connect=1, first_byte=0.12, idle=0.12, total=0.2)
    )
    seen: list[float] = []

    async def reports(connection: Connection, _: Seen) -> None:
        start = time.monotonic()
        while chaos.connections[0].is_open() and time.monotonic() - start < 2:
            await connection.pause(0.005)
        seen.append(time.monotonic() - start)
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    results = client.in_turn([request, ask(chaos.add("reports", reports))])
    assert isinstance(results[0], errors.LollmsError)
    assert isinstance(results[1], tuple)
    assert seen[0] < SOON
    assert len(chaos.connections) == 2, "a connection with an unfinished answer is not used again"


@pytest.mark.parametrize("mode", ["never", "stall"])
def test_closing_the_transport_ends_what_runs(client: Client, chaos: ChaosServer, mode: str) -> None:
    def when() -> None:
        chaos.wait_request()
        assert mode == "never" or chaos.connections[0].sent_something(5)

    assert isinstance(client.closed(ask(chaos.url(mode)), when), errors.Cancelled)
    assert chaos.wait_connection().closed_after() < SOON


def test_closing_the_transport_ends_a_connection_that_is_being_made(client: Client) -> None:
    with black_hole() as url:
        start = time.monotonic()
        assert isinstance(client.closed(ask(url), lambda: time.sleep(0.1)), errors.Cancelled)
        assert time.monotonic() - start < 2


def test_closing_the_transport_ends_the_look_at_a_certificate(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert isinstance(client.closed(ask(url), lambda: time.sleep(0.1)), errors.Cancelled)
        assert time.monotonic() - start < 2


def test_closing_the_transport_closes_idle_connections(client: Client, chaos: ChaosServer) -> None:
    client.exchange(ask(chaos.url("ok_json")))
    assert chaos.wait_connection().closed_after() < SOON
