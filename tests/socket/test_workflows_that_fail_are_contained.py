"""A script may raise, give junk, never end, block or refuse to stop: its request ends in time with a typed error."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lollms_core.types import Batch, GenerationCall, TextDelta, ToolCall
from lollms_runtime.async_drive import Sink
from lollms_server.core.personalities.script_threads import ScriptThreads
from lollms_server.core.watchdog import Watchdog
from tests.support.personalities import answer_of, serving
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served

SECRET = "/home/someone/secret-key-123"
SCRIPTS = {
    "faulty": f"""
        import asyncio, sys
        from lollms_core.errors import InvalidRequest
        async def run_workflow(prompt, params, context):
            match prompt:
                case "raises":
                    raise ValueError("{SECRET}")
                case "raises a group":
                    async with asyncio.TaskGroup() as group:
                        group.create_task(context["binding"].generate("unknown role", None, None, [5]))
                case "exits":
                    sys.exit("{SECRET}")
                case "cancels itself":
                    raise asyncio.CancelledError("{SECRET}")
                case "times out itself":
                    raise TimeoutError("{SECRET}")
                case "refuses in words of ours":
                    raise InvalidRequest("Ask for something else.")
                case "returns nothing":
                    return None
                case "returns a number":
                    return 5
                case "returns an object":
                    return [object()]
                case "returns bytes":
                    return b"bytes"
                case "text that is none":
                    return {{"type": "text", "data": 5}}
                case "an image that is none":
                    return {{"type": "image", "data": "!!"}}
                case "json that is none":
                    return {{"type": "json", "data": {{"a": object()}}}}
        """,
    "halfway": f"""
        async def run_workflow(prompt, params, context):
            yield "so far "
            yield {{"type": "info", "content": "half"}}
            match prompt:
                case "raises":
                    raise ValueError("{SECRET}")
                case "yields junk":
                    yield 5
                case "yields an error inside":
                    yield {{"type": "chunk", "content": [{{"type": "error", "data": "{SECRET}"}}]}}
                case "yields for ever":
                    while True:
                        yield {{"type": "info", "content": "x" * (1 << 20)}}
                case "yields an error":
                    yield {{"type": "error", "content": "There is no more."}}
        """,
    "slow": """
        import asyncio, builtins, time
        async def run_workflow(prompt, params, context):
            match prompt:
                case "for ever":
                    await asyncio.Event().wait()
                case "asks for ever":
                    await context["binding"].generate("x")
                case "will not stop":
                    while not builtins.lollms_test_state.is_set():
                        try:
                            await asyncio.sleep(0.05)
                        except asyncio.CancelledError:
                            pass
                case "asks again and again":
                    while not builtins.lollms_test_state.is_set():
                        try:
                            await context["binding"].generate("x")
                        except BaseException:
                            pass
        """,
    "blocked": """
        import builtins
        def run_workflow(prompt, params, context):
            builtins.lollms_test_state.wait(20)
        """,
    "blocked_halfway": """
        import builtins
        def run_workflow(prompt, params, context):
            yield "so far"
            builtins.lollms_test_state.wait(20)
        """,
    "sleeps": """
        import time
        async def run_workflow(prompt, params, context):
            time.sleep(0.6)
            return "fine"
        """,
    "does_not_load": """
        print("fine")
        raise KeyError("in the middle")
        """,
    "has_no_function": "x = 1",
    "bad_syntax": "def run_workflow(:\n    pass",
    "leaves": "import sys; sys.exit(3)",
    "wants_more": "import pipmaster\n\npipmaster.ensure_packages(['no-such-package-of-ours'])\n",
}


class Endless:
    """Says a word, then nothing for ever; knows how many calls are open."""

    def __init__(self) -> None:
        self.open_now = 0
        self.opened = threading.Semaphore(0)

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        self.open_now += 1
        try:
            yield self._batches()
        finally:
            self.open_now -= 1

    async def _batches(self) -> AsyncIterator[Batch]:
        yield (TextDelta("word"),)
        self.opened.release()
        await asyncio.Event().wait()

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


@pytest.fixture(scope="module")
def release() -> Iterator[threading.Event]:
    """Lets the scripts that never end come to their end."""
    import builtins

    event = threading.Event()
    builtins.lollms_test_state = event  # type: ignore[attr-defined]
    yield event
    event.set()
    del builtins.lollms_test_state  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def endless() -> Endless:
    return Endless()


@pytest.fixture(scope="module")
def server(endless: Endless, release: threading.Event) -> Iterator[Served]:
    with serving(SCRIPTS, {"main": PortsBinding(endless, places=1)}, limits={"workflow_timeout": 1}) as served:
        yield served
        release.set()


FAULTS = [
    "raises", "raises a group", "exits", "cancels itself", "times out itself", "returns nothing", "returns a number",
    "returns an object", "returns bytes", "text that is none", "an image that is none", "json that is none",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_it_raises_or_returns_wrongly_is_a_typed_error_without_its_words(
    server: Served, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = answer_of(server, "faulty", fault)
    assert (answer.status, answer.json()["code"]) == (500, "workflow_failed"), answer
    assert "The script of personality 'faulty'" in answer.json()["detail"]
    assert SECRET.encode() not in answer.body
    assert "The script of personality 'faulty' " in caplog.text or "What the script of" in caplog.text
    server.wait_idle()


def test_an_error_of_ours_that_it_raises_keeps_its_class(server: Served) -> None:
    answer = answer_of(server, "faulty", "refuses in words of ours")
    assert (answer.status, answer.json()["detail"]) == (400, "Ask for something else.")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raises", "the server's log says why"),
        ("yields junk", "no documented form"),
        ("yields an error", "no more"),
        ("yields an error inside", "reported an error"),
    ],
)
def test_what_it_said_before_it_failed_is_kept(server: Served, fault: str, words: str) -> None:
    answer = answer_of(server, "halfway", fault, stream=True)
    events = answer.events()
    assert [event["type"] for event in events] == ["chunk", "info", "error", "final"]
    assert words in events[2]["content"]
    text, error = events[3]["content"]
    assert (text["data"], error["type"], events[3]["metadata"]["status"]) == ("so far ", "error", "failed")
    assert SECRET.encode() not in answer.body
    whole = answer_of(server, "halfway", fault)
    assert (whole.status, whole.json()["code"]) == (500, "workflow_failed")


def test_its_output_is_limited(server: Served) -> None:
    answer = answer_of(server, "halfway", "yields for ever")
    assert (answer.status, answer.json()["code"]) == (500, "workflow_failed")
    assert "more than 64 MiB" in answer.json()["detail"]


def test_its_time_is_limited_whatever_it_does(
    server: Served, endless: Endless, release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    slow = ["for ever", "asks for ever", "will not stop", "asks again and again"]
    asked = [("slow", text) for text in slow] + [("blocked", "x"), ("blocked_halfway", "x")]
    started = time.monotonic()
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda pair: answer_of(server, *pair), asked))
    assert time.monotonic() - started < 4
    assert [answer.status for answer in answers] == [504] * len(asked), answers
    assert {answer.json()["code"] for answer in answers} == {"total_timeout"}
    server.wait_idle()
    assert endless.open_now == 0
    assert caplog.text.count("is still busy when its request ends") == 2
    assert caplog.text.count("goes on although it was told to stop") == 2
    release.set()
    server.wait_until(lambda: server.services.personalities.threads.running == 0)
    deadline = time.monotonic() + 5
    while caplog.text.count("its result is dropped") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_caller_that_leaves_stops_the_script_and_its_calls(server: Served, endless: Endless) -> None:
    while endless.opened.acquire(blocking=False):
        pass
    body = {**prompt("asks for ever"), "personality": "slow", "stream": True}
    with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers) as request:
        assert endless.opened.acquire(timeout=5)
        left = request.leave()
    server.wait_idle()
    assert endless.open_now == 0
    assert time.monotonic() - left < 0.5


def test_callers_that_leave_at_any_moment_leave_nothing_behind(server: Served, endless: Endless) -> None:
    chance = random.Random(7)

    def come_and_go(number: int) -> None:
        name, text = chance.choice([("slow", "asks for ever"), ("slow", "for ever"), ("halfway", "x")])
        body = {**prompt(text), "personality": name, "stream": number % 2 == 0}
        with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers):
            time.sleep(chance.uniform(0, 0.05))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(come_and_go, range(60)))
    server.wait_idle()
    assert endless.open_now == 0


def test_a_deleted_request_stops_the_script(server: Served, endless: Endless) -> None:
    while endless.opened.acquire(blocking=False):
        pass
    headers = {**server.headers, "X-Request-ID": "0123456789abcdef-script"}
    body = {**prompt("asks for ever"), "personality": "slow"}
    with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=headers) as request:
        assert endless.opened.acquire(timeout=5)
        path = "/api/v1/requests/0123456789abcdef-script"
        assert ask(server.port, "DELETE", path, headers=server.headers).status == 204
        assert request.whole().status == 499
    server.wait_idle()
    assert endless.open_now == 0


def test_a_script_that_blocks_the_server_is_named_with_the_place_it_stands_at(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog = Watchdog(0.1)
    server.on_loop(watchdog.start)
    try:
        assert answer_of(server, "sleeps").status == 200
    finally:
        server.on_loop(watchdog.stop)
    assert "scripts/workflow.py:" in caplog.text
    assert "run_workflow" in caplog.text


def test_scripts_that_cannot_be_imported_are_listed_with_file_line_and_reason(server: Served) -> None:
    listed = ask(server.port, "GET", "/api/v1/list_personalities", headers=server.headers).json()
    names = ("does_not_load", "has_no_function", "bad_syntax", "leaves", "wants_more")
    assert not set(names) & set(listed["personalities"])
    problems = {each["name"]: each for each in listed["problems"]}
    assert set(problems) == set(names)
    assert {name: (each["file"], each["line"]) for name, each in problems.items()} == {
        "does_not_load": ("workflow.py", 3),
        "has_no_function": ("workflow.py", 1),
        "bad_syntax": ("workflow.py", 1),
        "leaves": ("workflow.py", 1),
        "wants_more": ("workflow.py", 3),
    }
    assert "KeyError: 'in the middle'" in problems["does_not_load"]["reason"]
    assert "run_workflow" in problems["has_no_function"]["reason"]
    assert "SyntaxError" in problems["bad_syntax"]["reason"]
    assert "SystemExit" in problems["leaves"]["reason"]
    assert 'pip install "no-such-package-of-ours"' in problems["wants_more"]["reason"]
    for name in names:
        answer = answer_of(server, name)
        assert (answer.status, answer.json()["code"]) == (503, "instance_unavailable")
    assert answer_of(server, "nobody").status == 404


def test_threads_of_scripts_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    async def run() -> None:
        threads = ScriptThreads(most=2)
        tasks = [asyncio.create_task(threads.run("x", go.wait, 20)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Exception, match="2 scripts run already"):
            await threads.run("x", print)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        go.set()
        assert await tasks[1] is True
        with pytest.raises(RuntimeError, match="StopIteration"):
            await threads.run("x", _raise, StopIteration())
        with pytest.raises(KeyError):
            await threads.run("x", _raise, KeyError())

    with caplog.at_level(logging.WARNING):
        asyncio.run(asyncio.wait_for(run(), 10))


def _raise(error: BaseException) -> Any:
    raise error
