"""When the caller leaves, or the request is deleted, the work stops within 250 ms and nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from lollms_core.types import Batch, GenerationCall, TextDelta, ToolCall
from lollms_runtime.async_drive import Sink
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served, running_server

LIMIT = 0.25
ID = "0123456789abcdef-%s"


class Endless:
    """Says two words at once, then nothing for ever. Knows when it was opened and when it was left."""

    def __init__(self) -> None:
        self.opened = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.left_at = 0.0
        self.open_now = 0

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        self.open_now += 1
        try:
            yield self._batches(call)
        finally:
            self.open_now -= 1
            self.left_at = time.monotonic()
            self.left.release()

    async def _batches(self, call: GenerationCall) -> AsyncIterator[Batch]:
        if call.messages[-1].text == "quick":
            yield (TextDelta("done"),)
            return
        yield (TextDelta("two "),)
        yield (TextDelta("words"),)
        self.opened.release()
        await asyncio.Event().wait()

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


@pytest.fixture
def endless() -> Endless:
    return Endless()


@pytest.fixture
def server(endless: Endless) -> Iterator[Served]:
    with running_server({"main": PortsBinding(endless, places=1)}) as served:
        yield served


def start(server: Served, name: str, *, stream: bool) -> RawRequest:
    headers = {**server.headers, "X-Request-ID": ID % name}
    return RawRequest(server.port, "POST", "/api/v1/generate", body=prompt("x", stream=stream), headers=headers)


def delete(server: Served, name: str) -> int:
    return ask(server.port, "DELETE", f"/api/v1/requests/{ID % name}", None, server.headers).status


def check_stopped(server: Served, endless: Endless, since: float) -> None:
    assert endless.left.acquire(timeout=5)
    assert endless.left_at - since <= LIMIT
    server.wait_idle()
    with RawRequest(server.port, "POST", "/api/v1/generate", body=prompt("quick"), headers=server.headers) as next_one:
        assert next_one.whole().json()["output"][0]["data"] == "done"


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_stops_the_work(server: Served, endless: Endless, stream: bool) -> None:
    request = start(server, "a", stream=stream)
    assert endless.opened.acquire(timeout=5)
    if stream:
        request.read_head()
    check_stopped(server, endless, request.leave())


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_at_once_stops_the_work(server: Served, endless: Endless, stream: bool) -> None:
    since = start(server, "a", stream=stream).leave()
    server.wait_idle()
    assert endless.open_now == 0
    assert time.monotonic() - since < 2


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_while_queued_leaves_the_queue_and_does_no_work(server: Served, endless: Endless, stream: bool) -> None:
    with start(server, "first", stream=True) as first:
        first.read_head()
        assert endless.opened.acquire(timeout=5)
        second = start(server, "second", stream=stream)
        server.wait_until(lambda: len(server.services.scheduler.status().waiting) == 1)
        since = second.leave()
        server.wait_until(lambda: not server.services.scheduler.status().waiting)
        assert time.monotonic() - since <= LIMIT
        assert [each.request_id for each in server.running()] == [ID % "first"]
        assert endless.open_now == 1
    server.wait_idle()


def test_leaving_one_stream_does_not_touch_another() -> None:
    endless = Endless()
    with running_server({"main": PortsBinding(endless)}) as server:
        with start(server, "stays", stream=True) as stays:
            stays.read_head()
            goes = start(server, "goes", stream=True).read_head()
            assert endless.opened.acquire(timeout=5) and endless.opened.acquire(timeout=5)
            since = goes.leave()
            assert endless.left.acquire(timeout=5)
            assert endless.left_at - since <= LIMIT
            assert [each.request_id for each in server.running()] == [ID % "stays"]
            assert endless.open_now == 1


def test_delete_ends_a_stream_with_an_error_and_the_partial_output(server: Served, endless: Endless) -> None:
    with start(server, "a", stream=True) as request:
        request.read_head()
        assert endless.opened.acquire(timeout=5)
        since = time.monotonic()
        assert delete(server, "a") == 204
        assert endless.left.acquire(timeout=5)
        assert endless.left_at - since <= LIMIT
        *chunks, error, final = request.whole().events()
    assert [chunk["content"] for chunk in chunks] == ["two ", "words"]
    assert (error["type"], error["metadata"]["code"]) == ("error", "cancelled")
    assert final["type"] == "final"
    assert final["metadata"] == {"request_id": ID % "a", "status": "failed"}
    text, item = final["content"]
    assert (text["data"], text["metadata"]["finish_reason"]) == ("two words", "cancelled")
    assert (item["type"], item["metadata"]["code"]) == ("error", "cancelled")
    assert delete(server, "a") == 404


def test_delete_ends_a_call_that_is_not_streamed_with_the_uniform_error(server: Served, endless: Endless) -> None:
    with start(server, "a", stream=False) as request:
        assert endless.opened.acquire(timeout=5)
        assert delete(server, "a") == 204
        answer = request.whole()
    assert answer.status == 499
    assert answer.json()["code"] == "cancelled"
    assert answer.json()["request_id"] == ID % "a"


@pytest.mark.parametrize("stream", [True, False])
def test_delete_ends_a_queued_request(server: Served, endless: Endless, stream: bool) -> None:
    with start(server, "first", stream=True) as first:
        first.read_head()
        with start(server, "second", stream=stream) as second:
            server.wait_until(lambda: len(server.services.scheduler.status().waiting) == 1)
            assert delete(server, "second") == 204
            answer = second.whole()
        assert (answer.status == 499) != stream
        if stream:
            info, error, final = answer.events()
            assert info["metadata"] == {"kind": "queue", "position": 0}
            assert (error["metadata"]["code"], final["metadata"]["status"]) == ("cancelled", "failed")
        assert endless.open_now == 1


def test_deleting_what_does_not_run_is_404(server: Served) -> None:
    answer = ask(server.port, "DELETE", f"/api/v1/requests/{ID % 'x'}", None, server.headers)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


def test_an_id_that_runs_cannot_be_used_again(server: Served, endless: Endless) -> None:
    with start(server, "a", stream=True) as request:
        request.read_head()
        with start(server, "a", stream=True) as again:
            answer = again.whole()
        assert (answer.status, answer.json()["code"]) == (409, "request_id_in_use")
        assert [each.request_id for each in server.running()] == [ID % "a"]


def test_everything_is_released_before_the_answer_ends() -> None:
    """Looked at from inside `send`, when the last piece leaves."""
    endless = Endless()
    with running_server({"main": PortsBinding(endless, places=1)}) as server:
        seen: list[tuple[int, bool, int]] = []
        inner = server.app._guarded

        async def watching(scope, receive, send):  # type: ignore[no-untyped-def]
            async def look(message):  # type: ignore[no-untyped-def]
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    work = [t for t in asyncio.all_tasks() if "deliver" in repr(t.get_coro()) or "_wait" in repr(t)]
                    services = server.services
                    seen.append((len(services.registry), services.scheduler.idle, len(work)))
                await send(message)

            await inner(scope, receive, look)

        server.app._guarded = watching  # type: ignore[assignment]
        for stream in (True, False):
            ask(server.port, "POST", "/api/v1/generate", prompt("quick", stream=stream), server.headers)
            with start(server, "a", stream=stream) as request:
                assert endless.opened.acquire(timeout=5)
                server.wait_until(lambda: any("_wait" in repr(task) for task in asyncio.all_tasks()))
                server.on_loop(lambda: server.services.registry.cancel(ID % "a"))
                request.whole()
    assert seen == [(0, True, 0)] * 4
