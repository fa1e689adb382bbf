"""Answers of the Responses protocol give the same events however they are cut, and fold to what the JSON body says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import (
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    Overloaded,
    ProtocolError,
    RateLimited,
    ReplyTooLarge,
    TruncatedStream,
    UpstreamError,
    UpstreamFailed,
    UpstreamTimeout,
)
from lollms_core.protocols.base import Limits
from lollms_core.protocols.responses_reader import ResponsesReader
from lollms_core.types import Done, Native, ReceiptItem, Reply, TextDelta, ThoughtDelta, ToolCall, ToolCallDelta, Usage
from tests.support.feeding import TRANSCRIPTS, Outcome, each_byte, folded, merged, outcome
from tests.support.reader_promises import FUZZ, ROUGH, SECRET, Promises, damaged, no_secret_is_told, odd_values, places

SSE = "text/event-stream"
PLACES = places(9000)


def reader(content_type: str = SSE, limits: Limits | None = None, **more: Any) -> ResponsesReader:
    return ResponsesReader(content_type, limits=limits or Limits(), **more)


def body(name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(PROMISES.body(name))
    return made


PROMISES = Promises(reader, TRANSCRIPTS / "responses")
NAMES = PROMISES.names()
stream, reply_of, agrees = PROMISES.stream, PROMISES.reply_of, PROMISES.agrees


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


def text(delta: str) -> bytes:
    return event("response.output_text.delta", output_index=0, content_index=0, item_id="msg_1", delta=delta)


END = event("response.completed", response={"status": "completed", "output": []})


def test_there_are_transcripts() -> None:
    assert len(NAMES) >= 10


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_gives_the_same_events(name: str) -> None:
    for content_type in (SSE, "", "text/plain", "application/octet-stream"):
        PROMISES.every_cut_gives_the_same_events(name, content_type)


@pytest.mark.parametrize("name", NAMES)
def test_an_event_for_each_read_gives_the_same_events(name: str) -> None:
    data = stream(name)
    parts = [part + b"\n\n" for part in data.split(b"\n\n")[:-1]]
    assert outcome(reader(), parts or [data]) == outcome(reader(), [data])


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error_or_complete(name: str) -> None:
    PROMISES.every_truncation_is_an_error(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    PROMISES.the_json_body_folds_to_the_same_reply(name, content_type)


def test_what_the_transcripts_say() -> None:
    assert reply_of("text") == Reply(
        text="Hello! How can I help you?", usage=Usage(36, 87, 123), model="gpt-4.1-2025-04-14"
    )
    assert (reply_of("length").text, reply_of("length").finish_reason) == ("One two", "length")
    assert (reply_of("filtered").text, reply_of("filtered").finish_reason) == ("", "content_filter")
    assert (reply_of("refusal").text, reply_of("refusal").finish_reason) == ("I cannot help.", "stop")
    odd = reply_of("odd_but_valid_sse")
    assert odd.text == 'Zeilen\u2028und\u2029Absätze\u0085; 日本語 👩‍👩‍👧 \r\n\t"quoted" \\ \x00 end'
    assert odd.usage is None
    opened = reply_of("open_thoughts")
    assert (opened.thoughts, opened.text, opened.native) == ("The user says hi. \n\nSay hi.", "Hi!", None)
    assert reply_of("work_at_the_provider").text == "It is sunny."
    late = reply_of("no_deltas")
    assert (late.thoughts, late.text) == ("Quick.\n\nDone.", "All at once.")
    assert late.tool_calls == (ToolCall("call_x", "look", {}),)


def test_parallel_calls_of_functions_come_as_they_are_cut() -> None:
    events = outcome(reader(), [stream("thoughts_and_tool_calls")])[0]
    begun = [each for each in events if isinstance(each, ToolCallDelta) and each.name]
    assert begun == [ToolCallDelta(0, "call_a", "get_weather"), ToolCallDelta(1, "call_b", "get_time")]
    reply = folded(events)
    assert reply.finish_reason == "tool_calls"
    assert reply.tool_calls == (
        ToolCall("call_a", "get_weather", {"city": "Paris ☃"}),
        ToolCall("call_b", "get_time", {"zone": "CET", "at": [1, {"x": None}]}),
    )
    assert reply.thoughts == "**Looking up**\n\nParis ☃\n\n**Asking**\n\nBoth at once."


@pytest.mark.parametrize("name", ["thoughts_and_tool_calls", "thoughts_and_two_messages", "no_deltas"])
def test_encrypted_thoughts_make_the_turn_native_and_it_is_the_output_as_it_came(name: str) -> None:
    events = outcome(reader(), [stream(name)])[0]
    assert events[-2] == Native("responses", body(name)["output"])
    assert isinstance(events[-1], Done)


def test_without_encrypted_thoughts_nothing_is_to_be_given_back() -> None:
    native = [name for name in NAMES if reply_of(name).native is not None]
    assert native == ["no_deltas", "thoughts_and_tool_calls", "thoughts_and_two_messages"]


def test_the_receipt_is_in_the_end() -> None:
    item = ReceiptItem("seed", "dropped", "so")
    made = reader(receipt=(item,))
    assert list(made.feed(stream("text")))[-1].receipt == (item,)  # type: ignore[union-attr]
    assert made.finished


# ---- other ways to say the same -------------------------------------------------------------------------------------


def test_events_may_be_nameless_or_named_alone_and_end_as_chats_do() -> None:
    data = text("Hi") + END
    nameless = b"".join(part.partition(b"\n")[2] + b"\n\n" for part in data.split(b"\n\n")[:-1])
    assert outcome(reader(), [nameless]) == outcome(reader(), [data])
    assert folded(outcome(reader(), [text("Hi") + b"data: [DONE]\n\n"])[0]).text == "Hi"


def test_text_that_only_the_end_holds_is_not_lost() -> None:
    end = event("response.completed", response=body("thoughts_and_two_messages"))
    found = folded(outcome(reader(), [end])[0])
    assert found == reply_of("thoughts_and_two_messages")


def test_arguments_may_be_an_object_and_a_call_may_come_whole() -> None:
    item = {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": {"n": 1}}
    done = event("response.output_item.done", output_index=3, item=item)
    assert folded(outcome(reader(), [done + END])[0]).tool_calls == (ToolCall("c", "look", {"n": 1}),)
    piece = event("response.function_call_arguments.delta", output_index=3, delta='{"n": 1}')
    assert folded(outcome(reader(), [piece + done + END])[0]).tool_calls == (ToolCall("c", "look", {"n": 1}),)


def test_broken_arguments_are_no_fault_of_the_answer() -> None:
    item = {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": '{"n": '}
    reply = folded(outcome(reader(), [event("response.output_item.done", output_index=0, item=item) + END])[0])
    assert (reply.tool_calls, reply.broken_calls) == ((), (("look", '{"n": '),))


def test_blank_events_are_signs_of_life() -> None:
    assert folded(outcome(reader(), [b"data: \n\n" + text("Hi") + b": hm\n\n" + END])[0]).text == "Hi"


def test_nothing_is_read_behind_the_end() -> None:
    PROMISES.nothing_is_read_behind(text("x") + END, b"data: rubbish\n\n" + event("error", message="late"))


# ---- errors ---------------------------------------------------------------------------------------------------------

ERRORS = [
    ({"code": "rate_limit_exceeded", "message": "Slow down."}, RateLimited),
    ({"code": "too_many_requests", "message": "Slow down."}, RateLimited),
    ({"code": "server_error", "message": "Gave up."}, UpstreamFailed),
    ({"code": "context_length_exceeded", "message": "Too long."}, ContextTooLong),
    ({"code": "invalid_prompt", "message": "No."}, InvalidRequest),
    ({"code": "image_too_large", "message": "No."}, InvalidRequest),
    ({"code": "unsupported_image_media_type", "message": "No."}, InvalidRequest),
    ({"code": "vector_store_timeout", "message": "No."}, UpstreamTimeout),
    ({"code": "server_overloaded", "message": "Busy."}, Overloaded),
    ({"code": "new_code", "message": "Odd."}, UpstreamError),
    ({"code": None, "message": "Odd.", "type": "server_error"}, UpstreamFailed),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_errors_inside_of_an_answer_have_their_class_and_wait_behind_the_text(
    error: dict[str, Any], kind: type[LollmsError]
) -> None:
    failed = {"object": "response", "status": "failed", "error": error, "output": []}
    ends = [
        event("response.failed", response=failed),
        event("error", **{key: value for key, value in error.items() if key != "type"}),
        event("error", error={"param": None, **error}),
        b"data: " + json.dumps({"error": error}).encode() + b"\n\n",
    ]
    for end in ends if "type" not in error else ends[:1] + ends[2:]:
        data = text("It") + text(" is") + end
        found = outcome(reader(), [data])
        assert found[:2] == ([TextDelta("It"), TextDelta(" is")], kind)
        assert error["message"] in found[2]
        assert outcome(reader(), each_byte(data)) == found
    for whole in (failed, {"error": error}):
        assert outcome(reader("application/json"), [json.dumps(whole).encode()])[:2] == ([], kind)


def test_a_failure_without_a_word_is_one() -> None:
    found = outcome(reader(), [event("response.failed", response={"status": "failed", "error": None})])
    assert found[:2] == ([], UpstreamFailed)


def test_an_error_in_words_alone_is_read() -> None:
    found = outcome(reader(), [b"event: error\ndata: it broke\n\n"])
    assert found[:2] == ([], UpstreamError)
    assert "it broke" in found[2]


def test_errors_hold_no_secret_and_no_control_characters() -> None:
    no_secret_is_told(reader(name="here", secrets=[SECRET]), event("error", message=ROUGH), UpstreamError)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", TruncatedStream),
        (text("x"), TruncatedStream),
        (b"data: not json\n\n", ProtocolError),
        (b"data: [1]\n\n", ProtocolError),
        (b'data: {"type": 3}\n\n', ProtocolError),
        (event("response.output_text.delta", delta=["x"]), ProtocolError),
        (event("response.reasoning_text.delta", delta=None), ProtocolError),
        (event("response.output_item.added", output_index="1"), ProtocolError),
        (b'data: {"a":' + b"[" * 400 + b"]" * 400 + b"}\n\n", ReplyTooLarge),
        (b'data: {"a": "' + b"x" * 20_000 + b'"}\n\n', ReplyTooLarge),
        (b"event: response.output_text.delta\ndata: " + b"x" * 30_000, ReplyTooLarge),
        (b"data: \xff\n\n", ProtocolError),
    ],
)
def test_what_is_no_answer_is_a_typed_error(data: bytes, kind: type[LollmsError]) -> None:
    PROMISES.is_refused(data, kind, events=[TextDelta("x")] if data == text("x") else [])


@pytest.mark.parametrize("whole", [{}, {"object": "list", "data": []}, {"output": "x"}, {"id": "resp_1"}])
def test_json_that_is_no_response_is_a_typed_error(whole: dict[str, Any]) -> None:
    PROMISES.is_refused(json.dumps(whole).encode(), ProtocolError, "application/json")


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_is_not_finished_is_no_answer(status: str) -> None:
    whole = json.dumps({"status": status, "output": []}).encode()
    assert outcome(reader("application/json"), [whole])[:2] == ([], ProtocolError)


# ---- noise ----------------------------------------------------------------------------------------------------------


TYPES = st.sampled_from([SSE, "application/json", "text/html", "text/plain", ""])


@FUZZ
@given(TYPES, st.binary(max_size=300), PLACES)
def test_noise(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


@FUZZ
@given(TYPES, damaged(PROMISES.corpus(), [b"event: response.a\n"]), PLACES)
def test_damaged_transcripts(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


NAMES_OF_FIELDS = """
delta output_index summary_index content_index item arguments response error id call_id name status output usage model
input_tokens output_tokens incomplete_details reason content summary text refusal code message param encrypted_content
"""
FIELDS = st.sampled_from(NAMES_OF_FIELDS.split())
KINDS = st.sampled_from(
    [
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
        "other",
    ]
)
ITEMS = st.sampled_from(["message", "reasoning", "function_call", "other"])
VALUES = odd_values(FIELDS)


@FUZZ
@given(st.data())
def test_json_of_odd_types(data: st.DataObject) -> None:
    """Every known field may hold anything."""
    events = []
    for _ in range(data.draw(st.integers(1, 4))):
        top = data.draw(st.dictionaries(FIELDS, VALUES, max_size=4))
        top["type"] = data.draw(KINDS)
        if data.draw(st.booleans()):
            item = {**data.draw(st.dictionaries(FIELDS, VALUES, max_size=3)), "type": data.draw(ITEMS)}
            top["item"] = item
            top["response"] = {**data.draw(st.dictionaries(FIELDS, VALUES, max_size=2)), "output": [item]}
        events.append(top)
    lines = b"".join(event(top.pop("type"), **top) for top in [dict(each) for each in events])
    agrees(SSE, lines, data.draw(PLACES))
    agrees("application/json", json.dumps(events[0].get("response", events[0])).encode(), [])


def test_a_thought_comes_with_the_first_piece_after_it() -> None:
    parts = [
        event("response.reasoning_summary_text.delta", summary_index=at, delta=d) for at, d in ((0, "a"), (1, "b"))
    ]
    made: Outcome = outcome(reader(), [b"".join(parts) + text("c") + END])
    assert merged(made[0])[:2] == [ThoughtDelta("a\n\nb"), TextDelta("c")]
