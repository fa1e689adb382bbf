"""An answer that ends with its connection is not complete because we ended the connection ourselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from lollms_core.errors import Cancelled
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import head

BEGINNING = b"the beginning"


async def without_length(connection: Connection, seen: Seen) -> None:
    """An answer that goes on until the connection ends, which it does not."""
    await connection.send(head() + BEGINNING)
    await connection.forever()


@pytest.fixture
def url() -> Iterator[str]:
    with ChaosServer() as chaos:
        yield chaos.add("without_length", without_length)


def test_coroutines(url: str) -> None:
    async def read(transport: AsyncHttpTransport, begun: asyncio.Event) -> None:
        async with transport.open(HttpRequest("GET", url)) as response:
            chunks: AsyncIterator[bytes] = response.chunks()
            assert await chunks.__anext__() == BEGINNING
            begun.set()
            async for data in chunks:
                raise AssertionError(data)

    async def run() -> None:
        transport, begun = AsyncHttpTransport(), asyncio.Event()
        reader = asyncio.create_task(read(transport, begun))
        await begun.wait()
        await transport.close()
        with pytest.raises(Cancelled):
            await reader

    asyncio.run(run())


def test_threads(url: str) -> None:
    transport = HttpTransport(Limits())
    begun = threading.Event()
    ended: list[BaseException | None] = []

    def read() -> None:
        try:
            with transport.open(HttpRequest("GET", url), Cancel()) as response:
                for data in response.chunks():
                    assert data == BEGINNING
                    begun.set()
            ended.append(None)
        except Cancelled as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(5)
    transport.close()
    reader.join(5)
    assert not reader.is_alive()
    assert isinstance(ended[0], Cancelled)
