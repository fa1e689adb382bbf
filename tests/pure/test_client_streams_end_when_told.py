"""A stream gives events and a reply, and ends at once and completely: closed, cancelled from elsewhere, or dropped."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from lollms_client import LollmsClient, Stream
from lollms_client.testing import ScriptedBinding, scripted_client
from lollms_core.errors import Cancelled, InvalidRequest, UnsupportedFeature
from lollms_core.types import Done, Message, Reply, TextDelta, Tool, ToolCall


def scripted(client: LollmsClient) -> ScriptedBinding:
    assert isinstance(client.binding, ScriptedBinding)
    return client.binding


def test_events_then_the_result() -> None:
    client = scripted_client(["one two"])
    with client.stream("Hi") as stream:
        events = list(stream)
    assert events[:2] == [TextDelta("one"), TextDelta(" two")]
    assert isinstance(events[2], Done)
    assert stream.result().text == "one two"
    assert list(stream) == []


def test_the_texts_alone() -> None:
    client = scripted_client([Reply("one two", thoughts="Hm.")])
    with client.stream("Hi") as stream:
        assert list(stream.texts()) == ["one", " two"]


def test_the_result_reads_what_is_left() -> None:
    client = scripted_client(["one two three"])
    stream = client.stream("Hi")
    assert next(stream) == TextDelta("one")
    assert stream.result().text == "one two three"


def test_batches_and_events_are_the_same_stream() -> None:
    client = scripted_client([[(TextDelta("a"), TextDelta("b"), TextDelta("c")), (TextDelta("d"),)]])
    stream = client.stream("Hi")
    assert next(stream) == TextDelta("a")
    assert list(stream.batches()) == [(TextDelta("b"), TextDelta("c")), (TextDelta("d"),)]


def test_nothing_is_asked_before_it_is_read() -> None:
    client = scripted_client(["one"])
    stream = client.stream("Hi")
    assert scripted(client).calls == []
    stream.close()
    assert scripted(client).calls == []
    with pytest.raises(Cancelled):
        stream.result()


def test_complete_and_stream_give_the_same_reply() -> None:
    reply = Reply("Text.", thoughts="Hm.", tool_calls=(ToolCall("1", "f", {"x": 1}),), finish_reason="tool_calls")
    client = scripted_client([reply, reply])
    assert client.complete("Hi") == client.stream("Hi").result() == reply
    assert [call.stream for call in scripted(client).calls] == [False, True]


def test_closing_ends_the_stream_and_keeps_what_came() -> None:
    client = scripted_client(["one two three"])
    with client.stream("Hi") as stream:
        next(stream), next(stream)
        assert scripted(client).script.running == 1
        stream.close()
        assert scripted(client).script.running == 0
        assert list(stream) == []
    with pytest.raises(Cancelled) as caught:
        stream.result()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one two"
    assert caught.value.partial.finish_reason == "cancelled"
    stream.close()


def test_leaving_the_block_with_an_error_ends_the_stream() -> None:
    client = scripted_client(["one two three"])

    def interrupted() -> None:
        with client.stream("Hi") as stream:
            next(stream)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (scripted(client).script.running, scripted(client).script.left_early) == (0, 1)


def test_a_dropped_stream_ends() -> None:
    client = scripted_client(["one two three"])
    next(client.stream("Hi"))
    gc.collect()
    assert scripted(client).script.running == 0


def read(stream: Stream, into: list[Any]) -> None:
    try:
        for event in stream:
            into.append(event)
    except BaseException as error:
        into.append(error)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_another_thread_ends_a_blocked_stream(how: str) -> None:
    gate = threading.Event()
    client = scripted_client(["one two"], gates={1: gate})
    stream = client.stream("Hi")
    first = next(stream)
    seen: list[Any] = []
    reader = threading.Thread(target=read, args=(stream, seen))
    reader.start()
    getattr(stream, how)()
    reader.join(5)
    assert not reader.is_alive()
    assert first == TextDelta("one")
    assert [type(each) for each in seen] in ([Cancelled], [])  # [] when it was closed before the thread read
    assert scripted(client).script.running == 0
    with pytest.raises(Cancelled):
        stream.result()


def test_cancelling_twice_or_after_the_end_is_nothing() -> None:
    client = scripted_client(["one"])
    stream = client.stream("Hi")
    reply = stream.result()
    stream.cancel()
    stream.cancel()
    stream.close()
    assert stream.result() == reply


def test_a_cancel_before_the_first_event_asks_nothing() -> None:
    client = scripted_client(["one"])
    stream = client.stream("Hi")
    stream.cancel()
    with pytest.raises(Cancelled):
        list(stream)
    assert scripted(client).calls == []


def test_everything_that_is_asked_arrives() -> None:
    client = scripted_client(["a"], n_predict=50, temperature=0.5)
    schema = {"type": "object", "properties": {}}
    client.stream(
        [{"role": "user", "content": "Hi"}],
        system="Be kind.",
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        schema=schema,
        model="other",
        temperature=0.1,
        stop="END",
        odd="thing",
    ).result()
    (call,) = scripted(client).calls
    assert call.messages == (Message.system("Be kind."), Message.user("Hi"))
    assert call.tools == (Tool("f", "d", {"type": "object"}),)
    assert (call.schema, call.model, call.stream) == (schema, "other", True)
    assert call.params.given() == {"max_tokens": 50, "temperature": 0.1, "stop": ("END",)}
    assert call.params.extra == {"odd": "thing"}


def test_the_model_is_part_of_the_call() -> None:
    client = scripted_client(["a", "b", "c"])
    client.complete("1")
    assert client.switch_model("second")
    client.complete("2")
    client.complete("3", model="third")
    assert [call.model for call in scripted(client).calls] == ["scripted", "second", "third"]
    assert client.get_model_name() == "second"


def test_a_plain_client_runs_no_tools() -> None:
    from lollms_client.ports import BindingPorts
    from lollms_runtime.cancel import Cancel

    ports = BindingPorts(ScriptedBinding([]))
    with pytest.raises(UnsupportedFeature, match="'f'"):
        next(ports.tool(ToolCall("1", "f", {}), Cancel()))
    assert ports.count("two words") == 2


@pytest.mark.parametrize(
    "prompt",
    [[], 7, [{"role": "robot", "content": "x"}], [7], [{"role": "user", "content": 7}], [{"content": "x"}]],
)
def test_what_cannot_be_asked_is_refused_at_once(prompt: Any) -> None:
    with pytest.raises(InvalidRequest):
        scripted_client([]).stream(prompt)
