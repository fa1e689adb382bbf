"""The native wire of /api/v1/generate: its structs, and the bytes that a server sends.

A stream is a sequence of `data: {...}` events, each a `StreamChunk` with all four fields present, and ends with one
`final` chunk that holds the whole output again. Text and thoughts travel as they come; what a chunk cannot carry in
pieces (tool calls, media, token counts) travels with `final`: a tool call as a `function_call` chunk right before it
and as an item of the output, the rest in items and their metadata. After an `error` chunk, `final` holds the partial
output, an `error` item and `metadata.status = "failed"`.

Where a provider wants the turn back in its own form, with its signatures, that form is in the `native` of the first
item's metadata; the caller gives it back in the metadata of the `assistant_message`.

The text of a chunk is encoded alone and set between constant bytes: half the cost of encoding a struct, the same bytes.

A text from a third-party binding may hold half of a surrogate pair, which UTF-8 cannot carry. Halves that meet are
joined, others become U+FFFD: an answer with one bad character is better than one that can never be finished.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lollms_core.errors import InternalError, LollmsError
from lollms_core.types import (
    Batch,
    Event,
    Item,
    Media,
    Notice,
    Output,
    Partial,
    Progress,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
)

__all__ = [
    "GenerateResponse",
    "OutputItem",
    "StreamChunk",
    "encode_batch",
    "encode_chunk",
    "encode_error",
    "encode_final",
    "encode_response",
    "error_metadata",
    "reply_output",
]


class OutputItem(msgspec.Struct):
    """One piece of output: `type` is text, image, audio, video (`data` is base64), json, error or info."""

    type: str
    data: Any = None
    mime_type: str | None = None
    thoughts: str | None = None
    metadata: dict[str, Any] | None = msgspec.field(default_factory=dict)


class StreamChunk(msgspec.Struct, gc=False):
    """One event of a stream: `type` is chunk, info, error, function_call or final."""

    type: str
    content: Any = None
    thoughts: str | None = None
    metadata: dict[str, Any] | None = msgspec.field(default_factory=dict)


class GenerateResponse(msgspec.Struct):
    """The body of an answer that is not streamed; `execution_time` in seconds."""

    personality: str | None = None
    request_id: str = ""
    output: list[OutputItem] = msgspec.field(default_factory=list)
    execution_time: float = 0.0


_encode = msgspec.json.Encoder().encode

_TEXT = b'data: {"type":"chunk","content":'
_TEXT_END = b',"thoughts":null,"metadata":{}}\n\n'
_THOUGHT = b'data: {"type":"chunk","content":"","thoughts":'
_THOUGHT_END = b',"metadata":{}}\n\n'


def encode_batch(batch: Batch) -> bytes:
    """The chunks of a batch, joined: text, thoughts, and progress and notices as `info`.

    Pieces of tool calls, media and `Done` give nothing here; they are part of the reply, from which `reply_output` and
    `encode_final` make theirs.
    """
    try:
        return b"".join(
            [_TEXT + _encode(event.text) + _TEXT_END if type(event) is TextDelta else _other(event) for event in batch]
        )
    except UnicodeEncodeError:
        return b"".join(
            [_TEXT + _bytes(event.text) + _TEXT_END if type(event) is TextDelta else _other(event) for event in batch]
        )


def _other(event: Event) -> bytes:
    if type(event) is ThoughtDelta:
        return _THOUGHT + _bytes(event.text) + _THOUGHT_END
    if isinstance(event, Output):
        return b"" if event.replaces else b"".join(map(_shown, event.items))
    if isinstance(event, Progress):
        places = {"kind": event.kind, "position": event.position, "fraction": event.fraction}
        given: dict[str, Any] = {name: value for name, value in places.items() if value is not None}
        if event.data:
            given["data"] = dict(event.data)
        return encode_chunk(StreamChunk("info", event.message, None, given))
    if isinstance(event, Partial):
        return encode_chunk(StreamChunk("info", "", None, {"kind": "partial", "data": event.value}))
    if isinstance(event, Notice):
        metadata: dict[str, Any] = {"kind": "notice", "level": event.level}
        if event.data:
            metadata["data"] = dict(event.data)
        return encode_chunk(StreamChunk("info", event.text, None, metadata))
    return b""


def _shown(item: Item) -> bytes:
    """What of an item is seen before the end: text, and information; the rest comes with `final`."""
    if item.kind == "text":
        return encode_chunk(StreamChunk("chunk", item.data, item.thoughts, dict(item.metadata)))
    if item.kind == "info":
        return encode_chunk(StreamChunk("info", item.data, None, dict(item.metadata)))
    return b""


def encode_chunk(chunk: StreamChunk) -> bytes:
    """One event."""
    return b"data: " + _bytes(chunk) + b"\n\n"


def encode_error(error: LollmsError) -> bytes:
    """The `error` chunk of a stream that failed; `final` follows."""
    return encode_chunk(StreamChunk("error", error.message, None, error_metadata(error)))


def error_metadata(error: LollmsError) -> dict[str, Any]:
    """What programs want to know of an error: its stable `code`, and the fields that are set."""
    fields = {
        "code": error.code,
        "upstream_code": error.upstream_code,
        "retry_after": error.retry_after,
        "param": error.param,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def encode_final(output: Sequence[OutputItem], metadata: Mapping[str, Any]) -> bytes:
    """The end of a stream: a `function_call` chunk for each tool call of the output, then the `final` chunk."""
    calls = [
        encode_chunk(StreamChunk("function_call", item.data))
        for item in output
        if item.type == "json" and (item.metadata or {}).get("kind") == "tool_call"
    ]
    return b"".join([*calls, encode_chunk(StreamChunk("final", list(output), None, dict(metadata)))])


def encode_response(response: GenerateResponse) -> bytes:
    """The body of an answer that is not streamed."""
    return _bytes(response)


def reply_output(reply: Reply, *, failed: LollmsError | None = None) -> list[OutputItem]:
    """The output of a reply: its text with the thoughts, then tool calls and media; the first item has the metadata.

    A reply of media alone has no text item; one that came in items keeps them, each with its own metadata. With
    `failed`, an `error` item ends the list.
    """
    about: dict[str, Any] = {
        "model_used": reply.model or None,
        "finish_reason": reply.finish_reason,
        "usage": _usage(reply),
        "receipt": _receipt(reply) if reply.receipt else [],
    }
    items = _items(reply) if reply.items else []
    if not items and (reply.text or reply.thoughts or not reply.media):
        items.append(OutputItem("text", reply.text, None, reply.thoughts or None))
    if reply.tool_calls:
        items += [_call_item(call) for call in reply.tool_calls]
    for name, raw in reply.broken_calls:
        items.append(OutputItem("json", {"name": name, "arguments": raw}, metadata={"kind": "broken_tool_call"}))
    if reply.media and not reply.items:
        items += [_media_item(media) for media in reply.media]
    if reply.native is not None:
        about["native"] = {"protocol": reply.native.protocol, "data": reply.native.data}
    items[0].metadata = {**about, **(items[0].metadata or {})}
    if failed is not None:
        items.append(OutputItem("error", failed.message, metadata=error_metadata(failed)))
    return items


def _receipt(reply: Reply) -> list[dict[str, str]]:
    return [{"name": each.name, "action": each.action, "reason": each.reason} for each in reply.receipt]


def _items(reply: Reply) -> list[OutputItem]:
    return [OutputItem(i.kind, i.data, i.mime, i.thoughts, dict(i.metadata)) for i in reply.items]


def _usage(reply: Reply) -> dict[str, int | None] | None:
    used = reply.usage
    if used is None:
        return None
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.total_tokens,
    }


def _call_item(call: ToolCall) -> OutputItem:
    data = {"id": call.id, "name": call.name, "arguments": call.arguments}
    return OutputItem("json", data, metadata={"kind": "tool_call"})


def _media_item(media: Media) -> OutputItem:
    kind = media.mime.partition("/")[0]
    kind = kind if kind in ("image", "audio", "video") else "image"
    return OutputItem(kind, base64.b64encode(media.data).decode("ascii"), media.mime)


# ---- text that UTF-8 cannot carry ----------------------------------------------------------------------------------


def _bytes(value: object) -> bytes:
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_clean(msgspec.to_builtins(value)))
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InternalError(f"A binding gave an output that cannot be written as JSON: {error}") from None


def _whole(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, dict):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value
