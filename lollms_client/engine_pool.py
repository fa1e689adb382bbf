"""The engines of one binding: one for each model in use, and only so many at once, because each takes memory.

An engine is made with the first use of its model and ends when another model needs its place: of those that answer
nobody at that moment, the one unused for longest. A use that finds every place taken by engines that are answering is
refused instead of waiting: it may come from a callback of one of these answers, which would then wait for itself.

A forked child begins with the same engines, which start processes of their own there, and with nobody using them.

The lock is one that its thread may take again: a forgotten stream that is collected while we hold it ends its use.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lollms_core.errors import Overloaded

if TYPE_CHECKING:
    from lollms_runtime.engines.local_engine import LocalEngine

__all__ = ["EnginePool", "Running"]


class Running(msgspec.Struct, eq=False):
    """An engine, and how many calls use it now."""

    engine: LocalEngine
    calls: int = 0


class EnginePool:
    """At most `limit` engines, by the file of their model. Safe from any thread.

    The engines end when nobody refers to the pool any more, and at the latest with the program.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._process_id = os.getpid()
        self._lock = threading.RLock()
        self._running: dict[Path, Running] = {}  # the one unused for longest comes first
        weakref.finalize(self, _stop_all, self._running)

    @contextlib.contextmanager
    def using(self, model: Path, make: Callable[[Path], LocalEngine]) -> Iterator[LocalEngine]:
        """The engine of a model, made if there is none; it is not ended in favour of another one while it is used.

        Raises `Overloaded` when all places are taken by engines that are in use, and what `make` raises.
        """
        running, idle = self._take(model, make)
        try:
            _stop(idle)
            yield running.engine
        finally:
            self._leave(running)

    @contextlib.asynccontextmanager
    async def ausing(self, model: Path, make: Callable[[Path], LocalEngine]) -> AsyncIterator[LocalEngine]:
        """As `using`, for coroutines: another engine is ended on a thread."""
        running, idle = self._take(model, make)
        try:
            if idle:
                from lollms_runtime.threads import run_in_thread

                await run_in_thread(_stop, idle)
            yield running.engine
        finally:
            self._leave(running)

    def all(self) -> list[tuple[Path, Running]]:
        """The engines there are, the one unused for longest first."""
        with self._held():
            return list(self._running.items())

    def stop(self, model: Path) -> bool:
        """End the engine of a model, also while it answers. Returns whether there was one."""
        with self._held():
            ending = self._running.pop(model, None)
        if ending is not None:
            ending.engine.stop()
        return ending is not None

    def stop_all(self, keep: Path | None = None) -> None:
        """End all engines but the one of `keep`, also while they answer."""
        with self._held():
            ending = [self._running.pop(model) for model in tuple(self._running) if model != keep]
        _stop([each.engine for each in ending])

    def _held(self) -> contextlib.AbstractContextManager[object]:
        """The lock; in a forked child a new one, since the thread that held the old one may not exist there."""
        if self._process_id != os.getpid():
            self._process_id = os.getpid()
            self._lock = threading.RLock()
            for model, running in tuple(self._running.items()):
                self._running[model] = Running(running.engine)
        return self._lock

    def _take(self, model: Path, make: Callable[[Path], LocalEngine]) -> tuple[Running, list[LocalEngine]]:
        """The engine of a model, counted as used, and those that have to end before it starts."""
        with self._held():
            running, idle = self._running.pop(model, None), []
            if running is None:
                running = Running(make(model))
                idle = self._make_room()
            self._running[model] = running
            running.calls += 1
        return running, idle

    def _make_room(self) -> list[LocalEngine]:
        idle = [model for model, running in self._running.items() if not running.calls]
        excess = len(self._running) + 1 - self.limit
        if excess > len(idle):
            raise Overloaded(
                f"All models that may run at once ({self.limit}) are answering. Ask again later, or set a larger "
                "max_models if there is memory for another one."
            )
        return [self._running.pop(model).engine for model in idle[: max(0, excess)]]

    def _leave(self, running: Running) -> None:
        with self._held():
            running.calls -= 1


def _stop(engines: list[LocalEngine]) -> None:
    for engine in engines:
        engine.stop()


def _stop_all(running: dict[Path, Running]) -> None:
    while running:
        running.popitem()[1].engine.stop()
