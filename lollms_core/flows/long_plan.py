"""How a long text is worked on part by part: how large the parts may be, and how many calls that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import msgspec

__all__ = [
    "AROUND",
    "HEAD",
    "LEAST",
    "MOST_OF_A_REPLY",
    "UNSURE",
    "USUAL_CONTEXT",
    "Extent",
    "calls_for",
    "groups",
    "is_count",
    "is_long",
    "room_in",
]

AROUND = 64
"""Tokens of what a model's own template puts around the messages, at most."""
LEAST = 64
"""Tokens of text for which it is worth to ask at all."""
UNSURE = 0.8
"""How much of the room is used where tokens are estimates."""
USUAL_CONTEXT = 8_192
"""Tokens of the context where nobody knows it."""

MOST_OF_A_REPLY = 4_096
"""Tokens kept free for a reply, at most, where the caller sets no limit: every model of today may write so many."""
HEAD = 8
"""Tokens that a result needs beside its text where several are put together: "Parts 1000 to 2000:", empty lines."""

_SHORT = 2_000  # characters, which are about as many tokens at most


class Extent(msgspec.Struct, frozen=True):
    """Sizes in tokens: of a chunk (None: as much as fits), their overlap, the model's context; and calls at once."""

    chunk: int | None = None
    overlap: int = 250
    context: int = USUAL_CONTEXT
    parallel: int = 1

    def within(self, context: object, parallel: object) -> Extent:
        """The same in a context and with so many calls at once; what is no such number changes nothing."""
        return msgspec.structs.replace(
            self,
            context=context if is_count(context) else self.context,
            parallel=parallel if is_count(parallel) else self.parallel,
        )


def is_long(text: object) -> bool:
    """Whether the size of the model's context matters for a text: shorter ones fit into any."""
    return isinstance(text, str) and len(text) > _SHORT


def calls_for(chunks: int, summary: int, room: int) -> int:
    """The calls for so many chunks whose summaries have `summary` tokens each, of which `room` tokens fit in one call.

    Shorter summaries may take fewer. Nothing fails in this reckoning.
    """
    if chunks <= 1:
        return chunks
    calls, left = chunks, chunks
    size = min(summary + HEAD, room // 2)
    while left * size > room:
        grouped = groups([size] * left, room)
        calls += sum(len(each) > 1 for each in grouped)
        left = len(grouped)
    return calls + 1


def groups(sizes: Sequence[int], room: int) -> list[range]:
    """Neighbours that together have at most `room`, as ranges of places; one that is larger stands alone."""
    found: list[range] = []
    start = taken = 0
    for place, size in enumerate(sizes):
        if place > start and taken + size > room:
            found.append(range(start, place))
            start, taken = place, 0
        taken += size
    return [*found, range(start, len(sizes))] if sizes else []


def room_in(context: int, prompt: int, limit: int | None) -> int:
    """The tokens of text that fit in one call beside the prompt and the reply, whose limit is `limit`.

    A reply is left its limit, but not more than half; without one a quarter of the context, and `MOST_OF_A_REPLY` at
    most.
    """
    left = context - prompt
    return max(0, left - min(limit or min(context // 4, MOST_OF_A_REPLY), left // 2))


def is_count(value: object) -> TypeGuard[int]:
    """Whether something is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
