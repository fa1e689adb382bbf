"""The threads behind `asyncio.to_thread`, the server's own and those of plug-ins.

The usual pool has a handful of threads, and the interpreter waits for them at its end. A function of a plug-in that
blocks in a few of them for ever would stop all that needs a thread in the server, and the end of its process. Here each
call has a thread of its own, which nobody waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from typing_extensions import override

from lollms_core.errors import TooManyRequests

__all__ = ["LoopThreads"]

P = ParamSpec("P")
T = TypeVar("T")


class LoopThreads(ThreadPoolExecutor):
    """A default executor for an event loop, which takes nothing but a `ThreadPoolExecutor`; at most `most` run."""

    def __init__(self, most: int = 1024) -> None:
        super().__init__(1)
        self._most = most
        self._count = threading.Lock()
        self.running = 0

    @override
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on a thread. Raises `TooManyRequests` when all places are taken, by given up calls as well."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                if future.set_running_or_notify_cancel():
                    try:
                        value = fn(*args, **kwargs)
                    except BaseException as error:
                        future.set_exception(error)
                    else:
                        future.set_result(value)
            finally:
                with self._count:
                    self.running -= 1

        with self._count:
            if self.running >= self._most:
                raise TooManyRequests(f"{self.running} threads are busy; try again soon.", retry_after=5.0)
            self.running += 1
        threading.Thread(target=work, name="worker", daemon=True).start()
        return future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: whatever still runs ends with the process."""
