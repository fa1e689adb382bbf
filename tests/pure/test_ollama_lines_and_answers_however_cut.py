"""Answers of Ollama give the same events however they are cut; what is no answer gives the same typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
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
from tests.support.feeding import TRANSCRIPTS, cut, each_byte, folded, outcome

FOLDER = TRANSCRIPTS / "ollama"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ndjson"))
LINES = "application/x-ndjson"
FUZZ = settings(max_examples=80, derandomize=True, database=None, deadline=None)
PLACES = st.lists(st.integers(0, 3000), max_size=8)
SMALL = Limits(reply_bytes=200_000, event_bytes=20_000)


def reader(content_type: str = LINES, limits: Limits | None = None) -> OllamaReader:
    return OllamaReader(content_type, limits=limits or Limits())


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.ndjson").read_bytes()


def reply_of(name: str) -> Reply:
    return folded(outcome(reader(), [stream(name)])[0])


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields}).encode() + b"\n"


def test_there_are_transcripts() -> None:
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", [LINES, "application/x-ndjson; charset=utf-8", "", "text/plain"])
def test_every_cut_gives_the_same_events(name: str, content_type: str) -> None:
    data = stream(name)
    whole = outcome(reader(content_type), [data])
    assert whole[1] is None
    assert whole[0]
    assert outcome(reader(content_type), each_byte(data)) == whole
    assert outcome(reader(), [data]) == whole
    if content_type == LINES:
        for place in range(1, len(data)):
            assert outcome(reader(), [data[:place], data[place:]]) == whole, place


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error_or_complete(name: str) -> None:
    data = stream(name)
    whole = reply_of(name)
    for place in range(0, len(data), 7):
        some, error, _ = outcome(reader(), [data[:place]])
        part = folded(some)
        assert whole.text.startswith(part.text)
        assert whole.thoughts.startswith(part.thoughts)
        assert error is TruncatedStream or part == whole


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    body = (FOLDER / f"{name}.json").read_bytes()
    events, error, _ = outcome(reader(content_type), [body])
    assert error is None
    assert folded(events) == reply_of(name)
    assert outcome(reader(content_type), each_byte(body)) == (events, None, "")


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
    made = reader()
    assert list(made.feed(data + line(error="an error was encountered"))) == [TextDelta("It"), TextDelta(" is")]
    assert isinstance(made.error, UpstreamError)
    with pytest.raises(UpstreamError, match="an error was encountered"):
        made.feed(b"")
    with pytest.raises(UpstreamError):
        made.close()


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
    made = OllamaReader(LINES, limits=Limits(), name="here", secrets=["hush-hush-hush"])
    with pytest.raises(UpstreamError) as caught:
        made.feed(line(error="bad\x1b[31m key hush-hush-hush " + "x" * 5000))
    said = str(caught.value)
    assert "hush" not in said and "\x1b" not in said and len(said) < 700 and said.startswith("here ")


def test_nothing_is_read_behind_the_end() -> None:
    made = reader()
    made.feed(line(message={"content": "x"}, done=True) + b"rubbish\n" + line(error="late"))
    assert made.finished and made.error is None
    assert made.feed(b"\xff\xff") == () and made.close() == ()


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
    found = outcome(reader(limits=SMALL), [data])
    assert found[:2] == ([], kind)
    assert outcome(reader(limits=SMALL), each_byte(data)) == found


def test_lines_end_at_line_feeds_alone() -> None:
    made = LineReader()
    text = "\ufeffä\u2028b\u0085c\x0b\x0c\x1cd\r\n \t\r\n\n\x1de\nlast".encode()
    lines = [line for byte in each_byte(text) for line in made.feed(byte)] + made.close()
    assert [line.rstrip(b"\r").decode() for line in lines] == ["ä\u2028b\u0085c\x0b\x0c\x1cd", "\x1de", "last"]
    assert [*LineReader().feed(text), b"last"] == lines


# ---- noise ---------------------------------------------------------------------------------------------------------


def agrees(content_type: str, data: bytes, places: list[int]) -> None:
    whole = outcome(reader(content_type, SMALL), [data])
    assert outcome(reader(content_type, SMALL), cut(data, places)) == whole
    assert outcome(reader(content_type, SMALL), each_byte(data)) == whole


TYPES = st.sampled_from([LINES, "application/json", "text/html", "text/plain", "", "text/event-stream"])


@FUZZ
@given(TYPES, st.binary(max_size=300), PLACES)
def test_noise(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


@FUZZ
@given(st.data())
def test_damaged_transcripts(data: st.DataObject) -> None:
    raw = bytearray(stream(data.draw(st.sampled_from(NAMES))))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(raw)))
        pieces = st.sampled_from([b"", b"\n", b"\r", b"\xff", b"\xc3", b'"', b"{", b"[", b"]", b"null", b"\\ud800"])
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(pieces | st.binary(max_size=2))
    agrees(data.draw(TYPES), bytes(raw), data.draw(PLACES))


NAMES_OF_FIELDS = """
model message content thinking tool_calls function name arguments index id images role done done_reason error
prompt_eval_count eval_count
"""
FIELDS = st.sampled_from(NAMES_OF_FIELDS.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@FUZZ
@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=4), PLACES)
def test_json_of_odd_types(lines: list[dict[str, Any]], places: list[int]) -> None:
    agrees(LINES, b"".join(json.dumps(each).encode() + b"\n" for each in lines), places)
    agrees("application/json", json.dumps(lines[0]).encode(), [])


def test_thoughts_come_before_the_text_of_the_same_line() -> None:
    made = reader()
    data = line(message={"content": "b", "thinking": "a"}, done=False)
    assert list(made.feed(data)) == [ThoughtDelta("a"), TextDelta("b")]
