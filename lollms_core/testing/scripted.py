"""A model that plays back replies, as values: what it would send, batch by batch, with no I/O and no clock.

A scripted reply is one of

* `str`: the text of an answer, cut into word-like pieces;
* `Reply`: an answer with thoughts, tool calls, media, usage and so on; its batches fold to an equal `Reply`;
* `Exception`: the model fails with it before it says anything;
* a sequence of batches: sent exactly as they are; an `Exception` in the place of a batch is raised there;
* a function of the call that returns one of these.

The same reply always gives the same batches, so a test may name an event by its position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from lollms_core.types import (
    Batch,
    Done,
    GenerationCall,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCallDelta,
    Usage,
)

__all__ = ["Scripted", "ScriptedReply", "pieces", "play"]

ScriptedReply: TypeAlias = str | Reply | Exception | Sequence[Batch | Exception]
Scripted: TypeAlias = ScriptedReply | Callable[[GenerationCall], ScriptedReply]

_PIECE = re.compile(r"\s*\S+|\s+")


def pieces(text: str) -> list[str]:
    """Cut a text into words, each with the white space before it; joined, they are the text again."""
    return _PIECE.findall(text)


def play(scripted: Scripted, call: GenerationCall) -> Iterator[Batch]:
    """The batches of a scripted reply to `call`, one event in each; raises the scripted exception in its place."""
    reply = scripted(call) if callable(scripted) else scripted
    if isinstance(reply, Exception):
        raise reply
    if isinstance(reply, str):
        reply = Reply(text=reply, usage=_usage(reply, call), model=call.model)
    if isinstance(reply, Reply):
        yield from _batches(reply)
        return
    for batch in reply:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _batches(reply: Reply) -> Iterator[Batch]:
    for piece in pieces(reply.thoughts):
        yield (ThoughtDelta(piece),)
    for piece in pieces(reply.text):
        yield (TextDelta(piece),)
    index = 0
    for call in reply.tool_calls:
        arguments = msgspec.json.encode(call.arguments).decode()
        half = len(arguments) // 2
        yield (ToolCallDelta(index, call.id, call.name, arguments[:half]),)
        yield (ToolCallDelta(index, arguments=arguments[half:]),)
        index += 1
    for name, raw in reply.broken_calls:
        yield (ToolCallDelta(index, f"call_{index}", name, raw),)
        index += 1
    for media in reply.media:
        yield (media,)
    if reply.native is not None:
        yield (reply.native,)
    yield (Done(reply.finish_reason, reply.usage, reply.model, reply.receipt),)


def _usage(text: str, call: GenerationCall) -> Usage:
    """Words stand for tokens."""
    asked = sum(len(pieces(message.text)) for message in call.messages)
    answered = len(pieces(text))
    return Usage(asked, answered, asked + answered)
