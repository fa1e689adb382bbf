"""Waiting that a signal always ends.

CPython looks for signals between two instructions. One that comes when a thread is just about to block is therefore
seen only when that thread wakes, which may be never: Ctrl-C would seem to be lost. So nothing waits for longer than a
moment at once.
"""

from __future__ import annotations

import contextlib
import queue
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["LOOK", "item_of", "result_of"]

LOOK = 0.25
"""Seconds after which a thread that waits looks for signals."""

T = TypeVar("T")


def result_of(future: Future[T]) -> T:
    """The result of a future. Raises its error, and `CancelledError`."""
    while True:
        try:
            return future.result(LOOK)
        except TimeoutError:
            if future.done():  # the error is the future's own, or the result came meanwhile
                return future.result()


def item_of(items: queue.SimpleQueue[T]) -> T:
    """The next item of a queue."""
    while True:
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=LOOK)
