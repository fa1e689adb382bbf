"""Requests of the Responses protocol: what a call becomes, what is not done as asked, what goes back with a turn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import AuthFailed, ConfigError, InvalidRequest, LollmsError, UnsupportedFeature
from lollms_core.flows.agent import tool_loop
from lollms_core.flows.base import Emit, Generate, RunTool
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.dialects import GENERIC, OPENAI, Dialect
from lollms_core.protocols.lessons import Lesson, lesson_of
from lollms_core.protocols.responses import ResponsesCodec
from lollms_core.types import (
    GenerationCall,
    ImagePart,
    Message,
    Native,
    Params,
    ReceiptItem,
    Reply,
    TextPart,
    Tool,
    ToolCall,
)
from tests.support.feeding import TRANSCRIPTS, folded, outcome
from tests.support.responses_rules import check

TARGET = Target("https://api.openai.com/v1", key="sk-1", provider="OpenAI", model="gpt-5")
CODEC = ResponsesCodec(OPENAI)
CALL = GenerationCall((Message.user("Hi"),))
IMAGE = ImagePart(b"\x89PNG", "image/png")
ADD = Tool("calc__add", "Adds.", {"type": "object", "properties": {"n": {"type": "integer"}}})


def body(call: GenerationCall, target: Target = TARGET, codec: ResponsesCodec = CODEC) -> dict[str, Any]:
    """The body of a request that the stand-in, which knows the reference, takes."""
    made: dict[str, Any] = json.loads(codec.request(call, target).body)
    check(made)
    return made


def with_params(**params: Any) -> GenerationCall:
    return GenerationCall(CALL.messages, params=Params(**params))


def test_a_plain_call() -> None:
    request = CODEC.request(CALL, TARGET)
    assert (request.method, request.url) == ("POST", "https://api.openai.com/v1/responses")
    assert request.headers == {
        "accept": "application/json",
        "authorization": "Bearer sk-1",
        "content-type": "application/json",
    }
    assert json.loads(request.body) == {
        "model": "gpt-5",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert request.receipt == ()
    streamed = CODEC.request(GenerationCall(CALL.messages, "o3-pro", stream=True), TARGET)
    assert streamed.headers["accept"] == "text/event-stream"
    assert (json.loads(streamed.body)["stream"], json.loads(streamed.body)["model"]) == (True, "o3-pro")


def test_preparing_is_an_exchange_without_steps() -> None:
    with pytest.raises(StopIteration) as end:
        next(CODEC.prepare(CALL, TARGET))
    assert end.value.value == CODEC.request(CALL, TARGET)


def test_a_conversation_becomes_items() -> None:
    messages = (
        Message.system("Be kind."),
        Message.user("What is it?", [IMAGE]),
        Message.assistant("I look.", [ToolCall("c1", "look", {"ü": 1}), ToolCall("c2", "look", {})]),
        Message.tool("c1", "a cat"),
        Message.tool("c2", "a dog"),
        Message.system("Be brief."),
        Message.assistant("", [ToolCall("c3", "look", {})]),
        Message.tool("c3", ""),
    )
    made = body(GenerationCall(messages))
    assert made["instructions"] == "Be kind."
    url = "data:image/png;base64,iVBORw=="
    assert made["input"] == [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "detail": "auto", "image_url": url},
            ],
        },
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"ü":1}'},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        {"type": "function_call_output", "call_id": "c2", "output": "a dog"},
        {"type": "message", "role": "system", "content": "Be brief."},
        {"type": "function_call", "call_id": "c3", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c3", "output": ""},
    ]


def test_parameters_have_their_names_and_places() -> None:
    extra = {"reasoning_effort": "low", "reasoning_summary": "auto", "verbosity": "high", "service_tier": "flex"}
    made = body(with_params(max_tokens=100, temperature=0.5, top_p=0.9, extra=extra))
    assert made["reasoning"] == {"effort": "low", "summary": "auto"}
    assert made["text"] == {"verbosity": "high"}
    assert (made["max_output_tokens"], made["temperature"], made["top_p"]) == (100, 0.5, 0.9)
    assert made["service_tier"] == "flex"


def test_what_the_protocol_does_not_have_is_in_the_receipt() -> None:
    call = with_params(top_k=1, seed=2, stop=("x",), presence_penalty=0.1, extra={"odd": 1})
    request = CODEC.request(call, TARGET)
    assert set(json.loads(request.body)) == {"model", "input", "store", "include"}
    assert {(item.name, item.action) for item in request.receipt} == {
        (name, "dropped") for name in ("top_k", "seed", "stop", "presence_penalty", "odd")
    }
    assert CODEC.request(with_params(stop=()), TARGET).receipt == ()


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, False),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            True,
        ),
    ],
)
def test_a_schema_is_strict_where_it_can_be(schema: dict[str, Any], strict: bool) -> None:
    call = GenerationCall(CALL.messages, schema=schema, params=Params(extra={"verbosity": "low"}))
    shape = {"type": "json_schema", "name": "answer", "schema": schema, "strict": strict}
    assert body(call)["text"] == {"verbosity": "low", "format": shape}


def test_a_strict_schema_is_brought_down_to_what_openai_takes() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "minLength": 2}},
        "required": ["a"],
        "additionalProperties": False,
    }
    call = GenerationCall(CALL.messages, schema=schema)
    request = CODEC.request(call, TARGET)
    sent = json.loads(request.body)["text"]["format"]
    assert sent["strict"] is True
    assert "minLength" not in sent["schema"]["properties"]["a"]
    assert [item.name for item in request.receipt] == ["schema"]
    elsewhere = ResponsesCodec(GENERIC).request(call, TARGET)
    assert json.loads(elsewhere.body)["text"]["format"]["schema"] == schema
    assert elsewhere.receipt == ()


def test_tools_are_flat_and_not_strict_unasked() -> None:
    made = body(GenerationCall(CALL.messages, tools=(ADD, Tool("plain"))))
    flat = {"type": "function", "name": "calc__add", "description": "Adds.", "strict": False}
    assert made["tools"][0] == {**flat, "parameters": ADD.parameters}
    assert made["tools"][1]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("call", "dialect"),
    [
        (GenerationCall((Message("assistant", (TextPart("x"), IMAGE)),)), OPENAI),
        (GenerationCall((Message("system", (TextPart("x"), IMAGE)),)), OPENAI),
        (GenerationCall((Message.user("x", [IMAGE]),)), Dialect(name="blind", images=False)),
        (GenerationCall(CALL.messages, tools=(ADD,)), Dialect(name="idle", tools=False)),
        (GenerationCall(CALL.messages, schema={}), Dialect(name="free", schemas="none")),
    ],
)
def test_what_would_change_the_meaning_is_refused(call: GenerationCall, dialect: Dialect) -> None:
    with pytest.raises(UnsupportedFeature):
        ResponsesCodec(dialect).request(call, TARGET)


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        CODEC.request(with_params(temperature=float("nan")), TARGET)
    with pytest.raises(InvalidRequest):
        CODEC.request(GenerationCall((Message.user("\ud800"),)), TARGET)
    with pytest.raises(ConfigError):
        CODEC.request(CALL, Target("https://x/v1", key="a\nb"))


# ---- what a model refuses -------------------------------------------------------------------------------------------


def refusal(words: str, param: str, code: str | None) -> LollmsError:
    error = {"error": {"message": words, "type": "invalid_request_error", "param": param, "code": code}}
    return CODEC.error(HttpResponse(400, {"content-type": "application/json"}, json.dumps(error).encode()), TARGET)


@pytest.mark.parametrize(
    ("words", "param", "code", "field"),
    [
        ("Unsupported parameter: 'temperature' is not supported with this model.", "temperature", "x", "temperature"),
        (
            "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
            "reasoning.effort",
            "unsupported_parameter",
            "effort",
        ),
        ("Unsupported value: 'detailed' is not supported.", "reasoning.summary", "unsupported_value", "summary"),
        ("Encrypted content is not supported with this model.", "include", None, "include"),
        ("Unsupported value: 'text.verbosity'.", "text.verbosity", "unsupported_value", "verbosity"),
    ],
)
def test_a_refused_knob_is_left_out_alone(words: str, param: str, code: str | None, field: str) -> None:
    extra = {"reasoning_effort": "low", "reasoning_summary": "detailed", "verbosity": "low"}
    call = with_params(temperature=0.5, extra=extra)
    request = CODEC.request(call, TARGET)
    assert lesson_of(refusal(words, param, code), request.optional) == Lesson(field)
    told = Target(TARGET.base_url, model="gpt-5", lessons=(Lesson(field),))
    again = CODEC.request(call, told)
    made = json.loads(again.body)
    flat = {**made, **made.get("reasoning", {}), **made.get("text", {})}
    knobs = {"temperature", "effort", "summary", "verbosity", "include"}
    assert knobs & set(flat) == knobs - {field}
    ours = {"effort": "reasoning_effort", "summary": "reasoning_summary"}.get(field, field)
    learned = [] if field == "include" else [(ours, "dropped")]
    assert [(item.name, item.action) for item in again.receipt] == learned


def test_what_says_what_is_asked_is_never_optional() -> None:
    call = GenerationCall(CALL.messages, tools=(ADD,), schema={"type": "object"}, stream=True)
    assert not {"model", "input", "tools", "text", "instructions", "store", "stream"} & set(
        CODEC.request(call, TARGET).optional
    )


def test_errors_are_those_of_chats() -> None:
    assert isinstance(CODEC.error(HttpResponse(401, {}, b"{}"), TARGET), AuthFailed)


# ---- thoughts go back -----------------------------------------------------------------------------------------------


def items_of(name: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads((TRANSCRIPTS / "responses" / f"{name}.json").read_bytes())["output"]
    return made


def test_a_native_turn_goes_back_as_it_came() -> None:
    items = items_of("thoughts_and_tool_calls")
    turn = Message.assistant("", [ToolCall("call_a", "get_weather", {})], Native("responses", items))
    made = json.loads(CODEC.request(GenerationCall((Message.user("?"), turn)), TARGET).body)
    assert made["input"][1:] == items


@pytest.mark.parametrize("data", [None, "x", [], [1], [{}], {"type": "reasoning"}, [{"type": "message"}, None]])
def test_a_native_turn_of_another_form_is_not_used(data: Any) -> None:
    for native in (Native("responses", data), Native("openai", items_of("thoughts_and_tool_calls"))):
        call = GenerationCall((Message.user("?"), Message.assistant("So.", native=native)))
        assert body(call)["input"][1:] == [{"type": "message", "role": "assistant", "content": "So."}]


def test_the_tool_loop_gives_the_thoughts_back_with_the_calls() -> None:
    """The second request holds the output of the first, in its order, and behind it what the functions said."""
    data = (TRANSCRIPTS / "responses" / "thoughts_and_tool_calls.sse").read_bytes()
    tools = (Tool("get_weather"), Tool("get_time"))
    flow = tool_loop(GenerationCall((Message.user("?"),), tools=tools), {"get_weather", "get_time"}, 2)
    asked: list[GenerationCall] = []
    replies = [
        folded(outcome(CODEC.reader(CALL, "text/event-stream", TARGET), [data])[0]),
        Reply(text="Done.", receipt=(ReceiptItem("x", "dropped", "y"),)),
    ]
    value: Any = None
    whole: Reply | None = None
    try:
        while True:
            step = flow.send(value)
            value = None
            if isinstance(step, Generate):
                asked.append(step.call)
                value = replies[len(asked) - 1]
            elif isinstance(step, RunTool):
                value = f"{step.call.name} is fine"
            else:
                assert isinstance(step, Emit)
    except StopIteration as end:
        whole = end.value
    assert whole is not None and whole.text == "Done."
    sent = json.loads(CODEC.request(asked[1], TARGET).body)["input"]
    outputs = [
        {"type": "function_call_output", "call_id": f"call_{at}", "output": f"{name} is fine"}
        for at, name in (("a", "get_weather"), ("b", "get_time"))
    ]
    assert sent == [{"type": "message", "role": "user", "content": "?"}, *items_of("thoughts_and_tool_calls"), *outputs]


def test_another_dialect_has_the_same_protocol() -> None:
    assert body(CALL, codec=ResponsesCodec(GENERIC))["input"] == [{"type": "message", "role": "user", "content": "Hi"}]
