"""The asynchronous driver; see `lollms_runtime.drive` for the rules that it shares with the synchronous one.

`adrive` pushes: it awaits a sink, because an async generator must not hold a time-out or task group across a yield
(PEP 789). `AsyncStream` turns that into batches to iterate over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias, TypeVar

from lollms_core.errors import Cancelled, LollmsError
from lollms_core.flows.base import CountTokens, Emit, Flow, Generate, Request, RunTool, Together
from lollms_core.fold import ReplyFold
from lollms_core.types import Batch, GenerationCall, Reply, ToolCall
from lollms_runtime.drive import ends_group, raise_first
from lollms_runtime.observe import NOTHING, Observer

__all__ = ["AsyncPorts", "AsyncStream", "Sink", "adrive", "stop"]

T = TypeVar("T")

Sink: TypeAlias = Callable[[Batch], Awaitable[None]]


class AsyncPorts(Protocol):
    """What the async driver can do for a flow."""

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]: ...

    async def tool(self, call: ToolCall, sink: Sink) -> str: ...

    async def count(self, text: str) -> int: ...


_STOP = object()  # the message of a cancellation that is a stop


def stop(task: asyncio.Future[Any]) -> None:
    """Stop the work that `adrive` does in a task, from its event loop: the flow gets `Cancelled`."""
    task.cancel(_STOP)


def _is_stop(error: asyncio.CancelledError) -> bool:
    """Whether a cancellation is a stop; then the task does not count as cancelled any more."""
    if not error.args or error.args[0] is not _STOP:
        return False
    if (task := asyncio.current_task()) is not None:
        task.uncancel()
    return True


async def adrive(flow: Flow[T], ports: AsyncPorts, sink: Sink, observer: Observer = NOTHING) -> T:
    """Awaits `sink` with each batch to show and returns the flow's result.

    Two ways to stop: a sink that raises `Cancelled`, and `stop(task)` on the task this runs in, let the flow make
    something of what came; cancelling the task in any other way abandons the work. All close what is open before they
    return.
    """
    send: Any = None
    error: LollmsError | None = None
    stopped = False
    try:
        while True:
            try:
                request = flow.throw(error) if error is not None else flow.send(send)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            send, error = None, None
            try:
                if isinstance(request, Emit):
                    await sink(request.batch)
                elif stopped:
                    raise Cancelled("Stopped on request.")
                else:
                    send = await _aperform(request, ports, sink, observer)
            except LollmsError as e:
                if stopped:
                    raise
                error, stopped = e, isinstance(e, Cancelled)
            except asyncio.CancelledError as e:
                if stopped or not _is_stop(e):
                    raise
                error, stopped = Cancelled("Stopped on request."), True
    finally:
        flow.close()


def _aperform(request: Request, ports: AsyncPorts, sink: Sink, observer: Observer) -> Awaitable[Any]:
    if isinstance(request, Generate):
        return _agenerate(request, ports, sink, observer)
    if isinstance(request, RunTool):
        return ports.tool(request.call, sink)
    if isinstance(request, CountTokens):
        return ports.count(request.text)
    if isinstance(request, Together):
        return _atogether(request, ports, sink, observer)
    raise TypeError(f"a flow yielded {request!r}")


async def _agenerate(request: Generate, ports: AsyncPorts, sink: Sink, observer: Observer) -> Reply:
    fold, view = ReplyFold(), request.view
    observer.started(request.call)
    try:
        async with ports.open(request.call) as batches:
            async for batch in batches:
                fold.add(batch)
                observer.delivered(request.call, batch)
                shown = batch if view is None else view.feed(batch)
                if shown:
                    await sink(shown)
                if view is not None and view.enough:
                    break
    except LollmsError as error:
        error.partial = fold.done("cancelled" if isinstance(error, Cancelled) else "error")
        observer.failed(request.call, error)
        raise
    except BaseException as error:
        observer.failed(request.call, error)
        if isinstance(error, asyncio.CancelledError) and _is_stop(error):
            stopped = Cancelled("Stopped on request.")
            stopped.partial = fold.done("cancelled")
            raise stopped from None
        raise
    reply = fold.done("enough" if view is not None and view.enough else "")
    observer.finished(request.call, reply)
    return reply


async def _atogether(request: Together, ports: AsyncPorts, sink: Sink, observer: Observer) -> list[Any]:
    gate = asyncio.Semaphore(max(request.limit, 1))

    failed: list[Exception] = []

    async def one(flow: Flow[Any]) -> Any:
        async with gate:
            if failed:
                return None  # the others are being cancelled
            try:
                return await adrive(flow, ports, sink, observer)
            except Exception as error:
                if ends_group(error):
                    failed.append(error)
                    raise
                return error

    tasks: list[asyncio.Task[Any]] = []
    with contextlib.suppress(ExceptionGroup):  # its members are in `failed`
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(one(flow)) for flow in request.flows]
    raise_first(failed)
    return [task.result() for task in tasks]


class AsyncStream:
    """`async with AsyncStream(start) as s: async for batch in s`, over a coroutine that pushes.

    `start` is given a sink and returns the result. At most `room` batches wait for a slow reader. Leaving the block
    cancels the work and waits until it has ended; `result()` gives the value when the work is done.
    """

    def __init__(self, start: Callable[[Sink], Awaitable[Any]], room: int = 8) -> None:
        self._start = start
        self._room = asyncio.Semaphore(room)
        self._queue: asyncio.Queue[Batch | None] = asyncio.Queue()
        self._task: asyncio.Future[Any] | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin the work; `async with` does it."""
        self._task = asyncio.ensure_future(self._start(self._put))
        self._task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Future[Any]) -> None:
        if not task.cancelled():
            task.exception()  # the reader gets it from `outcome`, or has left
        self._queue.put_nowait(None)

    async def __aenter__(self) -> AsyncStream:
        self.start()
        return self

    async def _put(self, batch: Batch) -> None:
        await self._room.acquire()
        self._queue.put_nowait(batch)

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Batch:
        batch = await self.next()
        if batch is None:
            await self.result()
            raise StopAsyncIteration
        return batch

    async def result(self) -> Any:
        """Read what is left, then the value of the work, or its error."""
        while await self.next() is not None:
            pass
        return self.outcome()

    async def next(self) -> Batch | None:
        """The next batch; None when the work has ended and everything was read, and ever after."""
        self._work()
        batch = await self._queue.get()
        if batch is None:
            self._queue.put_nowait(None)  # for the next call, and for another task that waits here
        else:
            self._room.release()
        return batch

    def outcome(self) -> Any:
        """The value of work that has ended, or its error."""
        return self._work().result()

    def stop(self) -> None:
        """Stop the work, as `stop(task)` does; what it still shows and its end can be read."""
        if not self._stopped:
            self._stopped = True  # a second stop would cut off what the first one lets the work still do
            stop(self._work())

    def _work(self) -> asyncio.Future[Any]:
        if self._task is None:
            raise RuntimeError("use `async with` before reading the stream")
        return self._task

    async def __aexit__(self, *exc: object) -> None:
        task = self._task
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
