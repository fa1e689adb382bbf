"""Tool calls come whole out of whatever pieces providers send: late, interleaved, without ids, with repeated names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.types import Event, ToolCall, ToolCallDelta
from tests.support.feeding import folded, outcome, reader_for


def piece(
    index: int | None, arguments: Any = None, call_id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": arguments}
    made: dict[str, Any] = {"function": function}
    if index is not None:
        made["index"] = index
    if call_id is not None:
        made["id"] = call_id
    if name is not None:
        function["name"] = name
    return made


def events_of(*deltas: list[dict[str, Any]], finish: str = "tool_calls") -> list[Event]:
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": {"tool_calls": delta}}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    stream = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    events, error, _ = outcome(reader_for("openai"), [stream])
    assert error is None
    return events


A, B = ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {"y": [2]})

CASES = {
    "split": [[piece(0, "", "a", "f")], [piece(0, '{"x"')], [piece(0, ":1}")], [piece(1, '{"y":[2]}', "b", "g")]],
    "interleaved": [
        [piece(0, '{"x', "a", "f"), piece(1, '{"y', "b", "g")],
        [piece(1, '":[2]'), piece(0, '":')],
        [piece(0, "1}"), piece(1, "}")],
    ],
    "name in every piece": [
        [piece(0, '{"x"', "a", "f")],
        [piece(0, ":1", "a", "f")],
        [piece(0, "}", "", "f")],
        [piece(1, '{"y":[2]}', "b", "g")],
    ],
    "one index for all": [[piece(0, '{"x":1}', "a", "f")], [piece(0, '{"y":[2]}', "b", "g")]],
    "no index": [[piece(None, '{"x":1}', "a", "f"), piece(None, '{"y":', "b", "g")], [piece(None, "[2]}")]],
    "arguments as an object": [[piece(0, {"x": 1}, "a", "f"), piece(1, {"y": [2]}, "b", "g")]],
    "indices from seven": [[piece(7, '{"x":1}', "a", "f")], [piece(9, '{"y":[2]}', "b", "g")]],
    "null arguments first": [[piece(0, None, "a", "f")], [piece(0, '{"x":1}')], [piece(1, '{"y":[2]}', "b", "g")]],
}


@pytest.mark.parametrize("case", CASES)
def test_pieces_make_the_same_two_calls(case: str) -> None:
    events = events_of(*CASES[case])
    assert folded(events).tool_calls == (A, B)
    named = [event for event in events if isinstance(event, ToolCallDelta) and event.name]
    assert [(event.index, event.id, event.name) for event in named] == [(0, "a", "f"), (1, "b", "g")]


def test_missing_ids_are_made_up() -> None:
    events = events_of([piece(0, "{}", None, "f")], [piece(1, "{}", "", "g")])
    assert [call.id for call in folded(events).tool_calls] == ["call_0", "call_1"]
    assert [event.id for event in events if isinstance(event, ToolCallDelta)] == ["call_0", "call_1"]


def test_whole_calls_without_index_and_id_stay_apart() -> None:
    calls = folded(events_of([piece(None, "{}", None, "f"), piece(None, "{}", None, "f")])).tool_calls
    assert calls == (ToolCall("call_0", "f", {}), ToolCall("call_1", "f", {}))


def test_no_arguments_are_an_empty_object() -> None:
    assert folded(events_of([piece(0, None, "a", "f")])).tool_calls == (ToolCall("a", "f", {}),)


@pytest.mark.parametrize("raw", ['{"x":', "[1]", "nonsense", '{"x":' + "[" * 100_000])
def test_arguments_that_are_no_object_are_kept_as_broken(raw: str) -> None:
    reply = folded(events_of([piece(0, raw, "a", "f")]))
    assert reply.tool_calls == ()
    assert reply.broken_calls == (("f", raw),)


def test_a_finish_reason_that_forgets_the_calls_is_corrected() -> None:
    assert folded(events_of([piece(0, "{}", "a", "f")], finish="stop")).finish_reason == "tool_calls"
    assert folded(events_of([piece(0, "{}", "a", "f")], finish="length")).finish_reason == "length"


@pytest.mark.parametrize("odd", [5, "x", {}, [5, None, "x"], [{}], [{"function": 3}], [{"index": "0", "id": 7}]])
def test_odd_pieces_do_no_harm(odd: Any) -> None:
    events = events_of(odd, [piece(0, "{}", "a", "f")])
    assert ToolCall("a", "f", {}) in folded(events).tool_calls
