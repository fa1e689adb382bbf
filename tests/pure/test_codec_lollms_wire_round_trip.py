"""What the server writes is what its client reads: replies, streamed or not, and conversations come back equal."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import (
    Cancelled,
    EngineCrashed,
    InternalError,
    InvalidRequest,
    LollmsError,
    RateLimited,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.protocols.base import Reader, Target
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.protocols.lollms_input import InputItem, in_conversation, items_of, messages_of
from lollms_core.protocols.lollms_wire import (
    GenerateResponse,
    OutputItem,
    StreamChunk,
    encode_batch,
    encode_chunk,
    encode_error,
    encode_final,
    encode_response,
    reply_output,
)
from lollms_core.types import (
    Batch,
    Done,
    Event,
    GenerationCall,
    ImagePart,
    Media,
    Message,
    Notice,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from tests.support.feeding import each_byte, error_after, folded, outcome

CALL = GenerationCall((Message.user("hi"),), stream=True)
ROUNDS = settings(max_examples=80, derandomize=True, database=None, deadline=None)


def reader(content_type: str = "text/event-stream") -> Reader:
    return LollmsCodec().reader(CALL, content_type)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNT = st.none() | st.integers(0, 2**53)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(ToolCall, TEXT.filter(bool), TEXT.filter(bool), st.dictionaries(TEXT, JSON, max_size=3))
REPLIES = st.builds(
    Reply,
    text=TEXT,
    thoughts=TEXT,
    tool_calls=st.lists(CALLS, max_size=3).map(tuple),
    media=st.lists(
        st.builds(Media, st.binary(max_size=9), st.sampled_from(["image/png", "audio/wav"])), max_size=2
    ).map(tuple),
    usage=st.none() | st.builds(Usage, st.integers(0, 9), COUNT, COUNT),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "enough"]),
    model=TEXT,
    receipt=st.lists(st.builds(ReceiptItem, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    broken_calls=st.lists(st.tuples(TEXT.filter(bool), st.just('{"x":')), max_size=2).map(tuple),
)


def batches_of(reply: Reply) -> list[Batch]:
    """A reply as a backend streams it: character by character, three to a batch."""
    deltas: list[Event] = [ThoughtDelta(c) for c in reply.thoughts]
    deltas += [Progress("queue", "Waiting", position=2)] + [TextDelta(c) for c in reply.text]
    deltas += [ToolCallDelta(9, "x", "y", "{"), *reply.media, Done("stop")]
    return [deltas[at : at + 3] for at in range(0, len(deltas), 3)]


@ROUNDS
@given(REPLIES)
def test_any_reply_comes_back(reply: Reply) -> None:
    output = reply_output(reply)
    stream = b"".join(encode_batch(batch) for batch in batches_of(reply)) + encode_final(output, {"request_id": "r"})
    events, error, _ = outcome(reader(), [stream])
    assert error is None
    assert folded(events) == reply
    assert outcome(reader(), each_byte(stream)) == (events, None, "")
    body = encode_response(GenerateResponse(None, "r", output, 0.1))
    events, error, _ = outcome(reader("application/json"), [body])
    assert error is None
    assert folded(events) == reply


@ROUNDS
@given(REPLIES)
def test_the_final_chunk_alone_is_enough(reply: Reply) -> None:
    """A server whose binding does not stream sends nothing before it."""
    events, error, _ = outcome(reader(), [encode_final(reply_output(reply), {})])
    assert error is None
    assert folded(events) == reply


def test_the_bytes_are_those_of_the_struct() -> None:
    text = 'a "b" \\ \n \u2028 é 😀 \x00'
    assert encode_batch([TextDelta(text)]) == encode_chunk(StreamChunk("chunk", text))
    assert encode_batch([ThoughtDelta(text)]) == encode_chunk(StreamChunk("chunk", "", text))
    assert json.loads(encode_batch([TextDelta("x")])[6:]) == {
        "type": "chunk",
        "content": "x",
        "thoughts": None,
        "metadata": {},
    }
    assert encode_batch([]) == encode_batch([Done("stop"), ToolCallDelta(0, "a", "b", "{")]) == b""


def test_progress_and_notices_travel_as_info() -> None:
    events: list[Event] = [
        Progress("queue", "Waiting", position=0),
        Progress("prefill", "", 0.5),
        Progress("load", "Loading"),
        Notice("warning", "Small model", {"size": 3}),
        Notice("info", "Hello"),
    ]
    stream = encode_batch(events)
    queue = json.loads(stream.split(b"\n\n")[0][6:])
    assert queue == {
        "type": "info",
        "content": "Waiting",
        "thoughts": None,
        "metadata": {"kind": "queue", "position": 0},
    }
    assert list(reader().feed(stream)) == events


def test_the_output_of_a_reply_has_the_documented_metadata() -> None:
    reply = Reply("t", "why", usage=Usage(1, 2, 3), model="m", receipt=(ReceiptItem("top_k", "dropped", "no"),))
    item = json.loads(msgspec.json.encode(reply_output(reply)[0]))
    assert item == {
        "type": "text",
        "data": "t",
        "mime_type": None,
        "thoughts": "why",
        "metadata": {
            "model_used": "m",
            "finish_reason": "stop",
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
            "receipt": [{"name": "top_k", "action": "dropped", "reason": "no"}],
        },
    }
    assert [item.type for item in reply_output(Reply(media=(Media(b"x", "image/png"),)))] == ["image"]
    assert reply_output(Reply())[0].data == ""


def test_a_tool_call_is_a_chunk_and_an_item() -> None:
    call = ToolCall("c1", "find", {"x": [1]})
    stream = encode_final(reply_output(Reply(tool_calls=(call,))), {"request_id": "r"})
    function_call, final, end = stream.split(b"\n\n")
    data = {"id": "c1", "name": "find", "arguments": {"x": [1]}}
    assert json.loads(function_call[6:]) == {"type": "function_call", "content": data, "thoughts": None, "metadata": {}}
    item = json.loads(final[6:])["content"][1]
    assert (item["type"], item["data"], item["metadata"]["kind"]) == ("json", data, "tool_call")
    assert end == b""


# ---- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        EngineCrashed("The engine died. It is being started again."),
        RateLimited("Wait.", retry_after=7.5, upstream_code="rate_limit_exceeded"),
        InvalidRequest("temperature must be a number.", param="temperature"),
        Cancelled("Stopped on request."),
    ],
)
def test_an_error_comes_back_as_its_own_class_behind_the_partial_text(error: LollmsError) -> None:
    partial = Reply("Par", finish_reason="error")
    stream = encode_batch([TextDelta("Par")]) + encode_error(error)
    stream += encode_final(reply_output(partial, failed=error), {"request_id": "r", "status": "failed"})
    for chunks in ([stream], each_byte(stream)):
        events, kind, message = outcome(reader(), chunks)
        assert (events, kind, message) == ([TextDelta("Par")], type(error), error.message)
    caught = error_after(reader, stream)
    fields = ("code", "message", "retry_after", "param", "upstream_code")
    assert [getattr(caught, field) for field in fields] == [getattr(error, field) for field in fields]


def test_the_final_of_a_failure_has_partial_output_error_item_and_status() -> None:
    error = EngineCrashed("It died.")
    output = reply_output(Reply("Par", finish_reason="error"), failed=error)
    final = json.loads(encode_final(output, {"request_id": "r", "status": "failed"}).removeprefix(b"data: "))
    assert [item["type"] for item in final["content"]] == ["text", "error"]
    assert final["content"][1]["data"] == "It died."
    assert final["content"][1]["metadata"] == {"code": "engine_crashed"}
    assert final["metadata"] == {"request_id": "r", "status": "failed"}


def test_a_failure_without_an_error_chunk_is_told_by_final() -> None:
    error = EngineCrashed("It died.")
    metadata = {"status": "failed"}
    stream = encode_final(reply_output(Reply("Par"), failed=error), metadata)
    assert outcome(reader(), [stream]) == ([TextDelta("Par")], EngineCrashed, "It died.")
    assert outcome(reader(), [encode_final([], metadata)])[1] is UpstreamFailed


def test_an_error_without_final_is_raised_at_the_end() -> None:
    stream = encode_batch([TextDelta("Par")]) + encode_error(EngineCrashed("It died."))
    assert outcome(reader(), [stream]) == ([TextDelta("Par")], EngineCrashed, "It died.")


# ---- text that UTF-8 cannot carry ----------------------------------------------------------------------------------


def test_halves_of_characters_never_stop_a_stream() -> None:
    events: list[Event] = [TextDelta("a\ud83d"), TextDelta("ok"), ThoughtDelta("\udc00"), Notice("info", "\ud800")]
    stream = encode_batch(events) + encode_final(
        [OutputItem("text", "\ud83d\ude00\ud800", None, "\udfff")], {"x": "\ud800"}
    )
    got, error, _ = outcome(reader(), [stream])
    assert error is None
    assert got[:3] == [TextDelta("a\ufffd"), TextDelta("ok"), ThoughtDelta("\ufffd")]
    assert json.loads(stream.split(b"\n\n")[-2][6:])["content"][0]["data"] == "😀\ufffd"
    assert encode_error(InvalidRequest("bad \ud800"))


@pytest.mark.parametrize("data", [object(), {1: object()}])
def test_an_output_that_is_no_json_is_a_typed_error(data: Any) -> None:
    with pytest.raises(InternalError):
        encode_final([OutputItem("json", data)], {})


# ---- conversations -------------------------------------------------------------------------------------------------

PICTURE = ImagePart(b"\x89PNG\r\n\x1a\n...", "image/png")
TURNS = st.one_of(
    st.builds(Message.user, TEXT),
    st.builds(Message.assistant, TEXT, st.lists(CALLS, max_size=2)),
    st.builds(Message.tool, TEXT, TEXT),
)


@ROUNDS
@given(st.lists(TURNS, max_size=6), st.none() | TEXT.filter(bool), st.booleans())
def test_any_conversation_comes_back(turns: list[Message], system: str | None, picture: bool) -> None:
    messages = [Message.system(system)] if system is not None else []
    messages += turns
    if picture:
        messages.append(Message.user("look", [PICTURE]))
    items, receipt = items_of(messages)
    wire = msgspec.json.decode(msgspec.json.encode(items), type=list[InputItem])
    assert messages_of(wire) == tuple(messages)
    assert receipt == ()


def test_roles_of_the_items() -> None:
    messages = (
        Message.system("s"),
        Message.user("u1", [PICTURE]),
        Message.assistant("a", [ToolCall("c", "f", {"x": 1})]),
        Message.tool("c", "r"),
        Message.user("u2"),
    )
    items, receipt = items_of(messages)
    assert [(item.type, item.role) for item in items] == [
        ("text", "system_context"),
        ("text", "user_message"),
        ("text", "assistant_message"),
        ("text", "tool_result"),
        ("text", "user_prompt"),
        ("image", "input_image"),
    ]
    assert items[2].metadata == {"tool_calls": [{"id": "c", "name": "f", "arguments": {"x": 1}}]}
    assert items[3].metadata == {"tool_call_id": "c"}
    assert [item.name for item in receipt] == ["images"]
    assert messages_of(items)[-1] == Message.user("u2", [PICTURE])


def test_a_conversation_that_waits_for_the_model_has_no_prompt() -> None:
    items, _ = items_of((Message.user("u"), Message.assistant("", [ToolCall("c", "f", {})]), Message.tool("c", "r")))
    assert [item.role for item in items] == ["user_message", "assistant_message", "tool_result"]


def test_images_of_other_roles_are_refused() -> None:
    with pytest.raises(UnsupportedFeature):
        items_of((Message("assistant", (PICTURE,)),))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (InputItem("image", "input_image", "%%%"), "base64"),
        (InputItem("image", "input_image", "abc"), "base64"),
        (InputItem("image", "input_image", "é"), "base64"),
        (InputItem("text", "assistant_message", "x", None, {"tool_calls": [{"id": 5}]}), "tool_calls"),
        (InputItem("text", "assistant_message", "x", None, {"tool_calls": "x"}), "tool_calls"),
    ],
)
def test_items_that_cannot_be_used_are_named(item: InputItem, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        messages_of([InputItem("text", "user_prompt", "hi"), item])
    assert caught.value.param == "input_data[1]"


@pytest.mark.parametrize(
    "item",
    [
        InputItem("text", "narrator", "x"),
        InputItem("audio", "user_prompt", ""),
        InputItem("image", "mask_image", "%%%"),
        InputItem("document", "input_image", "x"),
    ],
)
def test_items_of_other_roles_and_types_are_no_part_of_the_conversation(item: InputItem) -> None:
    items = [InputItem("text", "user_prompt", "hi"), item, InputItem("text", "system_context", "s")]
    assert messages_of(items) == (Message.system("s"), Message.user("hi"))
    others = [(place, each) for place, each in enumerate(items) if not in_conversation(each.type, each.role)]
    assert others == [(1, item)]


def test_images_that_were_decoded_before_are_not_decoded_again() -> None:
    items = [InputItem("text", "user_prompt", "hi"), InputItem("image", "user_image", "not base64 at all")]
    assert messages_of(items, {1: PICTURE}) == (Message.user("hi", [PICTURE]),)


def test_base64_may_have_blanks_and_the_bytes_decide_the_type() -> None:
    items = [
        InputItem("text", "user_prompt", "hi"),
        InputItem("image", "reference_image", "iVBO Rw0K\nGgo=", "image/jpeg"),
    ]
    assert messages_of(items)[0].images == (ImagePart(b"\x89PNG\r\n\x1a\n", "image/png"),)


def test_lists_of_items_without_turns() -> None:
    assert messages_of([]) == ()
    only = messages_of([InputItem("image", "input_image", "iVBORw0KGgo=")])
    assert only == (Message.user("", [ImagePart(b"\x89PNG\r\n\x1a\n", "image/png")]),)


def test_the_codec_sends_these_items() -> None:
    call = GenerationCall((Message.system("s"), Message.user("u")))
    sent = json.loads(LollmsCodec().request(call, Target("http://x")).body)["input_data"]
    assert msgspec.convert(sent, list[InputItem]) == items_of(call.messages)[0]
