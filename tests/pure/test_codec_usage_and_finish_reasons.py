"""What stands around the answer: token counts, finish reasons, the model's name, fields nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.types import Done, Usage
from tests.support.feeding import folded, outcome, reader_for


def done_of(*chunks: dict[str, Any], end: bytes = b"data: [DONE]\n\n") -> Done:
    stream = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end
    events, error, message = outcome(reader_for("openai"), [stream])
    assert error is None, message
    dones = [event for event in events if isinstance(event, Done)]
    assert dones == events[-1:]
    return dones[0]


def usage(value: Any) -> dict[str, Any]:
    return {"choices": [], "usage": value}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([None], None),
        ([{"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}], Usage(1, 2, 3)),
        ([{"prompt_tokens": 1, "completion_tokens": 1}, {"prompt_tokens": 1, "completion_tokens": 2}], Usage(1, 2)),
        ([{"prompt_tokens": 1}, None], Usage(1)),
        ([{"prompt_tokens": -1, "completion_tokens": 2}], Usage(None, 2)),
        ([{"prompt_tokens": "7", "completion_tokens": 1.5, "total_tokens": True}], None),
        ([{"prompt_tokens": 10**30, "total_tokens": 4}], Usage(None, None, 4)),
        ([{}], None),
        (["many"], None),
        ([[1, 2]], None),
    ],
)
def test_usage_is_the_last_that_makes_sense(values: list[Any], expected: Usage | None) -> None:
    assert done_of(*(usage(value) for value in values)).usage == expected


@pytest.mark.parametrize(
    ("said", "meant"),
    {
        "stop": "stop",
        "length": "length",
        "content_filter": "content_filter",
        "max_tokens": "length",
        "end_turn": "stop",
        "eos": "stop",
        "function_call": "tool_calls",
        "something_new": "something_new",
    }.items(),
)
def test_finish_reasons_are_distinct(said: str, meant: str) -> None:
    assert done_of({"choices": [{"delta": {}, "finish_reason": said}]}, end=b"").finish_reason == meant


def test_the_finish_reason_may_come_with_the_last_text() -> None:
    stream = b'data: {"model":"m","choices":[{"delta":{"content":"a"},"finish_reason":""}]}\n\n'
    stream += b'data: {"model":"m","choices":[{"delta":{"content":"b"},"finish_reason":"length"}]}\n\n'
    reply = folded(outcome(reader_for("openai"), [stream])[0])
    assert (reply.text, reply.finish_reason, reply.model) == ("ab", "length", "m")


def test_alternatives_and_unknown_fields_are_passed_over() -> None:
    chunk = {
        "choices": [
            {"index": 1, "delta": {"content": "other"}, "finish_reason": "length"},
            {"index": 0, "delta": {"content": "ours", "mood": {"a": [1]}}, "content_filter_results": {"hate": {}}},
        ],
        "prompt_filter_results": [],
        "x_groq": {"id": "req"},
    }
    ping = {"type": "ping"}
    stream = b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in (ping, chunk, ping)) + b"data: [DONE]\n\n"
    assert folded(outcome(reader_for("openai"), [stream])[0]).text == "ours"


def test_what_follows_the_end_does_not_matter() -> None:
    stream = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    whole = outcome(reader_for("openai"), [stream])
    for rest in (b"\xff\n\n", b"data: {}\n\n", b'data: {"error":{"message":"late"}}\n\n'):
        assert outcome(reader_for("openai"), [stream + rest]) == whole
        assert outcome(reader_for("openai"), [stream, rest]) == whole


def test_blank_events_are_keep_alives() -> None:
    stream = b'data: \n\ndata:  \n\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\ndata:\n\ndata:[DONE]\n\n'
    assert folded(outcome(reader_for("openai"), [stream])[0]).text == "a"
