"""Answers of the Gemini API give the same events however they are cut; what is no answer gives a typed error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    ContextTooLong,
    LollmsError,
    Overloaded,
    ProtocolError,
    RateLimited,
    ReplyTooLarge,
    TruncatedStream,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.base import Limits
from lollms_core.protocols.gemini_reader import GeminiReader
from lollms_core.types import Media, Native, Reply, TextDelta, ThoughtDelta, ToolCall, Usage
from tests.support.feeding import TRANSCRIPTS, each_byte, folded, outcome
from tests.support.reader_promises import FUZZ, ROUGH, SECRET, Promises, damaged, no_secret_is_told, odd_values, places

STREAM = "text/event-stream"
PLACES = places()
SIGNATURE = "ZW5jcnlwdGVkIHRob3VnaHRz"


def reader(content_type: str = STREAM, limits: Limits | None = None) -> GeminiReader:
    return GeminiReader(content_type, limits=limits or Limits())


PROMISES = Promises(reader, TRANSCRIPTS / "gemini")
NAMES = PROMISES.names()
stream, reply_of, agrees = PROMISES.stream, PROMISES.reply_of, PROMISES.agrees


def event(*parts: dict[str, Any], **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts)}, **more}
    return sse({"candidates": [candidate], "modelVersion": "m"})


def sse(value: object, end: str = "\r\n\r\n") -> bytes:
    return b"data: " + json.dumps(value).encode() + end.encode()


DONE = event({"text": ""}, finishReason="STOP")


def test_there_are_transcripts() -> None:
    assert len(NAMES) >= 8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", [STREAM, "text/event-stream; charset=utf-8", "", "text/plain"])
def test_every_cut_gives_the_same_events(name: str, content_type: str) -> None:
    PROMISES.every_cut_gives_the_same_events(name, content_type)
    data = stream(name)
    whole = PROMISES.read([data])
    assert PROMISES.read(data.splitlines(keepends=True), content_type) == whole
    assert PROMISES.read([each + b"\r\n\r\n" for each in data.split(b"\r\n\r\n")], content_type) == whole


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_lines_may_end_in_any_way(name: str, end: bytes) -> None:
    data = stream(name)
    other = data.replace(b"\r\n", end)
    whole = outcome(reader(), [data])
    assert outcome(reader(), [other]) == whole
    assert outcome(reader(), each_byte(other)) == whole


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_an_error_or_complete(name: str) -> None:
    PROMISES.every_truncation_is_an_error(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "text/plain", ""])
def test_the_json_body_folds_to_the_same_reply(name: str, content_type: str) -> None:
    PROMISES.the_json_body_folds_to_the_same_reply(name, content_type)


def test_what_the_transcripts_say() -> None:
    assert reply_of("text") == Reply(
        text='Zeilen\u2028und\u2029Absätze\u0085; 日本語 👩‍👩‍👧 \r\n\t"quoted" \\ end',
        usage=Usage(26, 12, 38),
        model="gemini-2.5-flash",
    )
    thinking = reply_of("thinking")
    assert (thinking.thoughts, thinking.text) == ("**Comparing**\n\n9.11 is smaller.\n", "9.8 is greater.")
    assert (thinking.usage, thinking.native) == (Usage(9, 46, 55), None)
    assert (reply_of("think_tags").thoughts, reply_of("think_tags").text) == ("\nHm", "\n\nSay `<think>`. End")
    assert reply_of("think_tags").finish_reason == "length"
    tools = reply_of("tool_calls")
    assert (tools.finish_reason, tools.text, tools.native) == ("tool_calls", "Let me look.", None)
    assert tools.tool_calls == (
        ToolCall("call_0", "get_weather", {"city": "Paris ☃"}),
        ToolCall("x7ab", "get_time", {"zone": "CET", "at": [1, {"x": None}]}),
        ToolCall("call_2", "get_news", {}),
    )
    assert reply_of("image").media == (Media(b"\x89PNG\r\n\x1a\n", "image/png"),)
    blocked = reply_of("blocked_prompt")
    assert (blocked.text, blocked.finish_reason, blocked.usage) == ("", "content_filter", Usage(8, None, 8))
    unsafe = reply_of("stopped_for_safety")
    assert (unsafe.text, unsafe.finish_reason) == ("Once upon", "content_filter")


def test_signed_turns_are_kept_as_they_came() -> None:
    calls = reply_of("signed_calls")
    assert calls.native == Native(
        "gemini",
        [
            {"text": "Two cities.", "thought": True},
            {
                "functionCall": {"id": "q1", "name": "get_weather", "args": {"city": "Paris"}},
                "thoughtSignature": SIGNATURE,
            },
            {"functionCall": {"id": "q2", "name": "get_weather", "args": {"city": "Rome"}}},
        ],
    )
    assert [call.id for call in calls.tool_calls] == ["q1", "q2"]
    text = reply_of("signed_text")
    assert text.native == Native("gemini", [{"text": "It is four."}, {"text": "", "thoughtSignature": SIGNATURE}])


def test_a_signed_part_is_never_joined_with_others_and_keeps_what_nobody_knows() -> None:
    signed = {"text": "b", "thoughtSignature": SIGNATURE, "partMetadata": {"x": 1}}
    data = event({"text": "a"}) + event(signed) + event({"text": "c"}) + event({"text": "d"}) + DONE
    assert folded(outcome(reader(), [data])[0]).native == Native("gemini", [{"text": "a"}, signed, {"text": "cd"}])


def test_calls_without_ids_get_ids_that_no_call_has() -> None:
    made = GeminiReader(STREAM, limits=Limits(), taken={"call_0", "call_2"})
    calls = [{"functionCall": {"name": "f", "args": {}}} for _ in range(3)]
    found = folded(outcome(made, [event(*calls) + DONE])[0])
    assert [call.id for call in found.tool_calls] == ["call_1", "call_3", "call_4"]


def test_a_call_that_nobody_can_read_is_given_back() -> None:
    data = event(finishReason="MALFORMED_FUNCTION_CALL", finishMessage="Malformed function call: f(n=")
    found = folded(outcome(reader(), [data])[0])
    assert (found.broken_calls, found.tool_calls) == ((("", "Malformed function call: f(n="),), ())
    assert found.finish_reason == "tool_calls"


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "OTHER", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS"])
def test_an_answer_that_came_to_nothing_is_an_error(reason: str) -> None:
    events, error, message = outcome(reader(), [event({"text": "a"}) + event(finishReason=reason)])
    assert (events, error) == ([TextDelta("a")], UpstreamFailed)
    assert reason in message


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("RECITATION", "content_filter"), ("SPII", "content_filter"), ("MAX_TOKENS", "length"), ("NEW_ONE", "new_one")],
)
def test_reasons_have_our_names(reason: str, finish: str) -> None:
    assert folded(outcome(reader(), [event({"text": "a"}, finishReason=reason)])[0]).finish_reason == finish


# ---- errors --------------------------------------------------------------------------------------------------------


def failure(code: int, status: str, message: str = "x", **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, **more}}


BAD_KEY = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
FAILURES = [
    (failure(429, "RESOURCE_EXHAUSTED"), RateLimited),
    (failure(503, "UNAVAILABLE"), Overloaded),
    (failure(500, "INTERNAL"), UpstreamFailed),
    (failure(401, "UNAUTHENTICATED"), AuthFailed),
    (failure(400, "INVALID_ARGUMENT", details=BAD_KEY), AuthFailed),
    (failure(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"), ContextTooLong),
    ({"error": "?"}, UpstreamError),
    ({"error": [1]}, UpstreamError),
]


@pytest.mark.parametrize(("body", "kind"), FAILURES)
def test_errors_inside_of_an_answer_wait_behind_the_events_before_them(body: Any, kind: type[LollmsError]) -> None:
    for late in (sse(body), sse(body, "\n\n")):
        data = event({"text": "It"}) + event({"text": " is"}) + late
        for chunks in ([data], each_byte(data)):
            events, error, _ = outcome(reader(), chunks)
            assert events == [TextDelta("It"), TextDelta(" is")]
            assert error is not None and issubclass(error, kind)
    assert outcome(reader("application/json"), [json.dumps(body).encode()])[1] is kind


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
def test_an_error_that_is_no_event_is_read_as_well(indent: int | None, end: str) -> None:
    late = (json.dumps(failure(503, "UNAVAILABLE", "Over there."), indent=indent) + end).encode()
    for first in (b"", event({"text": "It"}), event({"text": "It"}) + event({"text": "ü"})):
        whole = outcome(reader(), [first + late])
        assert whole[1] is Overloaded and "Over there." in whole[2]
        assert outcome(reader(), each_byte(first + late)) == whole
        for place in range(1, len(first + late)):
            assert outcome(reader(), [(first + late)[:place], (first + late)[place:]]) == whole


def test_seconds_to_wait_are_read() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}]
    made = reader()
    with pytest.raises(RateLimited) as caught:
        made.feed(sse(failure(429, "RESOURCE_EXHAUSTED", details=details)))
    assert caught.value.retry_after == 17.5


def test_errors_hold_no_secret_and_no_control_characters() -> None:
    made = GeminiReader(STREAM, limits=Limits(), name="here", secrets=[SECRET])
    no_secret_is_told(made, sse({"error": {"message": ROUGH}}), UpstreamError)


def test_a_list_is_no_answer_but_its_error_is_read() -> None:
    answer = json.dumps([{"candidates": []}]).encode()
    events, error, message = outcome(reader("application/json"), [answer])
    assert (events, error) == ([], ProtocolError)
    assert "alt=sse" in message
    assert outcome(reader("application/json"), [json.dumps([failure(503, "UNAVAILABLE")]).encode()])[1] is Overloaded


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", TruncatedStream),
        (b"\n \r\n\n", TruncatedStream),
        (b"data: [DONE]\n\n", TruncatedStream),
        (b"data: not json\n\n", ProtocolError),
        (b"event: error\ndata: plain words\n\n", UpstreamError),
        (b"data: [1]\n\n", ProtocolError),
        (sse({"candidates": [3]}), ProtocolError),
        (event({"text": 3}), ProtocolError),
        (event({"functionCall": {}}), ProtocolError),
        (event({"functionCall": "f"}), ProtocolError),
        (event({"inlineData": {"data": "?"}}), ProtocolError),
        (event({"inlineData": "?"}), ProtocolError),
        (b'data: {"a":"\xff"}\n\n', ProtocolError),
        (b'data: {"a":' + b"[" * 400 + b"]" * 400 + b"}\n\n", ReplyTooLarge),
        (b'data: {"a": "' + b"x" * 20_000 + b'"}\n\n', ReplyTooLarge),
        (b"<html>" * 300, TruncatedStream),
    ],
)
def test_what_is_no_answer_is_a_typed_error(data: bytes, kind: type[LollmsError]) -> None:
    PROMISES.is_refused(data, kind)


@pytest.mark.parametrize("body", [b"{}", b'{"usageMetadata": {}}', b'{"object": "chat.completion", "choices": []}'])
def test_json_of_others_is_no_answer(body: bytes) -> None:
    PROMISES.is_refused(body, ProtocolError, "application/json")


def test_pictures_that_are_thoughts_are_not_shown() -> None:
    drawn = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    events, error, _ = outcome(reader(), [event({**drawn, "thought": True}) + event(drawn) + DONE])
    assert error is None
    assert [event for event in events if isinstance(event, Media)] == [Media(b"\x89PNG\r\n\x1a\n", "image/png")]


def test_other_candidates_are_not_read() -> None:
    candidates = [{"index": 1, "content": {"parts": [{"text": "b"}]}}, {"content": {"parts": [{"text": "a"}]}}]
    data = sse({"candidates": candidates, "modelVersion": "m"}) + DONE
    assert folded(outcome(reader(), [data])[0]).text == "a"


# ---- noise ---------------------------------------------------------------------------------------------------------


TYPES = st.sampled_from([STREAM, "application/json", "text/html", "text/plain", ""])


@FUZZ
@given(TYPES, st.binary(max_size=300), PLACES)
def test_noise(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


@FUZZ
@given(TYPES, damaged([stream(name) for name in NAMES], [b"\r\n\r\n", b"data: ", b'{"error":{}}']), PLACES)
def test_damaged_transcripts(content_type: str, data: bytes, places: list[int]) -> None:
    agrees(content_type, data, places)


NAMES_OF_FIELDS = """
candidates content parts text thought thoughtSignature functionCall name args id inlineData mimeType data finishReason
finishMessage index promptFeedback blockReason usageMetadata promptTokenCount candidatesTokenCount modelVersion error
"""
FIELDS = st.sampled_from(NAMES_OF_FIELDS.split())
VALUES = odd_values(FIELDS)
PARTS = st.lists(st.dictionaries(FIELDS, VALUES | st.text(max_size=3), max_size=3), max_size=3)


@FUZZ
@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), min_size=1, max_size=4), PARTS, PLACES)
def test_json_of_odd_types(events: list[dict[str, Any]], parts: list[dict[str, Any]], places: list[int]) -> None:
    agrees(STREAM, b"".join(map(sse, events)) + event(*parts) + DONE, places)
    agrees("application/json", json.dumps(events[0]).encode(), [])


def test_thoughts_come_before_the_text_of_the_same_event() -> None:
    data = event({"text": "a", "thought": True}, {"text": "b"})
    assert list(reader().feed(data)) == [ThoughtDelta("a"), TextDelta("b")]
