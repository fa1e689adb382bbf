"""A thread that waits wakes a few times a second, so that a signal which came as it began to wait is seen."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from lollms_core.errors import UpstreamTimeout
from lollms_runtime.waiting import LOOK, item_of, result_of


class Stubborn(Future[int]):
    """Is given a result by a signal handler that runs only when the waiting thread wakes."""

    waits: list[float | None]

    def result(self, timeout: float | None = None) -> int:
        self.waits.append(timeout)
        return super().result(timeout)


def test_nothing_waits_for_longer_than_a_moment() -> None:
    future = Stubborn()
    future.waits = []
    threading.Timer(2.5 * LOOK, future.set_result, (7,)).start()
    assert result_of(future) == 7
    assert len(future.waits) == 3
    assert set(future.waits) == {LOOK}


@pytest.mark.parametrize(
    "wait", [lambda: result_of(Future()), lambda: item_of(queue.SimpleQueue())], ids=["result", "item"]
)
def test_a_signal_ends_a_wait_at_once(wait: Callable[[], Any]) -> None:
    class Stop(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        start = time.monotonic()
        with pytest.raises(Stop):
            wait()
        assert time.monotonic() - start < 2 * LOOK
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_results_and_errors_are_those_of_the_future() -> None:
    done: Future[int] = Future()
    done.set_result(1)
    assert result_of(done) == 1
    failed: Future[int] = Future()
    failed.set_exception(UpstreamTimeout("late"))  # which is a TimeoutError, too
    with pytest.raises(UpstreamTimeout):
        result_of(failed)
    gone: Future[int] = Future()
    gone.cancel()
    with pytest.raises(CancelledError):
        result_of(gone)


def test_items_come_in_order() -> None:
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    items.put(1)
    items.put(2)
    assert [item_of(items), item_of(items)] == [1, 2]
