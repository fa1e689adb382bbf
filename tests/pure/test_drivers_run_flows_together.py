"""Flows run together: at most so many at once, each with its own result, and one stop ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from lollms_core.errors import Cancelled, LollmsError, TruncatedStream
from lollms_core.flows.answer import answer
from lollms_core.flows.base import Flow, ask, emit, together
from lollms_core.types import Batch, GenerationCall, Notice, Reply, TextDelta, ToolCall
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps, drive
from tests.support.driving import DRIVERS, Script, ask_for, run_async, run_sync, words

SCRIPT = Script(
    {
        "a": words("a1 a2 a3"),
        "b": words("b1 b2"),
        "breaks": [*words("c1"), TruncatedStream("the line broke")],
        "defect": [*words("d1"), ZeroDivisionError("a defect")],
        "stops": [*words("e1"), Cancelled("stopped by itself")],
        "long": words("x " * 500),
    }
)


def these(*prompts: str, limit: int = 4) -> Flow[list[Reply | LollmsError]]:
    return together([answer(ask_for(prompt)) for prompt in prompts], limit)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 4, 100])
def test_each_flow_has_its_result_in_its_place(driver: str, limit: int) -> None:
    outcome = DRIVERS[driver](lambda: these("a", "breaks", "b", "a", limit=limit), SCRIPT)
    first, broken, second, third = outcome.value
    assert [first.text, second.text, third.text] == ["a1 a2 a3 ", "b1 b2 ", "a1 a2 a3 "]
    assert isinstance(broken, TruncatedStream)
    assert broken.partial is not None and broken.partial.text == "c1 "
    texts = sorted(event.text for batch in outcome.shown for event in batch if isinstance(event, TextDelta))
    assert texts == ["a1 ", "a1 ", "a2 ", "a2 ", "a3 ", "a3 ", "b1 ", "b2 ", "c1 "]


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_flows_have_no_results(driver: str) -> None:
    assert DRIVERS[driver](lambda: these(), SCRIPT).value == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_groups_can_be_nested(driver: str) -> None:
    def inner() -> Flow[list[str]]:
        results = yield from these("a", "b")
        return [str(result) for result in results]

    assert DRIVERS[driver](lambda: together([inner(), inner()], 2), SCRIPT).value == [["a1 a2 a3 ", "b1 b2 "]] * 2


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("limit", [1, 3])
def test_a_defect_ends_all_and_is_raised_as_it_is(driver: str, limit: int) -> None:
    outcome = DRIVERS[driver](lambda: these("b", "defect", "long", "long", limit=limit), SCRIPT)
    assert outcome.error is ZeroDivisionError
    assert len(outcome.shown) < 500


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("limit", [1, 3])
def test_a_flow_that_is_stopped_stops_all(driver: str, limit: int) -> None:
    outcome = DRIVERS[driver](lambda: these("b", "stops", "long", "long", limit=limit), SCRIPT)
    assert outcome.error is Cancelled
    assert len(outcome.shown) < 500
    names = [name for name, _ in outcome.log]
    assert names.count("opened") == names.count("closed")


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("way", ["throw", "close"])
def test_a_stop_reaches_all_of_them(driver: str, way: str) -> None:
    def make() -> Flow[str]:
        try:
            yield from these("long", "long", "long")
        except Cancelled:
            yield from emit(Notice("info", "stopped"))
        return "made something of it"

    for stop in (1, 2, 7):
        outcome = DRIVERS[driver](make, SCRIPT, stop, way)
        assert outcome.value == ("made something of it" if way == "throw" else None)
        names = [name for name, _ in outcome.log]
        assert 1 <= names.count("opened") == names.count("closed") <= 3
        assert "finished" not in names
        # Nobody runs ahead: what was taken from the model is what was shown, and one batch in each hand.
        assert names.count("delivered") <= stop + 3


def test_both_drivers_give_the_same_when_one_runs_at_a_time() -> None:
    def make() -> Flow[list[str]]:
        results = yield from these("a", "breaks", "b", limit=1)
        return [str(result) for result in results]

    full = run_sync(make, SCRIPT)
    assert full == run_async(make, SCRIPT)
    for stop in range(1, len(full.shown) + 1):
        assert run_sync(make, SCRIPT, stop) == run_async(make, SCRIPT, stop)


class Counting:
    """Ports whose streams stay open until as many are open as can be."""

    def __init__(self, expected: int) -> None:
        self._barrier = threading.Barrier(expected)
        self._lock = threading.Lock()
        self.open_now = 0
        self.most = 0

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        with self._lock:
            self.open_now += 1
            self.most = max(self.most, self.open_now)
        self._barrier.wait(5)
        yield iter([(TextDelta("x"),)])
        with self._lock:
            self.open_now -= 1

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        raise AssertionError

    def count(self, text: str) -> int:
        raise AssertionError


class AsyncCounting:
    """The same for coroutines."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._full = asyncio.Event()
        self.open_now = 0
        self.most = 0

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        if self.open_now == self._expected:
            self._full.set()
        await asyncio.wait_for(self._full.wait(), 5)

        async def one() -> AsyncIterator[Batch]:
            yield (TextDelta("x"),)

        yield one()
        self.open_now -= 1

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


def test_as_many_run_at_once_as_the_limit_says() -> None:
    def flow() -> Flow[Any]:
        return together([answer(ask_for("x")) for _ in range(6)], limit=3)

    ports = Counting(3)
    assert len(list(drive(flow(), ports, Cancel()))) == 6
    assert ports.most == 3

    async def work() -> int:
        aports = AsyncCounting(3)

        async def sink(batch: Batch) -> None:
            await asyncio.sleep(0)

        assert len(await adrive(flow(), aports, sink)) == 6
        return aports.most

    assert asyncio.run(work()) == 3


class Blocking:
    """Ports whose streams block after the first batch until they are cancelled."""

    def __init__(self) -> None:
        self.blocked = threading.Semaphore(0)
        self.woken = threading.Semaphore(0)

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        yield self._read(cancel)

    def _read(self, cancel: Cancel) -> Iterator[Batch]:
        yield (TextDelta("x"),)
        wake = threading.Event()
        try:
            with cancel.undoing(wake.set):
                self.blocked.release()
                assert wake.wait(10), "nobody undid the wait"
        finally:
            self.woken.release()

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        raise AssertionError

    def count(self, text: str) -> int:
        raise AssertionError


def test_blocked_threads_are_freed_by_the_token_from_another_thread() -> None:
    ports, cancel = Blocking(), Cancel()

    def stop() -> None:
        for _ in range(3):
            assert ports.blocked.acquire(timeout=5)
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Cancelled):
        list(drive(together([ask(ask_for("x")) for _ in range(3)], 3), ports, cancel))
    thread.join()
    for _ in range(3):
        assert ports.woken.acquire(timeout=1)


def test_blocked_threads_are_freed_when_the_reader_leaves() -> None:
    ports, cancel, before = Blocking(), Cancel(), set(threading.enumerate())
    steps = drive(together([ask(ask_for("x")) for _ in range(2)], 2), ports, cancel)
    next(steps)
    next(steps)
    assert ports.blocked.acquire(timeout=5)
    steps.close()
    assert ports.woken.acquire(timeout=1)
    assert set(threading.enumerate()) == before
    assert not cancel.is_set, "the caller's token is the caller's"
