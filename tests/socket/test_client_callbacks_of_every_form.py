"""Every form of callback that is documented or usual works with both clients over a real connection."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lollms_client import MSG_TYPE, AsyncLollmsClient, LollmsClient
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import TEXT

Callback = Callable[..., Any]
Make = Callable[[list[str]], Callback]


class Shower:
    def __init__(self, got: list[str]) -> None:
        self.got = got

    def __call__(self, chunk: str, msg_type: MSG_TYPE) -> bool:
        self.got.append(chunk)
        return True

    def method(self, chunk: str, msg_type: MSG_TYPE, params: Any = None, metadata: Any = None) -> None:
        self.got.append(chunk)

    async def later(self, chunk: str, msg_type: MSG_TYPE) -> bool:
        await asyncio.sleep(0)
        self.got.append(chunk)
        return True


class AsyncShower(Shower):
    async def __call__(self, chunk: str, msg_type: MSG_TYPE) -> bool:  # type: ignore[override]
        return await self.later(chunk, msg_type)


def by_keyword(got: list[str], *, chunk: str, **rest: Any) -> bool:
    got.append(chunk)
    return True


FORMS: dict[str, Make] = {
    "two": lambda got: lambda chunk, msg_type: got.append(chunk),
    "with a default": lambda got: lambda chunk, msg_type=None: got.append(chunk),
    "with keywords": lambda got: lambda chunk, msg_type, **kwargs: not got.append(chunk),  # type: ignore[func-returns-value]
    "with everything": lambda got: lambda *args, **kwargs: got.append(args[0]),
    "one": lambda got: lambda chunk: got.append(chunk),
    "builtin method": lambda got: got.append,
    "object": Shower,
    "method": lambda got: Shower(got).method,
    "partial": lambda got: functools.partial(lambda more, chunk, msg_type: more.append(chunk), got),
    "partial method": lambda got: functools.partial(Shower(got).method, metadata={}),
}
ASYNC_FORMS: dict[str, Make] = {
    "async method": lambda got: Shower(got).later,
    "async object": AsyncShower,
    "partial of async": lambda got: functools.partial(AsyncShower.later, Shower(got)),
    "lambda around async": lambda got: lambda chunk, msg_type: Shower(got).later(chunk, msg_type),
}


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def asked(kind: str, address: str, callback: Callback) -> Any:
    """What `generate_text` with this callback gives."""

    async def later() -> Any:
        async with AsyncLollmsClient("openai", address, model_name="m") as client:
            return await client.generate_text("Hi", streaming_callback=callback)

    def now() -> Any:
        with LollmsClient("openai", address, model_name="m") as client:
            return client.generate_text("Hi", streaming_callback=callback)

    return now() if kind == "threads" else asyncio.run(later())


KINDS = ["threads", "coroutines"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_it_is_told_the_text_and_does_not_stop_it(chaos: ChaosServer, form: str, kind: str) -> None:
    got: list[str] = []
    assert asked(kind, chaos.url("ok"), FORMS[form](got)) == TEXT
    assert "".join(got) == TEXT


@pytest.mark.parametrize("form", ASYNC_FORMS)
def test_coroutines_are_waited_for_or_refused_in_words(chaos: ChaosServer, form: str) -> None:
    got: list[str] = []
    assert asked("coroutines", chaos.url("ok"), ASYNC_FORMS[form](got)) == TEXT
    assert "".join(got) == TEXT
    refused = asked("threads", chaos.url("ok"), ASYNC_FORMS[form]([]))
    assert "AsyncLollmsClient" in refused["error"]


@pytest.mark.parametrize("kind", KINDS)
def test_print_prints(chaos: ChaosServer, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(kind, chaos.url("ok"), print) == TEXT
    assert TEXT[:4] in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_false_closes_the_connection_and_gives_what_came(chaos: ChaosServer, kind: str) -> None:
    assert asked(kind, chaos.url("stall"), lambda chunk, msg_type: False) == TEXT[:4]
    chaos.connections[0].closed_after(1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_raises_is_told_and_the_connection_closed(chaos: ChaosServer, kind: str) -> None:
    def fails(chunk: str, msg_type: MSG_TYPE) -> None:
        raise ValueError("no more ink")

    told = asked(kind, chaos.url("stall"), fails)
    assert told["code"] == "callback_failed"
    assert "no more ink" in told["error"]
    chaos.connections[0].closed_after(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_leaving_the_program_passes_through(chaos: ChaosServer, kind: str, leave: type[BaseException]) -> None:
    def ends(chunk: str, msg_type: MSG_TYPE) -> None:
        raise leave

    with pytest.raises(leave):
        asked(kind, chaos.url("stall"), ends)
    chaos.connections[0].closed_after(1)


def test_one_that_blocks_blocks_its_own_call_alone(chaos: ChaosServer) -> None:
    gate, blocked = threading.Event(), threading.Event()

    def blocks(chunk: str, msg_type: MSG_TYPE) -> None:
        blocked.set()
        assert gate.wait(5)

    with LollmsClient("openai", chaos.url("ok"), model_name="m") as client:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(client.generate_text("Hi", streaming_callback=blocks)))
        thread.start()
        assert blocked.wait(5)
        assert client.generate_text("Hi") == TEXT
        assert results == []
        gate.set()
        thread.join(5)
        assert results == [TEXT]


def test_it_may_ask_again(chaos: ChaosServer) -> None:
    inner: list[Any] = []
    with LollmsClient("openai", chaos.url("ok"), model_name="m") as client:

        def again(chunk: str, msg_type: MSG_TYPE) -> None:
            inner.append(client.generate_text("Hi"))

        assert client.generate_text("Hi", streaming_callback=again) == TEXT

        async def later() -> Any:
            async with AsyncLollmsClient("openai", chaos.url("ok"), model_name="m") as other:

                async def ask(chunk: str, msg_type: MSG_TYPE) -> None:
                    inner.append(await other.generate_text("Hi"))
                    again(chunk, msg_type)

                return await other.generate_text("Hi", streaming_callback=ask)

        assert asyncio.run(later()) == TEXT
    assert len(inner) > 10
    assert set(inner) == {TEXT}
