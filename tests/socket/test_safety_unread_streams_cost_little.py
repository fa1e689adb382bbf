"""A stream that its caller does not read costs little: here, in the system's buffers, and after it was dropped."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lollms_core.types import Batch, GenerationCall, TextDelta, ToolCall
from lollms_runtime.async_drive import Sink
from lollms_server.core.listen import allow_many_connections
from lollms_server.core.services import Patience
from tests.support.raw_http import RawRequest, prompt
from tests.support.server import PortsBinding, Served, running_server

PIECE = 10_000
MOST = 1 << 20
ON_LINUX = sys.platform == "linux"


class Flood:
    """Sends for ever; `sent` is how many pieces were taken."""

    def __init__(self) -> None:
        self.sent = 0
        self.left = threading.Event()

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        try:
            yield self._batches()
        finally:
            self.left.set()

    async def _batches(self) -> AsyncIterator[Batch]:
        while True:
            self.sent += 1
            yield (TextDelta("x" * PIECE),)
            await asyncio.sleep(0)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


def deaf(server: Served) -> RawRequest:
    body = prompt("x", stream=True)
    return RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers, receive_buffer=4096)


def unsent(server: Served, caller: int) -> int | None:
    """Bytes that the system holds of the connection from this port; None if it does not know it any more."""
    for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split()
        if [int(each.rpartition(":")[2], 16) for each in fields[1:3]] == [server.port, caller]:
            return int(fields[4].partition(":")[0], 16)
    return None


def test_sixty_seconds_is_how_long_a_caller_may_not_read() -> None:
    assert Patience().stalled == 60


def test_no_more_is_asked_of_the_model_than_fits_into_small_buffers() -> None:
    flood = Flood()
    with running_server({"main": PortsBinding(flood)}) as server:
        with deaf(server) as request:
            assert request.read_head().status == 200
            server.wait_until(lambda: any(each.flow.write_paused for each in server.server.server_state.connections))
            before = flood.sent
            assert before * PIECE < MOST
            with RawRequest(server.port, "GET", "/health") as other:
                assert other.whole().status == 200
            assert flood.sent == before
        assert flood.left.wait(5)


@pytest.mark.skipif(not ON_LINUX, reason="reads the kernel's table of connections")
def test_nothing_of_it_stays_in_the_system_after_the_drop() -> None:
    flood = Flood()
    with running_server({"main": PortsBinding(flood)}, patience=Patience(silence=0.1, stalled=0.3)) as server:
        with deaf(server) as request:
            caller = request.sock.getsockname()[1]
            assert request.read_head().status == 200
            server.wait_until(lambda: (unsent(server, caller) or 0) > 0)
            assert flood.left.wait(5)
            server.wait_until(lambda: not server.server.server_state.connections)
            server.wait_until(lambda: unsent(server, caller) is None)


def test_a_reader_of_the_same_stream_gets_far_more() -> None:
    flood = Flood()
    with running_server({"main": PortsBinding(flood)}) as server:
        with deaf(server) as request:
            request.read_head()
            read = 0
            for piece in request.pieces():
                read += len(piece)
                if read > 4 * MOST:
                    break
        assert flood.left.wait(5)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_the_server_uses_all_the_descriptors_that_it_may_have() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, wanted), hard))
        allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
        allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
