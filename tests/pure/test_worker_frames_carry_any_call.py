"""Frames between a worker and its parent: what goes in comes out, and rubbish is a typed error."""

from __future__ import annotations

import io
import random

import pytest

from lollms_core.errors import InvalidRequest, ProtocolError
from lollms_core.types import (
    Batch,
    Done,
    GenerationCall,
    ImagePart,
    Media,
    Message,
    Native,
    Notice,
    Params,
    Progress,
    ReceiptItem,
    TextDelta,
    ThoughtDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from lollms_runtime.engines.worker_frames import (
    LARGEST,
    Ask,
    Failed,
    Over,
    Said,
    Stop,
    call_of,
    call_to_send,
    encode_frame,
    events_of,
    named_events,
    read_frame,
)

CALL = GenerationCall(
    (
        Message.system("Be brief."),
        Message.user("Look: ä \u0000 🙂", [ImagePart(b"\x89PNG\xff", "image/png")]),
        Message.assistant("", [ToolCall("call_0", "look", {"at": [1, None, {"x": 2.5}]})], Native("p", {"a": "b"})),
        Message.tool("call_0", "seen"),
        Message("user", ()),
    ),
    model="m",
    params=Params(max_tokens=3, temperature=0.0, stop=("a", "b"), seed=2**63),
    stream=True,
    tools=(Tool("look", "Looks.", {"type": "object"}),),
    schema={"type": "object"},
)
EVENTS: Batch = (
    TextDelta("text"),
    ThoughtDelta("thought"),
    ToolCallDelta(1, "id", "name", "{"),
    Media(b"\xff\x00", "image/png"),
    Progress("load", "Loading.", 0.5, 1),
    Notice("info", "Note.", {"a": [1]}),
    Native("p", {"a": "b"}),
    Done("stop", Usage(1, None, 3), "m", (ReceiptItem("top_k", "dropped", "because"),)),
)


def test_frames_come_out_as_they_went_in() -> None:
    frames = [
        Ask(1, "load", {"a": b"\xff"}),
        Stop(1),
        Said(2, (("text", {"text": "x"}),)),
        Over(3, [1.5]),
        Failed(4, "c", "m"),
    ]
    pipe = io.BytesIO(b"".join(map(encode_frame, frames)))
    assert [read_frame(pipe) for _ in frames] == frames
    assert read_frame(pipe) is None


def test_a_call_arrives_whole() -> None:
    sent = read_frame(io.BytesIO(encode_frame(Ask(1, "generate", call_to_send(CALL)))))
    assert isinstance(sent, Ask) and call_of(sent.body) == CALL


def test_events_arrive_whole() -> None:
    sent = read_frame(io.BytesIO(encode_frame(Said(1, named_events(EVENTS)))))
    assert isinstance(sent, Said) and tuple(events_of(sent)) == tuple(EVENTS)


def test_parameters_of_others_go_by_name_alone() -> None:
    call = GenerationCall((Message.user("x"),), params=Params(top_k=1, extra={"mirostat": object()}))
    sent = read_frame(io.BytesIO(encode_frame(Ask(1, "generate", call_to_send(call)))))
    assert isinstance(sent, Ask) and call_of(sent.body).params == Params(top_k=1, extra={"mirostat": None})


def test_what_is_no_data_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidRequest):
        encode_frame(Ask(1, "x", object()))
    with pytest.raises(InvalidRequest):
        encode_frame(Ask(1, "x", 2**70))


def test_a_cut_frame_is_the_end() -> None:
    whole = encode_frame(Ask(1, "load", {"a": "b"}))
    for length in range(len(whole)):
        assert read_frame(io.BytesIO(whole[:length])) is None


def test_a_length_over_the_limit_is_refused() -> None:
    with pytest.raises(ProtocolError, match="announced"):
        read_frame(io.BytesIO((LARGEST + 1).to_bytes(4, "big")))


def test_rubbish_is_a_protocol_error() -> None:
    chance = random.Random(5)
    refused = 0
    for _ in range(2000):
        data = chance.randbytes(chance.randint(0, 30))
        try:
            frame = read_frame(io.BytesIO(len(data).to_bytes(4, "big") + data))
            if isinstance(frame, Ask):
                call_of(frame.body)
            elif isinstance(frame, Said):
                events_of(frame)
        except ProtocolError:
            refused += 1
    assert refused > 1900


@pytest.mark.parametrize("body", [None, {}, {"messages": [{"role": "king", "parts": []}]}, {"messages": 3}, [1]])
def test_a_call_of_another_form_is_a_protocol_error(body: object) -> None:
    with pytest.raises(ProtocolError):
        call_of(body)


@pytest.mark.parametrize("event", [("text", {}), ("text", 3), ("song", {"text": "x"})])
def test_an_event_of_another_form_is_a_protocol_error(event: tuple[str, object]) -> None:
    with pytest.raises(ProtocolError):
        events_of(Said(1, (event,)))
