"""Streams: when the headers leave, what is sent in quiet times, what a caller in the queue hears, who is dropped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator

from lollms_core.errors import UpstreamFailed
from lollms_core.types import Batch, GenerationCall, TextDelta, ToolCall
from lollms_runtime.async_drive import Sink
from lollms_runtime.scripted import AsyncScriptedPorts
from lollms_server.core.services import Patience
from tests.support.raw_http import Answer, RawRequest, prompt
from tests.support.server import PortsBinding, Served, running_server

IMPATIENT = Patience(watch_after=0.02, silence=0.15, stalled=0.4)


class Slow:
    """Says nothing until `go` is set, then a word or an error; `flood` sends for ever."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.opened = threading.Semaphore(0)
        self.left = threading.Event()
        self.sent = 0

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        try:
            yield self._batches(call.messages[-1].text)
        finally:
            self.left.set()

    async def _batches(self, kind: str) -> AsyncIterator[Batch]:
        self.opened.release()
        while kind == "flood":
            self.sent += 1
            yield (TextDelta("x" * 10_000),)
            await asyncio.sleep(0)
        if kind == "first":
            yield (TextDelta("first"),)
        await self.go.wait()
        if kind == "fail":
            raise UpstreamFailed("It broke.")
        yield (TextDelta("word"),)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


def ask_for(server: Served, kind: str, **more: int) -> RawRequest:
    body = prompt(kind, stream=True)
    return RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers, **more)


def test_a_comment_keeps_a_quiet_stream_alive_and_the_headers_do_not_wait_longer() -> None:
    slow = Slow()
    with running_server({"main": PortsBinding(slow)}, patience=IMPATIENT) as server:
        started = time.monotonic()
        with ask_for(server, "x") as request:
            request.read_head()
            waited = time.monotonic() - started
            pieces = request.pieces()
            quiet = [next(pieces) for _ in range(3)]
            server.loop.call_soon_threadsafe(slow.go.set)
            rest = b"".join(pieces)
    assert request.status == 200
    assert 0.1 <= waited <= 2
    assert all(piece.startswith(b":") and piece.endswith(b"\n\n") for piece in quiet)
    assert b'"content":"word"' in rest and b'"type":"final"' in rest


def test_a_stream_that_speaks_gets_no_comments() -> None:
    script = [[(TextDelta(str(number)),) for number in range(50)]]
    with running_server({"main": PortsBinding(AsyncScriptedPorts(script, delay=0.01))}, patience=IMPATIENT) as server:
        with ask_for(server, "x") as request:
            body = request.whole().body
    assert b": still here" not in body


def test_before_the_headers_an_error_is_a_status_and_after_them_an_event() -> None:
    slow = Slow()
    with running_server({"main": PortsBinding(slow)}) as server:
        with ask_for(server, "fail") as request:
            assert slow.opened.acquire(timeout=5)
            server.loop.call_soon_threadsafe(slow.go.set)
            answer = request.whole()
    assert (answer.status, answer.json()["code"]) == (502, "upstream_failed")
    slow = Slow()
    with running_server({"main": PortsBinding(slow)}, patience=IMPATIENT) as server:
        with ask_for(server, "fail") as request:
            assert request.read_head().status == 200  # sent for silence
            server.loop.call_soon_threadsafe(slow.go.set)
            error, final = request.whole().events()
    assert (error["type"], error["metadata"]["code"]) == ("error", "upstream_failed")
    assert (final["type"], final["metadata"]["status"]) == ("final", "failed")


def test_a_queued_caller_hears_its_position_at_once_and_as_it_changes() -> None:
    slow = Slow()
    with running_server({"main": PortsBinding(slow, places=1)}) as server:
        with ask_for(server, "first") as first, contextlib.ExitStack() as stack:
            first.read_head()
            waiting = []
            for number in range(1, 3):
                waiting.append(stack.enter_context(ask_for(server, "x")))
                server.wait_until(lambda n=number: len(server.services.scheduler.status().waiting) == n)
                assert waiting[-1].read_head().status == 200
            assert [each.state for each in server.running()] == ["running", "queued", "queued"]
            first.leave()
            server.wait_until(lambda: [w.position for w in server.services.scheduler.status().waiting] == [0])
            pieces = waiting[1].pieces()
            moved = next(pieces) + next(pieces)
            server.loop.call_soon_threadsafe(slow.go.set)
            answers = [waiting[0].whole(), Answer(200, {}, moved + b"".join(pieces))]
    positions = [
        [e["metadata"]["position"] for e in answer.events() if e["metadata"].get("kind") == "queue"]
        for answer in answers
    ]
    assert positions == [[0], [1, 0]]
    assert all(answer.events()[-1]["content"][0]["data"] == "word" for answer in answers)


def test_waiting_too_long_in_the_queue_is_408() -> None:
    slow = Slow()
    config = {"defaults": {"ttt_binding": "main"}, "resource_manager": {"queue_timeout": 1}}
    with running_server({"main": PortsBinding(slow, places=1)}, config) as server:
        with ask_for(server, "first") as first:
            first.read_head()
            body = prompt("x")
            with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers) as second:
                answer = second.whole()
            assert (answer.status, answer.json()["code"]) == (408, "queue_timeout")
            with ask_for(server, "x") as third:
                *_, error, final = third.whole().events()
            assert (error["metadata"]["code"], final["metadata"]["status"]) == ("queue_timeout", "failed")
            assert len(server.running()) == 1


def test_who_does_not_read_blocks_only_its_own_stream_and_is_dropped() -> None:
    slow = Slow()
    with running_server({"main": PortsBinding(slow)}, patience=IMPATIENT) as server:
        with ask_for(server, "flood", receive_buffer=4096) as deaf:
            deaf.read_head()
            with ask_for(server, "first") as other:
                other.read_head()
                server.loop.call_soon_threadsafe(slow.go.set)
                assert other.whole().events()[-1]["type"] == "final"
            assert slow.left.wait(5)
            server.wait_idle()
            sent = slow.sent * 10_000
            server.wait_until(lambda: not server.server.server_state.connections)
    # One socket buffer on each side, and what the system keeps between them.
    assert sent < 16 * 2**20


def test_who_reads_slowly_gets_everything() -> None:
    words = [str(number).zfill(8) for number in range(20_000)]
    script = [[tuple(TextDelta(word) for word in words[at : at + 100]) for at in range(0, len(words), 100)]]
    with running_server({"main": PortsBinding(script)}, patience=Patience(stalled=5.0)) as server:
        with ask_for(server, "x", receive_buffer=4096) as request:
            request.read_head()
            for _ in range(20):
                request._more()
                threading.Event().wait(0.005)
            events = request.whole().events()
    assert "".join(event["content"] for event in events[:-1]) == "".join(words)
    assert events[-1]["content"][0]["data"] == "".join(words)
