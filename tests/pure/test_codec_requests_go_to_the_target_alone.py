"""A request says what the call asks in the provider's words, reports what it left out, and cannot be sent elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import ConfigError, InvalidRequest, ProtocolError, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target, Timeouts
from lollms_core.protocols.dialects import GENERIC, LLAMACPP, OPENAI, Dialect
from lollms_core.protocols.openai import (
    ChatCodec,
    embeddings_request,
    models_request,
    parse_embeddings,
    parse_models,
)
from lollms_core.types import (
    Done,
    GenerationCall,
    ImagePart,
    Message,
    Params,
    ReceiptItem,
    TextPart,
    Tool,
    ToolCall,
    Usage,
)
from tests.support.feeding import outcome

TARGET = Target("https://api.example.test/v1", key="sk-1", provider="Example", model="default-model")
HI = (Message.user("hi"),)


def request(call: GenerationCall, dialect: Dialect = GENERIC, target: Target = TARGET) -> HttpRequest:
    steps = ChatCodec(dialect).prepare(call, target)
    with pytest.raises(StopIteration) as end:
        next(steps)
    made: HttpRequest = end.value.value
    return made


def body(call: GenerationCall, dialect: Dialect = GENERIC, target: Target = TARGET) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(request(call, dialect, target).body)
    return decoded


def test_the_smallest_request() -> None:
    made = request(GenerationCall(HI))
    assert (made.method, made.url) == ("POST", "https://api.example.test/v1/chat/completions")
    assert made.headers == {
        "accept": "application/json",
        "content-type": "application/json",
        "authorization": "Bearer sk-1",
    }
    assert json.loads(made.body) == {"model": "default-model", "messages": [{"role": "user", "content": "hi"}]}


def test_streams_ask_for_usage_where_they_may() -> None:
    made = body(GenerationCall(HI, model="m", stream=True))
    assert (made["model"], made["stream"], made["stream_options"]) == ("m", True, {"include_usage": True})
    assert "stream_options" not in body(GenerationCall(HI, stream=True), Dialect(name="x", stream_usage=False))
    assert request(GenerationCall(HI, stream=True)).headers["accept"] == "text/event-stream"


def test_nothing_that_was_not_set_is_sent() -> None:
    assert set(body(GenerationCall(HI), target=Target("http://x"))) == {"messages"}
    assert "authorization" not in request(GenerationCall(HI), target=Target("http://x")).headers


EVERYTHING = Params(
    max_tokens=10,
    temperature=0.0,
    top_p=0.9,
    top_k=40,
    min_p=0.05,
    repeat_penalty=1.1,
    repeat_last_n=64,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    seed=7,
    stop=("a", "b", "c", "d", "e"),
    n_threads=4,
    ctx_size=4096,
)


def test_each_dialect_gets_the_knobs_it_has() -> None:
    common = {"temperature": 0.0, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.2, "seed": 7}
    made = ChatCodec(OPENAI).plan(EVERYTHING)
    assert made[0] == {**common, "max_completion_tokens": 10, "stop": ["a", "b", "c", "d"]}
    assert {(item.name, item.action) for item in made[1]} == {
        ("top_k", "dropped"),
        ("min_p", "dropped"),
        ("repeat_penalty", "dropped"),
        ("repeat_last_n", "dropped"),
        ("n_threads", "dropped"),
        ("ctx_size", "dropped"),
        ("stop", "clamped"),
    }
    sent, receipt = ChatCodec(LLAMACPP).plan(EVERYTHING)
    five = {"stop": ["a", "b", "c", "d", "e"]}
    assert sent == {
        **common,
        **five,
        "max_tokens": 10,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
    }
    assert [item.name for item in receipt] == ["n_threads", "ctx_size"]
    assert ChatCodec(GENERIC).plan(EVERYTHING)[0] == {**common, **five, "max_tokens": 10}
    assert body(GenerationCall(HI), LLAMACPP)["cache_prompt"] is True


def test_the_receipt_reaches_the_reply() -> None:
    call = GenerationCall(HI, params=Params(top_k=40, extra={"api_key": "x"}))
    stream = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    codec = ChatCodec(OPENAI)
    receipt = codec.request(call, TARGET).receipt
    events, _, _ = outcome(codec.reader(call, "text/event-stream", TARGET, receipt), [stream])
    assert isinstance(events[-1], Done)
    assert events[-1].receipt == (
        ReceiptItem("top_k", "dropped", "openai has no such parameter"),
        ReceiptItem("api_key", "dropped", "openai has no such parameter"),
    )


@pytest.mark.parametrize("dialect", [OPENAI, GENERIC, LLAMACPP])
def test_a_call_cannot_choose_the_backend(dialect: Dialect) -> None:
    names = [
        "base_url",
        "api_key",
        "headers",
        "extra_headers",
        "extra_body",
        "extra_query",
        "model",
        "messages",
        "stream",
    ]
    names += [
        "api_base",
        "host",
        "organization",
        "azure_endpoint",
        "proxies",
        "id_slot",
        "lora",
        "n",
        "chat_template_kwargs",
    ]
    call = GenerationCall(HI, params=Params(extra=dict.fromkeys(names, "http://evil.test")))
    made = request(call, dialect)
    assert made.url == "https://api.example.test/v1/chat/completions"
    assert b"evil" not in made.body
    assert "evil" not in str(made.headers)
    assert [item.name for item in ChatCodec(dialect).plan(call.params)[1]] == names


def test_extras_of_the_dialect_pass() -> None:
    params = Params(extra={"reasoning_effort": "low", "mirostat": 2})
    assert ChatCodec(OPENAI).plan(params)[0] == {"reasoning_effort": "low"}
    assert ChatCodec(LLAMACPP).plan(params)[0] == {"mirostat": 2}


def test_a_conversation_with_images_and_tools() -> None:
    image = ImagePart(b"\x89PNG", "image/png")
    call = GenerationCall(
        (
            Message.system("be brief"),
            Message("user", (TextPart("look"), image, TextPart("now"))),
            Message.assistant("", [ToolCall("c1", "find", {"x": 1})]),
            Message.tool("c1", "found"),
            Message.assistant("so", [ToolCall("c2", "find", {})]),
        ),
        tools=(Tool("find", "finds", {"type": "object", "properties": {"x": {}}}), Tool("stop")),
    )
    made = body(call)
    call_1 = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"x":1}'}}
    call_2 = {"id": "c2", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
    assert made["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, url, {"type": "text", "text": "now"}]},
        {"role": "assistant", "content": None, "tool_calls": [call_1]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
        {"role": "assistant", "content": "so", "tool_calls": [call_2]},
    ]
    assert made["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {"x": {}}}
    assert made["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_schema_is_strict_only_where_it_may_be() -> None:
    def strict(schema: dict[str, Any]) -> bool:
        shape = body(GenerationCall(HI, schema=schema))["response_format"]
        assert shape["type"] == "json_schema"
        assert shape["json_schema"]["schema"] == schema
        return bool(shape["json_schema"]["strict"])

    closed: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert strict(closed)
    assert strict({"type": "array", "items": closed})
    assert not strict({"type": "object", "properties": {"a": {}}})
    assert not strict({**closed, "required": []})
    assert not strict({**closed, "required": 5})
    assert not strict({**closed, "properties": {"a": {"type": "object"}}})


def test_what_would_change_the_meaning_is_refused() -> None:
    poor = Dialect(name="poor", tools=False, images=False, schemas="none")
    image = ImagePart(b"x", "image/png")
    for call in (
        GenerationCall(HI, tools=(Tool("t"),)),
        GenerationCall(HI, schema={}),
        GenerationCall((Message.user("x", [image]),)),
    ):
        with pytest.raises(UnsupportedFeature, match="poor"):
            request(call, poor)
    with pytest.raises(UnsupportedFeature):
        request(GenerationCall((Message("assistant", (image,)),)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_json_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(GenerationCall(HI, params=Params(temperature=value)))
    assert caught.value.param == "temperature"
    for text in ("\ud800", "a\udfffb"):
        with pytest.raises(InvalidRequest):
            request(GenerationCall((Message.user(text),)))
    with pytest.raises(InvalidRequest):
        request(GenerationCall(HI, params=Params(extra={"logit_bias": object()})), OPENAI)


@pytest.mark.parametrize("key", ["sk-1\n", "sk 1", "sk-1\r\nx-evil: 1", "sk-é", "\x00"])
def test_a_key_that_cannot_be_a_header_is_named_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        request(GenerationCall(HI), target=Target("http://x", key=key))
    assert key not in caught.value.message


def test_the_key_is_in_its_header_and_nowhere_else() -> None:
    made = request(GenerationCall(HI, stream=True), Dialect(name="azure", key_header="api-key"))
    assert made.headers["api-key"] == "sk-1"
    assert "authorization" not in made.headers
    assert "sk-1" not in made.url + made.body.decode() + repr(made) + repr(TARGET)


def test_the_targets_settings_travel_with_the_request() -> None:
    target = Target("http://x", headers={"X-Title": "t"}, timeouts=Timeouts(connect=1), verify_tls=False)
    made = request(GenerationCall(HI), target=target)
    assert (made.headers["x-title"], made.timeouts.connect, made.verify_tls) == ("t", 1, False)


# ---- lists of models, embeddings -----------------------------------------------------------------------------------


def test_models() -> None:
    made = models_request(TARGET, GENERIC)
    assert (made.method, made.url) == ("GET", "https://api.example.test/v1/models")
    assert made.headers["authorization"] == "Bearer sk-1"
    data = [
        {"id": "b", "object": "model"},
        {"id": "a", "context_length": 8192},
        {"id": "v", "max_model_len": 4096},
        {"id": "l", "meta": {"n_ctx_train": 2048}},
        {"name": "nameless"},
        {"id": 7},
    ]
    models = parse_models(HttpResponse(200, {}, json.dumps({"object": "list", "data": data}).encode()))
    assert [(model.name, model.context_size) for model in models] == [
        ("b", None),
        ("a", 8192),
        ("v", 4096),
        ("l", 2048),
    ]
    assert models[1].details == data[1]


def test_embeddings() -> None:
    made = embeddings_request(TARGET, GENERIC, ["x", "y"], "m")
    assert made.url == "https://api.example.test/v1/embeddings"
    assert json.loads(made.body) == {"input": ["x", "y"], "model": "m"}
    data = [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1, 2]}]
    reply = {"data": data, "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    got = parse_embeddings(HttpResponse(200, {}, json.dumps(reply).encode()))
    assert got.vectors == ((1.0, 2.0), (3.0, 4.5))
    assert (got.model, got.usage) == ("m", Usage(2, None, 2))


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"data":5}',
        b'{"data":[{"embedding":["x"]}]}',
        b'{"data":[{"index":3,"embedding":[1]}]}',
    ],
)
def test_lists_that_are_none_are_typed_errors(reply: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_embeddings(HttpResponse(200, {}, reply))
    if b"embedding" not in reply:
        with pytest.raises(ProtocolError):
            parse_models(HttpResponse(200, {}, reply))
