"""One content block of an answer of the Messages protocol, while it comes and when it goes back.

A block begins with what its start holds and grows by deltas. What of it belongs to the answer is given at once as
events; all of it is kept, because a turn with signed thoughts must go back as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from lollms_core.types import Event, TextDelta, ThoughtDelta, ToolCallDelta

__all__ = ["Block"]


class _Delta(Protocol):
    """What may come of a block."""

    type: str | None
    text: str | None
    thinking: str | None
    partial_json: str | None
    signature: str | None
    citation: Any


class Block:
    """One block. `start` is how it begins; `place` numbers it among the calls of tools, if it is one.

    Attributes: `kind` is the type; `pieces` are those of its text or thoughts; `is_signed` says that the provider wants
    it back, `is_broken` that it cannot go back (after `as_sent`).
    """

    __slots__ = ("_citations", "_json", "_place", "_signature", "_start", "is_broken", "kind", "pieces")

    def __init__(self, start: Mapping[str, Any], place: int) -> None:
        self.kind = _string(start.get("type"))
        self._start = start
        self._place = place
        self.pieces: list[str] = []
        self._json: list[str] = []
        self._signature = _string(start.get("signature"))
        citations = start.get("citations")
        self._citations: list[Any] = list(citations) if isinstance(citations, list) else []
        self.is_broken = False

    def begin(self, out: list[Event]) -> None:
        """Add the events of what the start holds."""
        if self.kind == "tool_use":
            out.append(ToolCallDelta(self._place, self._id, _string(self._start.get("name")), ""))
        elif self.kind == "text" and (text := _string(self._start.get("text"))):
            self._say(text, out)
        elif self.kind == "thinking" and (thought := _string(self._start.get("thinking"))):
            self._think(thought, out)

    def add(self, delta: _Delta, out: list[Event]) -> None:
        """Add the events of a delta; one of another kind of block, or of an unknown kind, is passed over."""
        kind = delta.type
        if kind == "text_delta" and self.kind == "text" and delta.text:
            self._say(delta.text, out)
        elif kind == "thinking_delta" and self.kind == "thinking" and delta.thinking:
            self._think(delta.thinking, out)
        elif kind == "signature_delta" and delta.signature:
            self._signature = delta.signature
        elif kind == "input_json_delta" and delta.partial_json:
            self._json.append(delta.partial_json)
            if self.kind == "tool_use":
                out.append(ToolCallDelta(self._place, "", "", delta.partial_json))
        elif kind == "citations_delta" and delta.citation is not None:
            self._citations.append(delta.citation)

    def end(self, out: list[Event]) -> None:
        """The block is complete: the arguments of a call that came with its start."""
        if self.kind == "tool_use" and not self._json and (arguments := self._start.get("input")):
            self._json.append(msgspec.json.encode(arguments).decode())
            out.append(ToolCallDelta(self._place, "", "", self._json[0]))

    @property
    def is_signed(self) -> bool:
        """Whether these are thoughts that go back with the turn."""
        return self.kind == "redacted_thinking" or (self.kind == "thinking" and bool(self._signature))

    def as_sent(self) -> dict[str, Any] | None:
        """The block as it goes back; None for what must not: an empty text, thoughts that were cut off unsigned."""
        if self.kind == "text":
            text = "".join(self.pieces)
            cited = {"citations": self._citations} if self._citations else {}
            return {"type": "text", "text": text, **cited} if text.strip() else None
        if self.kind == "thinking":
            thoughts = {"type": "thinking", "thinking": "".join(self.pieces), "signature": self._signature}
            return thoughts if self._signature else None
        sent = {name: value for name, value in self._start.items() if value is not None}
        if self.kind == "tool_use":
            sent["id"] = self._id
            sent["input"] = {}
        if self._json:
            try:
                sent["input"] = msgspec.json.decode("".join(self._json), type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                self.is_broken = True
        return sent

    @property
    def _id(self) -> str:
        return _string(self._start.get("id")) or f"call_{self._place}"

    def _say(self, text: str, out: list[Event]) -> None:
        self.pieces.append(text)
        out.append(TextDelta(text))

    def _think(self, thought: str, out: list[Event]) -> None:
        self.pieces.append(thought)
        out.append(ThoughtDelta(thought))


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
