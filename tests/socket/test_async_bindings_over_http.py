"""Bindings over HTTP for coroutines: real asynchronous connections, for any number of loops, closed at once."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import AuthFailed, Cancelled, Refused, TruncatedStream
from lollms_core.types import TextDelta
from lollms_runtime.provider_keys import save_provider_key
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import TEXT

AT_ONCE = 0.25  # seconds


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def client_of(chaos: ChaosServer, mode: str, **more: Any) -> AsyncLollmsClient:
    return AsyncLollmsClient("openai", chaos.url(mode), model_name="m", **{"service_key": "k", **more})


def test_two_hundred_streams_at_once_need_no_threads(chaos: ChaosServer) -> None:
    async def read(client: AsyncLollmsClient) -> str:
        async with client.stream("Hi") as stream:
            return "".join([event.text async for event in stream if isinstance(event, TextDelta)])

    async def many() -> list[str]:
        async with client_of(chaos, "ok") as client:
            before = threading.active_count()
            tasks = [asyncio.create_task(read(client)) for _ in range(200)]
            await asyncio.sleep(0)
            assert threading.active_count() == before
            return await asyncio.gather(*tasks)

    assert asyncio.run(many()) == [TEXT] * 200


def test_a_connection_is_kept_for_the_next_question(chaos: ChaosServer) -> None:
    async def ask() -> list[Any]:
        async with client_of(chaos, "ok") as client:
            return [await client.generate_text("Hi") for _ in range(3)]

    assert asyncio.run(ask()) == [TEXT] * 3
    assert len(chaos.connections) == 1


def test_one_client_serves_loops_one_after_another_and_in_threads(chaos: ChaosServer) -> None:
    client = client_of(chaos, "ok")
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await client.generate_text("Hi"))
        await client.close()

    for _ in range(3):
        asyncio.run(ask())
    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [TEXT] * 7


def test_a_loop_that_ended_without_a_goodbye_leaves_no_open_connection(chaos: ChaosServer) -> None:
    client = client_of(chaos, "ok")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it is the caller who forgot something
        assert [asyncio.run(client.generate_text("Hi")) for _ in range(2)] == [TEXT, TEXT]
        asyncio.run(client.close())
        gc.collect()
    assert chaos.connections[0].closed_after() >= 0


@pytest.mark.parametrize("how", ["task", "stream", "block"])
def test_whoever_leaves_closes_the_connection_at_once(chaos: ChaosServer, how: str) -> None:
    async def leave() -> float:
        client = client_of(chaos, "stall")
        stream = client.stream("Hi")
        async with stream:
            await anext(stream)
            start = time.monotonic()
            if how == "task":
                task = asyncio.create_task(stream.result())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            elif how == "stream":
                stream.cancel()
                with pytest.raises(Cancelled) as caught:
                    await stream.result()
                assert caught.value.partial is not None
                assert caught.value.partial.text
        await asyncio.to_thread(chaos.connections[0].closed_after)
        seconds = time.monotonic() - start
        await client.close()
        return seconds

    assert asyncio.run(leave()) < AT_ONCE + 0.25


def test_cancelling_a_question_about_models_closes_its_connection(chaos: ChaosServer) -> None:
    async def leave() -> float:
        async with client_of(chaos, "never") as client:
            task = asyncio.create_task(client.list_models())
            await asyncio.to_thread(chaos.wait_request)
            start = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(chaos.connections[0].closed_after)
            return time.monotonic() - start

    assert asyncio.run(leave()) < AT_ONCE + 0.25


def test_an_answer_that_breaks_off_keeps_what_came(chaos: ChaosServer) -> None:
    async def ask() -> None:
        async with client_of(chaos, "fin_chunked") as client:
            await client.complete("Hi")

    with pytest.raises(TruncatedStream):
        asyncio.run(ask())


def test_a_refused_connection_is_told_in_the_words_of_the_binding() -> None:
    async def ask() -> None:
        async with AsyncLollmsClient("lollms", "http://127.0.0.1:1", service_key="k") as client:
            await client.complete("Hi")

    with pytest.raises(Refused, match="lollms serve"):
        asyncio.run(ask())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_key_of_the_environment_that_was_held_back_is_named(
    chaos: ChaosServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-alone")

    async def later() -> None:
        async with client_of(chaos, "status-401", service_key=None) as client:
            await client.complete("Hi")

    def at_once() -> None:
        with LollmsClient("openai", chaos.url("status-401"), model_name="m") as client:
            client.complete("Hi")

    with pytest.raises(AuthFailed, match=r"OPENAI_API_KEY was not sent.*OPENAI_BASE_URL") as caught:
        at_once() if kind == "sync" else asyncio.run(later())
    assert "sk-of" not in str(caught.value)
    assert all("sk-of" not in str(seen.headers) for seen in chaos.requests)


def test_a_stored_key_that_was_held_back_is_named(
    chaos: ChaosServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    save_provider_key("openai", "sk-kept-for-openai")

    async def ask() -> None:
        async with client_of(chaos, "status-401", service_key=None) as client:
            await client.complete("Hi")

    with pytest.raises(AuthFailed, match="The key of `lollms keys` was not sent") as caught:
        asyncio.run(ask())
    assert "sk-kept" not in str(caught.value)
    assert all("sk-kept" not in str(seen.headers) for seen in chaos.requests)


def test_a_key_of_the_environment_goes_to_the_address_that_it_names(
    chaos: ChaosServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-proxy")
    monkeypatch.setenv("OPENAI_BASE_URL", chaos.url("ok") + "/")
    for address in (chaos.url("ok"), None):  # it is the default, too
        with LollmsClient("openai", address, model_name="m") as client:
            assert client.complete("Hi").text == TEXT
        assert chaos.requests[-1].headers["authorization"] == "Bearer sk-of-the-proxy"
