"""What a codec costs for each event, fed the same text in memory, against the codec of OpenAI's protocol.

Every codec reads the same words, each in the event that its protocol has for a piece of text, with all that the public
references show beside it. They come one event at a time, as a slow model sends them, and twenty at a time. Rounds are
interleaved, and each takes the best of a few passes: the noise of a machine only ever adds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.table import Row, Table
from lollms_core.protocols.anthropic import MessagesCodec
from lollms_core.protocols.base import Codec, Target
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.gemini import GeminiCodec
from lollms_core.protocols.huggingface import TextTaskCodec
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.protocols.ollama import OllamaCodec
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.responses import ResponsesCodec
from lollms_core.types import GenerationCall, Message, TextDelta

RATIO = 1.3
TOKENS = 2000
TOGETHER = 20
PASSES = 7
CALL = GenerationCall((Message.user("Tell me a story."),), model="m", stream=True)
TARGET = Target("http://127.0.0.1:9/v1", provider="bench", model="m")
WORDS = [f" word{number % 97}" for number in range(TOKENS)]

Stream = tuple[list[bytes], list[bytes], list[bytes]]
"""What comes before the text, an event for each word, and the end."""


def measure(options: Any) -> list[Table]:
    """Both ways of feeding, every codec."""
    return [
        _table("one event at a time", 1, options.rounds),
        _table(f"{TOGETHER} events at a time", TOGETHER, options.rounds),
    ]


def _table(how: str, together: int, rounds: int) -> Table:
    made = {name: (make, kind, _chunks(stream(), together)) for name, (make, kind, stream) in CODECS.items()}
    rows = {name: Row(name, []) for name in CODECS}
    for _ in range(rounds):
        for name, (make, kind, chunks) in made.items():
            rows[name].values.append(min(_cost(make(), kind, chunks) for _ in range(PASSES)))
    table = Table(f"a codec's reader, {how}: CPU per event, µs", list(rows.values()))
    base = sorted(rows["openai"].values)[rounds // 2]
    for name in CODECS:
        if name != "openai":
            table.budget(f"{name} / openai", sorted(rows[name].values)[rounds // 2] / base, RATIO)
    return table


def _chunks(stream: Stream, together: int) -> list[bytes]:
    head, words, tail = stream
    return [*head, *(b"".join(words[at : at + together]) for at in range(0, len(words), together)), *tail]


def _cost(codec: Codec, kind: str, chunks: list[bytes]) -> float:
    reader = codec.reader(CALL, kind, TARGET)
    seen = 0
    began = time.process_time()
    for chunk in chunks:
        for event in reader.feed(chunk):
            seen += type(event) is TextDelta
    used = time.process_time() - began
    if seen != TOKENS:
        raise SystemExit(f"{type(codec).__name__} gave {seen} of {TOKENS} pieces of text")
    return used / TOKENS * 1e6


# ---- the streams ---------------------------------------------------------------------------------------------------


def _data(value: object) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"event: " + value["type"].encode() + b"\n" + _data(value)


def _openai() -> Stream:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data(
            {
                "id": "chatcmpl-123456789",
                "object": "chat.completion.chunk",
                "created": 1700000000,
                "model": "m",
                "service_tier": "default",
                "system_fingerprint": "fp_1",
                "choices": [choice],
            }
        )

    head = [chunk({"role": "assistant", "content": ""})]
    return head, [chunk({"content": word}) for word in WORDS], [chunk({}, "stop"), b"data: [DONE]\n\n"]


def _anthropic() -> Stream:
    begin = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m", "stop_reason": None}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    head = [
        _event({"type": "message_start", "message": {**begin, "usage": {"input_tokens": 5, "output_tokens": 1}}}),
        _event(block),
    ]
    words = [
        _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
        for word in WORDS
    ]
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    tail = [
        _event({"type": "content_block_stop", "index": 0}),
        _event({**ended, "usage": {"output_tokens": TOKENS}}),
        _event({"type": "message_stop"}),
    ]
    return head, words, tail


def _gemini() -> Stream:
    def chunk(text: str, **more: Any) -> bytes:
        content = {"parts": [{"text": text}], "role": "model"}
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12}
        return _data(
            {
                "candidates": [{"content": content, "index": 0, **more}],
                "usageMetadata": usage,
                "modelVersion": "m",
                "responseId": "abcdefgh",
            }
        )

    return [], [chunk(word) for word in WORDS], [chunk("", finishReason="STOP")]


def _responses() -> Stream:
    def of(kind: str, **more: Any) -> bytes:
        return _event({"type": f"response.{kind}", "sequence_number": 1, **more})

    response = {"id": "resp_1", "object": "response", "model": "m", "status": "in_progress", "output": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    whole = "".join(WORDS)
    text = {"type": "output_text", "text": whole, "annotations": []}
    done = {**item, "status": "completed", "content": [text]}
    head = [of("created", response=response), of("output_item.added", output_index=0, item=item)]
    words = [of("output_text.delta", **place, delta=word, logprobs=[], obfuscation="abcdef") for word in WORDS]
    usage = {"input_tokens": 5, "output_tokens": TOKENS, "total_tokens": TOKENS + 5}
    ended = {**response, "status": "completed", "output": [done], "usage": usage}
    return head, words, [of("output_item.done", output_index=0, item=done), of("completed", response=ended)]


def _ollama() -> Stream:
    def line(text: str, **more: Any) -> bytes:
        about = {"model": "m", "created_at": "2026-01-02T03:04:05.678901234Z"}
        return json.dumps({**about, "message": {"role": "assistant", "content": text}, **more}).encode() + b"\n"

    counts = {"done_reason": "stop", "prompt_eval_count": 5, "eval_count": TOKENS}
    return [], [line(word, done=False) for word in WORDS], [line("", done=True, **counts)]


def _lollms() -> Stream:
    words = [_data({"type": "chunk", "content": word, "thoughts": None, "metadata": {}}) for word in WORDS]
    item = {"type": "text", "data": "".join(WORDS), "metadata": {"finish_reason": "stop"}}
    return [], words, [_data({"type": "final", "content": [item], "thoughts": None, "metadata": {}})]


def _huggingface() -> Stream:
    def token(text: str, **more: Any) -> bytes:
        said = {"id": 5, "text": text, "logprob": -0.25, "special": False}
        return b"data:" + _data({"index": 1, "token": said, "generated_text": None, "details": None, **more})[6:]

    details = {"finish_reason": "eos_token", "generated_tokens": TOKENS, "seed": None}
    return [], [token(word) for word in WORDS], [token("", generated_text="".join(WORDS), details=details)]


CODECS: dict[str, tuple[Callable[[], Codec], str, Callable[[], Stream]]] = {
    "openai": (lambda: ChatCodec(OPENAI), "text/event-stream", _openai),
    "anthropic": (MessagesCodec, "text/event-stream", _anthropic),
    "gemini": (GeminiCodec, "text/event-stream", _gemini),
    "responses": (lambda: ResponsesCodec(OPENAI), "text/event-stream", _responses),
    "ollama": (OllamaCodec, "application/x-ndjson", _ollama),
    "lollms": (LollmsCodec, "text/event-stream", _lollms),
    "huggingface": (TextTaskCodec, "text/event-stream", _huggingface),
}
