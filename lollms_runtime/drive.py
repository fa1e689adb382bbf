"""The two drivers: they perform what a flow asks for, show its events, and give it the results.

Sync pulls: `drive` is a generator of batches that returns the flow's result, so the caller's own thread reads the
socket and simply stops reading when it is slow. Async pushes: `adrive` awaits a sink, because an async generator must
not hold a time-out or task group across a yield (PEP 789).

Both follow the same rules. A `LollmsError` that a request ends with is thrown into the flow, which may handle it; any
other exception is a defect or a cancelled task and ends the flow. After `Cancelled` the flow may emit and return, but a
further request raises `Cancelled` again. An error of a model call carries the reply so far in `partial`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, TypeAlias, TypeVar

from lollms_core.errors import Cancelled, LollmsError
from lollms_core.flows.base import CountTokens, Emit, Flow, Generate, Request, RunTool, Together
from lollms_core.types import Batch, GenerationCall, Reply, ReplyFold, ToolCall
from lollms_runtime.cancel import Cancel
from lollms_runtime.observe import NOTHING, Observer

__all__ = ["AsyncPorts", "AsyncStream", "Ports", "Sink", "Steps", "adrive", "drive"]

T = TypeVar("T")

Steps: TypeAlias = Generator[Batch, None, T]
Sink: TypeAlias = Callable[[Batch], Awaitable[None]]


# ---- sync ----------------------------------------------------------------------------------------------------------


class Ports(Protocol):
    """What the sync driver can do for a flow."""

    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]: ...

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]: ...

    def count(self, text: str) -> int: ...


def drive(flow: Flow[T], ports: Ports, cancel: Cancel, observer: Observer = NOTHING) -> Steps[T]:
    """Yields the batches to show and returns the flow's result.

    Three ways to stop: `cancel.set()` from any thread, or `throw(Cancelled())` into this generator, let the flow make
    something of what came and return it; `close()` abandons the work. All close what is open before they return.
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
                    yield request.batch
                elif stopped:
                    raise Cancelled("Stopped on request.")
                else:
                    cancel.check()
                    send = yield from _perform(request, ports, cancel, observer)
            except LollmsError as e:
                if stopped:
                    raise
                error, stopped = e, isinstance(e, Cancelled)
    finally:
        flow.close()


def _perform(request: Request, ports: Ports, cancel: Cancel, observer: Observer) -> Steps[Any]:
    if isinstance(request, Generate):
        return (yield from _generate(request, ports, cancel, observer))
    if isinstance(request, RunTool):
        return (yield from ports.tool(request.call, cancel))
    if isinstance(request, CountTokens):
        return ports.count(request.text)
    if isinstance(request, Together):
        return (yield from _together(request, ports, cancel, observer))
    raise TypeError(f"a flow yielded {request!r}")


def _generate(request: Generate, ports: Ports, cancel: Cancel, observer: Observer) -> Steps[Reply]:
    fold, view = ReplyFold(), request.view
    observer.started(request.call)
    try:
        with ports.open(request.call, cancel) as batches:
            for batch in batches:
                fold.add(batch)
                observer.delivered(batch)
                shown = batch if view is None else view.feed(batch)
                if shown:
                    yield shown
                if view is not None and view.enough:
                    break
    except LollmsError as error:
        error.partial = fold.done("cancelled" if isinstance(error, Cancelled) else "error")
        observer.failed(request.call, error)
        raise
    except BaseException as error:
        observer.failed(request.call, error)
        raise
    reply = fold.done("enough" if view is not None and view.enough else "")
    observer.finished(request.call, reply)
    return reply


def _together(request: Together, ports: Ports, cancel: Cancel, observer: Observer) -> Steps[list[Any]]:
    """Each flow on a thread of a small group; their batches are interleaved as they come."""
    todo: queue.SimpleQueue[tuple[int, Flow[Any]]] = queue.SimpleQueue()
    shown: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
    results: list[Any] = [None] * len(request.flows)
    group = Cancel(cancel)
    for item in enumerate(request.flows):
        todo.put(item)

    def work() -> None:
        try:
            while True:
                index, flow = todo.get_nowait()
                try:
                    results[index] = _pump(drive(flow, ports, group, observer), shown)
                except Exception as error:
                    results[index] = error
        except queue.Empty:
            shown.put(None)

    running = min(request.limit, len(request.flows))
    threads = [threading.Thread(target=work, daemon=True) for _ in range(running)]
    for thread in threads:
        thread.start()
    try:
        while running:
            batch = shown.get()
            if batch is None:
                running -= 1
            else:
                yield batch
    finally:
        group.set()
        group.detach()
        for thread in threads:
            thread.join()
    cancel.check()
    return _results(results)


def _pump(steps: Steps[T], shown: queue.SimpleQueue[Batch | None]) -> T:
    while True:
        try:
            shown.put(next(steps))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _results(results: list[Any]) -> list[Any]:
    """Errors of ours are results; anything else is a defect and must not be hidden in a list."""
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, LollmsError):
            raise result
    return results


# ---- async ---------------------------------------------------------------------------------------------------------


class AsyncPorts(Protocol):
    """What the async driver can do for a flow."""

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]: ...

    async def tool(self, call: ToolCall, sink: Sink) -> str: ...

    async def count(self, text: str) -> int: ...


async def adrive(flow: Flow[T], ports: AsyncPorts, sink: Sink, observer: Observer = NOTHING) -> T:
    """Awaits `sink` with each batch to show and returns the flow's result.

    A sink that raises `Cancelled` lets the flow make something of what came; cancelling the task abandons the work.
    Both close what is open before they return.
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
    finally:
        flow.close()


async def _aperform(request: Request, ports: AsyncPorts, sink: Sink, observer: Observer) -> Any:
    if isinstance(request, Generate):
        return await _agenerate(request, ports, sink, observer)
    if isinstance(request, RunTool):
        return await ports.tool(request.call, sink)
    if isinstance(request, CountTokens):
        return await ports.count(request.text)
    if isinstance(request, Together):
        return await _atogether(request, ports, sink, observer)
    raise TypeError(f"a flow yielded {request!r}")


async def _agenerate(request: Generate, ports: AsyncPorts, sink: Sink, observer: Observer) -> Reply:
    fold, view = ReplyFold(), request.view
    observer.started(request.call)
    try:
        async with ports.open(request.call) as batches:
            async for batch in batches:
                fold.add(batch)
                observer.delivered(batch)
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
        raise
    reply = fold.done("enough" if view is not None and view.enough else "")
    observer.finished(request.call, reply)
    return reply


async def _atogether(request: Together, ports: AsyncPorts, sink: Sink, observer: Observer) -> list[Any]:
    gate = asyncio.Semaphore(request.limit)

    async def one(flow: Flow[Any]) -> Any:
        async with gate:
            try:
                return await adrive(flow, ports, sink, observer)
            except Cancelled:
                raise
            except LollmsError as error:
                return error

    stop: BaseException | None = None
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(one(flow)) for flow in request.flows]
    except* Cancelled as errors:
        stop = errors.exceptions[0]
    if stop is not None:
        raise stop  # outside of `except*`, which would wrap it again
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

    async def __aenter__(self) -> AsyncStream:
        self._task = asyncio.ensure_future(self._start(self._put))
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))
        return self

    async def _put(self, batch: Batch) -> None:
        await self._room.acquire()
        self._queue.put_nowait(batch)

    async def __aiter__(self) -> AsyncIterator[Batch]:
        while (batch := await self._queue.get()) is not None:
            self._room.release()
            yield batch
        await self.result()

    async def result(self) -> Any:
        """Read what is left, then the value of the work, or its error."""
        if self._task is None:
            raise RuntimeError("use `async with` before reading the stream")
        while not self._task.done() and await self._queue.get() is not None:
            self._room.release()
        return await self._task

    async def __aexit__(self, *exc: object) -> None:
        task = self._task
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen by the reader already, or the reader has left
