"""Each time-out ends its own phase, at its own time, and only waiting for the server counts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Timeouts
from tests.support.aio import CLIENTS, Client
from tests.support.chaos import ChaosServer, black_hole
from tests.support.chaos_modes import answer_events

SLACK = 0.5  # seconds that a busy machine may take to notice


@pytest.fixture(params=["threads", "coroutines", "coroutines-uvloop"])
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def ends(client: Client, url: str, timeouts: Timeouts, body: bytes = b"{}") -> tuple[type[Exception], float, str]:
    start = time.monotonic()
    with pytest.raises(errors.UpstreamTimeout) as caught:
        client.exchange(HttpRequest("POST", url, {}, body, timeouts))
    assert isinstance(caught.value, TimeoutError)
    return type(caught.value), time.monotonic() - start, caught.value.message


def test_connecting(client: Client) -> None:
    with black_hole() as url:
        kind, seconds, words = ends(client, url, Timeouts(connect=0.12, first_byte=9, idle=9))
    assert kind is errors.ConnectTimeout
    assert 0.12 <= seconds < 0.12 + SLACK
    assert "did not accept a connection within 0.12 s" in words


@pytest.mark.parametrize("mode", ["never", "slow_headers"])
def test_the_first_byte(client: Client, chaos: ChaosServer, mode: str) -> None:
    kind, seconds, words = ends(client, chaos.url(mode), Timeouts(connect=9, first_byte=0.12, idle=0.05))
    assert kind is errors.FirstByteTimeout
    assert 0.12 <= seconds < 0.12 + SLACK
    assert "within 0.12 s" in words


def test_a_server_that_does_not_read_the_request(client: Client, chaos: ChaosServer) -> None:
    timeouts = Timeouts(connect=9, first_byte=0.12, idle=9)
    kind, seconds, _ = ends(client, chaos.url("deaf"), timeouts, b"x" * 30_000_000)
    assert kind is errors.FirstByteTimeout
    assert 0.12 <= seconds < 0.12 + 2 * SLACK


@pytest.mark.parametrize("mode", ["stall", "stall_json"])
def test_a_pause_between_two_chunks(client: Client, chaos: ChaosServer, mode: str) -> None:
    kind, seconds, words = ends(client, chaos.url(mode), Timeouts(connect=9, first_byte=9, idle=0.12))
    assert kind is errors.IdleTimeout
    assert 0.12 <= seconds < 0.12 + SLACK
    assert "for 0.12 s" in words


@pytest.mark.parametrize("mode", ["never", "stall", "drip"])
def test_the_whole_exchange(client: Client, chaos: ChaosServer, mode: str) -> None:
    kind, seconds, words = ends(client, chaos.url(mode), Timeouts(connect=9, first_byte=9, idle=9, total=0.12))
    assert kind is errors.TotalTimeout
    assert 0.12 <= seconds < 0.12 + SLACK
    assert "within the 0.12 s" in words


def test_the_whole_exchange_while_connecting(client: Client) -> None:
    with black_hole() as url:
        kind, seconds, _ = ends(client, url, Timeouts(connect=9, total=0.12))
    assert kind is errors.TotalTimeout
    assert 0.12 <= seconds < 0.12 + SLACK


def test_a_server_that_keeps_sending_is_not_idle(client: Client, chaos: ChaosServer) -> None:
    kind, _, _ = ends(client, chaos.url("drip"), Timeouts(connect=9, first_byte=9, idle=0.1, total=0.3))
    assert kind is errors.TotalTimeout


@pytest.mark.parametrize("mode", ["ok_sse", "until_close"])
def test_a_reader_that_is_slow_itself_is_not_timed_out(client: Client, chaos: ChaosServer, mode: str) -> None:
    request = HttpRequest("POST", chaos.url(mode), {}, b"{}", Timeouts(connect=9, first_byte=9, idle=0.07))
    assert client.partly(request, pause=0.2) == (b"".join(answer_events()), None)
