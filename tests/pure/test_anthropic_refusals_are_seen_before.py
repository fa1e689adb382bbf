"""What Anthropic refuses and other providers take is written in another way before it is sent, and the receipt says so.

The bodies are held against the rules of the stand-in, which refuse each of these as the API does.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import InvalidRequest, ProtocolError, UnsupportedFeature
from lollms_core.protocols.anthropic import MessagesCodec
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.types import Event, GenerationCall, Message, Native, Params, TextDelta, Tool, ToolCall
from tests.support.anthropic_rules import problem_of
from tests.support.feeding import outcome

TARGET = Target("https://box.example", provider="box")
CODEC = MessagesCodec()
OLD, BOTH, NEW, ALWAYS = "claude-sonnet-4-5-20250929", "claude-opus-4-6", "claude-sonnet-5-5", "claude-opus-5-5"
TOOL = Tool("f", "F.", {"type": "object", "properties": {"x": {}}})


def sent(
    *messages: Message, model: str = OLD, tools: tuple[Tool, ...] = (TOOL,), **extra: Any
) -> tuple[Any, dict[str, str]]:
    """The body, which the rules accept, and what the receipt says of each name."""
    asked = GenerationCall(messages or (Message.user("Hi"),), model, Params(extra=extra), tools=tools)
    request = CODEC.request(asked, TARGET)
    body = json.loads(request.body)
    assert problem_of(body, "2023-06-01") == ""
    return body, {each.name: each.action for each in request.receipt}


def ids_of(body: Any) -> list[tuple[str, str]]:
    """Each call with the result that belongs to it."""
    blocks = [block for turn in body["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    results = {block["tool_use_id"]: block["content"] for block in blocks if block["type"] == "tool_result"}
    return [(call, results[call]) for call in calls]


# ---- ids of calls --------------------------------------------------------------------------------------------------


def test_ids_that_come_again_are_made_different() -> None:
    """Some providers number the calls of each answer from the beginning, or give no ids at all."""
    turns = [Message.user("?")]
    for number in range(3):
        calls = [ToolCall("call_0", "f", {}), ToolCall("", "f", {}), ToolCall("", "f", {})]
        results = [Message.tool(call.id, f"{number}{place}") for place, call in enumerate(calls)]
        turns += [Message.assistant("", calls), *results]
    body, _ = sent(*turns)
    assert ids_of(body) == [
        *(("call_0", "00"), ("call", "01"), ("call_2", "02")),
        *(("call_0_2", "10"), ("call_3", "11"), ("call_4", "12")),
        *(("call_0_3", "20"), ("call_5", "21"), ("call_6", "22")),
    ]


def test_ids_that_become_alike_stay_apart() -> None:
    calls = [ToolCall("a.b", "f", {}), ToolCall("a:b", "f", {}), ToolCall("a_b", "f", {})]
    results = [Message.tool(call.id, call.id) for call in reversed(calls)]
    body, _ = sent(Message.user("?"), Message.assistant("", calls), *results)
    assert ids_of(body) == [("a_b", "a.b"), ("a_b_2", "a:b"), ("a_b_3", "a_b")]


def test_a_turn_of_its_own_keeps_its_ids() -> None:
    data = [{"type": "tool_use", "id": "call_0", "name": "f", "input": {}}]
    own = Message.assistant("", [ToolCall("call_0", "f", {})], Native("anthropic", data))
    other = Message.assistant("", [ToolCall("call_0", "f", {})])
    body, _ = sent(Message.user("?"), own, Message.tool("call_0", "1"), other, Message.tool("call_0", "2"))
    assert ids_of(body) == [("call_0", "1"), ("call_0_2", "2")]


# ---- schemas of tools ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("union", ["anyOf", "oneOf", "allOf"])
def test_unions_at_the_head_of_a_schema_are_told_in_words(union: str) -> None:
    either = [{"required": ["a"]}, {"required": ["b"]}]
    tool = Tool("f", "F.", {"properties": {"a": {union: [{}]}, "b": {}}, union: either})
    body, receipt = sent(tools=(tool, TOOL))
    first, second = body["tools"]
    assert first["input_schema"] == {"type": "object", "properties": {"a": {union: [{}]}, "b": {}}}
    assert first["description"].startswith("F.\n\n") and json.dumps(either).replace(" ", "") in first["description"]
    assert (second["description"], receipt) == ("F.", {"tools": "rewritten"})
    assert union in tool.parameters, "what the caller gave is left as it is"
    body, _ = sent(tools=(Tool("f", parameters={union: either}),))
    assert body["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


# ---- thoughts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [OLD, BOTH, NEW])
def test_no_thoughts_where_a_tool_must_be_used(model: str) -> None:
    for choice in ("required", "f"):
        body, receipt = sent(model=model, thinking=True, tool_choice=choice)
        assert ("thinking" in body, receipt) == (False, {"thinking": "dropped"})
        assert body["tool_choice"]["type"] in ("any", "tool")
    for choice in ("auto", "none"):
        assert sent(model=model, thinking=True, tool_choice=choice)[0]["thinking"]
    body, receipt = sent(model=model, tools=(), thinking=True, tool_choice="required")
    assert body["thinking"] and receipt == {"tool_choice": "dropped"}


def test_no_budget_for_thoughts_in_the_middle_of_calls_without_any() -> None:
    turns = (Message.user("?"), Message.assistant("Wait.", [ToolCall("a", "f", {})]), Message.tool("a", "1"))
    body, receipt = sent(*turns, thinking=2000)
    assert ("thinking" in body, receipt) == (False, {"thinking": "dropped"})
    assert sent(*turns, model=NEW, thinking=True)[0]["thinking"]["type"] == "adaptive"
    assert sent(*turns, Message.assistant("Done."), Message.user("!"), thinking=2000)[0]["thinking"]


@pytest.mark.parametrize(
    ("model", "given", "kind", "receipt"),
    [
        (OLD, {"type": "enabled", "budget_tokens": 2000}, "enabled", {}),
        (NEW, {"type": "enabled", "budget_tokens": 2000}, "adaptive", {"thinking": "rewritten"}),
        (ALWAYS, {"type": "enabled"}, "adaptive", {}),
        (NEW, {"type": "disabled"}, "disabled", {}),
        (ALWAYS, {"type": "disabled"}, None, {"thinking": "dropped"}),
    ],
)
def test_a_type_that_the_model_is_known_to_refuse(model: str, given: Any, kind: Any, receipt: Any) -> None:
    body, told = sent(model=model, thinking=given)
    assert (body.get("thinking", {}).get("type"), told) == (kind, receipt)
    with pytest.raises(InvalidRequest):
        sent(model=NEW, thinking={"type": "enabled", "budget_tokens": "many"})


def test_an_answer_that_cannot_be_continued_is_an_unsupported_feature() -> None:
    asked = GenerationCall((Message.user("Hi"), Message.assistant("Well,")), NEW)
    said = problem_of(json.loads(CODEC.request(asked, TARGET).body), "2023-06-01")
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": said}}
    error = CODEC.error(HttpResponse(400, {}, json.dumps(body).encode()), TARGET)
    assert type(error) is UnsupportedFeature and "prefill" in error.message
    sent(*asked.messages)  # which older models do


# ---- answers of later versions -------------------------------------------------------------------------------------


def read(*events: dict[str, Any]) -> tuple[list[Event], type[Exception] | None]:
    end: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    data = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in [*events, end])
    shown, error, _ = outcome(CODEC.reader(GenerationCall(()), "text/event-stream"), [data.encode()])
    return [event for event in shown if isinstance(event, TextDelta)], error


START = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}}


@pytest.mark.parametrize(
    "later",
    [
        {"type": "news", "message": "in words", "delta": [1], "index": "first"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "table_delta", "text": {"rows": []}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "table_delta", "signature": 3}},
    ],
)
def test_kinds_of_later_versions_may_have_fields_of_other_types(later: dict[str, Any]) -> None:
    assert read(START, later) == ([TextDelta("a")], None)


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ["b"]}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": 3, "text": 4}},
        {"type": "message_start", "message": "x"},
    ],
)
def test_kinds_that_are_known_may_not(odd: dict[str, Any]) -> None:
    assert read(START, odd) == ([TextDelta("a")], ProtocolError)
