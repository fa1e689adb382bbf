"""A connection that breaks between two turns of the loop is an answer that was cut off, whatever is done next."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import weakref
from typing import Any

import pytest

from lollms_core.errors import Refused, TruncatedStream
from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport.http11 import Http11
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_server.core.responses import let_go
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import chunk, stream_head


async def much(connection: Connection, seen: Seen) -> None:
    """More than the transport reads ahead, and no end."""
    await connection.send(stream_head() + chunk(b"x" * 10_000) * 20)
    await connection.forever()


async def little(connection: Connection, seen: Seen) -> None:
    """One small piece, and no end."""
    await connection.send(stream_head() + chunk(b"x"))
    await connection.forever()


def breaks(connection: Any) -> None:
    """The system says that the connection is broken; the loop tells it in its next turn."""
    connection._transport.abort()


@pytest.mark.parametrize("mode", [much, little])
def test_it_breaks_while_reading_pauses(mode: Any) -> None:
    async def run(url: str) -> None:
        transport = AsyncHttpTransport()
        async with transport.open(HttpRequest("GET", url)) as response:
            connection: Any = response._connection
            chunks = response.chunks()
            if mode is little:
                assert await chunks.__anext__() == b"x"
                connection._exchange._pace.rest = 0.02  # so the next read would rest first
            else:
                while not connection._paused:
                    await asyncio.sleep(0)
            breaks(connection)
            with pytest.raises(TruncatedStream):
                _ = [data async for data in chunks]

    with ChaosServer() as chaos:
        asyncio.run(run(chaos.add("mode", mode)))


def test_it_breaks_while_chunks_gather() -> None:
    async def run(url: str) -> None:
        loop = asyncio.get_running_loop()
        unforeseen: list[Any] = []
        loop.set_exception_handler(lambda _, context: unforeseen.append(context))
        transport = AsyncHttpTransport()
        async with transport.open(HttpRequest("GET", url)) as response:
            connection: Any = response._connection
            chunks = response.chunks()
            assert await chunks.__anext__() == b"x"
            connection._exchange._pace.rest = 0.02
            reader = asyncio.create_task(chunks.__anext__())
            while connection._waiter is None:
                await asyncio.sleep(0)
            breaks(connection)
            connection._rested()  # the moment is over in this very turn
            with pytest.raises(TruncatedStream):
                await reader
        assert unforeseen == []

    with ChaosServer() as chaos:
        asyncio.run(run(chaos.add("mode", little)))


def test_the_end_is_seen_after_a_rest() -> None:
    """Chunks and the end of the connection come while nobody reads."""

    async def run(url: str, server: ChaosServer) -> None:
        transport = AsyncHttpTransport()
        async with transport.open(HttpRequest("GET", url)) as response:
            connection: Any = response._connection
            chunks = response.chunks()
            assert await chunks.__anext__() == b"x"
            connection._exchange._pace.rest = 0.02
            reader = asyncio.create_task(chunks.__anext__())
            while connection._waiter is None:
                await asyncio.sleep(0)
            server._loop.call_soon_threadsafe(server.connections[-1].fin)
            with pytest.raises(TruncatedStream):
                await asyncio.wait_for(reader, 5)

    with ChaosServer() as chaos:
        asyncio.run(run(chaos.add("mode", little), chaos))


def test_a_connection_that_was_never_made_leaves_nothing_for_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Http11]] = []
    before = Http11.__init__

    def noted(self: Http11) -> None:
        before(self)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Http11, "__init__", noted)

    async def run() -> None:
        transport = AsyncHttpTransport()
        try:
            async with transport.open(HttpRequest("GET", "http://127.0.0.1:1/")):
                raise AssertionError
        except Refused as error:
            let_go(error)  # as the server does with each error it has dealt with
        await transport.close()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
        assert [each() for each in made] == [None]
    finally:
        gc.enable()


def test_a_reader_that_gives_up_a_wait_loses_nothing() -> None:
    """Also between two pieces of what came at once, where others have their turn."""

    async def run(url: str) -> None:
        transport = AsyncHttpTransport()
        async with transport.open(HttpRequest("GET", url)) as response:
            chunks = response.chunks()
            size, end = 0, time.monotonic() + 5
            while size < 200_000:
                assert time.monotonic() < end, f"only {size} bytes were not lost"
                step = asyncio.ensure_future(chunks.__anext__())
                await asyncio.sleep(0)
                step.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    size += len(await step)

    with ChaosServer() as chaos:
        asyncio.run(run(chaos.add("mode", much)))
