"""Answers of Ollama give the same events however they are cut; what is no answer gives the same typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import (
    ContextTooLong,
    LollmsError,
    ProtocolError,
    RateLimited,
    ReplyTooLarge,
    TruncatedStream,
    UnsupportedFeature,
    UpstreamError,
)
from lollms_core.protocols.base import Limits
from lollms_core.protocols.ndjson import LineReader
from lollms_core.protocols.ollama_reader import OllamaReader
from lollms_core.types import Media, Reply, TextDelta, ThoughtDelta, ToolCall, Usage
from tests.support.feeding import TRANSCRIPTS, each_byte, folded, outcome
from tests.support.reader_promises import FUZZ, ROUGH, SECRET, Promises, damaged, no_secret_is_told, odd_values, places

LINES = "application/x-ndjson"
PLACES = places()


def reader(content_type: str = LINES, limits: Limits | None = None) -> OllamaReader:
    return OllamaReader(content_type, limits=limits or Limits())


PROMISES = Promises(reader, TRANSCRIPTS / "ollama", LINES, ".ndjson")
NAMES = PROMISES.names()
stream, reply_of, agrees = PROMISES.stream, PROMISES.reply_of, PROMISES.agrees


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields}).encode() + b"\n"


def test_there_are_transcripts() -> None:
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", [LINES, "application/x-ndjson; charset=utf-8", "", "text/plain"])
def test_every_cut_gives_the_same_events(name: str, content_type: str) -> None:
    PROMISES.every_cut_gives_the_same_events(name, content_type)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error_or_complete(name: str) -> None:
    PROMISES.every_truncation_is_an_error(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    PROMISES.the_json_body_folds_to_the_same_reply(name, content_type)


def test_a_json_body_may_be_written_over_many_lines() -> None:
    body = json.dumps({"message": {"content": "x"}, "done": True}, indent=2).encode()
    assert folded(outcome(reader("application/json"), [body])[0]).text == "x"


def test_what_the_transcripts_say() -> None:
    assert reply_of("text") == Reply(
        text='Zeilen\u2028und\u2029Absätze\u0085; 日本語 👩‍👩‍👧 \r\n\t"quoted" \\ end',
        usage=Usage(26, 12, 38),
        model="llama3.2",
    )
    assert (reply_of("thinking").thoughts, reply_of("thinking").text) == ("9.11 is smaller.\n", "9.8 is greater.")
    assert (reply_of("think_tags").thoughts, reply_of("think_tags").text) == ("\nHm", "\n\nSay `<think>`. End")
    tools = reply_of("tool_calls")
    assert tools.finish_reason == "tool_calls"
    assert tools.tool_calls == (
        ToolCall("call_0", "get_weather", {"city": "Paris ☃"}),
        ToolCall("call_x7", "get_time", {"zone": "CET", "at": [1, {"x": None}]}),
    )
    cut_short = reply_of("length_without_counts")
    assert (cut_short.text, cut_short.finish_reason, cut_short.usage) == ("", "length", None)
    assert reply_of("image").media == (Media(b"\x89PNG\r\n\x1a\n", "image/png"),)


def test_an_error_waits_behind_the_events_before_it() -> None:
    data = line(message={"content": "It"}, done=False) + line(message={"content": " is"}, done=False)
    data += line(error="an error was encountered")
    PROMISES.an_error_waits_behind([TextDelta("It"), TextDelta(" is")], data, UpstreamError, "an error was encountered")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("this model does not support image input", UnsupportedFeature),
        ("the input length exceeds the context length", ContextTooLong),
        ({"message": "wait", "code": 429}, RateLimited),
        ({"message": "wait", "code": "rate_limit_exceeded"}, RateLimited),
        ("something else", UpstreamError),
        (["?"], UpstreamError),
    ],
)
def test_errors_inside_of_an_answer_have_their_class(error: Any, kind: type[LollmsError]) -> None:
    for content_type in (LINES, "application/json", ""):
        found = outcome(reader(content_type), [line(error=error)])
        assert found[:2] == ([], kind)


def test_errors_hold_no_secret_and_no_control_characters() -> None:
    made = OllamaReader(LINES, limits=Limits(), name="here", secrets=[SECRET])
    no_secret_is_told(made, line(error=ROUGH), UpstreamError)


def test_nothing_is_read_behind_the_end() -> None:
    PROMISES.nothing_is_read_behind(line(message={"content": "x"}, done=True), b"rubbish\n" + line(error="late"))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", TruncatedStream),
        (b"\n \r\n\n", TruncatedStream),
        (b"not json\n", ProtocolError),
        (b"[1]\n", ProtocolError),
        (b'{"message": 3}\n', ProtocolError),
        (b'{"message": {"content": 3}, "done": true}\n', ProtocolError),
        (b'{"message": {"tool_calls": [{"function": {}}]}}\n', ProtocolError),
        (b'{"message": {"images": ["?"]}}\n', ProtocolError),
        (b'{"message": {"content": "\xff"}}\n', ProtocolError),
        (b'{"a":' + b"[" * 400 + b"]" * 400 + b"}\n", ReplyTooLarge),
        (b'{"a": "' + b"x" * 20_000 + b'"}\n', ReplyTooLarge),
        (b'{"a": "' + b"x" * 30_000, ReplyTooLarge),
        (b"<html>" * 300, ProtocolError),
    ],
)
def test_what_is_no_answer_is_a_typed_error(data: bytes, kind: type[LollmsError]) -> None:
    PROMISES.is_refused(data, kind)


def test_lines_end_at_line_feeds_alone() -> None:
    made = LineReader()
    text = "\ufeffä\u2028b\u0085c\x0b\x0c\x1cd\r\n \t\r\n\n\x1de\nlast".encode()
    lines = [line for byte in each_byte(text) for line in made.feed(byte)] + made.close()
    assert [line.rstrip(b"\r").decode() for line in lines] == ["ä\u2028b\u0085c\x0b\x0c\x1cd", "\x1de", "last"]
    assert [*LineReader().feed(text), b"last"] == lines


# ---- noise ---------------------------------------------------------------------------------------------------------


TYPES = st.sampled_from([LINES, "application/json", "text/html", "text/plain", "", "text/event-stream"])


@FUZZ
@given(TYPES, st.binary(max_size=300), PLACES)
def test_noise(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


@FUZZ
@given(TYPES, damaged([stream(name) for name in NAMES]), PLACES)
def test_damaged_transcripts(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


NAMES_OF_FIELDS = """
model message content thinking tool_calls function name arguments index id images role done done_reason error
prompt_eval_count eval_count
"""
FIELDS = st.sampled_from(NAMES_OF_FIELDS.split())
VALUES = odd_values(FIELDS)


@FUZZ
@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=4), PLACES)
def test_json_of_odd_types(lines: list[dict[str, Any]], places: list[int]) -> None:
    agrees(LINES, b"".join(json.dumps(each).encode() + b"\n" for each in lines), places)
    agrees("application/json", json.dumps(lines[0]).encode(), [])


def test_thoughts_come_before_the_text_of_the_same_line() -> None:
    made = reader()
    data = line(message={"content": "b", "thinking": "a"}, done=False)
    assert list(made.feed(data)) == [ThoughtDelta("a"), TextDelta("b")]
