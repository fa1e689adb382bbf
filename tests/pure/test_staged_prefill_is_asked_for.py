"""Every request to llama.cpp is a stream with progress reports, because only that can be stopped between two stages."""

from __future__ import annotations

import json

import pytest

from lollms_core.errors import ContextTooLong, LollmsError, ProtocolError, UnsupportedFeature
from lollms_core.fold import ReplyFold
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.llamacpp import LlamaCppCodec, parse_props, parse_text, parse_tokens, tokenize_request
from lollms_core.types import (
    Done,
    Event,
    GenerationCall,
    ImagePart,
    Message,
    Params,
    Progress,
    TextDelta,
    Tool,
    Usage,
)

TARGET = Target("http://127.0.0.1:1", "the-key-of-the-engine", "llama.cpp", "nano", options={"id_slot": 3})
CALL = GenerationCall((Message.user("hi"),), params=Params(max_tokens=5, top_k=3))


def sent(call: GenerationCall, codec: LlamaCppCodec | None = None) -> tuple[HttpRequest, dict[str, object]]:
    exchange = (codec or LlamaCppCodec()).prepare(call, TARGET)
    with pytest.raises(StopIteration) as end:  # nothing is asked before
        next(exchange)
    request = end.value.value
    assert isinstance(request, HttpRequest)
    return request, json.loads(request.body)


def chunk(delta: dict[str, object], **more: object) -> bytes:
    choice = {"finish_reason": more.pop("finish_reason", None), "index": 0, "delta": delta}
    return b"data: " + json.dumps({"choices": [choice], "model": "nano", **more}).encode() + b"\n\n"


def progress(processed: int, total: int, cache: int = 0) -> bytes:
    report = {"total": total, "cache": cache, "processed": processed, "time_ms": 7}
    return chunk({"role": "assistant", "content": None}, prompt_progress=report)


ANSWER = b"".join(
    [
        progress(100, 600, cache=100),
        progress(256, 600, cache=100),
        progress(512, 600, cache=100),
        progress(600, 600, cache=100),
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "Gr"}),
        chunk({"content": "üße"}),
        chunk({}, finish_reason="stop"),
        b'data: {"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":600,"total_tokens":602}}\n\n',
        b"data: [DONE]\n\n",
    ]
)
EVENTS: list[Event] = [
    Progress("prefill", "Read 256 of 600 tokens.", 256 / 600),
    Progress("prefill", "Read 512 of 600 tokens.", 512 / 600),
    TextDelta("Gr"),
    TextDelta("üße"),
    Done("stop", Usage(600, 2, 602), "nano"),
]


@pytest.mark.parametrize("stream", [True, False])
def test_a_stream_with_progress_is_asked_for_whatever_the_caller_wants(stream: bool) -> None:
    request, body = sent(GenerationCall(CALL.messages, params=CALL.params, stream=stream))
    assert request.url == "http://127.0.0.1:1/chat/completions"
    assert request.headers["authorization"] == "Bearer the-key-of-the-engine"
    assert body["stream"] is True
    assert body["return_progress"] is True
    assert body["cache_prompt"] is True
    assert body["id_slot"] == 3
    assert (body["max_tokens"], body["top_k"]) == (5, 3)


def test_a_caller_cannot_choose_the_slot() -> None:
    _, body = sent(GenerationCall(CALL.messages, params=Params(extra={"id_slot": 0, "return_progress": False})))
    assert body["id_slot"] == 3
    assert body["return_progress"] is True


def test_tools_and_schema_are_in_the_same_request() -> None:
    _, body = sent(GenerationCall(CALL.messages, tools=(Tool("add"),), schema={"type": "object"}))
    assert body["tools"]
    assert body["response_format"]


def test_what_the_model_cannot_do_is_refused() -> None:
    codec = LlamaCppCodec(images=False, tools=False)
    with pytest.raises(UnsupportedFeature, match="images"):
        codec.request(GenerationCall((Message.user("look", [ImagePart(b"x", "image/png")]),)), TARGET)
    with pytest.raises(UnsupportedFeature, match="tools"):
        codec.request(GenerationCall(CALL.messages, tools=(Tool("add"),)), TARGET)


def test_progress_reports_become_events() -> None:
    reader = LlamaCppCodec().reader(CALL, "text/event-stream", TARGET)
    assert [*reader.feed(ANSWER), *reader.close()] == EVENTS


def test_the_events_are_the_same_at_every_cut() -> None:
    for cut in range(len(ANSWER) + 1):
        reader = LlamaCppCodec().reader(CALL, "text/event-stream", TARGET)
        events = [*reader.feed(ANSWER[:cut]), *reader.feed(ANSWER[cut:]), *reader.close()]
        assert events == EVENTS, cut
    reader = LlamaCppCodec().reader(CALL, "text/event-stream", TARGET)
    single = [event for byte in ANSWER for event in reader.feed(bytes([byte]))]
    assert [*single, *reader.close()] == EVENTS


def test_an_answer_in_one_piece_folds_to_the_same_reply() -> None:
    choice = {"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "Grüße"}}
    usage = {"completion_tokens": 2, "prompt_tokens": 600, "total_tokens": 602}
    reader = LlamaCppCodec().reader(CALL, "application/json", TARGET)
    whole, streamed = ReplyFold(), ReplyFold()
    whole.add(reader.feed(json.dumps({"choices": [choice], "model": "nano", "usage": usage}).encode()))
    whole.add(reader.close())
    streamed.add(EVENTS)
    assert whole.done() == streamed.done()


def test_a_report_that_makes_no_sense_is_a_protocol_error() -> None:
    reader = LlamaCppCodec().reader(CALL, "text/event-stream", TARGET)
    with pytest.raises(ProtocolError):
        reader.feed(b'data: {"prompt_progress": 7}\n\n')


def test_a_prompt_that_is_too_long_is_refused_with_both_counts() -> None:
    details = {
        "code": 400,
        "type": "exceed_context_size_error",
        "message": "m",
        "n_prompt_tokens": 49178,
        "n_ctx": 1024,
    }
    response = HttpResponse(400, {"content-type": "application/json"}, json.dumps({"error": details}).encode())
    error = LlamaCppCodec().error(response, TARGET)
    assert type(error) is ContextTooLong
    assert "49,178" in error.message
    assert "1,024" in error.message


@pytest.mark.parametrize("details", ["text", {"type": "exceed_context_size_error"}, {"n_ctx": "many"}])
def test_errors_without_counts_are_typed_all_the_same(details: object) -> None:
    response = HttpResponse(400, {"content-type": "application/json"}, json.dumps({"error": details}).encode())
    assert isinstance(LlamaCppCodec().error(response, TARGET), LollmsError)


def test_tokens_and_facts_are_read_with_care() -> None:
    request = tokenize_request(TARGET, "Grüße")
    assert json.loads(request.body) == {"content": "Grüße", "add_special": False, "parse_special": False}
    assert parse_tokens(HttpResponse(200, {}, b'{"tokens": [1, 2]}')) == [1, 2]
    assert parse_text(HttpResponse(200, {}, b'{"content": "x"}')) == "x"
    info = parse_props(
        HttpResponse(
            200,
            {},
            b'{"default_generation_settings": {"n_ctx": 512}, "total_slots": 2, "modalities": {"vision": true},'
            b' "chat_template_caps": {"supports_tools": true}}',
        ),
        "nano",
    )
    assert (info.name, info.context_size, info.supports_vision, info.supports_tools) == ("nano", 512, True, True)
    assert parse_props(HttpResponse(200, {}, b"{}"), "nano").context_size is None
    for parse in (parse_tokens, parse_text):
        for body in (b"", b"[]", b'{"tokens": ["a"]}', b"\xff"):
            with pytest.raises(ProtocolError):
                parse(HttpResponse(200, {}, body))
    with pytest.raises(ProtocolError):
        parse_props(HttpResponse(200, {}, b"[]"), "nano")
