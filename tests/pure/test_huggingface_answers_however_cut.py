"""Answers of text generation give the same events however they are cut; what is no answer is the same typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
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
from tests.support.feeding import TRANSCRIPTS, cut, each_byte, folded, outcome

FOLDER = TRANSCRIPTS / "huggingface"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sse"))
STREAM, JSON = "text/event-stream", "application/json"
STOP = "\nUser: "
FUZZ = settings(max_examples=80, derandomize=True, database=None, deadline=None)
PLACES = st.lists(st.integers(0, 2000), max_size=8)
SMALL = Limits(reply_bytes=200_000, event_bytes=20_000)


def reader(content_type: str = STREAM, limits: Limits | None = None) -> TextTaskReader:
    return TextTaskReader(content_type, limits=limits or Limits(), model="m", stops=(STOP, "###"))


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def reply_of(name: str) -> Reply:
    return folded(outcome(reader(), [stream(name)])[0])


def event(**fields: Any) -> bytes:
    return b"data:" + json.dumps(fields).encode() + b"\n\n"


def token(text: str, **more: Any) -> bytes:
    return event(token={"id": 1, "text": text, "logprob": -1.0, "special": False}, **more)


def test_there_are_transcripts() -> None:
    assert len(NAMES) >= 6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", [STREAM, "text/event-stream; charset=utf-8", "", "text/plain"])
def test_every_cut_gives_the_same_events(name: str, content_type: str) -> None:
    data = stream(name)
    whole = outcome(reader(content_type), [data])
    assert whole[1] is None
    assert whole[0]
    assert outcome(reader(content_type), each_byte(data)) == whole
    assert outcome(reader(), [data]) == whole
    if content_type == STREAM:
        for place in range(1, len(data)):
            assert outcome(reader(), [data[:place], data[place:]]) == whole, place


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error(name: str) -> None:
    data = stream(name)
    whole = reply_of(name)
    for place in range(0, len(data) - 1, 7):
        some, error, _ = outcome(reader(), [data[:place]])
        part = folded(some)
        assert error is TruncatedStream
        assert whole.text.startswith(part.text)
        assert whole.thoughts.startswith(part.thoughts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    body = (FOLDER / f"{name}.json").read_bytes()
    events, error, _ = outcome(reader(content_type), [body])
    assert error is None
    assert folded(events) == reply_of(name)
    assert outcome(reader(content_type), each_byte(body)) == (events, None, "")
    for place in range(0, len(body.rstrip()), 11):
        assert outcome(reader(content_type), [body[:place]])[1] in (TruncatedStream, ProtocolError)


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
    made = reader()
    assert list(made.feed(token("It") + token(" is") + error)) == [TextDelta("It"), TextDelta(" is")]
    assert isinstance(made.error, UpstreamFailed)
    with pytest.raises(UpstreamFailed, match="CUDA"):
        made.feed(b"")
    with pytest.raises(UpstreamFailed):
        made.close()


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
    made = TextTaskReader(STREAM, limits=Limits(), name="here", secrets=["hush-hush-hush"])
    with pytest.raises(UpstreamFailed) as caught:
        made.feed(event(error="bad\x1b[31m key hush-hush-hush " + "x" * 5000, error_type="generation"))
    said = str(caught.value)
    assert "hush" not in said and "\x1b" not in said and len(said) < 700 and said.startswith("here ")


def test_nothing_is_read_behind_the_end() -> None:
    made = reader()
    made.feed(token("x", generated_text="x") + b"data:rubbish\n\n" + event(error="late"))
    assert made.finished and made.error is None
    assert made.feed(b"\xff\xff") == () and made.close() == ()


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
    found = outcome(reader(content_type, SMALL), [data])
    assert found[:2] == ([], kind)
    assert outcome(reader(content_type, SMALL), each_byte(data)) == found


# ---- noise ---------------------------------------------------------------------------------------------------------


def agrees(content_type: str, data: bytes, places: list[int]) -> None:
    whole = outcome(reader(content_type, SMALL), [data])
    assert outcome(reader(content_type, SMALL), cut(data, places)) == whole
    assert outcome(reader(content_type, SMALL), each_byte(data)) == whole


TYPES = st.sampled_from([STREAM, JSON, "text/html", "text/plain", ""])


@FUZZ
@given(TYPES, st.binary(max_size=300), PLACES)
def test_noise(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


@FUZZ
@given(st.data())
def test_damaged_transcripts(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    raw = bytearray(data.draw(st.sampled_from([stream(name), (FOLDER / f"{name}.json").read_bytes()])))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(raw)))
        pieces = st.sampled_from([b"", b"\n", b"\r", b"\xff", b"\xc3", b'"', b"{", b"[", b"]", b"null", b"\\ud800"])
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(pieces | st.binary(max_size=2))
    agrees(data.draw(TYPES), bytes(raw), data.draw(PLACES))


NAMES_OF_FIELDS = """
token text special generated_text details finish_reason generated_tokens input_length prefill error error_type
"""
FIELDS = st.sampled_from(NAMES_OF_FIELDS.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@FUZZ
@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=4), PLACES)
def test_json_of_odd_types(events: list[dict[str, Any]], places: list[int]) -> None:
    agrees(STREAM, b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events), places)
    agrees(JSON, json.dumps(events[0]).encode(), [])
    agrees(JSON, json.dumps(events).encode(), [])
