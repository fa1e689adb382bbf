"""What a worker and its parent say to each other: frames over pipes, each with its length in front.

A frame is four bytes, its length as a big-endian number, and that many bytes of msgpack. The parent sends `Ask` and
`Stop`; the worker answers an `Ask` with any number of `Said`, each one batch of events (an empty one is a sign of
life), and then with one `Over` or `Failed`. Before its first frame a worker writes `MARK`: what an interpreter prints
while it starts, before anything of ours can run, comes before the mark and is skipped.

The values of `lollms_core.types` have no tags, because there nobody has to tell them apart by their bytes. So an event
goes with its name, and the parts of a message are told apart by what they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any, TypeAlias

import msgspec

from lollms_core.errors import InvalidRequest, ProtocolError
from lollms_core.types import (
    Batch,
    Done,
    Event,
    GenerationCall,
    ImagePart,
    Media,
    Message,
    Native,
    Notice,
    Params,
    Part,
    Progress,
    Role,
    TextDelta,
    TextPart,
    ThoughtDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
)

__all__ = [
    "LARGEST",
    "MARK",
    "Ask",
    "Failed",
    "Frame",
    "Over",
    "Said",
    "Stop",
    "call_of",
    "call_to_send",
    "encode_frame",
    "events_of",
    "named_events",
    "read_frame",
]

MARK = b"\x00lollms worker 1\x00"
"""What a worker writes first."""

LARGEST = 256 * 1024 * 1024
"""Bytes of a frame; a longer one is refused by who should read it."""

_LENGTH = 4


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """Do something: `what` is `load`, `generate`, `embed`, `tokenize` ...; `body` is what belongs to it."""

    id: int
    what: str
    body: Any = None


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop"):
    """Stop the work on the `Ask` of this id, at the next token."""

    id: int


class Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    """A batch of events: pairs of a name and the event's fields."""

    id: int
    events: tuple[tuple[str, Any], ...] = ()


class Over(msgspec.Struct, frozen=True, array_like=True, tag="over"):
    """The work is done; `result` is what came of it."""

    id: int
    result: Any = None


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """The work failed: the code, message and parameter of a `LollmsError`."""

    id: int
    code: str
    message: str
    param: str = ""


Frame: TypeAlias = Ask | Stop | Said | Over | Failed

_EVENTS: dict[str, type] = {
    "text": TextDelta,
    "thought": ThoughtDelta,
    "call": ToolCallDelta,
    "media": Media,
    "progress": Progress,
    "notice": Notice,
    "native": Native,
    "done": Done,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}


def encode_frame(frame: Frame) -> bytes:
    """A frame with its length. Raises `InvalidRequest` for values that are no data, or too many."""
    try:
        data = msgspec.msgpack.encode(frame)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"The request holds something that cannot be sent to an engine: {error}") from error
    if len(data) > LARGEST:
        raise InvalidRequest(f"The request has {len(data):,} bytes; an engine takes at most {LARGEST:,}.")
    return len(data).to_bytes(_LENGTH, "big") + data


def read_frame(pipe: IO[bytes], decoder: msgspec.msgpack.Decoder[Frame] | None = None) -> Frame | None:
    """The next frame of a blocking pipe; None at its end, also in the middle of a frame. Raises `ProtocolError`."""
    head = pipe.read(_LENGTH)
    if len(head) < _LENGTH:
        return None
    length = _length(head)
    data = pipe.read(length)
    if len(data) < length:
        return None
    return _decoded(decoder or msgspec.msgpack.Decoder(Frame), data)


def _length(head: bytes) -> int:
    length = int.from_bytes(head, "big")
    if length > LARGEST:
        raise ProtocolError(f"A frame of {length:,} bytes was announced; at most {LARGEST:,} are read.")
    return length


def _decoded(decoder: msgspec.msgpack.Decoder[Frame], data: bytes) -> Frame:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"A frame could not be read: {error}") from error


# ---- events and calls ----------------------------------------------------------------------------------------------


def named_events(batch: Batch) -> tuple[tuple[str, Event], ...]:
    """The events as a `Said` carries them. Raises `KeyError` for one that no engine gives."""
    return tuple((_NAMES[type(event)], event) for event in batch)


def events_of(said: Said) -> list[Event]:
    """The events of a `Said`. Raises `ProtocolError`."""
    try:
        return [msgspec.convert(fields, _EVENTS[name]) for name, fields in said.events]
    except (KeyError, msgspec.MsgspecError) as error:
        raise ProtocolError(f"An engine gave an event that could not be read: {error}") from error


class _Part(msgspec.Struct):
    text: str | None = None
    data: bytes = b""
    mime: str = ""


class _Message(msgspec.Struct):
    role: Role
    parts: list[_Part]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    native: Native | None = None


class _Call(msgspec.Struct):
    messages: list[_Message]
    model: str = ""
    params: Params = Params()
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    schema: dict[str, Any] | None = None


def call_to_send(call: GenerationCall) -> GenerationCall:
    """The call as it can be sent: of the parameters that only others understand, the names without the values."""
    if not call.params.extra:
        return call
    params = msgspec.structs.replace(call.params, extra=dict.fromkeys(map(str, call.params.extra)))
    return msgspec.structs.replace(call, params=params)


def call_of(body: Any) -> GenerationCall:
    """The call that was sent. Raises `ProtocolError`."""
    try:
        sent = msgspec.convert(body, _Call)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"A call could not be read: {error}") from error
    messages = tuple(
        Message(each.role, _parts(each.parts), each.tool_calls, each.tool_call_id, each.native)
        for each in sent.messages
    )
    return GenerationCall(messages, sent.model, sent.params, sent.stream, sent.tools, sent.schema)


def _parts(sent: Sequence[_Part]) -> tuple[Part, ...]:
    return tuple(ImagePart(each.data, each.mime) if each.text is None else TextPart(each.text) for each in sent)
