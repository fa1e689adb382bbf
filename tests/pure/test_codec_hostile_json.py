"""JSON made to hurt: depth, size, numbers, halves of characters, doubled keys. Each is an answer or a typed error."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from lollms_core.errors import LollmsError, ProtocolError, ReplyTooLarge, TruncatedStream
from lollms_core.protocols.base import Limits
from lollms_core.protocols.json_limits import check_depth, decode_body, decode_lenient
from tests.support.feeding import error_after, folded, outcome, reader_for

NAMES = ("openai", "lollms_")
FORMS = ("text/event-stream", "application/json")

BODIES = {
    "openai": b'{"choices":[{"message":{"content":"x"},"delta":{"content":"x"},"finish_reason":"stop"}],"z":%b}',
    "lollms_": b'{"type":"final","content":[{"type":"text","data":"x"}],"output":[{"type":"text","data":"x"}],"z":%b}',
}


def answer(name: str, form: str, value: bytes) -> bytes:
    body = BODIES[name] % value
    return b"data: " + body + b"\n\n" if form == "text/event-stream" else body


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"[" * 200_000 + b"]" * 200_000, ReplyTooLarge),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, ReplyTooLarge),
        (b"[" * 200_000, ReplyTooLarge),
        (b"NaN", ProtocolError),
        (b"-Infinity", ProtocolError),
        (b'"\\ud800"', ProtocolError),
        (b'"\\udc00\\ud800"', ProtocolError),
        (b'"\xff"', ProtocolError),
        (b'"\x01"', ProtocolError),
        (b"1} {", ProtocolError),
    ],
)
def test_bad_json_is_refused(name: str, form: str, value: bytes, kind: type[LollmsError]) -> None:
    error = error_after(lambda: reader_for(name, form), answer(name, form, value))
    assert type(error) is kind
    assert len(error.message) < 600


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value",
    [
        b"[" * 126 + b"]" * 126,
        b'"' + b"[{" * 300 + b'\\"' + b"[{" * 300 + b'"',
        b"9" * 400,
        b"[" + b"[]," * 10_000 + b"[]]",
        b'"\\ud83d\\ude00 \xf0\x9f\x98\x80"',
    ],
)
def test_odd_but_valid_json_is_accepted(name: str, form: str, value: bytes) -> None:
    events, error, _ = outcome(reader_for(name, form), [answer(name, form, value)])
    assert error is None
    assert folded(events).text == "x"


@pytest.mark.parametrize("digits", [5_000, 1_000_000])
def test_a_number_of_a_million_digits_costs_nothing(digits: int) -> None:
    body = b'{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":' + b"7" * digits + b"}}"
    assert isinstance(error_after(lambda: reader_for("openai", "application/json"), body), ProtocolError)


def test_the_last_of_doubled_keys_counts() -> None:
    body = b'{"choices":[{"message":{"content":"a","content":"b"},"finish_reason":"length","finish_reason":"stop"}]}'
    events, error, _ = outcome(reader_for("openai", "application/json"), [body])
    assert error is None
    assert (folded(events).text, folded(events).finish_reason) == ("b", "stop")


def test_depth_counts_brackets_outside_of_strings_in_linear_time() -> None:
    check_depth(b'["' + b'\\"[' * 1_000_000, 4)  # an unclosed string: nothing nests
    check_depth(b"[]" * 1_000_000, 4)
    with pytest.raises(ReplyTooLarge):
        check_depth(b'["]]]",[["]",[[[', 4)


def test_bodies_of_errors_may_be_anything() -> None:
    for body in (b"", b"<html>", b"\xff", b"[" * 10_000, b"NaN"):
        assert decode_lenient(body) is None
    assert decode_lenient(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    with pytest.raises(ProtocolError):
        decode_body(msgspec.json.Decoder(int).decode, b'"x"')


def test_a_body_over_the_limit_is_refused_before_it_is_kept() -> None:
    limits = Limits(reply_bytes=1_000_000)
    reader = reader_for("openai", "application/json", limits)
    tracemalloc.start()
    try:
        got = outcome(reader, (b" " * 10_000 for _ in range(1_000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got[1] is ReplyTooLarge
    assert peak < 3_000_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/json", "", "text/plain"])
def test_a_page_instead_of_an_answer_is_named(name: str, content_type: str) -> None:
    page = "<!DOCTYPE html>\n<title>\x1b[31mLog in\u202e</title>".encode() + b"<p>please</p>" * 500
    error = error_after(lambda: reader_for(name, content_type), page)
    assert isinstance(error, ProtocolError)
    assert (content_type or "unnamed") in error.message
    assert "<!DOCTYPE html> <title>[31mLog in</title><p>please</p>" in error.message
    assert len(error.message) < 500
    assert error.message.isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_ends_early_is_truncated(name: str) -> None:
    whole = answer(name, "application/json", b"1")
    for body in (b"", whole[:-1], whole[:30]):
        assert isinstance(error_after(lambda: reader_for(name, "application/json"), body), TruncatedStream)
    event = b'data: {"choices":[],"type":"chunk","content":"x"}\n\n'
    for stream in (b"", b": hello\n\n", event, event + event[:20]):
        assert isinstance(error_after(lambda: reader_for(name), stream), TruncatedStream)


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"output":[]}', b'{"status":"ok"}'])
@pytest.mark.parametrize("name", NAMES)
def test_json_of_something_else_is_no_answer(name: str, body: bytes) -> None:
    assert isinstance(error_after(lambda: reader_for(name, "application/json"), body), ProtocolError)
