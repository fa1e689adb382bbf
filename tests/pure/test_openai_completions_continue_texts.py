"""Completions of the OpenAI protocol: one text goes out, the same text comes back however it was cut."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from lollms_core.errors import InvalidRequest, ProtocolError, TruncatedStream, UnsupportedFeature
from lollms_core.protocols.base import Target
from lollms_core.protocols.dialects import GENERIC, LLAMACPP, OPENAI
from lollms_core.protocols.lessons import Lesson
from lollms_core.protocols.openai_completions import CompletionCodec
from lollms_core.types import Done, GenerationCall, ImagePart, Message, Params, ReceiptItem, TextPart, Tool, Usage
from tests.support.feeding import cut, each_byte, folded, merged, outcome

TARGET = Target("https://api.example.test/v1", key="sk-1", provider="Example", model="m")
CODEC = CompletionCodec(GENERIC)
CALL = GenerationCall((Message.user("Es war"),), stream=True)
TEXT = "Es <war> einmal\u2028 世界\r\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def event(text: str | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if text is None else [{"index": 0, "text": text, "finish_reason": finish, "logprobs": None}]
    value = {"id": "cmpl-1", "object": "text_completion", "model": "m-1", "choices": choices, **more}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


STREAM = b"".join(
    [*(event(piece) for piece in TEXT), event("", "length"), event(None, usage=USAGE), b"data: [DONE]\n\n"]
)


def test_a_stream_and_a_body_are_the_same_answer_however_cut() -> None:
    def read(kind: str, chunks: Any) -> Any:
        return outcome(CODEC.reader(CALL, kind, TARGET), chunks)

    whole = read("text/event-stream", [STREAM])
    assert whole[1] is None
    assert [type(each).__name__ for each in merged(whole[0])] == ["TextDelta", "Done"]
    assert merged(whole[0])[1] == Done("length", Usage(3, 4, 7), "m-1")
    assert folded(whole[0]).text == TEXT
    assert read("text/event-stream", each_byte(STREAM)) == whole
    for place in range(0, len(STREAM), 5):
        assert read("text/event-stream", cut(STREAM, [place, place + 1])) == whole
    choice = {"index": 0, "text": TEXT, "finish_reason": "length"}
    body = json.dumps({"model": "m-1", "choices": [choice], "usage": USAGE}).encode()
    assert folded(read("application/json", [body])[0]) == folded(whole[0])
    assert read("text/event-stream", [STREAM[:200]])[1] is TruncatedStream
    assert read("application/json", [b'{"object": "text_completion"}'])[1] is ProtocolError


def test_the_request_holds_one_text() -> None:
    request = CODEC.request(GenerationCall(CALL.messages, stream=True, params=Params(top_k=3, seed=1)), TARGET)
    assert (request.method, request.url) == ("POST", "https://api.example.test/v1/completions")
    assert request.headers["authorization"] == "Bearer sk-1"
    assert json.loads(request.body) == {
        "model": "m",
        "prompt": "Es war",
        "seed": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    made = CODEC.reader(CALL, "text/event-stream", TARGET, request.receipt)
    dropped = ReceiptItem("top_k", "dropped", "openai-compatible has no such parameter")
    assert folded(outcome(made, [STREAM])[0]).receipt == (dropped,)


@pytest.mark.parametrize("dialect", [OPENAI, GENERIC, LLAMACPP])
def test_the_limit_has_its_old_name_everywhere(dialect: Any) -> None:
    call = GenerationCall(CALL.messages, model="x", params=Params(max_tokens=5))
    body = json.loads(CompletionCodec(dialect).request(call, TARGET).body)
    assert {name: body[name] for name in ("prompt", "max_tokens", "model")} == {
        "prompt": "Es war",
        "max_tokens": 5,
        "model": "x",
    }
    assert "max_completion_tokens" not in body


def test_what_a_text_cannot_hold_is_refused() -> None:
    image = Message("user", (TextPart("?"), ImagePart(b"x", "image/png")))
    for call in (
        GenerationCall(CALL.messages, tools=(Tool("f"),)),
        GenerationCall(CALL.messages, schema={}),
        GenerationCall((image,)),
        GenerationCall((Message.user("a"), Message.tool("1", "b"))),
    ):
        with pytest.raises(UnsupportedFeature):
            CODEC.request(call, TARGET)
    with pytest.raises(InvalidRequest):
        CODEC.request(GenerationCall(()), TARGET)


def test_usage_is_not_asked_for_again_where_that_was_refused() -> None:
    call = GenerationCall((Message.user("Es war"),), stream=True)
    assert "stream_options" in json.loads(CODEC.request(call, TARGET).body)
    taught = msgspec.structs.replace(TARGET, lessons=(Lesson("stream_options"),))
    assert "stream_options" not in json.loads(CODEC.request(call, taught).body)
