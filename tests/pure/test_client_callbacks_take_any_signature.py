"""A streaming callback is called the way its signature wants, and only False itself stops it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from lollms_client import MSG_TYPE
from lollms_client.callbacks import CallbackSink, adapted
from lollms_client.testing import scripted_client
from lollms_core.types import (
    Done,
    Event,
    Media,
    Notice,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
)

CHUNK = MSG_TYPE.MSG_TYPE_CHUNK


def two(chunk: str, msg_type: MSG_TYPE) -> tuple[Any, ...]:
    return chunk, msg_type


def four(chunk: str, msg_type: MSG_TYPE, params: Any = None, metadata: Any = None) -> tuple[Any, ...]:
    return chunk, msg_type, params, metadata


def keywords(chunk: str, type: MSG_TYPE, **k: Any) -> tuple[Any, ...]:
    return chunk, type, k


def params_and_keywords(chunk: str, msg_type: MSG_TYPE, params: Any = None, **kwargs: Any) -> tuple[Any, ...]:
    return chunk, msg_type, params, kwargs


def swapped(chunk: str, msg_type: MSG_TYPE, metadata: Any, params: Any) -> tuple[Any, ...]:
    return chunk, msg_type, metadata, params


def other_slots(chunk: str, msg_type: MSG_TYPE, details: Any, history: Any = None) -> tuple[Any, ...]:
    return chunk, msg_type, details, history


def positional_only(chunk: str, msg_type: MSG_TYPE, details: Any, /) -> tuple[Any, ...]:
    return chunk, msg_type, details


def keyword_only(chunk: str, msg_type: MSG_TYPE, *, metadata: Any) -> tuple[Any, ...]:
    return chunk, msg_type, metadata


def mixed(chunk: str, msg_type: MSG_TYPE, params: Any, extra: Any) -> tuple[Any, ...]:
    return chunk, msg_type, params, extra


def default_and_keywords(chunk: str, msg_type: MSG_TYPE, step: int = 7, **kwargs: Any) -> tuple[Any, ...]:
    return chunk, msg_type, step, kwargs


class Method:
    def __call__(self, chunk: str, msg_type: MSG_TYPE, params: Any = None) -> tuple[Any, ...]:
        return chunk, msg_type, params


P: dict[str, Any] = {"id": 1}


@pytest.mark.parametrize(
    ("callback", "arrives"),
    [
        (two, ("a", CHUNK)),
        (four, ("a", CHUNK, P, {})),
        (keywords, ("a", CHUNK, {"params": P, "metadata": {}})),
        (params_and_keywords, ("a", CHUNK, P, {"metadata": {}})),
        (swapped, ("a", CHUNK, {}, P)),
        (other_slots, ("a", CHUNK, P, {})),
        (positional_only, ("a", CHUNK, P)),
        (keyword_only, ("a", CHUNK, {})),
        (mixed, ("a", CHUNK, P, {})),
        (default_and_keywords, ("a", CHUNK, 7, {"params": P, "metadata": {}})),
        (Method(), ("a", CHUNK, P)),
        (lambda *everything: everything, ("a", CHUNK)),
        (lambda chunk: (chunk,), ("a",)),
        (functools.partial(other_slots, history="h"), ("a", CHUNK, P, "h")),
    ],
)
def test_a_signature_gets_what_it_can_take(callback: Callable[..., Any], arrives: tuple[Any, ...]) -> None:
    send, _ = adapted(callback)
    assert send("a", CHUNK, P) == arrives


def test_a_callable_without_a_signature_gets_two_arguments() -> None:
    made: dict[Any, Any] = {}
    send, _ = adapted(made.setdefault)
    assert send("a", CHUNK, P) is CHUNK
    assert made == {"a": CHUNK}


@pytest.mark.parametrize("answer", [None, True, 0, "", [], object()])
def test_only_false_stops(answer: object) -> None:
    chunks: list[str] = []

    def callback(chunk: str, msg_type: MSG_TYPE) -> object:
        chunks.append(chunk)
        return answer

    client = scripted_client(["one two three"])
    assert client.generate_text("Hi", streaming_callback=callback) == "one two three"
    assert chunks == ["one", " two", " three"]


def test_false_stops_at_once_and_gives_what_came() -> None:
    chunks: list[str] = []

    def callback(chunk: str, msg_type: MSG_TYPE) -> bool:
        chunks.append(chunk)
        return len(chunks) < 2

    client = scripted_client(["one two three four"])
    assert client.generate_text("Hi", streaming_callback=callback) == "one two"
    assert chunks == ["one", " two"]
    assert client.binding.script.left_early == 1  # type: ignore[union-attr]
    assert client.binding.script.running == 0  # type: ignore[union-attr]


def test_a_callback_implies_streaming_and_its_absence_does_not() -> None:
    client = scripted_client(["a"] * 5)
    client.generate_text("1")
    client.generate_text("2", streaming_callback=lambda *_: True)
    client.generate_text("3", stream=True)
    client.generate_text("4", stream=False, streaming_callback=lambda *_: True)
    client.default_streaming_callback = lambda *_: True
    client.generate_text("5")
    assert [call.stream for call in client.binding.calls] == [False, True, True, False, True]  # type: ignore[union-attr]


EVENTS: list[tuple[Event, list[tuple[Any, ...]]]] = [
    (TextDelta("a"), [("a", "CHUNK", {})]),
    (TextDelta(""), []),
    (ThoughtDelta("b"), [("b", "THOUGHT_CHUNK", {})]),
    (ThoughtDelta(""), []),
    (Progress("queue", position=2), [("queue: 2 before you", "INFO", {"kind": "queue", "position": 2})]),
    (Progress("load", "Loading x"), [("Loading x", "INFO", {"kind": "load"})]),
    (Progress("prefill", fraction=0.25), [("prefill: 25%", "STEP_PROGRESS", {"kind": "prefill", "fraction": 0.25})]),
    (Progress("step_start", "Plan"), [("Plan", "STEP_START", {"kind": "step_start"})]),
    (Progress("step_end", "Plan"), [("Plan", "STEP_END", {"kind": "step_end"})]),
    (Notice("info", "c", {"x": 1}), [("c", "INFO", {"x": 1})]),
    (Notice("warning", "d"), [("d", "WARNING", {})]),
    (Notice("info", ""), []),
    (
        Media(b"123", "image/png"),
        [('{"mime": "image/png", "bytes": 3}', "JSON_INFOS", {"mime": "image/png", "data": b"123"})],
    ),
    (Done("stop", receipt=(ReceiptItem("top_k", "dropped", "unknown"),)), []),
]


@pytest.mark.parametrize(("event", "calls"), EVENTS)
def test_each_event_is_its_message_type(event: Event, calls: list[tuple[Any, ...]]) -> None:
    got: list[tuple[Any, ...]] = []
    sink = CallbackSink(lambda chunk, msg_type, params: got.append((chunk, msg_type, params)))
    assert sink.show((event,))
    assert sink.finish()
    assert got == [(chunk, MSG_TYPE[f"MSG_TYPE_{name}"], params) for chunk, name, params in calls]


def test_progress_is_not_told_to_those_who_would_print_it_into_the_answer() -> None:
    script = [(Progress("load", "Loading"),), (TextDelta("a"), Notice("warning", "Hot."))]
    told: list[Any] = []
    for callback in (
        lambda chunk, kind: told.append(chunk),
        lambda chunk: told.append(chunk),
        lambda *everything: told.append(everything[0]),
        lambda chunk, kind, **k: told.append(chunk),
        lambda chunk, kind, params=None, metadata=None: told.append(chunk),
    ):
        scripted_client([script]).generate_text("x", streaming_callback=callback)
    short, whole = ["a", "Hot."], ["Loading", "a", "Hot."]
    assert told == [*short, *short, *whole, *whole, *whole]


def test_a_tool_call_is_shown_once_complete() -> None:
    got: list[tuple[Any, ...]] = []
    sink = CallbackSink(lambda chunk, msg_type, params: got.append((chunk, msg_type, params)))
    sink.show((ToolCallDelta(0, "7", "add", '{"a":'), ToolCallDelta(1, "8", "cut", '{"')))
    sink.show((ToolCallDelta(0, arguments=' "é"}'),))
    assert got == []
    sink.show((Done("tool_calls"),))
    sink.finish()
    assert got == [
        (
            '{"name": "add", "arguments": {"a": "é"}}',
            MSG_TYPE.MSG_TYPE_TOOL_CALL,
            {"id": "7", "name": "add", "arguments": {"a": "é"}},
        )
    ]


def test_tool_calls_reach_the_callback_of_generate_text() -> None:
    reply = Reply("Wait.", thoughts="Hm.", tool_calls=(ToolCall("1", "f", {}),))
    kinds: list[MSG_TYPE] = []
    client = scripted_client([reply])
    assert client.generate_text("x", streaming_callback=lambda chunk, kind: kinds.append(kind)) == "Wait."
    assert kinds == [MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK, CHUNK, MSG_TYPE.MSG_TYPE_TOOL_CALL]


def test_a_callback_may_use_the_client_again() -> None:
    client = scripted_client(["outer one", "inner", "inner"])
    inner: list[Any] = []

    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        inner.append(client.generate_text("again"))

    assert client.generate_text("x", streaming_callback=callback) == "outer one"
    assert inner == ["inner", "inner"]


def test_stop_means_false_also_for_a_tool_call() -> None:
    client = scripted_client([Reply("a", tool_calls=(ToolCall("1", "f", {}), ToolCall("2", "g", {})))])
    kinds: list[MSG_TYPE] = []

    def callback(chunk: str, kind: MSG_TYPE) -> bool:
        kinds.append(kind)
        return kind is not MSG_TYPE.MSG_TYPE_TOOL_CALL

    assert client.generate_text("x", streaming_callback=callback) == "a"
    assert kinds == [CHUNK, MSG_TYPE.MSG_TYPE_TOOL_CALL]


def test_what_cannot_be_called_is_refused_in_words() -> None:
    said = scripted_client(["never"]).generate_text("?", streaming_callback=5)  # type: ignore[arg-type]
    assert isinstance(said, dict)
    assert "cannot be called" in said["error"]
