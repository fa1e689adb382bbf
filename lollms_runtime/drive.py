"""The synchronous driver: it performs what a flow asks for, shows its events, and gives it the results.

`drive` pulls: it is a generator of batches that returns the flow's result, so the caller's own thread reads the socket
and simply stops reading when it is slow. Its twin for coroutines, which pushes, is `lollms_runtime.async_drive`.

Both follow the same rules. A `LollmsError` that a request ends with is thrown into the flow, which may handle it; any
other exception is a defect or a cancelled task and ends the flow. After `Cancelled` the flow may emit and return, but a
further request raises `Cancelled` again. An error of a model call carries the reply so far in `partial`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias, TypeVar

from lollms_core.errors import Cancelled, LollmsError
from lollms_core.flows.base import CountTokens, Emit, Flow, Generate, Request, RunTool, Together
from lollms_core.fold import ReplyFold
from lollms_core.types import Batch, GenerationCall, Reply, ToolCall
from lollms_runtime.cancel import Cancel
from lollms_runtime.observe import NOTHING, Observer
from lollms_runtime.waiting import item_of

__all__ = ["Ports", "Steps", "drive", "ends_group", "raise_first"]

T = TypeVar("T")

Steps: TypeAlias = Generator[Batch, None, T]


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
                observer.delivered(request.call, batch)
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


class _Shown:
    """One batch on its way from a thread of a group to the reader."""

    __slots__ = ("batch", "taken")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.taken = threading.Event()


def _together(request: Together, ports: Ports, cancel: Cancel, observer: Observer) -> Steps[list[Any]]:
    """Each flow on a thread of a small group; their batches are interleaved as they come.

    A thread goes on when its batch has been taken, so that a slow reader slows the work down, and a stop reaches every
    flow at the event that was shown last.
    """
    todo: queue.SimpleQueue[tuple[int, Flow[Any]]] = queue.SimpleQueue()
    shown: queue.SimpleQueue[_Shown | None] = queue.SimpleQueue()
    results: list[Any] = [None] * len(request.flows)
    group = Cancel(cancel)
    for item in enumerate(request.flows):
        todo.put(item)

    def work() -> None:
        try:
            while not group.is_set:
                index, flow = todo.get_nowait()
                try:
                    results[index] = _pump(drive(flow, ports, group, observer), shown, group)
                except Exception as error:
                    results[index] = error
                    if ends_group(error):
                        group.set()
        except queue.Empty:
            pass
        finally:
            shown.put(None)

    running = min(max(request.limit, 1), len(request.flows))
    threads = [threading.Thread(target=work, daemon=True) for _ in range(running)]
    for thread in threads:
        thread.start()
    try:
        while running:
            arrived = item_of(shown)
            if arrived is None:
                running -= 1
            elif not group.is_set:
                yield arrived.batch
                arrived.taken.set()
    finally:
        group.set()
        group.detach()
        for thread in threads:
            thread.join()
    cancel.check()
    raise_first([result for result in results if isinstance(result, Exception) and ends_group(result)])
    return results


def _pump(steps: Steps[T], shown: queue.SimpleQueue[_Shown | None], group: Cancel) -> T:
    """Hand over what `steps` yields; a stop of the group is thrown into it."""
    try:
        batch = next(steps)
        while True:
            item = _Shown(batch)
            try:
                with group.undoing(item.taken.set):
                    shown.put(item)
                    item.taken.wait()
            except Cancelled as error:
                batch = steps.throw(error)
            else:
                batch = next(steps)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def ends_group(error: BaseException) -> bool:
    """Errors of ours are results, but a stop is for all, and a defect must not be hidden in a list."""
    return isinstance(error, Cancelled) or not isinstance(error, LollmsError)


def raise_first(errors: Sequence[BaseException]) -> None:
    """Raise a defect, if there is one, else a stop, if there is one."""
    for error in errors:
        if not isinstance(error, Cancelled):
            raise error
    if errors:
        raise Cancelled("Stopped on request.")  # of all of them: the partial reply of one would say nothing
