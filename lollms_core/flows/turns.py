"""What flows add to a conversation, and what they show of an answer that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lollms_core.types import Message, TextPart

__all__ = ["excerpt", "with_words"]


def with_words(messages: Sequence[Message], words: str) -> tuple[Message, ...]:
    """The conversation, with words at the end of its last message, or as a turn of the user behind one of the model."""
    if not words:
        return tuple(messages)
    if not messages or messages[-1].role != "user":
        return (*messages, Message.user(words))
    last = messages[-1]
    return (*messages[:-1], msgspec.structs.replace(last, parts=(*last.parts, TextPart(f"\n\n{words}"))))


def excerpt(text: str, most: int = 2_000) -> str:
    """The first characters of a text, with a sign where more would follow."""
    return text if len(text) <= most else f"{text[:most]}…"
