"""Who goes on to read a response after its block never gets what belongs to the next one over that connection."""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import answer_json, head

OUT_OF_ITS_BLOCK = "after its block"


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


@pytest.mark.parametrize("begun", [False, True])
def test_coroutines(chaos: ChaosServer, begun: bool) -> None:
    async def run() -> None:
        transport = AsyncHttpTransport()
        try:
            async with transport.open(HttpRequest("GET", chaos.url("ok_json"))) as response:
                old = response.chunks()
                assert await old.__anext__() == answer_json()
                other = response.chunks()
            async with transport.open(HttpRequest("GET", chaos.url("ok_json"))) as response:
                new = response.chunks()
                with pytest.raises(RuntimeError, match=OUT_OF_ITS_BLOCK):
                    await (old if begun else other).__anext__()
                assert b"".join([data async for data in new]) == answer_json()
        finally:
            await transport.close()
        assert len(chaos.connections) == 1  # else there was nothing to mix

    asyncio.run(run())


@pytest.mark.parametrize("begun", [False, True])
def test_threads(chaos: ChaosServer, begun: bool) -> None:
    transport = HttpTransport(Limits())
    try:
        with transport.open(HttpRequest("GET", chaos.url("ok_json")), Cancel()) as response:
            old, other = response.chunks(), response.chunks()
            assert next(old) == answer_json()
        with transport.open(HttpRequest("GET", chaos.url("ok_json")), Cancel()) as response:
            with pytest.raises(RuntimeError, match=OUT_OF_ITS_BLOCK):
                next(old if begun else other)
            assert b"".join(response.chunks()) == answer_json()
    finally:
        transport.close()
    assert len(chaos.connections) == 1


def test_what_came_unasked_and_was_not_noticed_yet_is_no_answer(chaos: ChaosServer) -> None:
    """The bytes are there, but the loop was busy and has not read them when the next request is made."""
    taken = threading.Event()

    async def twice(connection: Connection, seen: Seen) -> None:
        await connection.send(head(content_length="5") + b"right")
        await asyncio.to_thread(taken.wait, 5)
        await connection.send(head(content_length="5") + b"wrong")

    async def run() -> None:
        transport = AsyncHttpTransport()
        try:
            async with transport.open(HttpRequest("GET", chaos.add("twice", twice))) as response:
                assert b"".join([data async for data in response.chunks()]) == b"right"
                connection: Any = response._connection
            taken.set()
            assert select.select([connection._socket], [], [], 5)[0]
            async with transport.open(HttpRequest("GET", chaos.url("ok_json"))) as response:
                assert b"".join([data async for data in response.chunks()]) == answer_json()
        finally:
            await transport.close()

    asyncio.run(run())
