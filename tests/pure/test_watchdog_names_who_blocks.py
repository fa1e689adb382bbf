"""When something blocks the event loop the log says what, once each time; a loop that goes is left in peace."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from lollms_server.core.watchdog import Watchdog


def blocks_until(said: list[str], count: int) -> None:
    """Block the loop's thread, as a binding without `await` does, until so many lines were logged."""
    deadline = time.monotonic() + 5
    while len(said) < count and time.monotonic() < deadline:
        time.sleep(0.005)


async def beats(watchdog: Watchdog, count: int) -> None:
    """Let the loop go until it has said so many times that it goes."""
    for _ in range(count):
        last = watchdog._last
        async with asyncio.timeout(5):
            while watchdog._last == last:
                await asyncio.sleep(0.001)


def test_who_blocks_is_named_once_each_time() -> None:
    said: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    async def work() -> None:
        watchdog = Watchdog(0.05)
        watchdog.start()
        try:
            for count in (1, 2):
                blocks_until(said, count)
                await beats(watchdog, 3)
        finally:
            watchdog.stop()

    log = logging.getLogger("lollms_server.core.watchdog")
    handler = Catch()
    log.addHandler(handler)
    try:
        asyncio.run(work())
    finally:
        log.removeHandler(handler)
    assert len(said) == 2
    for line in said:
        assert "blocks_until" in line and "test_watchdog_names_who_blocks.py" in line
        assert "\n" not in line


def test_a_loop_that_goes_is_left_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        watchdog = Watchdog(0.2)
        watchdog.start()
        assert any(thread.name == "watchdog" for thread in threading.enumerate())
        await beats(watchdog, 4)
        watchdog.stop()
        assert not any(thread.name == "watchdog" for thread in threading.enumerate())

    asyncio.run(work())
    assert not caplog.records


def test_one_that_was_never_started_can_be_stopped() -> None:
    Watchdog().stop()
