"""Notices when the event loop stands still, and says what it stands in.

A server of one event loop answers nobody while a function blocks it, and the function is usually one of a plug-in that
was written without `await`. Nothing in the process can end it, but its place can be told. The loop says twice in a
second that it goes; a thread looks whether it has, and logs one line with the loop's stack each time that it has not.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from pathlib import PurePath

__all__ = ["Watchdog"]

_log = logging.getLogger(__name__)
_BEAT = 0.5
_FRAMES = 12


class Watchdog:
    """Watches the running loop from `start` to `stop`, both called on it; `limit` is in seconds."""

    def __init__(self, limit: float = 1.0) -> None:
        self._limit = limit
        self._beat = min(_BEAT, limit / 2)
        self._last = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the loop of this thread."""
        self._tick(asyncio.get_running_loop())
        self._thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last = time.monotonic()
        self._timer = loop.call_later(self._beat, self._tick, loop)

    def _watch(self, watched: int) -> None:
        told = 0.0  # the last beat before a standstill that was told already
        while not self._ended.wait(self._beat):
            last = self._last
            if time.monotonic() - last < self._limit + self._beat or last == told:
                continue
            told = last
            _log.error(
                "The event loop has stood still for more than %g s; nobody is answered meanwhile. Code that blocks "
                "belongs in a plain function (def) or in asyncio.to_thread. It is in: %s",
                self._limit,
                _stack_of(watched),
            )


def _stack_of(thread: int) -> str:
    """Where a thread is, in one line, the innermost place first."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "nothing that can be told"
    frames = traceback.extract_stack(frame)[-_FRAMES:]
    return " < ".join(f"{_short(each.filename)}:{each.lineno} {each.name}" for each in reversed(frames))


def _short(path: str) -> str:
    return "/".join(PurePath(path).parts[-2:])
