"""Blocking work for coroutines: on its own thread, stopped with the task, and never waited for when it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lollms_core.errors import Cancelled, TruncatedStream
from lollms_core.types import Batch, TextDelta
from lollms_runtime.cancel import Cancel, current_cancel
from lollms_runtime.threads import iterate_in_thread, run_in_thread

AT_ONCE = 0.5  # seconds; the work itself would take five


def numbers(count: int, made: list[int], end: Callable[[], None] = lambda: None) -> Callable[..., object]:
    @contextlib.contextmanager
    def open_batches(cancel: Cancel) -> Iterator[Iterator[Batch]]:
        def batches() -> Iterator[Batch]:
            for number in range(count):
                cancel.check()
                made.append(number)
                yield (TextDelta(str(number)),)
            end()

        yield batches()

    return open_batches


def test_a_result_and_an_error_come_back() -> None:
    def fail() -> None:
        raise TruncatedStream("cut")

    async def ask() -> None:
        assert await run_in_thread(lambda a, b: a + b, 1, b=2) == 3
        with pytest.raises(TruncatedStream):
            await run_in_thread(fail)

    asyncio.run(ask())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1)], ids=repr)
def test_what_no_task_can_hold_is_an_error_like_any_other(error: BaseException) -> None:
    def leave() -> None:
        raise error

    async def ask() -> None:
        with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
            await run_in_thread(leave)
        assert caught.value.__cause__ is error

    asyncio.run(ask())


def test_a_cancelled_task_sets_the_token_of_its_work() -> None:
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        stopped = threading.Event()
        began.set()
        with contextlib.suppress(Cancelled), current_cancel().undoing(stopped.set):
            assert stopped.wait(5)
        ended.set()

    async def leave() -> None:
        task = asyncio.create_task(run_in_thread(work))
        while not began.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(leave())


def test_work_that_never_comes_back_is_not_waited_for() -> None:
    go = threading.Event()

    async def leave() -> float:
        task = asyncio.create_task(run_in_thread(go.wait, 5))
        await asyncio.sleep(0)
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with iterate_in_thread(stuck(go)) as batches:
            assert await anext(batches) == ()
        return time.monotonic() - start

    assert asyncio.run(leave()) < 2 * AT_ONCE
    go.set()


def stuck(go: threading.Event) -> Callable[[Cancel], contextlib.AbstractContextManager[Iterator[Batch]]]:
    @contextlib.contextmanager
    def open_batches(cancel: Cancel) -> Iterator[Iterator[Batch]]:
        def batches() -> Iterator[Batch]:
            yield ()
            go.wait(5)

        yield batches()

    return open_batches


def test_there_is_a_token_only_inside_of_such_work() -> None:
    assert current_cancel() is not current_cancel()

    async def two() -> tuple[Cancel, Cancel]:
        first, second = await asyncio.gather(run_in_thread(current_cancel), run_in_thread(current_cancel))
        return first, second

    first, second = asyncio.run(two())
    assert first is not second


def test_batches_come_in_order_and_at_most_eight_ahead() -> None:
    made: list[int] = []

    async def read() -> list[str]:
        seen: list[str] = []
        async with iterate_in_thread(numbers(100, made)) as batches:  # type: ignore[arg-type]
            async for (event,) in batches:
                seen.append(event.text)
                await asyncio.sleep(0)
                assert len(made) <= len(seen) + 10
        return seen

    assert asyncio.run(read()) == [str(number) for number in range(100)]


def test_an_error_comes_after_the_batches_before_it() -> None:
    made: list[int] = []

    def fail() -> None:
        raise TruncatedStream("cut")

    async def read(seen: list[Batch]) -> None:
        async with iterate_in_thread(numbers(3, made, fail)) as batches:  # type: ignore[arg-type]
            async for batch in batches:
                seen.append(batch)

    seen: list[Batch] = []
    with pytest.raises(TruncatedStream):
        asyncio.run(read(seen))
    assert len(seen) == 3


def test_leaving_stops_the_work_and_its_thread() -> None:
    made: list[int] = []

    async def leave() -> None:
        async with iterate_in_thread(numbers(10_000, made)) as batches:  # type: ignore[arg-type]
            await anext(batches)

    asyncio.run(leave())
    assert len(made) < 20
