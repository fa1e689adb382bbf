"""However the work of an asynchronous client ends, everybody who waits is told, and nothing stays open."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import Cancelled, LollmsError
from lollms_core.protocols.base import HttpRequest
from lollms_core.types import Event
from lollms_runtime.transport.http_async import AsyncHttpTransport
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import TEXT, head

WAIT = 5.0  # seconds that everything here takes at most


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def client_of(url: str) -> AsyncLollmsClient:
    return AsyncLollmsClient("openai", url, model_name="m", service_key="k")


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_all_who_wait_for_a_stream_see_its_end(chaos: ChaosServer, end: str) -> None:
    """A stream is for one reader, but a second one, or a task that closes it, must not wait for ever."""

    async def work() -> list[Any]:
        client = client_of(chaos.url("stall"))
        stream = client.stream("Hi")
        first = await anext(stream)

        async def read() -> list[Event]:
            return [first, *[event async for event in stream]]

        readers = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0.05)  # all of them have read what came, and wait
        if end == "close":
            await asyncio.wait_for(stream.close(), WAIT)
        else:
            stream.cancel()
        ended = await asyncio.wait_for(asyncio.gather(*readers, return_exceptions=True), WAIT)
        await client.close()
        return ended

    assert all(isinstance(each, (Cancelled, list)) for each in asyncio.run(work()))


def test_a_closed_client_is_no_stop_of_the_callback(chaos: ChaosServer) -> None:
    """Only what the callback itself stops is an answer; all else is told as the error it is, as without callback."""
    told: list[str] = []

    def callback(chunk: str, kind: object) -> None:
        told.append(chunk)

    async def ask(**more: Any) -> Any:
        client = client_of(chaos.url("stall"))
        asking = asyncio.create_task(client.generate_text("Hi", stream=True, **more))
        await asyncio.to_thread(chaos.wait_request, len(chaos.requests) + 1)
        if more:
            await until(lambda: bool(told))
        await client.close()
        return await asyncio.wait_for(asking, WAIT)

    for more in ({}, {"streaming_callback": callback}):
        answer = asyncio.run(ask(**more))
        assert isinstance(answer, dict) and answer["code"] == "cancelled", more


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_client_nobody_holds_leaves_no_connection(chaos: ChaosServer) -> None:
    async def work() -> None:
        for _ in range(3):
            assert await client_of(chaos.url("ok")).generate_text("Hi") == TEXT
        gc.collect()
        await until(lambda: not chaos.open_connections())

    asyncio.run(work())
    assert len(chaos.connections) == 3


def test_no_error_is_its_own_cause(chaos: ChaosServer) -> None:
    """Whoever follows the causes of an error to the first one would never arrive."""

    url = chaos.url("status-400")

    async def ask() -> None:
        async with client_of(url) as client:
            await client.complete("Hi")

    sync = LollmsClient("openai", url, model_name="m", service_key="k")
    calls: list[Callable[[], Any]] = [lambda: asyncio.run(ask()), lambda: sync.complete("Hi"), sync.listModels]
    for call in calls:
        with pytest.raises(LollmsError) as caught:
            call()
        seen: list[BaseException] = []
        error: BaseException | None = caught.value
        while error is not None:
            assert error not in seen
            seen.append(error)
            error = error.__cause__


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name whose look-up does not end before the test; set when it has begun."""
    begun, end, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "slow.test" or kwargs.get("flags"):
            return real(host, *args, **kwargs)
        begun.set()
        end.wait(2 * WAIT)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield begun
    end.set()


def test_a_name_server_that_is_silent_holds_up_no_event_loop(look_up: threading.Event) -> None:
    async def ask() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client_of("http://slow.test/v1").complete("Hi")

    start = time.monotonic()
    asyncio.run(ask())
    assert look_up.is_set()
    assert time.monotonic() - start < WAIT / 2


def test_closing_ends_the_look_up_of_a_name(look_up: threading.Event) -> None:
    async def ask() -> None:
        client = client_of("http://slow.test/v1")
        asking = asyncio.create_task(client.complete("Hi"))
        await asyncio.to_thread(look_up.wait, WAIT)
        await client.close()
        with pytest.raises(Cancelled):
            await asyncio.wait_for(asking, WAIT / 2)

    asyncio.run(ask())


def test_a_flood_comes_in_small_pieces_between_which_others_have_their_turn(chaos: ChaosServer) -> None:
    """What is shown ahead of a reader is counted in pieces, so these must not grow with what waits."""
    size = 8 * 1024 * 1024

    async def flood(connection: Connection, seen: Seen) -> None:
        await connection.send(head(content_length=str(size)))
        for _ in range(size // 65536):
            await connection.send(b"x" * 65536)

    request = HttpRequest("GET", chaos.add("flood", flood))

    async def read() -> list[int]:
        transport, lengths, turns = AsyncHttpTransport(), list[int](), [1, 0]

        async def others() -> None:
            while True:
                turns[-1] += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(others())
        async with transport.open(request) as response:
            async for piece in response.chunks():
                assert turns[-1] or turns[-2]  # never three pieces without a turn
                if len(lengths) % 10 == 0:
                    await asyncio.sleep(0.01)  # meanwhile the loop reads ahead
                lengths.append(len(piece))
                turns.append(0)
        ticking.cancel()
        await transport.close()
        return lengths

    lengths = asyncio.run(read())
    assert sum(lengths) == size
    assert max(lengths) <= 64 * 1024


def test_a_stop_at_the_moment_of_a_time_out_keeps_what_came(chaos: ChaosServer) -> None:
    async def work() -> LollmsError:
        config = {"timeouts": {"idle": 0.3}}
        async with AsyncLollmsClient(
            "openai", chaos.url("stall"), model_name="m", service_key="k", llm_binding_config=config
        ) as client:
            stream = client.stream("Hi")
            await anext(stream)
            await asyncio.sleep(0.1)  # now it waits for more
            asyncio.get_running_loop().call_soon(stream.cancel)
            time.sleep(0.3)  # so that the time-out is due in the same turn of the loop
            with pytest.raises(LollmsError) as caught:
                await stream.result()
        return caught.value

    error = asyncio.run(work())
    assert error.partial is not None and error.partial.text


def test_a_stop_does_not_disturb_time_limits_and_groups(chaos: ChaosServer) -> None:
    """A stop is made of a cancellation, of which nothing may remain in the task of the reader."""

    async def work() -> LollmsError:
        async with (
            asyncio.timeout(WAIT) as clock,
            asyncio.TaskGroup() as group,
            client_of(chaos.url("stall")) as client,
        ):
            stream = client.stream("Hi")
            await anext(stream)
            stream.cancel()
            with pytest.raises(Cancelled) as caught:
                await stream.result()
            asked = group.create_task(client.complete("Hi"))
            await asyncio.to_thread(chaos.wait_request, 2)
            asked.cancel()
        assert asked.cancelled() and not clock.expired()
        task = asyncio.current_task()
        assert task is not None and not task.cancelling()
        return caught.value

    error = asyncio.run(work())
    assert error.partial is not None and error.partial.text
