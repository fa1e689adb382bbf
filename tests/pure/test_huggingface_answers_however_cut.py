"""Answers of text generation give the same events however they are cut; what is no answer is the same typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import (
    ContextTooLong,
    LollmsError,
    Overloaded,
    ProtocolError,
    ReplyTooLarge,
    TruncatedStream,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.base import Limits
from lollms_core.protocols.huggingface_reader import TextTaskReader
from lollms_core.types import Reply, TextDelta, Usage
from tests.support.feeding import TRANSCRIPTS, outcome
from tests.support.reader_promises import FUZZ, ROUGH, SECRET, Promises, damaged, no_secret_is_told, odd_values, places

STREAM, JSON = "text/event-stream", "application/json"
STOP = "\nUser: "
PLACES = places(2000)


def reader(content_type: str = STREAM, limits: Limits | None = None) -> TextTaskReader:
    return TextTaskReader(content_type, limits=limits or Limits(), model="m", stops=(STOP, "###"))


PROMISES = Promises(reader, TRANSCRIPTS / "huggingface")
NAMES = PROMISES.names()
reply_of, agrees = PROMISES.reply_of, PROMISES.agrees


def event(**fields: Any) -> bytes:
    return b"data:" + json.dumps(fields).encode() + b"\n\n"


def token(text: str, **more: Any) -> bytes:
    return event(token={"id": 1, "text": text, "logprob": -1.0, "special": False}, **more)


def test_there_are_transcripts() -> None:
    assert len(NAMES) >= 6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", [STREAM, "text/event-stream; charset=utf-8", "", "text/plain"])
def test_every_cut_gives_the_same_events(name: str, content_type: str) -> None:
    PROMISES.every_cut_gives_the_same_events(name, content_type)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error(name: str) -> None:
    PROMISES.every_truncation_is_an_error(name, or_complete=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    PROMISES.the_json_body_folds_to_the_same_reply(name, content_type)
    body = PROMISES.body(name)
    for place in range(0, len(body.rstrip()), 11):
        assert PROMISES.read([body[:place]], content_type)[1] in (TruncatedStream, ProtocolError)


def test_what_the_transcripts_say() -> None:
    assert reply_of("text") == Reply(
        text='Zeilen\u2028und\u2029 Absätze\u0085; 日本語 👩‍👩‍👧 \r\n\t"quoted" \\ end',
        usage=Usage(None, 6, None),
        model="m",
    )
    cut_short = reply_of("length_with_prompt")
    assert (cut_short.text, cut_short.finish_reason, cut_short.usage) == ("one two", "length", Usage(3, 2, 5))
    assert (reply_of("stop_sequence").text, reply_of("stop_sequence").finish_reason) == ("One.", "stop")
    assert (reply_of("think_tags").thoughts, reply_of("think_tags").text) == ("\nHm", "\n\nSay `<think>`. End")
    plain = reply_of("without_details")
    assert (plain.text, plain.finish_reason, plain.usage) == ("Hi there", "stop", None)
    assert (reply_of("empty").text, reply_of("empty").finish_reason) == ("", "stop")


def test_only_what_may_be_a_stop_sequence_is_held_back() -> None:
    made = reader()
    assert list(made.feed(token("Hi\n"))) == [TextDelta("Hi")]
    assert list(made.feed(token("User"))) == []
    assert list(made.feed(token("s like #"))) == [TextDelta("\nUsers like ")]
    last = made.feed(token("##", generated_text="", details={"finish_reason": "length"}))
    assert list(last)[:-1] == [TextDelta("###")]
    free = TextTaskReader(STREAM, limits=Limits())
    assert list(free.feed(token("Hi\n"))) == [TextDelta("Hi\n")]


def test_an_error_waits_behind_the_events_before_it() -> None:
    error = event(error="Request failed during generation: CUDA", error_type="generation")
    data = token("It") + token(" is") + error
    PROMISES.an_error_waits_behind([TextDelta("It"), TextDelta(" is")], data, UpstreamFailed, "CUDA")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": "Model is overloaded", "error_type": "overloaded"}, Overloaded),
        ({"error": "Incomplete generation", "error_type": "incomplete_generation"}, UpstreamFailed),
        ({"error": "`inputs` must have less than 5 tokens.", "error_type": "validation"}, ContextTooLong),
        ({"error": "something else"}, UpstreamError),
        ({"error": {"message": "wait", "code": "server_overloaded"}}, Overloaded),
        ({"error": ["a", 3]}, UpstreamError),
    ],
)
def test_errors_inside_of_an_answer_have_their_class(error: dict[str, Any], kind: type[LollmsError]) -> None:
    assert outcome(reader(), [event(**error)])[:2] == ([], kind)
    for body in (error, [error]):
        assert outcome(reader(JSON), [json.dumps(body).encode()])[:2] == ([], kind)


def test_errors_hold_no_secret_and_no_control_characters() -> None:
    made = TextTaskReader(STREAM, limits=Limits(), name="here", secrets=[SECRET])
    no_secret_is_told(made, event(error=ROUGH, error_type="generation"), UpstreamFailed)


def test_nothing_is_read_behind_the_end() -> None:
    PROMISES.nothing_is_read_behind(token("x", generated_text="x"), b"data:rubbish\n\n" + event(error="late"))


@pytest.mark.parametrize(
    ("content_type", "data", "kind"),
    [
        (STREAM, b"", TruncatedStream),
        (STREAM, b":\n\ndata: [DONE]\n\n", TruncatedStream),
        (STREAM, b"data: not json\n\n", ProtocolError),
        (STREAM, b"data: [1]\n\n", ProtocolError),
        (STREAM, b'data: {"token": 3}\n\n', ProtocolError),
        (STREAM, b'data: {"choices": []}\n\n', ProtocolError),
        (STREAM, b'data: {"token": {"text": "\xff"}}\n\n', ProtocolError),
        (STREAM, b'data: {"a":' + b"[" * 400 + b"]" * 400 + b"}\n\n", ReplyTooLarge),
        (STREAM, b'data: {"a": "' + b"x" * 30_000, ReplyTooLarge),
        (JSON, b"", TruncatedStream),
        (JSON, b"[]", ProtocolError),
        (JSON, b"[1]", ProtocolError),
        (JSON, b"[[1.0, 2.0]]", ProtocolError),
        (JSON, b"{}", ProtocolError),
        (JSON, b'{"choices": []}', ProtocolError),
        (JSON, b'[{"generated_text": "x"', TruncatedStream),
        ("", b"<html>" * 300, ProtocolError),
        ("text/html", b"[", ProtocolError),
    ],
)
def test_what_is_no_answer_is_a_typed_error(content_type: str, data: bytes, kind: type[LollmsError]) -> None:
    PROMISES.is_refused(data, kind, content_type)


# ---- noise ---------------------------------------------------------------------------------------------------------


TYPES = st.sampled_from([STREAM, JSON, "text/html", "text/plain", ""])


@FUZZ
@given(TYPES, st.binary(max_size=300), PLACES)
def test_noise(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


@FUZZ
@given(TYPES, damaged(PROMISES.corpus()), PLACES)
def test_damaged_transcripts(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


NAMES_OF_FIELDS = """
token text special generated_text details finish_reason generated_tokens input_length prefill error error_type
"""
FIELDS = st.sampled_from(NAMES_OF_FIELDS.split())
VALUES = odd_values(FIELDS)


@FUZZ
@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=4), PLACES)
def test_json_of_odd_types(events: list[dict[str, Any]], places: list[int]) -> None:
    agrees(STREAM, b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events), places)
    agrees(JSON, json.dumps(events[0]).encode(), [])
    agrees(JSON, json.dumps(events).encode(), [])
