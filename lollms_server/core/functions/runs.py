"""Running code of others on our event loop, with an end that does not depend on it.

A time limit that cancels and then waits is no limit: a function may swallow the cancellation. So the function runs as
a task of its own; when its time is up it is cancelled, gets a moment to put things in order, and is then left behind.
Whoever waits is told in time. A function that blocks the loop cannot be interrupted at all, but it is found out: each
of its steps is timed, and a long one stands in the log with the name of the function.
"""

from __future__ import annotations

import asyncio
import logging
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple

__all__ = ["OutOfTime", "Outcome", "Runs"]

_BLOCKED = 1.0

_log = logging.getLogger("lollms_server.functions")


class OutOfTime(Exception):
    """The work had not ended in its time."""


class Outcome(NamedTuple):
    """What a piece of work came to: a value, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class Runs:
    """Runs async work with a limit; remembers those that would not end, so that they are not lost half way.

    `grace` is how many seconds what was cancelled has to end; `clock` gives seconds.
    """

    def __init__(self, *, grace: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace = grace
        self._clock = clock
        self._left: set[asyncio.Task[Outcome]] = set()

    async def run(self, begin: Callable[[], Coroutine[Any, Any, Any]], name: str, seconds: float) -> Outcome:
        """Do the work that `begin` makes; what it raises is in the outcome, `SystemExit` too, and `OutOfTime` when its
        time is up.

        When the caller is cancelled, so is the work. That and `KeyboardInterrupt` are all that is raised.
        """
        task = asyncio.get_running_loop().create_task(self._guarded(begin, name), name=f"function {name}")
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            await self._stop(task, name)
            raise
        if not task.done():
            await self._stop(task, name)
            return Outcome(error=OutOfTime())
        if task.cancelled():
            return Outcome(error=RuntimeError("it was cancelled from inside"))
        return task.result()

    async def _stop(self, task: asyncio.Task[Outcome], name: str) -> None:
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        task.cancel()
        await asyncio.wait({task}, timeout=self._grace)
        if not task.done():
            _log.warning("Function %s does not end although it was stopped; it goes on in the background.", name)

    async def _guarded(self, begin: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Outcome:
        try:
            return Outcome(await self._timed(begin(), name))
        except (Exception, SystemExit) as error:
            return Outcome(error=error)

    @types.coroutine
    def _timed(self, work: Coroutine[Any, Any, Any], name: str) -> Generator[Any, Any, Any]:
        """Step through a coroutine as `await` does, and look at the clock around each step."""
        value: Any = None
        error: BaseException | None = None
        while True:
            began = self._clock()
            try:
                waits_for = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                return end.value
            finally:
                if (took := self._clock() - began) > _BLOCKED:
                    _log.warning(
                        "Function %s held up the whole server for %.1f s; what blocks belongs into asyncio.to_thread.",
                        name,
                        took,
                    )
            value = error = None
            try:
                value = yield waits_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as thrown:
                error = thrown
