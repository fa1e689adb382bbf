"""Transcripts give the same events whole, byte by byte and at every cut in two; the JSON body folds to the same reply.

Equality is that of the whole list of events, each with its text, and of the error behind them. Only against the JSON
body, which has no deltas, is it that of the folded reply.
"""

from __future__ import annotations

import pytest

from lollms_core.types import Reply, ToolCall, Usage
from tests.support.feeding import TRANSCRIPTS, each_byte, folded, merged, outcome, reader_for

NAMES = sorted(path.stem for path in TRANSCRIPTS.glob("*.sse"))


def stream(name: str) -> bytes:
    return (TRANSCRIPTS / f"{name}.sse").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_gives_the_same_events(name: str) -> None:
    data = stream(name)
    whole = outcome(reader_for(name), [data])
    assert whole[1] is None
    assert whole[0]
    assert outcome(reader_for(name), each_byte(data)) == whole
    for place in range(1, len(data)):
        assert outcome(reader_for(name), [data[:place], data[place:]]) == whole, place


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error_or_complete(name: str) -> None:
    """Nothing is ever invented: what a cut stream gives is a beginning of the whole, and an early end is an error."""
    data = stream(name)
    events, _, _ = outcome(reader_for(name), [data])
    whole = folded(events)
    for place in range(0, len(data), 7):
        some, error, _ = outcome(reader_for(name), [data[:place]])
        part = folded(some)
        assert whole.text.startswith(part.text)
        assert whole.thoughts.startswith(part.thoughts)
        assert error is not None or part.text == whole.text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    body = (TRANSCRIPTS / f"{name}.json").read_bytes()
    streamed, _, _ = outcome(reader_for(name), [stream(name)])
    events, error, _ = outcome(reader_for(name, content_type), [body])
    assert error is None
    assert folded(events) == folded(streamed)
    assert outcome(reader_for(name, content_type), each_byte(body)) == (events, None, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_without_a_content_type_is_recognised(name: str) -> None:
    data = stream(name)
    whole = outcome(reader_for(name), [data])
    for content_type in ("", "text/plain", "application/octet-stream"):
        assert outcome(reader_for(name, content_type), [data]) == whole
        assert outcome(reader_for(name, content_type), each_byte(data)) == whole


def reply_of(name: str) -> Reply:
    return folded(outcome(reader_for(name), [stream(name)])[0])


def test_text() -> None:
    assert reply_of("openai_text") == Reply(
        text="Hello! How can I help you?", usage=Usage(19, 10, 29), model="gpt-4o-mini-2024-07-18"
    )


def test_characters_that_look_like_line_ends_are_text() -> None:
    reply = reply_of("odd_but_valid_sse")
    assert reply.text == 'Zeilen\u2028und\u2029Absätze\u0085; 日本語 👩‍👩‍👧 \r\n\t"quoted" \\ \x00 end'
    assert (reply.finish_reason, reply.usage) == ("length", None)


def test_interleaved_tool_calls() -> None:
    reply = reply_of("tool_calls_interleaved")
    assert reply.finish_reason == "tool_calls"
    assert reply.tool_calls == (
        ToolCall("call_a", "get_weather", {"city": "Paris ☃"}),
        ToolCall("call_b", "get_time", {"zone": "CET", "at": [1, {"x": None}]}),
    )


def test_thoughts_in_a_field_of_their_own() -> None:
    reply = reply_of("reasoning_content")
    assert (reply.thoughts, reply.text) == ("9.11 is smaller.\n", "9.8 is greater.")


def test_thoughts_in_tags_and_usage_in_every_chunk() -> None:
    reply = reply_of("think_tags_without_done")
    assert reply.thoughts == "\nUse a ```fence\n<think>inner</think>\nagain"
    assert reply.text == "\n\nText.\n```html\n<think>not a thought</think>\n```\nSay `<think>`.  end"
    assert reply.usage == Usage(7, 40, 47)


def test_an_empty_answer_is_an_answer() -> None:
    reply = reply_of("empty_completion")
    assert (reply.text, reply.finish_reason) == ("", "content_filter")


def test_a_refusal_is_text() -> None:
    assert reply_of("refusal").text == "I cannot help."


def test_content_may_be_a_list_of_parts() -> None:
    reply = reply_of("content_parts")
    assert (reply.thoughts, reply.text) == ("Hmm, yes.", "It is.")


def test_merging_keeps_the_order_of_kinds() -> None:
    events, _, _ = outcome(reader_for("reasoning_content"), [stream("reasoning_content")])
    assert [type(event).__name__ for event in merged(events)] == ["ThoughtDelta", "TextDelta", "Done"]
