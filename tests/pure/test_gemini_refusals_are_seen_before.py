"""What the Gemini API refuses is not sent, or learned from its words; what it can do is not refused here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import AuthFailed, InvalidRequest, UnsupportedFeature
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.gemini import GeminiCodec
from lollms_core.protocols.gemini_catalog import GeminiCatalog
from lollms_core.protocols.lessons import Lesson
from lollms_core.types import GenerationCall, ImagePart, Message, Native, Params, TextPart, Tool, ToolCall
from tests.support.gemini_rules import fault_of

BASE = "https://box.example/v1beta"
CODEC = GeminiCodec()


def sent(
    *messages: Message, model: str = "m", tools: tuple[Tool, ...] = (), learned: str = "", **extra: Any
) -> tuple[Any, dict[str, str]]:
    """The body, which is one that the service takes, and what the receipt says of each name."""
    target = Target(BASE, provider="box", lessons=(Lesson(learned),) if learned else ())
    asked = GenerationCall(messages or (Message.user("Hi"),), model, Params(extra=extra), tools=tools)
    request = CODEC.request(asked, target)
    body = json.loads(request.body)
    assert fault_of("GenerateContentRequest", body) is None
    return body, {each.name: each.action for each in request.receipt}


def thinking(model: str = "m", learned: str = "", **extra: Any) -> tuple[Any, dict[str, str]]:
    body, receipt = sent(model=model, learned=learned, **extra)
    return body.get("generationConfig", {}).get("thinkingConfig"), receipt


# ---- thinking ------------------------------------------------------------------------------------------------------


def test_models_with_a_budget_are_told_to_think_as_they_see_fit() -> None:
    shown = {"includeThoughts": True}
    assert thinking("gemini-2.5-flash-lite", think=True) == ({"thinkingBudget": -1, **shown}, {})
    assert thinking("models/gemini-2.5-flash", include_thoughts=True) == ({"thinkingBudget": -1, **shown}, {})
    assert thinking("gemini-2.5-flash", think=99) == ({"thinkingBudget": 99, **shown}, {})
    assert thinking("gemini-2.5-flash", include_thoughts=False) == ({"includeThoughts": False}, {})
    for other in ("gemini-3-pro", "gemini-2.50", "m"):
        assert thinking(other, think=True) == (shown, {})


def test_a_model_that_always_thinks_is_still_told_how_much() -> None:
    assert thinking(learned="noThinking", think=False) == (None, {"thinking": "dropped"})
    assert thinking(learned="noThinking", think=99) == ({"thinkingBudget": 99, "includeThoughts": True}, {})


def test_a_model_without_levels_still_thinks() -> None:
    shown = {"includeThoughts": True}
    assert thinking(learned="thinkingLevel", think="low") == (shown, {"thinking": "rewritten"})
    both = ({"thinkingBudget": -1, **shown}, {"thinking": "rewritten"})
    assert thinking("gemini-2.5-flash", learned="thinkingLevel", think="low") == both
    assert thinking(learned="thinkingLevel", think=99) == ({"thinkingBudget": 99, **shown}, {})


def test_a_model_that_shows_thoughts_only_when_told_how_much_to_think() -> None:
    assert thinking(learned="includeThoughts", think=True) == (None, {"thinking": "dropped"})
    assert thinking(learned="includeThoughts", think=99) == ({"thinkingBudget": 99, "includeThoughts": True}, {})
    assert thinking(learned="includeThoughts", think=False)[0] == {"thinkingBudget": 0, "includeThoughts": False}


# ---- tools ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
        {"anyOf": [{"type": "object", "properties": {"x": {"type": "integer"}}}]},
    ],
)
def test_arguments_are_described_however_they_are_written(parameters: dict[str, Any]) -> None:
    body, _ = sent(tools=(Tool("f", "", parameters),))
    assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"type": "object", "title": "F", "properties": {}, "required": [], "additionalProperties": False},
        {"type": "object", "$defs": {"A": {}}, "$schema": "https://json-schema.org/draft/2020-12/schema"},
    ],
)
def test_a_function_of_nothing_has_no_schema(parameters: dict[str, Any]) -> None:
    body, _ = sent(tools=(Tool("f", "", parameters),))
    assert "parametersJsonSchema" not in body["tools"][0]["functionDeclarations"][0]


def test_arguments_are_said_to_be_an_object() -> None:
    parameters = {"properties": {"x": {"type": "string"}}}
    body, _ = sent(tools=(Tool("f", "", parameters),))
    schema = body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"]
    assert schema == {"type": "object", "properties": {"x": {"type": "string"}}}
    assert "type" not in parameters, "what the caller gave is left as it is"


def test_choices_of_a_tool_are_never_lost_silently() -> None:
    assert sent(tool_choice="required")[1] == {"tool_choice": "dropped"}
    config = sent(tools=(Tool("f"),), tool_choice={"type": "any"})[0]["toolConfig"]["functionCallingConfig"]
    assert config == {"mode": "ANY"}
    with pytest.raises(InvalidRequest):
        sent(tools=(Tool("f"),), tool_choice={"type": "function"})


def test_images_stand_inside_of_the_result_that_shows_them() -> None:
    shown = Message("tool", (TextPart("Here."), ImagePart(b"\x89PNG", "image/png")), tool_call_id="a")
    calls = [ToolCall("a", "draw", {}), ToolCall("b", "draw", {})]
    body, _ = sent(Message.user("?"), Message.assistant("", calls), shown, Message.tool("b", "Nothing."))
    first, second = (part["functionResponse"] for part in body["contents"][2]["parts"])
    assert first["response"] == {"output": "Here."}
    assert first["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}]
    assert "parts" not in second


# ---- what is said --------------------------------------------------------------------------------------------------


def test_empty_texts_are_left_out() -> None:
    image = ImagePart(b"\x89PNG", "image/png")
    body, _ = sent(Message.user("", [image]), Message.user(""), Message.assistant(""), Message.user("Hi"))
    assert [list(part) for content in body["contents"] for part in content["parts"]] == [["inlineData"], ["text"]]


def test_calls_stand_behind_a_turn_of_the_user() -> None:
    calls = [ToolCall("a", "f", {})]
    native = Native("gemini", [{"functionCall": {"id": "a", "name": "f"}, "thoughtSignature": "c2ln"}])
    for asked in (Message.assistant("", calls), Message.assistant("", calls, native)):
        turns = (Message.user("?"), Message.assistant("Wait."), asked, Message.tool("a", "1"))
        body, receipt = sent(*turns)
        assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
        assert [next(iter(part)) for part in body["contents"][1]["parts"]] == ["text", "functionCall"]
        assert receipt == {}
        body, receipt = sent(asked, Message.tool("a", "1"), Message.user("And?"))
        assert [content["role"] for content in body["contents"]] == ["user", "model", "user", "user"]
        assert receipt == {"messages": "rewritten"}
    assert native.data == [{"functionCall": {"id": "a", "name": "f"}, "thoughtSignature": "c2ln"}]
    assert sent(Message.assistant("Hello."), Message.user("Hi"))[1] == {}


@pytest.mark.parametrize("messages", [(Message.user(""),), (Message.system(""),), (Message.assistant(""),)])
def test_where_nothing_is_asked_nothing_is_sent(messages: tuple[Message, ...]) -> None:
    with pytest.raises(InvalidRequest, match="no message"):
        sent(*messages)


# ---- errors --------------------------------------------------------------------------------------------------------


def error_of(message: str, *details: Any) -> Exception:
    error = {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": list(details)}
    return CODEC.error(HttpResponse(400, {}, json.dumps({"error": error}).encode()), Target(BASE, provider="box"))


def test_what_cannot_be_asked_for_together_is_an_unsupported_feature() -> None:
    said = "Function calling with a response mime type: 'application/json' is unsupported"
    assert type(error_of(said)) is UnsupportedFeature


@pytest.mark.parametrize("reason", [[], {}, 3, None])
def test_details_of_odd_types_are_passed_over(reason: Any) -> None:
    assert type(error_of("Words.", {"reason": reason})) is InvalidRequest
    assert type(error_of("Words.", {"reason": reason}, {"reason": "API_KEY_INVALID"})) is AuthFailed


# ---- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "answers"), [("generateContent", True), ("embedContent", False)])
def test_models_that_answer_are_taken_to_see_and_to_call(method: str, answers: bool) -> None:
    asked = GeminiCatalog().model("m", Target(BASE))
    next(asked)
    with pytest.raises(StopIteration) as end:
        asked.send(HttpResponse(200, {}, json.dumps({"name": "m", "supportedGenerationMethods": [method]}).encode()))
    assert (end.value.value.supports_vision, end.value.value.supports_tools) == (answers, answers)
