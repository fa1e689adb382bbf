"""Threads for code that blocks.

A plain function of a third party may block for as long as it likes, and a thread cannot be stopped from outside. So
each runs on a thread of its own that nobody waits for: not the request, which ends in time without it, and not the end
of the program. The shared pool of threads is not used, because a few that never end would use it up.

An `async def` function that blocks stops the whole server; of that `watchdog.py` tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from lollms_core.errors import TooManyRequests

__all__ = ["ScriptThreads"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ScriptThreads:
    """Runs blocking functions, at most `most` at once. Used on the event loop."""

    def __init__(self, most: int = 128) -> None:
        self._most = most
        self._lock = threading.Lock()
        self.running = 0

    async def run(self, owner: str, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function that runs on a thread; what it raises is raised here.

        When the caller is cancelled the thread goes on, and its result is dropped with a line in the log. `owner` is
        named there. Raises `TooManyRequests` when all places are taken, by threads that were given up as well.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        given_up = threading.Event()
        context = contextvars.copy_context()

        def work() -> None:
            value: Any = None
            error: BaseException | None = None
            try:
                value = context.run(function, *arguments)
            except BaseException as raised:
                error = raised
            with self._lock:
                self.running -= 1
            if given_up.is_set():
                _log.warning("A thread of %s ended after its request; its result is dropped.", owner)
                return
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(_settle, result, value, error)

        with self._lock:
            if self.running >= self._most:
                raise TooManyRequests(f"{self.running} scripts run already; try again soon.", retry_after=5.0)
            self.running += 1
        threading.Thread(target=work, name=f"script of {owner}", daemon=True).start()
        try:
            return await result
        finally:
            if result.cancelled():
                given_up.set()
                _log.warning("A thread of %s is still busy when its request ends; it goes on alone.", owner)

    def run_alone(self, owner: str, function: Callable[[], object]) -> None:
        """Run a function that nobody waits for; what it raises goes to the log."""

        def work() -> None:
            try:
                function()
            except BaseException:
                _log.exception("A thread of %s failed when it was to end.", owner)

        threading.Thread(target=work, name=f"end of {owner}", daemon=True).start()


def _settle(result: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if result.done():
        return
    if error is None:
        result.set_result(value)
    elif isinstance(error, StopIteration):  # cannot be the outcome of a future
        result.set_exception(RuntimeError("StopIteration was raised outside of a generator"))
    else:
        result.set_exception(error)
