"""`AsyncStream`: every batch in order, a bounded lead over a slow reader, and nothing that goes on when it is left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from lollms_core.errors import TruncatedStream
from lollms_core.types import Batch, TextDelta
from lollms_runtime.async_drive import AsyncStream, Sink

T = TypeVar("T")


def numbers(count: int) -> list[Batch]:
    return [(TextDelta(str(number)),) for number in range(count)]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run, and see that nothing is left behind."""

    async def watched() -> T:
        result = await work
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(watched())


async def collect(stream: AsyncStream, seen: list[Batch]) -> None:
    async for batch in stream:
        seen.append(batch)


class Work:
    """Pushes numbers; knows how far it came and how it ended."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.pushed = 0
        self.ended = ""
        self._count = count
        self._error = error

    async def __call__(self, sink: Sink) -> str:
        try:
            for batch in numbers(self._count):
                await sink(batch)
                self.pushed += 1
            if self._error is not None:
                raise self._error
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # cleaning up may take a while
            self.ended = "cancelled"
            raise
        self.ended = "done"
        return "the result"


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_everything_in_order_then_the_result(count: int) -> None:
    async def read() -> None:
        async with AsyncStream(Work(count)) as stream:
            assert [batch async for batch in stream] == numbers(count)
            assert await stream.result() == "the result"
            assert await stream.result() == "the result"
            assert [batch async for batch in stream] == []

    run(read())


@pytest.mark.parametrize("read_first", [0, 3])
def test_the_result_without_reading_the_rest(read_first: int) -> None:
    async def read() -> None:
        async with AsyncStream(Work(50)) as stream:
            for expected in numbers(read_first):
                assert await anext(stream) == expected
            assert await stream.result() == "the result"
            assert [batch async for batch in stream] == []

    run(read())


def test_a_slow_reader_holds_the_work_back() -> None:
    async def read() -> None:
        work = Work(100)
        async with AsyncStream(work, room=4) as stream:
            for taken in range(1, 20):
                await anext(stream)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert work.pushed <= taken + 4
        assert work.ended == "cancelled"

    run(read())


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_cancels_the_work_and_waits_for_its_end(taken: int) -> None:
    async def read() -> None:
        work = Work(1000)
        async with AsyncStream(work) as stream:
            async for batch in stream:
                taken_now = int(batch[0].text)  # type: ignore[union-attr]
                if taken_now >= taken:
                    break
        assert work.ended == "cancelled"
        assert work.pushed < 1000

    run(read())


def test_an_error_comes_after_the_batches_before_it() -> None:
    async def read() -> None:
        seen: list[Batch] = []
        async with AsyncStream(Work(3, TruncatedStream("broke"))) as stream:
            with pytest.raises(TruncatedStream):
                await collect(stream, seen)
            assert seen == numbers(3)
            with pytest.raises(TruncatedStream):
                await stream.result()

    run(read())


def test_an_error_that_nobody_reads_is_dropped_without_noise() -> None:
    async def read() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with AsyncStream(Work(1, TruncatedStream("broke"))) as stream:
            await anext(stream)
            for _ in range(5):
                await asyncio.sleep(0)
        assert not complaints

    run(read())


def test_a_reader_that_is_cancelled_ends_the_work() -> None:
    async def read() -> None:
        work = Work(10)

        async def stuck(sink: Sink) -> None:
            await work(sink)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                work.ended = "cancelled"
                raise

        async def reader() -> None:
            async with AsyncStream(stuck) as stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(reader())
        while work.ended != "done":
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.ended == "cancelled"

    run(read())


def test_it_is_a_context_manager() -> None:
    async def read() -> None:
        with pytest.raises(RuntimeError, match="async with"):
            await AsyncStream(Work(1)).result()
        with pytest.raises(RuntimeError, match="async with"):
            await anext(AsyncStream(Work(1)))

    run(read())
