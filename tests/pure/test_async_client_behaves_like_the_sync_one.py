"""`AsyncLollmsClient` on scripts: the same answers and errors as `LollmsClient`, any callback, and streams that end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from lollms_client import MSG_TYPE, LollmsLLMBinding
from lollms_client.async_client import AsyncLollmsClient
from lollms_client.testing import scripted_async_client, scripted_client
from lollms_core.errors import CallbackFailed, Cancelled, InvalidRequest, Refused, TruncatedStream
from lollms_core.testing.scripted import Scripted
from lollms_core.types import Done, Item, Output, Reply, TextDelta, ThoughtDelta, ToolCall, Usage

T = TypeVar("T")
RICH = Reply(text="42", thoughts="Hm.", usage=Usage(3, 4, 7), finish_reason="stop", model="m")
CALLS = Reply(tool_calls=(ToolCall("a", "look", {"at": 1}),), finish_reason="tool_calls")
REPLIES: list[Scripted] = ["", "Paris.", RICH, CALLS, Refused("Nobody."), [(TextDelta("a"),), (Done("length"),)]]
WORDS = "one two three four five"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run, and see that no task is left behind."""

    async def watched() -> T:
        result = await work
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(watched())


class Callback:
    """Notes what it is told; stops after `most` chunks."""

    def __init__(self, most: int = 1000, error: Exception | None = None) -> None:
        self.told: list[tuple[str, MSG_TYPE]] = []
        self._most, self._error = most, error

    def __call__(self, chunk: str, msg_type: MSG_TYPE) -> bool:
        self.told.append((chunk, msg_type))
        if self._error is not None:
            raise self._error
        return len(self.told) < self._most

    async def later(self, chunk: str, msg_type: MSG_TYPE) -> bool:
        await asyncio.sleep(0)
        return self(chunk, msg_type)


@pytest.mark.parametrize("reply", REPLIES, ids=repr)
def test_text_errors_and_callbacks_are_those_of_the_sync_client(reply: Scripted) -> None:
    there, here, later = Callback(), Callback(), Callback()
    expected = scripted_client([reply]).generate_text("?", streaming_callback=there)

    async def ask() -> list[Any]:
        clients = [scripted_async_client([reply]) for _ in range(3)]
        return [
            await clients[0].generate_text("?"),
            await clients[1].generate_text("?", streaming_callback=here),
            await clients[2].generate_text("?", streaming_callback=later.later),
        ]

    assert run(ask()) == [expected] * 3
    assert here.told == later.told == there.told


@pytest.mark.parametrize("reply", [each for each in REPLIES if not isinstance(each, Exception)], ids=repr)
def test_replies_and_events_are_those_of_the_sync_client(reply: Scripted) -> None:
    client = scripted_client([reply, reply])
    expected = client.complete("?")
    with client.stream("?") as stream:
        events = list(stream)

    async def ask() -> tuple[Reply, list[Any], Reply]:
        client = scripted_async_client([reply, reply])
        whole = await client.complete("?")
        async with client.stream("?") as stream:
            return whole, [event async for event in stream], await stream.result()

    assert run(ask()) == (expected, events, expected)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_false_stops_and_keeps_the_text_so_far(kind: str) -> None:
    callback = Callback(most=2)
    client = scripted_async_client([WORDS])
    text = run(client.generate_text("?", streaming_callback=callback if kind == "def" else callback.later))
    assert text == scripted_client([WORDS]).generate_text("?", streaming_callback=Callback(most=2))
    assert isinstance(text, str)
    assert 0 < len(text) < len(WORDS)
    assert client.binding is not None
    assert client.binding.script.left_early == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_a_callback_raises_is_the_error_and_the_text_is_kept(kind: str) -> None:
    callback = Callback(error=KeyError("mine"))
    client = scripted_async_client([WORDS])
    with pytest.raises(CallbackFailed, match="KeyError") as caught:
        run(
            client.generate_text(
                "?", streaming_callback=callback if kind == "def" else callback.later, raise_errors=True
            )
        )
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.partial is not None
    assert caught.value.partial.text
    assert client.binding.script.left_early == 1  # type: ignore[union-attr]


def test_a_callback_may_ask_the_client_again() -> None:
    client = scripted_async_client(["outer words here", "inner"])
    got: list[Any] = []

    async def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        if not got:
            got.append(await client.generate_text("again"))

    assert run(client.generate_text("?", streaming_callback=callback)) == "outer words here"
    assert got == ["inner"]


def test_a_coroutine_as_callback_of_the_sync_client_is_refused_in_words() -> None:
    said = scripted_client(["never"]).generate_text("?", streaming_callback=Callback().later)
    assert isinstance(said, dict)
    assert "AsyncLollmsClient" in said["error"]


def test_an_answer_of_json_alone_is_that_json() -> None:
    reply: Scripted = [(Output((Item("json", {"a": [1, "é"]}),)), Done("stop"))]
    told = Callback()
    assert scripted_client([reply]).generate_text("?", streaming_callback=told) == '{"a": [1, "é"]}'
    assert told.told == [('{"a": [1, "é"]}', MSG_TYPE.MSG_TYPE_JSON_INFOS)]
    assert run(scripted_async_client([reply]).generate_text("?")) == '{"a": [1, "é"]}'


def test_the_texts_alone() -> None:
    async def read() -> list[str]:
        async with scripted_async_client([RICH]).stream("?") as stream:
            return [text async for text in stream.texts()]

    assert run(read()) == ["42"]


def test_leaving_a_stream_ends_it() -> None:
    async def leave() -> AsyncLollmsClient:
        client = scripted_async_client([WORDS])
        async with client.stream("?") as stream:
            async for _ in stream:
                break
        with pytest.raises(Cancelled):
            await stream.result()
        assert [event async for event in stream] == []
        return client

    assert run(leave()).binding.script.left_early == 1  # type: ignore[union-attr]


def test_a_stream_needs_no_block_and_ends_when_nobody_holds_it() -> None:
    async def drop() -> AsyncLollmsClient:
        client = scripted_async_client(["a " * 50])
        stream = client.stream("?")
        await anext(stream)
        del stream
        gc.collect()
        script = client.binding.script  # type: ignore[union-attr]
        for _ in range(100):
            if not script.running:
                break
            await asyncio.sleep(0.001)
        return client

    script = run(drop()).binding.script  # type: ignore[union-attr]
    assert (script.running, script.left_early) == (0, 1)


@pytest.mark.parametrize("whence", ["task", "thread"])
def test_cancel_from_anywhere_wakes_the_reader_with_what_came(whence: str) -> None:
    async def read() -> Cancelled:
        client = scripted_async_client([[(TextDelta("a"),), (TextDelta("b"),)]], gates={1: threading.Event()})
        stream = client.stream("?")
        assert await anext(stream) == TextDelta("a")
        if whence == "task":
            asyncio.get_running_loop().call_later(0.01, stream.cancel)
        else:
            threading.Timer(0.01, stream.cancel).start()
        with pytest.raises(Cancelled) as caught:
            await anext(stream)
        return caught.value

    partial = run(read()).partial
    assert partial is not None
    assert (partial.text, partial.finish_reason) == ("a", "cancelled")


def test_a_stream_stopped_before_it_began_asks_nobody() -> None:
    async def stop() -> AsyncLollmsClient:
        client = scripted_async_client(["never"])
        stream = client.stream("?")
        stream.cancel()
        with pytest.raises(Cancelled):
            await anext(stream)
        async with client.stream("?"):
            pass
        return client

    assert len(run(stop()).binding.calls) <= 1  # type: ignore[union-attr]


def test_cancelling_the_task_ends_the_call() -> None:
    async def cancel() -> AsyncLollmsClient:
        client = scripted_async_client([WORDS], gates={1: threading.Event()})
        task = asyncio.create_task(client.complete("?"))
        while not client.binding.calls:  # type: ignore[union-attr]
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        return client

    assert run(cancel()).binding.script.running == 0  # type: ignore[union-attr]


def test_an_error_in_the_middle_keeps_what_came() -> None:
    client = scripted_async_client([[(ThoughtDelta("t"), TextDelta("half")), TruncatedStream("cut")]])
    with pytest.raises(TruncatedStream) as caught:
        run(client.complete("?"))
    assert caught.value.partial is not None
    assert (caught.value.partial.text, caught.value.partial.thoughts) == ("half", "t")


def test_what_cannot_be_asked_is_refused_before_anything_is_sent() -> None:
    client = scripted_async_client(["never"])
    with pytest.raises(InvalidRequest, match="temperature"):
        client.stream("?", temperature="hot")
    with pytest.raises(InvalidRequest, match="temperature"):
        run(client.complete("?", temperature="hot"))
    assert client.binding.calls == []  # type: ignore[union-attr]


class Slow(LollmsLLMBinding):
    """A binding as third parties write it: it blocks its thread."""

    def __init__(self) -> None:
        super().__init__("slow")
        self.go_on = threading.Event()
        self.threads: list[str] = []

    def generate_text(self, prompt: str, streaming_callback: Any = None, **kwargs: Any) -> str:
        self.threads.append(threading.current_thread().name)
        if streaming_callback:
            streaming_callback("first ", MSG_TYPE.MSG_TYPE_CHUNK)
        assert self.go_on.wait(5)
        if streaming_callback:
            streaming_callback("second", MSG_TYPE.MSG_TYPE_CHUNK)
        return "first second"

    def tokenize(self, text: str) -> list[Any]:
        self.threads.append(threading.current_thread().name)
        assert self.go_on.wait(5)
        return text.split()


def test_a_binding_that_blocks_does_not_block_the_loop() -> None:
    binding = Slow()

    async def ask() -> list[Any]:
        client = AsyncLollmsClient(binding_name=None)
        client.binding = binding
        tasks = [
            asyncio.create_task(client.generate_text("?")),
            asyncio.create_task(client.tokenize("a b")),
            asyncio.create_task(client.count_tokens("a b c")),
        ]
        while len(binding.threads) < 3:
            await asyncio.sleep(0.001)
        binding.go_on.set()
        return await asyncio.gather(*tasks)

    assert run(ask()) == ["first second", ["a", "b"], 3]
    assert threading.current_thread().name not in binding.threads


def test_discussions_go_on_from_where_they_are() -> None:
    class Discussion:
        asked: tuple[str, str | None] | None = None

        def export(self, format_type: str, branch_tip_id: str | None = None) -> list[dict[str, str]]:
            self.asked = (format_type, branch_tip_id)
            return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]

    discussion, client = Discussion(), scripted_async_client(["Hello.", "Hello."])
    assert run(client.chat(discussion, "tip")) == "Hello."
    assert discussion.asked == ("openai_chat", "tip")
    sync = scripted_client(["Hello."])
    assert sync.chat(discussion) == "Hello."
    assert sync.binding.calls[0].messages == client.binding.calls[0].messages  # type: ignore[union-attr]
    said = sync.chat("no discussion")
    assert isinstance(said, dict)
    assert "export" in said["error"]
