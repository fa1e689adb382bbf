"""An answer that its reader leaves, all or half unread, is never a part of the next answer over that connection."""

from __future__ import annotations

import asyncio

import pytest

from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport.http11 import Head, Http11
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, answer_json, chunk, reply, stream_head

SECRET = b"the secret of the one before "
TIMES = 10


async def at_once(connection: Connection, seen: Seen) -> None:
    """An answer in a single packet."""
    await reply(connection, SECRET)


async def in_chunks(connection: Connection, seen: Seen) -> None:
    """The same in HTTP chunks, longer than one read gives."""
    await connection.send(stream_head() + chunk(SECRET) * 5000 + END)


@pytest.mark.parametrize("mode", [at_once, in_chunks])
@pytest.mark.parametrize("read", [False, True])
def test_coroutines(mode: object, read: bool) -> None:
    async def run(chaos: ChaosServer) -> None:
        transport = AsyncHttpTransport()
        try:
            for _ in range(TIMES):
                async with transport.open(HttpRequest("POST", chaos.url("left"), {}, b"{}")) as response:
                    if read:
                        await response.chunks().__anext__()
                async with transport.open(HttpRequest("POST", chaos.url("ok_json"), {}, b"{}")) as response:
                    assert b"".join([data async for data in response.chunks()]) == answer_json()
        finally:
            await transport.close()

    with ChaosServer() as chaos:
        chaos.add("left", mode)  # type: ignore[arg-type]
        asyncio.run(run(chaos))


@pytest.mark.parametrize("mode", [at_once, in_chunks])
@pytest.mark.parametrize("read", [False, True])
def test_threads(mode: object, read: bool) -> None:
    with ChaosServer() as chaos:
        chaos.add("left", mode)  # type: ignore[arg-type]
        transport = HttpTransport(Limits())
        try:
            for _ in range(TIMES):
                with transport.open(HttpRequest("POST", chaos.url("left"), {}, b"{}"), Cancel()) as response:
                    if read:
                        next(iter(response.chunks()))
                with transport.open(HttpRequest("POST", chaos.url("ok_json"), {}, b"{}"), Cancel()) as response:
                    assert b"".join(response.chunks()) == answer_json()
        finally:
            transport.close()


def test_a_connection_with_something_unread_is_not_used_again() -> None:
    http = Http11()
    http.asked("GET")
    http.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")
    assert http.head() == Head(200, {"content-length": "6"})
    assert http.complete
    assert not http.reusable
    assert http.body(3) == b"sec"
    assert not http.reusable
    assert http.body() == b"ret"
    assert http.reusable
    http.asked("GET")
    http.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab")
    http.asked("GET")  # whatever is left, the next answer begins with its own
    assert (http.body(), http.waiting) == (b"", 0)
