"""A lollms server is asked by the documented names, and its errors come back as what they were."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import (
    MEANINGS,
    AuthFailed,
    ConfigError,
    InvalidRequest,
    KeyMissing,
    KeyRejected,
    LollmsError,
    Overloaded,
    RedirectRefused,
    TooManyRequests,
    UnsupportedFeature,
    UpstreamFailed,
    error_for_code,
)
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.lollms import LollmsCodec, lollms_headers
from lollms_core.types import Done, GenerationCall, ImagePart, Message, Params, Tool
from tests.support.feeding import outcome

CODEC = LollmsCodec()
KEY = "canary-0123456789"
TARGET = Target("http://localhost:9601", key=KEY, provider="lollms")
CALL = GenerationCall((Message.user("hi"),))


def body(call: GenerationCall, target: Target = TARGET) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(CODEC.request(call, target).body)
    return decoded


def test_the_smallest_request() -> None:
    made = CODEC.request(CALL, TARGET)
    assert (made.method, made.url) == ("POST", "http://localhost:9601/api/v1/generate")
    assert made.headers == {"accept": "application/json", "content-type": "application/json", "x-api-key": KEY}
    assert json.loads(made.body) == {
        "input_data": [{"type": "text", "role": "user_prompt", "data": "hi", "mime_type": None, "metadata": {}}],
        "generation_type": "ttt",
        "stream": False,
        "parameters": {},
    }
    assert KEY not in made.url + repr(made)


def test_preparing_needs_no_steps() -> None:
    with pytest.raises(StopIteration) as end:
        next(CODEC.prepare(CALL, TARGET))
    assert end.value.value == CODEC.request(CALL, TARGET)


def test_everything_has_its_documented_name() -> None:
    params = Params(max_tokens=5, temperature=0.0, ctx_size=512, stop=("x",), extra={"style": "a", "temperature": 9})
    tool = Tool("find", "finds", {"type": "object"})
    call = GenerationCall(CALL.messages, "m", params, True, (tool,), {"type": "object"})
    target = Target("http://x", options={"instance": "nano", "personality": "poet"})
    made = body(call, target)
    assert made["parameters"] == {"max_tokens": 5, "temperature": 0.0, "context_size": 512, "stop": ["x"], "style": "a"}
    assert (made["model_name"], made["binding_name"], made["personality"], made["stream"]) == (
        "m",
        "nano",
        "poet",
        True,
    )
    assert made["tools"] == [
        {"type": "function", "function": {"name": "find", "description": "finds", "parameters": {"type": "object"}}}
    ]
    assert made["response_schema"] == {"type": "object"}
    assert "x-api-key" not in CODEC.request(call, target).headers


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        CODEC.request(GenerationCall(CALL.messages, params=Params(top_p=float("nan"))), TARGET)
    with pytest.raises(InvalidRequest):
        CODEC.request(GenerationCall((Message.user("\ud800"),)), TARGET)
    with pytest.raises(UnsupportedFeature):
        CODEC.request(GenerationCall((Message("system", (ImagePart(b"x", "image/png"),)),)), TARGET)
    with pytest.raises(ConfigError):
        lollms_headers(Target("http://x", key="a\n"))


def test_what_the_client_changed_stands_in_the_receipt_beside_what_the_server_changed() -> None:
    image = ImagePart(b"x", "image/png")
    call = GenerationCall((Message.user("a", [image]), Message.assistant("b"), Message.user("c")))
    metadata = {"finish_reason": "stop", "receipt": [{"name": "top_k", "action": "dropped", "reason": "r"}]}
    output = [{"type": "text", "data": "x", "metadata": metadata}]
    reader = CODEC.reader(call, "application/json", TARGET, CODEC.request(call, TARGET).receipt)
    events, error, _ = outcome(reader, [json.dumps({"output": output}).encode()])
    assert error is None
    assert isinstance(events[-1], Done)
    assert [item.name for item in events[-1].receipt] == ["top_k", "images"]


# ---- errors --------------------------------------------------------------------------------------------------------


def error(status: int, content: Any, target: Target = TARGET, **headers: str) -> LollmsError:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made = CODEC.error(HttpResponse(status, named, data), target)
    assert KEY not in made.message
    assert made.status == status
    return made


@pytest.mark.parametrize("kind", [kind for kind in MEANINGS if kind not in (KeyMissing, KeyRejected)])
def test_the_servers_class_comes_back(kind: type[LollmsError]) -> None:
    row = MEANINGS[kind]
    made = error(row.http_status, {"detail": "A sentence.", "code": row.code, "request_id": "r1"})
    assert type(made) is error_for_code(row.code)
    assert (made.message, made.code, made.request_id, made.provider) == ("A sentence.", row.code, "r1", "lollms")


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (401, {"detail": "x", "code": "key_rejected"}),
        (403, {"detail": "x", "code": "key_missing"}),
        (401, {"detail": "Invalid API Key provided."}),
        (403, b""),
    ],
)
def test_a_refused_key_says_what_to_do(status: int, content: Any) -> None:
    made = error(status, content)
    assert isinstance(made, AuthFailed)
    assert "service_key" in made.message
    assert "LOLLMS_API_KEY" in made.message
    assert "rejected" in made.message
    assert "needs a key" in error(status, content, Target("http://localhost:9601")).message


def test_a_body_that_does_not_match_names_the_places() -> None:
    errors = [{"loc": ["body", "input_data", 0, "type"], "msg": "not one of text, image"}]
    made = error(422, {"detail": "The body does not match.", "code": "malformed_body", "errors": errors})
    assert made.message == "The body does not match. body.input_data.0.type: not one of text, image"


def test_retry_after_is_carried() -> None:
    made = error(429, {"detail": "Full.", "code": "too_many_requests"}, retry_after="3")
    assert isinstance(made, TooManyRequests)
    assert made.retry_after == 3


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (404, {"detail": "Not Found"}, InvalidRequest),
        (404, b"<html>nginx</html>", InvalidRequest),
        (503, b"", Overloaded),
        (500, {"detail": "oops", "code": "no_code_of_ours"}, UpstreamFailed),
        (500, [1], UpstreamFailed),
        (302, {"detail": "x"}, RedirectRefused),
    ],
)
def test_answers_of_something_else_are_told_by_their_status(status: int, content: Any, kind: type[LollmsError]) -> None:
    assert type(error(status, content)) is kind


def test_a_key_revoked_in_the_middle_is_a_refused_key() -> None:
    chunk = {"type": "error", "content": f"The key {KEY} was revoked.", "metadata": {"code": "key_rejected"}}
    stream = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    _, kind, message = outcome(CODEC.reader(CALL, "text/event-stream", TARGET), [stream])
    assert kind is AuthFailed
    assert KEY not in message


# ---- what workflows and older servers send -------------------------------------------------------------------------


def answer(*output: dict[str, Any]) -> tuple[list[Any], type[LollmsError] | None, str]:
    return outcome(CODEC.reader(CALL, "application/json"), [json.dumps({"output": output}).encode()])


def test_other_items_become_what_they_can() -> None:
    events, kind, _ = answer(
        {"type": "json", "data": {"a": 1}},
        {"type": "info", "data": "by the way"},
        {"type": "image", "data": "eHg="},
        {"type": "hologram", "data": "?"},
    )
    assert kind is None
    assert [type(event).__name__ for event in events] == ["Output", "Done"]
    assert [(item.kind, item.data) for item in events[0].items] == [
        ("json", {"a": 1}),
        ("info", "by the way"),
        ("image", "eHg="),
        ("hologram", "?"),
    ]


def test_an_error_item_is_an_error() -> None:
    _, kind, message = answer({"type": "text", "data": "x"}, {"type": "error", "data": "Workflow execution failed"})
    assert (kind, message) == (UpstreamFailed, "Workflow execution failed")


@pytest.mark.parametrize(
    "event",
    [
        b"data: {}\n\n",
        b"data: [1]\n\n",
        b"data: x\n\n",
        b'data: {"type":"final","content":[5]}\n\n',
        b'data: {"type":"final","content":"x"}\n\n',
        b'data: {"type":"function_call","content":"x"}\n\n',
        b'data: {"type":"final","content":[{"type":"image","data":"%"}]}\n\n',
    ],
)
def test_what_is_not_the_protocol_is_a_typed_error(event: bytes) -> None:
    _, kind, _ = outcome(CODEC.reader(CALL, "text/event-stream"), [event])
    assert kind is not None
    assert kind.__name__ == "ProtocolError"
