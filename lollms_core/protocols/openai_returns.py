"""What of an answer its provider wants back with the next turn, gathered while the answer comes.

DeepSeek wants the thoughts that led to a tool call (`reasoning_content`), OpenRouter the signed ones of whoever answers
behind it (`reasoning_details`), pieces of which belong together by their `index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lollms_core.types import Native

__all__ = ["Returned"]

_GROWING = ("text", "summary", "data", "signature")  # fields of a detail that come in pieces


class Returned:
    """The fields of a message that go back with it; `fields` are their names."""

    __slots__ = ("_fields", "_values")

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = tuple(fields)
        self._values: dict[str, Any] = {}

    def add(self, part: object) -> None:
        """A piece of the message, or all of it: an object with the fields as attributes."""
        for name in self._fields:
            value = getattr(part, name, None)
            if isinstance(value, str) and value:
                self._values[name] = str(self._values.get(name, "")) + value
            elif isinstance(value, list):
                details = self._values.setdefault(name, [])
                for detail in value:
                    if isinstance(detail, dict):
                        _join(details, detail)

    def native(self, protocol: str) -> Native | None:
        """All of it; None if there is nothing to give back."""
        return Native(protocol, self._values) if self._values else None


def _join(details: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    last = details[-1] if details else {}
    same = last.get("index") == piece.get("index") is not None and last.get("type") == piece.get("type")
    if not same:
        details.append(dict(piece))
        return
    for name, value in piece.items():
        if name in _GROWING and isinstance(value, str) and isinstance(last.get(name), str):
            last[name] += value
        elif value is not None:
            last[name] = value
