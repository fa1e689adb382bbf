"""A reply that is too large ends with a typed error, and never takes much memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from lollms_core import errors
from lollms_core.protocols.base import HttpRequest, Limits, Timeouts
from tests.support.aio import CLIENTS, Client
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import answer_json

TIMEOUTS = Timeouts(connect=5, first_byte=5, idle=5, total=20)
MB = 1024 * 1024


@pytest.fixture(params=["threads", "coroutines"])
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


@pytest.mark.parametrize(
    "mode", ["gzip_bomb", "gzip_nothing", "endless_line", "endless_stream", "long_error", "endless_header"]
)
def test_memory_stays_flat(client: Client, chaos: ChaosServer, mode: str) -> None:
    limits = Limits(reply_bytes=MB // 4 if mode == "gzip_nothing" else 12 * MB)
    client.counted(HttpRequest("POST", chaos.url("ok_json"), timeouts=TIMEOUTS))  # what is loaded on first use
    tracemalloc.start()
    try:
        size, longest, error = client.counted(HttpRequest("POST", chaos.url(mode), timeouts=TIMEOUTS), limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if mode == "endless_header":
        assert type(error) is errors.ProtocolError
    else:
        assert type(error) is errors.ReplyTooLarge
        assert f"{limits.reply_bytes:,} bytes" in str(error)
        assert size <= limits.reply_bytes
    if mode in ("endless_line", "endless_stream", "gzip_bomb"):
        assert size > limits.reply_bytes * 0.9
    assert longest <= 2 * MB
    assert peak < 8 * MB


def test_the_limit_itself_is_allowed(client: Client, chaos: ChaosServer) -> None:
    size = len(answer_json())
    for mode in ("ok_json", "status-500"):
        whole = client.exchange(HttpRequest("POST", chaos.url(mode), timeouts=TIMEOUTS), Limits(reply_bytes=size))
        assert len(whole.body) <= size
    with pytest.raises(errors.ReplyTooLarge):
        client.exchange(HttpRequest("POST", chaos.url("ok_json"), timeouts=TIMEOUTS), Limits(reply_bytes=size - 1))
