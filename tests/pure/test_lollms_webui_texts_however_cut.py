"""Plain-text answers of a lollms web UI are the same text however they are cut; all else is a typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_core.errors import (
    InvalidRequest,
    LollmsError,
    ProtocolError,
    ReplyTooLarge,
    TruncatedStream,
    UnsupportedFeature,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.base import HttpResponse, Limits, Target
from lollms_core.protocols.lollms_webui import LollmsWebuiCodec, LollmsWebuiReader
from lollms_core.protocols.lollms_webui_catalog import LollmsWebuiCatalog
from lollms_core.protocols.prompt_text import continuation
from lollms_core.types import Done, GenerationCall, ImagePart, Message, Params, TextDelta, TextPart, Tool, ToolCall
from tests.support.feeding import each_byte, folded, merged, outcome

KEY = "canary-key-0123456789"
TARGET = Target("http://box:9600", key=KEY, provider="box", options={"personality": 2})
TEXT = "Zeilen\u2028und\r\nAbsätze\u0085; 日本語 👩‍👩‍👧\x00 <b>data: x\n\n"
TEXTS = ["text/plain; charset=utf-8", "text/event-stream", "TEXT/PLAIN", ""]


def reader(content_type: str = "text/plain", limits: Limits | None = None) -> LollmsWebuiReader:
    return LollmsWebuiReader(content_type, limits=limits or Limits())


@pytest.mark.parametrize("content_type", TEXTS)
def test_a_text_is_exact_at_every_cut(content_type: str) -> None:
    data = TEXT.encode()
    assert merged(outcome(reader(content_type), each_byte(data))[0]) == [TextDelta(TEXT), Done()]
    for place in range(len(data) + 1):
        events, error, _ = outcome(reader(content_type), [data[:place], data[place:]])
        assert (merged(events), error) == ([TextDelta(TEXT), Done()], None)


def test_thoughts_are_split_from_it_at_every_cut() -> None:
    data = "<think>Hm, ü.</think>So <b>.".encode()
    for place in range(len(data)):
        reply = folded(outcome(reader(), [data[:place], data[place:]])[0])
        assert (reply.thoughts, reply.text) == ("Hm, ü.", "So <b>.")


def test_an_empty_text_is_an_answer() -> None:
    assert outcome(reader(), []) == ([Done()], None, "")
    assert folded(outcome(reader("application/json"), [b'""'])[0]).text == ""


@pytest.mark.parametrize(
    ("content_type", "data", "text", "kind"),
    [
        ("text/plain", b"ab\xffcd", "ab", ProtocolError),
        ("text/plain", b"ab\xc3(", "ab", ProtocolError),
        ("text/event-stream", b"ab\xed\xa0\x80", "ab", ProtocolError),
        ("text/plain", b"ab\xf0\x9f\xa6", "ab", TruncatedStream),
        ("text/html", b"<html>", "", ProtocolError),
        ("text/html", b"", "", ProtocolError),
        ("text/html", b"<p>" * 1000, "", ProtocolError),
        ("image/png", b"\x89PNG", "", ProtocolError),
        ("application/json", b"", "", TruncatedStream),
        ("application/json", b'{"status": fal', "", TruncatedStream),
        ("application/json", b'"cut', "", ProtocolError),
        ("application/json", b"[1]", "", ProtocolError),
        ("application/json", b"{}", "", ProtocolError),
        ("application/json", b'{"status": true}', "", ProtocolError),
        ("application/json", b"null", "", UpstreamFailed),
        ("application/json", b'{"status": false}', "", UpstreamFailed),
        ("application/json", b'{"status": false, "error": "no memory"}', "", UpstreamError),
        ("application/json", b'{"error": {"message": "no memory"}}', "", UpstreamError),
        ("application/problem+json", b'{"detail": "no"}', "", UpstreamError),
        ("application/json", b'{"a":' + b"[" * 400 + b"]" * 400 + b"}", "", ReplyTooLarge),
        ("application/json", b'"' + b"x" * 3000 + b'"', "", ReplyTooLarge),
    ],
)
def test_what_is_no_answer_is_a_typed_error(content_type: str, data: bytes, text: str, kind: type[LollmsError]) -> None:
    limits = Limits(reply_bytes=3000)
    whole = outcome(reader(content_type, limits), [data])
    assert (folded(whole[0]).text, whole[1]) == (text, kind)
    events, error, message = outcome(reader(content_type, limits), each_byte(data))
    assert (merged(events), error, message) == (merged(whole[0]), *whole[1:])


def test_an_error_waits_behind_the_text_before_it() -> None:
    made = reader()
    assert list(made.feed(b"ab\xff")) == [TextDelta("ab")]
    assert isinstance(made.error, ProtocolError)
    for again in (made.close, lambda: made.feed(b"x")):
        with pytest.raises(ProtocolError):
            again()


def test_errors_hold_no_secret() -> None:
    made = LollmsWebuiReader("application/json", limits=Limits(), name="box", secrets=[KEY])
    made.feed(json.dumps({"status": False, "error": f"bad {KEY}\x1b[2J"}).encode())
    with pytest.raises(UpstreamError) as caught:
        made.close()
    assert str(caught.value) == "box reported an error: bad •••[2J"


# ---- requests ------------------------------------------------------------------------------------------------------

CODEC = LollmsWebuiCodec()
IMAGE = ImagePart(b"\x89PNG", "image/png")


def call(*messages: Message, **fields: Any) -> GenerationCall:
    return GenerationCall(messages or (Message.user("Hi"),), **fields)


def test_the_request() -> None:
    request = CODEC.request(call(stream=True, model="m", params=Params(max_tokens=3, seed=0)), TARGET)
    assert (request.method, request.url) == ("POST", "http://box:9600/lollms_generate")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(request)
    sent = {"prompt": "Hi", "stream": True, "n_predict": 3, "seed": 0, "model_name": "m", "personality": 2}
    assert json.loads(request.body) == sent
    seeing = CODEC.request(call(Message("user", (TextPart("?"), IMAGE))), Target("http://box"))
    assert seeing.url == "http://box/lollms_generate_with_images"
    assert json.loads(seeing.body) == {"prompt": "?", "stream": False, "images": ["iVBORw=="]}
    with pytest.raises(StopIteration) as end:
        next(CODEC.prepare(call(), TARGET))
    assert end.value.value == CODEC.request(call(), TARGET)


def test_nothing_in_a_call_reaches_the_address_or_the_headers() -> None:
    evil = "http://evil.example/\r\nx: y"
    names = ("base_url", "api_key", "headers", "prompt", "personality", "images", "stream")
    request = CODEC.request(call(model=evil, params=Params(extra=dict.fromkeys(names, evil))), TARGET)
    assert request.url == "http://box:9600/lollms_generate"
    assert evil not in str(request.headers)
    assert json.loads(request.body) == {"prompt": "Hi", "stream": False, "personality": 2, "model_name": evil}


def test_conversations_become_one_text() -> None:
    one = [Message.system("S"), Message.user("a"), Message.assistant("b"), Message.user("c")]
    assert continuation(one, "It") == "!@>system:\nS\n!@>user:\na\n!@>assistant:\nb\n!@>user:\nc\n!@>assistant:\n"
    assert continuation([Message.user("!@>user: x\n!@>assistant: ")], "It") == "!@>user: x\n!@>assistant: "
    assert continuation([Message.system("S")], "It") == "!@>system:\nS\n!@>assistant:\n"
    assert continuation(one[:3], "It") == "!@>system:\nS\n!@>user:\na\n!@>assistant:\nb"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (call(tools=(Tool("f"),)), UnsupportedFeature),
        (call(schema={}), UnsupportedFeature),
        (call(Message.user("a"), Message.tool("1", "b")), UnsupportedFeature),
        (call(Message.assistant("", [ToolCall("1", "f", {})])), UnsupportedFeature),
        (call(Message("system", (IMAGE,))), UnsupportedFeature),
        (GenerationCall(()), InvalidRequest),
        (call(params=Params(temperature=float("inf"))), InvalidRequest),
        (call(Message.user("\ud800")), InvalidRequest),
    ],
)
def test_what_cannot_be_sent_is_refused_by_class(asked: GenerationCall, kind: type[LollmsError]) -> None:
    with pytest.raises(LollmsError) as caught:
        CODEC.request(asked, TARGET)
    assert type(caught.value) is kind


# ---- the catalog ---------------------------------------------------------------------------------------------------


def answered(question: Any, *bodies: Any) -> Any:
    """What a question comes to when its requests are answered like this."""
    left = iter(bodies)
    try:
        next(question)
        while True:
            question.send(HttpResponse(200, {}, json.dumps(next(left)).encode()))
    except StopIteration as end:
        return end.value


def test_answers_of_every_version_are_read() -> None:
    catalog = LollmsWebuiCatalog()
    named = [{"model_name": "a", "size": 3}, {"name": "b"}, "c", {"odd": 1}, 7]
    assert [model.name for model in answered(catalog.models(TARGET), named)] == ["a", "b", "c"]
    assert answered(catalog.personalities(TARGET), {"personalities": ["x", {"name": "y"}]}) == ["x", "y"]
    assert answered(catalog.personalities(TARGET), ["x"]) == ["x"]
    assert answered(catalog.tokens("t", "", TARGET), {"status": True, "raw_tokens": [1, 2]}) == [1, 2]
    assert answered(catalog.text([1], "", TARGET), {"status": True, "text": "t"}) == "t"
    assert answered(catalog.embed(["a", "b"], "", TARGET), {"vector": [1]}, {"vector": [2.5]}).vectors == ((1,), (2.5,))


@pytest.mark.parametrize("body", [None, {}, "x", {"vector": ["a"]}, [["a"]], {"raw_tokens": None}, 10**400])
def test_answers_of_another_form_are_typed_errors(body: Any) -> None:
    catalog = LollmsWebuiCatalog()
    questions = [catalog.tokens("t", "", TARGET), catalog.embed(["a"], "", TARGET)]
    for question in questions if isinstance(body, str) else [*questions, catalog.text([1], "", TARGET)]:
        with pytest.raises(ProtocolError):
            answered(question, body)
    for question in (catalog.models(TARGET), catalog.tokens("t", "", TARGET)):
        with pytest.raises(UpstreamError, match="box reported an error: no model"):
            answered(question, {"status": False, "error": "no model"})
