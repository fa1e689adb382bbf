"""Blocking work for coroutines: on a thread of its own, with a `Cancel` that is set when the task is cancelled.

A thread each, instead of a pool: a binding of a third party may never come back, and a pool whose threads all hang
would hold up everybody else. The thread is a daemon, so that such a binding does not keep the program from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from lollms_core.types import Batch
from lollms_runtime.cancel import Cancel, current_scope

__all__ = ["in_background", "iterate_in_thread", "run_in_thread"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 0.25  # seconds for which work that was told to stop is waited for; then it ends in the background
_ROOM = 8  # batches that may wait for the reader


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a blocking function returns, or raises. A cancelled task sets the token of the work and waits no longer."""
    cancel = Cancel()
    done = in_background(lambda: function(*args, **kwargs), cancel)
    try:
        await asyncio.wait([done])  # not `shield`, which from Python 3.14 on reports what the left work raises
        return done.result()
    except asyncio.CancelledError:
        cancel.set()
        await _until(done)
        raise


@contextlib.asynccontextmanager
async def iterate_in_thread(
    open_batches: Callable[[Cancel], AbstractContextManager[Iterator[Batch]]],
) -> AsyncIterator[AsyncIterator[Batch]]:
    """The batches of a blocking port, read on a thread at most eight ahead of the reader.

    Leaving the block sets the token of the work and waits for its end, but not for work that does not stop.
    """
    loop = asyncio.get_running_loop()
    cancel = Cancel()
    arrived: asyncio.Queue[Batch | None] = asyncio.Queue()
    room = threading.Semaphore(_ROOM)

    def work() -> None:
        try:
            with open_batches(cancel) as batches:
                for batch in batches:
                    with cancel.undoing(room.release):
                        room.acquire()  # given back by the reader, or by a stop
                    _tell(loop, arrived.put_nowait, batch)
        finally:
            _tell(loop, arrived.put_nowait, None)

    done = in_background(work, cancel)

    async def read() -> AsyncIterator[Batch]:
        while (batch := await arrived.get()) is not None:
            room.release()
            yield batch
        await done

    try:
        yield read()
    finally:
        cancel.set()
        await _until(done)


def in_background(function: Callable[[], T], cancel: Cancel) -> asyncio.Future[T]:
    """Run a function on a new thread, in a copy of this context; a future of this loop for what comes of it.

    Nobody waits for the thread: neither the end of the loop nor that of the program.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            with current_scope(cancel):
                result = function()
        except BaseException as error:  # a plug-in may even call sys.exit()
            _tell(loop, _fail, done, error)
        else:
            _tell(loop, _finish, done, result)

    threading.Thread(target=context.run, args=(run,), name="lollms work", daemon=True).start()
    return done


def _finish(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if done.done():
        return
    if isinstance(error, (StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit)):  # no future can hold these
        failed = RuntimeError(f"The work ended with {type(error).__name__}.")
        failed.__cause__ = error
        error = failed
    done.set_exception(error)


async def _until(done: asyncio.Future[Any]) -> None:
    """Wait for the end of work that was told to stop. What it raises has no reader any more."""
    await asyncio.wait([done], timeout=_PATIENCE)
    if done.done() and not done.cancelled():
        done.exception()
    else:
        done.cancel()


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
    """Call a function on the loop, if that still runs."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)
