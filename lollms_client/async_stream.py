"""`AsyncStream`: a running generation in the hands of a coroutine."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from lollms_core.errors import Cancelled
from lollms_core.types import Batch, Event, Reply, TextDelta
from lollms_runtime import async_drive
from lollms_runtime.async_drive import Sink

__all__ = ["AsyncStream"]


class AsyncStream:
    """The events of a generation as they come: `async for event in stream`, then `await stream.result()`.

    Nothing is sent before the first event is asked for, or `async with` is entered. Iterating raises the `LollmsError`
    that ends the generation; its `partial` has what came. Leaving an `async with` block, `close()` and a discarded
    stream close the connection.

    One task reads a stream; `cancel()` may be called from anywhere, also from another thread.
    """

    def __init__(self, work: Callable[[Sink], Awaitable[Reply]]) -> None:
        self._running = _Running(work)
        self._rest: Iterator[Event] = iter(())
        self._ended = False
        # what runs must not refer to the stream, so that a stream nobody holds any more ends it
        weakref.finalize(self, self._running.cancel)

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Event:
        while True:
            for event in self._rest:
                return event
            batch = await self._pull()
            if batch is None:
                raise StopAsyncIteration
            self._rest = iter(batch)

    async def batches(self) -> AsyncIterator[Batch]:
        """The same events, in groups that came together."""
        if rest := tuple(self._rest):
            yield rest
        while (batch := await self._pull()) is not None:
            yield batch

    async def texts(self) -> AsyncIterator[str]:
        """The text of the answer alone, piece by piece."""
        async for event in self:
            if type(event) is TextDelta:
                yield event.text

    async def result(self) -> Reply:
        """Read what is left and return the whole answer. Raises the error that ended the generation."""
        while await self._running.next() is not None:
            pass
        self._ended = True
        return self._running.reply()

    def cancel(self) -> None:
        """Stop the generation, from anywhere: the reader gets `Cancelled` and the connection is closed."""
        self._running.cancel()

    async def close(self) -> None:
        """Stop the generation and end the stream: iterating gives nothing more, `result()` raises `Cancelled`."""
        self._rest, self._ended = iter(()), True
        await self._running.close()

    async def _pull(self) -> Batch | None:
        if self._ended:
            return None
        batch = await self._running.next()
        if batch is None:
            self._ended = True
            self._running.reply()
        return batch

    async def __aenter__(self) -> AsyncStream:
        self._running.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Running:
    """The task of a stream and the batches it has shown, at most eight ahead of the reader."""

    def __init__(self, work: Callable[[Sink], Awaitable[Reply]]) -> None:
        self._stream = async_drive.AsyncStream(work)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False  # before it began

    def start(self) -> None:
        """Begin, if that was not done and nobody stopped it."""
        if self._loop is None and not self._stopped:
            self._loop = asyncio.get_running_loop()
            self._stream.start()

    async def next(self) -> Batch | None:
        """The next batch; None at the end."""
        self.start()
        return None if self._stopped else await self._stream.next()

    def reply(self) -> Reply:
        """The answer of work that has ended. Raises its error."""
        if self._stopped:
            raise Cancelled("The stream was stopped before it began.")
        try:
            reply: Reply = self._stream.outcome()
        except asyncio.CancelledError:
            raise Cancelled("The stream was interrupted.") from None
        return reply

    def cancel(self) -> None:
        """Stop, from any thread."""
        if self._loop is None:
            self._stopped = True
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the work with it
                self._loop.call_soon_threadsafe(self._stream.stop)

    async def close(self) -> None:
        """Stop, and wait until the work has ended."""
        if self._loop is None:
            self._stopped = True
            return
        self._stream.stop()
        while await self._stream.next() is not None:
            pass
