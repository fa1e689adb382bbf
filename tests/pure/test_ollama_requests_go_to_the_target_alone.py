"""What a call becomes on its way to Ollama: the target decides where it goes, nothing of the call can change that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import (
    AuthFailed,
    ConfigError,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RedirectRefused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.protocols.base import HttpResponse, Target, Timeouts
from lollms_core.protocols.ollama import OllamaCodec
from lollms_core.types import GenerationCall, ImagePart, Message, Params, TextPart, Tool

KEY = "canary-key-0123456789"
TARGET = Target("http://box:11434", key=KEY, provider="box", model="m", timeouts=Timeouts(idle=7), verify_tls=False)
CODEC = OllamaCodec()


def call(**fields: Any) -> GenerationCall:
    return GenerationCall(**{"messages": (Message.user("Hi"),), **fields})


def body_of(asked: GenerationCall) -> Any:
    return json.loads(CODEC.request(asked, TARGET).body)


@pytest.mark.parametrize(("stream", "accept"), [(True, "application/x-ndjson"), (False, "application/json")])
def test_the_request(stream: bool, accept: str) -> None:
    request = CODEC.request(call(stream=stream), TARGET)
    assert (request.method, request.url) == ("POST", "http://box:11434/api/chat")
    assert (request.timeouts, request.verify_tls) == (TARGET.timeouts, False)
    assert request.headers == {
        "accept": accept,
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
    }
    assert json.loads(request.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
    }
    assert (
        KEY not in repr(request) and "authorization" not in CODEC.request(call(), Target("http://x", model="m")).headers
    )


def test_preparing_takes_no_steps() -> None:
    with pytest.raises(StopIteration) as end:
        next(CODEC.prepare(call(), TARGET))
    assert end.value.value == CODEC.request(call(), TARGET)


def test_nothing_in_a_call_reaches_the_address_or_the_headers() -> None:
    evil = "http://evil.example/\r\nx: y"
    names = ("base_url", "host", "api_key", "headers", "model", "messages", "stream", "options", "format", "tools")
    asked = call(model=evil, params=Params(extra=dict.fromkeys((*names, "template", "raw", "system"), evil)))
    request = CODEC.request(asked, TARGET)
    assert request.url == "http://box:11434/api/chat"
    assert evil not in str(request.headers)
    assert json.loads(request.body) == {**body_of(call()), "model": evil}
    dropped = {each.name for each in CODEC.plan(asked.params)[2]}
    assert dropped == {*names, "template", "raw", "system"}


def test_tools_and_turns_are_written_as_ollama_reads_them() -> None:
    asked = call(tools=(Tool("f"), Tool("g", "G.", {"type": "object", "properties": {"x": {}}})))
    assert body_of(asked)["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}},
        },
        {
            "type": "function",
            "function": {"name": "g", "description": "G.", "parameters": {"type": "object", "properties": {"x": {}}}},
        },
    ]
    image = ImagePart(b"\x89PNG", "image/png")
    turns = (Message.system("S"), Message("user", (TextPart("a"), image, TextPart("b"))), Message.assistant("c"))
    assert body_of(call(messages=turns))["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "ab", "images": ["iVBORw=="]},
        {"role": "assistant", "content": "c"},
    ]


@pytest.mark.parametrize(
    ("asked", "target", "kind"),
    [
        (call(), Target("http://x"), InvalidRequest),
        (call(params=Params(temperature=float("nan"))), TARGET, InvalidRequest),
        (call(messages=(Message.user("\ud800"),)), TARGET, InvalidRequest),
        (call(schema={"x": object()}), TARGET, InvalidRequest),
        (call(messages=(Message("system", (ImagePart(b"", "image/png"),)),)), TARGET, UnsupportedFeature),
        (call(), Target("http://x", key="two lines\n", model="m"), ConfigError),
    ],
)
def test_what_cannot_be_sent_is_refused_by_class(
    asked: GenerationCall, target: Target, kind: type[LollmsError]
) -> None:
    with pytest.raises(LollmsError) as caught:
        CODEC.request(asked, target)
    assert type(caught.value) is kind


def said(status: int, body: object, **headers: str) -> LollmsError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CODEC.error(HttpResponse(status, {"content-type": "application/json", **headers}, raw), TARGET)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "model 'nobody' not found", UnknownModel),
        (404, 'model "nobody" not found, try pulling it first', UnknownModel),
        (400, "registry.ollama.ai/library/llama3:8b does not support tools", UnsupportedFeature),
        (400, "this model does not support image input", UnsupportedFeature),
        (400, '"llama3" does not support thinking', UnsupportedFeature),
        (400, "the input length exceeds the context length", ContextTooLong),
        (400, "input length exceeds maximum context length", ContextTooLong),
        (400, "invalid options: num_ctx", InvalidRequest),
        (401, "unauthorized", AuthFailed),
        (403, "forbidden", AuthFailed),
        (413, "too large", PayloadTooLarge),
        (429, "too many concurrent requests", RateLimited),
        (500, "llama runner process has terminated", UpstreamFailed),
        (500, "it does not support tools today", UpstreamFailed),
        (502, "cloud model cannot be reached", UpstreamFailed),
        (503, "server busy, please try again.  maximum pending requests exceeded", Overloaded),
    ],
)
def test_errors_are_told_by_status_and_the_few_sentences_that_matter(
    status: int, message: str, kind: type[LollmsError]
) -> None:
    error = said(status, {"error": message})
    assert (type(error), error.status, error.provider) == (kind, status, "box")
    assert kind is AuthFailed or message.split("  ")[0] in str(error)


def test_errors_that_are_no_ollama_ones() -> None:
    assert type(said(404, b"404 page not found")) is InvalidRequest
    assert type(said(404, {"error": {"message": "nope"}})) is InvalidRequest
    assert type(said(500, b"")) is UpstreamFailed
    assert type(said(301, b"", location="http://evil")) is RedirectRefused
    assert said(503, {"error": "busy"}, **{"retry-after": "3"}).retry_after == 3
    assert KEY not in str(said(400, {"error": f"bad {KEY}\n\x1b[2J"})) + str(said(404, {"error": f"no {KEY}"}))
