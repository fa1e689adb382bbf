"""Every error answer becomes the class that says what to do, and no message repeats our key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import (
    AuthFailed,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RedirectRefused,
    UnknownModel,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.protocols.base import HttpResponse, Limits, Target
from lollms_core.protocols.dialects import GENERIC, OPENAI
from lollms_core.protocols.http_errors import scrub
from lollms_core.protocols.openai import ChatCodec
from lollms_core.types import GenerationCall, Message
from tests.support.feeding import error_after, outcome

KEY = "sk-canary-0123456789abcdef"
TARGET = Target("https://api.example.test/v1", key=KEY, provider="Example", headers={"x-tenant": "tenant-secret"})
CODEC = ChatCodec(OPENAI)


def error(status: int, body: Any = b"", **headers: str) -> LollmsError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made = CODEC.error(HttpResponse(status, named, data), TARGET)
    assert made.status == status
    assert made.provider == "Example"
    assert made.message.startswith("Example ")
    assert KEY not in made.message + made.upstream_code + made.param + made.request_id
    return made


def openai(message: str = "no", kind: str | None = None, code: Any = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai(kind="invalid_request_error"), InvalidRequest),
        (400, openai(kind="invalid_request_error", code="context_length_exceeded"), ContextTooLong),
        (400, openai(kind="exceed_context_size_error", code=400), ContextTooLong),
        (400, openai(kind="invalid_request_error", code="unsupported_parameter", param="top_k"), InvalidRequest),
        (404, openai(kind="invalid_request_error", code="model_not_found"), UnknownModel),
        (404, openai(kind="not_found_error", code=404), InvalidRequest),
        (404, {"detail": "Not Found"}, InvalidRequest),
        (422, {"detail": [{"loc": ["body"], "msg": "bad"}]}, InvalidRequest),
        (401, openai(kind="invalid_request_error", code="invalid_api_key"), AuthFailed),
        (401, b"", AuthFailed),
        (403, {"error": "forbidden"}, AuthFailed),
        (402, openai("pay"), UpstreamError),
        (408, b"", UpstreamTimeout),
        (413, b"too large", PayloadTooLarge),
        (418, b"", InvalidRequest),
        (429, openai(kind="requests", code="rate_limit_exceeded"), RateLimited),
        (429, openai(kind="insufficient_quota", code="insufficient_quota"), RateLimited),
        (500, openai(kind="server_error"), UpstreamFailed),
        (501, openai(kind="not_supported_error", code=501), UnsupportedFeature),
        (502, b"<html>bad gateway</html>", UpstreamFailed),
        (503, openai(kind="unavailable_error", code=503), Overloaded),
        (504, b"", UpstreamTimeout),
        (524, b"", UpstreamTimeout),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, Overloaded),
        (599, b"\xff\xfe", UpstreamFailed),
        (500, {"object": "error", "message": "old vLLM", "type": "server_error", "code": 500}, UpstreamFailed),
        (302, b"", RedirectRefused),
        (307, openai(), RedirectRefused),
    ],
)
def test_status_and_codes(status: int, body: Any, kind: type[LollmsError]) -> None:
    assert type(error(status, body)) is kind


def test_fields_are_carried() -> None:
    made = error(
        400, openai("top_k is unknown", "invalid_request_error", "unsupported_parameter", "top_k"), x_request_id="r1"
    )
    assert (made.upstream_code, made.param, made.request_id) == ("unsupported_parameter", "top_k", "r1")
    assert made.message.endswith(": top_k is unknown")


def test_retry_after_is_carried() -> None:
    assert error(429, b"", retry_after="20").retry_after == 20
    assert (
        error(503, b"", retry_after="Fri, 21 Nov 2025 12:00:30 GMT", date="Fri, 21 Nov 2025 12:00:00 GMT").retry_after
        == 30
    )
    assert error(429, b"", retry_after="1000000000").retry_after == 1e9
    assert error(429, b"").retry_after is None


def test_a_refused_key_is_not_explained_in_the_backends_words() -> None:
    made = error(401, openai(f"Incorrect API key provided: {KEY[:8]}****cdef", code="invalid_api_key"))
    assert "cdef" not in made.message
    assert "sk-can" not in made.message


def test_secrets_and_controls_never_reach_a_message() -> None:
    split = KEY[:9] + "\x00\x1b" + KEY[9:]
    made = error(
        500, openai(f"\x1b]52;c;aGk=\x07 key {KEY} and {split}\r\nand tenant-secret\u202e and Bearer abcdefghijk")
    )
    assert KEY not in made.message
    assert "tenant-secret" not in made.message
    assert "abcdefghijk" not in made.message
    assert made.message.isprintable()


def test_long_messages_are_cut() -> None:
    assert len(error(500, openai("x" * 100_000)).message) < 650
    assert scrub("a" * 501).endswith("…")
    assert len(scrub("a" * 501)) == 500
    assert scrub("word \n\t word") == "word word"


def test_a_page_is_quoted_in_a_line() -> None:
    made = error(502, b"<html>\n<h1>Bad gateway</h1>" + b"x" * 5000, content_type="text/html")
    assert "<html> <h1>Bad gateway</h1>" in made.message
    assert len(made.message) < 400


# ---- inside of an answer with status 200 ---------------------------------------------------------------------------

START = b'data: {"model":"m","choices":[{"delta":{"content":"Par"}}]}\n\n'


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (openai("The server had an error", "server_error"), UpstreamFailed),
        (openai("busy", "overloaded_error"), Overloaded),
        (openai("slow down", code=429), RateLimited),
        (openai("too long", "exceed_context_size_error", 400), ContextTooLong),
        (openai(f"key {KEY}", code="invalid_api_key"), AuthFailed),
        ({"error": "something broke"}, UpstreamError),
        ({"error": {"message": "x"}, "choices": [{"delta": {"content": "!"}}]}, UpstreamError),
        ({"object": "error", "message": "boom", "type": "internal_error", "code": 500}, UpstreamFailed),
        ({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, UpstreamFailed),
    ],
)
def test_an_error_inside_a_stream_ends_it(payload: dict[str, Any], kind: type[LollmsError]) -> None:
    call = GenerationCall((Message.user("hi"),), stream=True)
    stream = START + b"data: " + json.dumps(payload).encode() + b"\n\ndata: [DONE]\n\n"
    for chunks in ([stream], [START, stream[len(START) :]]):
        events, got, message = outcome(CODEC.reader(call, "text/event-stream", TARGET), chunks)
        assert [getattr(event, "text", "") for event in events] == ["Par"]
        assert got is kind
        assert KEY not in message
    body = json.dumps(payload).encode()
    assert type(error_after(lambda: CODEC.reader(call, "application/json", TARGET), body)) is kind


@pytest.mark.parametrize("data", [b"it broke", b'{"reason":"it broke"}', b'{"message":"it broke"}'])
def test_an_event_named_error_is_an_error(data: bytes) -> None:
    call = GenerationCall((Message.user("hi"),), stream=True)
    stream = START + b"event: error\ndata: " + data + b"\n\n"
    assert isinstance(error_after(lambda: ChatCodec(GENERIC).reader(call, "text/event-stream"), stream), UpstreamError)


def test_the_error_behind_the_events_can_be_seen_at_once() -> None:
    reader: Any = CODEC.reader(GenerationCall((Message.user("hi"),)), "text/event-stream")
    assert len(reader.feed(START + b'data: {"error":"broke"}\n\n')) == 1
    assert isinstance(reader.error, UpstreamError)
    with pytest.raises(UpstreamError):
        reader.close()


def test_limits_reach_the_reader() -> None:
    codec = ChatCodec(GENERIC, Limits(event_bytes=50))
    call = GenerationCall((Message.user("hi"),))
    assert "50 bytes" in error_after(lambda: codec.reader(call, "text/event-stream"), b"data: " + b"x" * 60).message


@pytest.mark.parametrize("said", ["see http://x/y?api_key=abcdef123&a=1", "token=abcdefgh;", "SECRET=abcdefgh."])
def test_what_an_address_calls_a_key_is_taken_out(said: str) -> None:
    assert "abcdef" not in scrub(said)
    assert scrub("max_tokens=100000 and temperature=0.5 are fine") == "max_tokens=100000 and temperature=0.5 are fine"
