"""A caller that has sent further requests on its connection stops all of its work when it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator

import pytest

from lollms_core.types import Batch, GenerationCall, TextDelta
from tests.support.raw_http import prompt
from tests.support.server import KEY, PortsBinding, running_server

LIMIT = 0.25
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Silent:
    """Says a word and then nothing until it is left, or for two seconds."""

    def __init__(self) -> None:
        self.opened = threading.Semaphore(0)
        self.left = threading.Semaphore(0)

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        try:
            yield self._batches()
        finally:
            self.left.release()

    async def _batches(self) -> AsyncIterator[Batch]:
        yield (TextDelta("word"),)
        self.opened.release()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.Event().wait()


def request(*, stream: bool) -> bytes:
    body = json.dumps(prompt("x", stream=stream)).encode()
    return (
        f"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("following", [HEALTH, HEALTH * 10], ids=["one", "ten"])
@pytest.mark.parametrize("together", [True, False])
def test_leaving_stops_the_work(stream: bool, following: bytes, together: bool) -> None:
    silent = Silent()
    with running_server({"main": PortsBinding(silent)}) as server:  # type: ignore[arg-type]  # no tools here
        client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        client.sendall(request(stream=stream) + (following if together else b""))
        assert silent.opened.acquire(timeout=5)
        if not together:
            client.sendall(following)
        server.wait_until(lambda: len(server.services.registry) == 1)
        client.close()
        since = time.monotonic()
        assert silent.left.acquire(timeout=5)
        assert time.monotonic() - since <= LIMIT
