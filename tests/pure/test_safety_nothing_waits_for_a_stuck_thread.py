"""A thread that never ends takes no place of another, holds up neither the loop's end nor its own number's limit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import Future

import pytest

from lollms_core.errors import TooManyRequests
from lollms_server.core.event_loop import ServerLoop
from lollms_server.core.loop_threads import LoopThreads
from lollms_server.core.requests import Registry, RequestContext


def test_every_call_has_a_thread_and_their_number_is_bounded() -> None:
    threads, go = LoopThreads(8), threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(threads)
        stuck = [asyncio.create_task(asyncio.to_thread(go.wait)) for _ in range(8)]
        while threads.running < 8:
            await asyncio.sleep(0)
        with pytest.raises(TooManyRequests):
            await asyncio.to_thread(int)
        go.set()
        await asyncio.gather(*stuck)
        while threads.running:
            await asyncio.sleep(0)
        assert await asyncio.to_thread(int, "7") == 7
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    asyncio.run(main())


def test_a_call_that_is_over_gives_its_place_back() -> None:
    threads, ran = LoopThreads(1), []
    future: Future[None] = threads.submit(ran.append, 1)
    future.result(5)
    while threads.running:
        time.sleep(0)
    assert ran == [1]
    threads.shutdown()


def test_the_end_of_the_loop_waits_a_moment_and_says_what_is_left() -> None:
    go = threading.Event()

    async def stubborn() -> None:
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(300)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(LoopThreads())
        tasks.append(asyncio.create_task(stubborn(), name="stubborn"))
        tasks.append(asyncio.create_task(asyncio.to_thread(go.wait), name="on a thread"))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[object]] = []
    since = time.monotonic()
    with ServerLoop(0.05) as loop:
        loop.run(main())
    assert time.monotonic() - since < 2
    assert loop.left == ["stubborn"]
    go.set()
    tasks[0].cancel()
    loop._loop.run_until_complete(asyncio.wait([tasks[0]]))  # here the process does not end with it
    loop._loop.close()


def test_a_thread_that_is_no_daemon_is_left_too() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="of a plug-in")
    with ServerLoop(0.05) as loop:
        thread.start()
    assert "of a plug-in" in loop.left
    go.set()
    thread.join()
    loop._loop.close()


def test_the_requests_of_one_key_are_bounded_whatever_they_wait_for() -> None:
    registry = Registry(4, key_bound=2)
    mine = [RequestContext(f"mine-{at}", key="a") for at in range(3)]
    for context in mine[:2]:
        registry.register(context)
    with pytest.raises(TooManyRequests, match="This key"):
        registry.register(mine[2])
    registry.register(RequestContext("other", key="b"))
    registry.release(mine[0])
    registry.release(mine[0])
    registry.release(mine[2])  # it was never registered
    registry.register(mine[2])
    with pytest.raises(TooManyRequests, match="This key"):
        registry.register(mine[0])
