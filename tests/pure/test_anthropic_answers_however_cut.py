"""Answers of the Messages protocol give the same events however they are cut; what is no answer is a typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    LollmsError,
    Overloaded,
    ProtocolError,
    RateLimited,
    ReplyTooLarge,
    TruncatedStream,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.anthropic_reader import MessagesReader
from lollms_core.protocols.base import Limits
from lollms_core.types import (
    Done,
    Native,
    Notice,
    ReceiptItem,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from tests.support.feeding import TRANSCRIPTS, folded, outcome
from tests.support.reader_promises import FUZZ, ROUGH, SECRET, Promises, damaged, no_secret_is_told, odd_values, places

EVENTS = "text/event-stream"
PLACES = places()


def reader(content_type: str = EVENTS, limits: Limits | None = None, **more: Any) -> MessagesReader:
    return MessagesReader(content_type, limits=limits or Limits(), **more)


PROMISES = Promises(reader, TRANSCRIPTS / "anthropic")
NAMES = PROMISES.names()
stream, reply_of, agrees = PROMISES.stream, PROMISES.reply_of, PROMISES.agrees


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def began(**block: Any) -> bytes:
    start = {"type": "message", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}
    return event("message_start", message=start) + event("content_block_start", index=0, content_block=block)


def delta(kind: str, index: int = 0, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def ended(reason: str | None = "end_turn") -> bytes:
    done = event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 2})
    return event("content_block_stop", index=0) + done + event("message_stop")


def answer(*deltas: bytes, reason: str = "end_turn", **block: Any) -> Reply:
    events, error, _ = outcome(reader(), [began(**(block or {"type": "text"})) + b"".join(deltas) + ended(reason)])
    assert error is None
    return folded(events)


# ---- transcripts ---------------------------------------------------------------------------------------------------


def test_there_are_transcripts() -> None:
    assert len(NAMES) >= 6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", [EVENTS, "", "text/plain"])
def test_every_cut_gives_the_same_events(name: str, content_type: str) -> None:
    PROMISES.every_cut_gives_the_same_events(name, content_type)


@pytest.mark.parametrize("name", NAMES)
def test_events_that_arrive_together_or_alone_are_the_same(name: str) -> None:
    data = stream(name)
    alone = [each + b"\n\n" for each in data.replace(b"\r\n", b"\n").split(b"\n\n") if each]
    assert outcome(reader(), alone) == outcome(reader(), [data])
    for size in range(2, 7):
        together = [b"".join(alone[at : at + size]) for at in range(0, len(alone), size)]
        assert outcome(reader(), together) == outcome(reader(), [data])


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error_or_complete(name: str) -> None:
    PROMISES.every_truncation_is_an_error(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    PROMISES.the_json_body_folds_to_the_same_reply(name, content_type)


def test_text() -> None:
    assert reply_of("text") == Reply(
        text='Zeilen\u2028und\u2029Absätze\u0085; 日本語 👩‍👩‍👧 \r\n\t"quoted" \\ end',
        usage=Usage(25, 15, 40),
        model="claude-sonnet-4-5-20250929",
    )


def test_thoughts_and_parallel_tools() -> None:
    reply = reply_of("thinking_and_tools")
    assert (reply.thoughts, reply.text) == ("Both cities are needed:\nask twice. ☃", "I will look.")
    assert reply.tool_calls == (
        ToolCall("toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather", {"city": "Paris ☃"}),
        ToolCall("toolu_01A09q90qw90lq917835lq9", "get_time", {"zone": "CET", "at": [1, {"x": None}]}),
        ToolCall("toolu_01NoArguments", "now", {}),
    )
    assert reply.finish_reason == "tool_calls"
    assert reply.usage == Usage(2572, 89, 2661), "what was cached is part of the prompt"
    assert reply.native == Native("anthropic", json.loads(PROMISES.body("thinking_and_tools"))["content"])


def test_hidden_thoughts_go_back_as_they_came() -> None:
    reply = reply_of("hidden_thoughts")
    assert (reply.thoughts, reply.text, reply.finish_reason) == ("", "9.8 is greater.", "stop")
    assert reply.native == Native("anthropic", json.loads(PROMISES.body("hidden_thoughts"))["content"])


def test_tools_of_the_provider_are_no_calls_of_ours() -> None:
    reply = reply_of("server_tools")
    assert (reply.text, reply.tool_calls, reply.broken_calls) == ("It rains.", (), ())
    assert (reply.finish_reason, reply.usage) == ("length", Usage(10682, 510, 11192))
    assert reply.native == Native("anthropic", json.loads(PROMISES.body("server_tools"))["content"])


def test_a_refusal_says_why() -> None:
    events, _, _ = outcome(reader(), [stream("refusal")])
    assert events[0] == Notice("warning", "This could enable biological harm.", {"category": "bio"})
    assert folded(events).finish_reason == "content_filter"


def test_thoughts_that_were_cut_off_do_not_go_back() -> None:
    reply = reply_of("length")
    assert (reply.thoughts, reply.finish_reason, reply.native) == ("Let me see", "length", None)


# ---- single events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
        ("something_new", "something_new"),
    ],
)
def test_reasons_to_stop(reason: str, finish: str) -> None:
    assert answer(reason=reason).finish_reason == finish


def test_the_receipt_is_on_the_end() -> None:
    receipt = (ReceiptItem("seed", "dropped", "no"),)
    events, _, _ = outcome(reader(receipt=receipt), [began(type="text") + ended()])
    assert events[-1] == Done("stop", Usage(3, 2, 5), "m", receipt)


def test_what_is_new_is_passed_over() -> None:
    more = event("message_note", note=1) + delta("hum_delta", text="no") + delta("text_delta", text="yes", hue=3)
    assert answer(more).text == "yes"
    assert answer(delta("text_delta", text="no"), type="hologram", text="no").text == ""
    assert answer(b": keep-alive\n\n" + event("ping") + b"data: \n\n" + b"data: [DONE]\n\n").text == ""


def test_deltas_of_another_kind_than_their_block_are_passed_over() -> None:
    reply = answer(
        delta("text_delta", text="a"),
        delta("thinking_delta", thinking="b"),
        delta("input_json_delta", partial_json="{"),
    )
    assert (reply.text, reply.thoughts, reply.tool_calls) == ("a", "", ())


def test_blocks_that_nobody_opened_are_opened_by_their_deltas() -> None:
    data = delta("text_delta", text="a") + delta("thinking_delta", 1, thinking="b") + delta("text_delta", text="c")
    assert list(reader().feed(data)) == [TextDelta("a"), ThoughtDelta("b"), TextDelta("c")]


def test_blocks_may_grow_at_the_same_time() -> None:
    second = event("content_block_start", index=1, content_block={"type": "tool_use", "id": "b", "name": "g"})
    pieces = [
        delta("input_json_delta", index, partial_json=text) for index, text in ((0, '{"x"'), (1, "{}"), (0, ":1}"))
    ]
    reply = answer(second, *pieces, reason="tool_use", type="tool_use", id="a", name="f", input={})
    assert reply.tool_calls == (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {}))


def test_texts_that_grow_at_the_same_time_stay_apart() -> None:
    second = event("content_block_start", index=1, content_block={"type": "text", "text": ""})
    other = event("content_block_start", index=2, content_block={"type": "redacted_thinking", "data": "x"})
    pieces = [
        delta("text_delta", index, text=text) for index, text in ((1, "b"), (0, "a"), (1, "B"), (0, "A"), (2, "no"))
    ]
    reply = answer(second, other, *pieces)
    assert reply.text == "baBA"
    assert reply.native is not None
    assert [block.get("text") for block in reply.native.data] == ["aA", "bB", None]


def test_events_may_have_more_lines() -> None:
    more = delta("text_delta", text="a")[:-1] + b"id: 7\n\n"
    data = began(type="text") + more + delta("text_delta", text="b") + more + more + ended()
    whole = outcome(reader(), [data])
    assert (folded(whole[0]).text, whole[1]) == ("abaa", None)
    at = len(began(type="text"))
    for end in range(at, len(data)):
        assert outcome(reader(), [data[:at], data[at:end], data[end:]]) == whole, end


def test_what_goes_back_is_only_what_is_taken_back() -> None:
    unsigned = event("content_block_start", index=1, content_block={"type": "thinking", "thinking": "cut"})
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": None}
    reply = answer(
        unsigned, event("content_block_start", index=2, content_block=call), type="redacted_thinking", data="x"
    )
    assert reply.native == Native(
        "anthropic",
        [{"type": "redacted_thinking", "data": "x"}, {"type": "tool_use", "id": "a", "name": "f", "input": {}}],
    )


def test_a_call_may_be_whole_in_its_start() -> None:
    events, _, _ = outcome(reader(), [began(type="tool_use", name="f", input={"x": 1}) + ended(None)])
    assert events[:2] == [ToolCallDelta(0, "call_0", "f", ""), ToolCallDelta(0, "", "", '{"x":1}')]
    assert folded(events).tool_calls == (ToolCall("call_0", "f", {"x": 1}),)
    assert folded(events).finish_reason == "tool_calls"


def test_a_broken_call_is_told_and_its_turn_does_not_go_back() -> None:
    thinking = event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "x"})
    reply = answer(thinking, delta("input_json_delta", partial_json='{"x": '), type="tool_use", id="a", name="f")
    assert (reply.tool_calls, reply.broken_calls, reply.native) == ((), (("f", '{"x": '),), None)


def test_empty_texts_do_not_go_back() -> None:
    signed = event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "x"})
    reply = answer(delta("text_delta", text=" \n"), signed)
    assert reply.native == Native("anthropic", [{"type": "redacted_thinking", "data": "x"}])


def test_long_texts_are_kept_whole() -> None:
    signed = event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "x"})
    words = [f"{number} " for number in range(5000)]
    made = reader()
    made.feed(began(type="text"))
    for word in words:
        made.feed(delta("text_delta", text=word))
    events = made.feed(signed + ended())
    native = next(each for each in events if isinstance(each, Native))
    assert native.data[0] == {"type": "text", "text": "".join(words)}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 5, "cache_read_input_tokens": 7}, Usage(12, 2, 14)),
        ({"input_tokens": True, "output_tokens": "x"}, Usage(3, 2, 5)),
        ({"input_tokens": 2**60, "cache_creation_input_tokens": -1, "output_tokens": 9}, Usage(3, 9, 12)),
        ([], Usage(3, 2, 5)),
        (None, Usage(3, 2, 5)),
    ],
)
def test_counts_are_running_totals(usage: Any, expected: Usage) -> None:
    data = began(type="text") + event("message_delta", delta={}, usage={"output_tokens": 2})
    data += event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage) + event("message_stop")
    assert folded(outcome(reader(), [data])[0]).usage == expected


# ---- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", Overloaded),
        ("rate_limit_error", RateLimited),
        ("authentication_error", AuthFailed),
        ("api_error", UpstreamFailed),
        ("invalid_request_error", InvalidRequest),
    ],
)
def test_an_error_waits_behind_the_events_before_it(kind: str, expected: type[LollmsError]) -> None:
    error = {"type": kind, "message": "No more."}
    data = began(type="text") + delta("text_delta", text="It") + event("error", error=error, request_id="req_1")
    PROMISES.an_error_waits_behind([TextDelta("It")], data, expected)
    PROMISES.is_refused(json.dumps({"type": "error", "error": error}).encode(), expected, "application/json")


def test_errors_may_be_plain_text_or_have_another_form() -> None:
    assert outcome(reader(), [b"event: error\ndata: oops\n\n"])[1:] == (
        UpstreamError,
        "The backend reported an error: oops",
    )
    inside = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}, error={"message": "gone"})
    assert outcome(reader(), [began(type="text") + inside])[1:] == (
        UpstreamError,
        "The backend reported an error: gone",
    )
    assert "wrong key" in outcome(reader(), [b'data: {"error": {"message": "wrong key"}}\n\n'])[2]
    assert "broken" in outcome(reader(), [b'event: error\ndata: {"message": "broken"}\n\n'])[2]
    assert "no such path" in outcome(reader("application/json"), [b'{"detail": "no such path"}'])[2]


def test_errors_hold_no_secret_and_no_control_characters() -> None:
    made = reader(name="here", secrets=[SECRET])
    no_secret_is_told(made, event("error", error={"message": ROUGH}))


def test_nothing_is_read_behind_the_end() -> None:
    PROMISES.nothing_is_read_behind(
        began(type="text") + ended(), event("error", error={"message": "late"}) + b"rubbish"
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", TruncatedStream),
        (b"\n\n: hm\n\n", TruncatedStream),
        (b"data: not json\n\n", ProtocolError),
        (b"data: [1]\n\n", ProtocolError),
        (b"data: {}\n\n", ProtocolError),
        (b'data: {"choices": []}\n\n', ProtocolError),
        (b'data: {"type": "content_block_start", "index": 0, "content_block": 3}\n\n', ProtocolError),
        (b'data: {"type": "content_block_delta", "index": "0"}\n\n', ProtocolError),
        (b'event: content_block_delta\ndata: {"type": "x", "a": "\xff"}\n\n', ProtocolError),
        (b'event: content_block_delta\ndata: {"a":' + b"[" * 400 + b"]" * 400 + b"}\n\n", ReplyTooLarge),
        (b'event: content_block_delta\ndata: {"a": "' + b"x" * 20_000 + b'"}\n\n', ReplyTooLarge),
        (b'event: content_block_delta\ndata: {"a": "' + b"x" * 30_000, ReplyTooLarge),
    ],
)
def test_what_is_no_answer_is_a_typed_error(data: bytes, kind: type[LollmsError]) -> None:
    PROMISES.is_refused(data, kind)


@pytest.mark.parametrize("data", [b"{}", b'{"choices": []}', b'{"type": "message", "content": "x"}', b"[]", b"<html>"])
def test_a_body_that_is_no_message_is_a_typed_error(data: bytes) -> None:
    PROMISES.is_refused(data, ProtocolError, "application/json")


# ---- noise ---------------------------------------------------------------------------------------------------------


TYPES = st.sampled_from([EVENTS, "application/json", "text/html", "text/plain", "", "application/x-ndjson"])
HEAD = b"event: content_block_delta\ndata: "


@FUZZ
@given(TYPES, st.binary(max_size=300), PLACES)
def test_noise(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


@FUZZ
@given(TYPES, damaged([stream(name) for name in NAMES], [HEAD, b"\ndata: "]), PLACES)
def test_damaged_transcripts(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


LINES = [b"event: content_block_delta\n", b'data: {"type": "ping"}\n', b"\n", b"\n\n", b"x\n", b"data: \n", b"\r", HEAD]


@FUZZ
@given(
    st.lists(st.sampled_from([*LINES, delta("text_delta", text="ä"), delta("text_delta", text="b")]), max_size=9),
    PLACES,
)
def test_lines_in_any_order(lines: list[bytes], places: list[int]) -> None:
    agrees(EVENTS, began(type="text") + b"".join(lines), [each + 200 for each in places])


NAMES_OF_FIELDS = """
type index delta text thinking partial_json signature citation stop_reason stop_details content_block message usage
error content model id name input explanation category input_tokens output_tokens citations data
"""
FIELDS = st.sampled_from(NAMES_OF_FIELDS.split())
NAMES_OF_KINDS = """
message_start content_block_start content_block_delta content_block_stop message_delta message_stop ping error
message text text_delta thinking thinking_delta signature_delta tool_use input_json_delta redacted_thinking
server_tool_use citations_delta other
"""
KINDS = st.sampled_from(NAMES_OF_KINDS.split())
VALUES = odd_values(FIELDS, KINDS)
BLOCK = st.fixed_dictionaries({"type": KINDS, "text": st.text(max_size=3), "input": VALUES, "name": VALUES})
TOP = st.fixed_dictionaries(
    {"type": KINDS, "index": st.integers(0, 2), "content_block": BLOCK, "content": st.lists(BLOCK, max_size=3)},
    optional={"delta": st.fixed_dictionaries({"type": KINDS, "partial_json": st.text(max_size=4)}), "usage": VALUES},
)


@FUZZ
@given(st.lists(TOP | st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=5), PLACES)
def test_json_of_odd_types(events: list[dict[str, Any]], places: list[int]) -> None:
    agrees(EVENTS, b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events), places)
    agrees("application/json", json.dumps({**events[0], "type": "message"}).encode(), [])
