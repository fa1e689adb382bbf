"""Small chunks that come fast are read together; nothing is lost, nothing waits for what never comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport.http_async import AsyncHttpTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
Send = Callable[[bytes], Awaitable[None]]


def _read(play: Callable[[Send], Awaitable[None]], seen: Callable[[bytes], None]) -> None:
    """Let a server play, and read its answer to the end; `seen` gets each chunk."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        await send(HEAD)
        await play(send)
        writer.close()
        await writer.wait_closed()

    async def run() -> None:
        transport = AsyncHttpTransport()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with transport.open(HttpRequest("GET", f"http://127.0.0.1:{port}/")) as response:
                async for chunk in response.chunks():
                    seen(chunk)
        await transport.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_many_small_chunks_come_in_few_reads() -> None:
    events = [b"data: %d\n\n" % number for number in range(200)]
    reads: list[bytes] = []

    async def play(send: Send) -> None:
        for event in events:
            await send(event)
            await asyncio.sleep(0.0005)

    _read(play, reads.append)
    assert b"".join(reads) == b"".join(events)
    assert len(reads) < len(events) / 2


def test_a_server_that_waits_for_its_reader_is_never_waited_for() -> None:
    reads: list[bytes] = []
    came = asyncio.Event()

    async def play(send: Send) -> None:
        for number in range(20):
            came.clear()
            await send(b"data: %d\n\n" % number)
            await came.wait()

    def seen(chunk: bytes) -> None:
        reads.append(chunk)
        came.set()

    _read(play, seen)
    assert reads == [b"data: %d\n\n" % number for number in range(20)]
