"""How threads and coroutines wait for an engine's futures, and let go of its connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import TypeVar

from lollms_core.errors import Cancelled, LollmsError
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport.base import AsyncTransport
from lollms_runtime.waiting import result_of

__all__ = ["again", "await_", "closer", "closing_async", "gone_within", "wait"]

T = TypeVar("T")


def again(error: LollmsError) -> LollmsError:
    """An error of its own for each request, since each gets its own `partial` and traceback."""
    return type(error)(error.message, param=error.param)


def wait(future: Future[T], cancel: Cancel) -> T:
    """The result of a future, waited for by a thread. Raises `Cancelled`, and the future's error afresh."""
    try:
        with cancel.undoing(lambda: _cancel(future)):
            return result_of(future)
    except LollmsError as error:
        raise error if isinstance(error, Cancelled) else again(error) from None
    finally:
        future.cancel()  # a future that nobody waits for any more


def _cancel(future: Future[T]) -> None:
    future.cancel()


async def await_(future: Future[T]) -> T:
    """As `wait`, for a coroutine."""
    try:
        return await asyncio.wrap_future(future)
    except LollmsError as error:
        raise again(error) from None


async def gone_within(over: Future[None], seconds: float) -> None:
    """Wait until a future is done, such as the one of an engine's death, at most so long."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(gone.set)

    over.add_done_callback(tell)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await gone.wait()


@contextlib.asynccontextmanager
async def closing_async(transport: AsyncTransport) -> AsyncIterator[AsyncTransport]:
    """The transport, closed in the end."""
    try:
        yield transport
    finally:
        await transport.close()


def closer(transport: AsyncTransport) -> Callable[[], None]:
    """What ends the exchanges of a transport of this event loop, from any thread."""
    loop = asyncio.get_running_loop()

    def close() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed, and the connection with it
            loop.call_soon_threadsafe(lambda: asyncio.ensure_future(transport.close()))

    return close
