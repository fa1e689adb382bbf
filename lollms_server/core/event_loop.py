"""The event loop of the server's process, and how it ends.

Code of others runs on this loop and on threads beside it. `asyncio.run` and the interpreter both wait at their end for
every task and every thread, so that one function that will not hear that it is cancelled would keep the process alive
when all requests are over. Here each of them has a moment; what then still goes on ends with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

__all__ = ["ServerLoop", "leave"]

_log = logging.getLogger(__name__)


class ServerLoop:
    """`with ServerLoop() as loop:` runs coroutines; leaving the block ends what they left behind.

    `moment` is how many seconds tasks have for that, and threads; `left` says afterwards what did not end.
    """

    def __init__(self, moment: float = 1.0) -> None:
        self.left: list[str] = []
        self._moment = moment
        self._loop = _new_loop()

    def __enter__(self) -> ServerLoop:
        asyncio.set_event_loop(self._loop)
        return self

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end. Raises what it raises."""
        self._loop.run_until_complete(work)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (tasks := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._wait(tasks)
        self._wait({self._loop.create_task(self._loop.shutdown_asyncgens(), name="generators")})
        self._end_threads()
        asyncio.set_event_loop(None)
        if not self.left:
            self._loop.close()

    def _wait(self, tasks: set[asyncio.Task[Any]]) -> None:
        if not tasks:
            return
        done, busy = self._loop.run_until_complete(asyncio.wait(tasks, timeout=self._moment))
        self.left += [task.get_name() for task in busy]
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("The task %s failed at the end.", task.get_name(), exc_info=error)

    def _end_threads(self) -> None:
        until = time.monotonic() + self._moment
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join(max(0.0, until - time.monotonic()))
                if thread.is_alive():
                    self.left.append(thread.name)


def leave(code: int) -> None:
    """End the process at once, with whatever still runs in it."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(code)


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it exists, else the standard loop."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
