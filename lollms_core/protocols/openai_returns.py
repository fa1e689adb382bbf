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
    """The fields of a message that go back with it; `fields` are their names.

    Pieces of text are kept apart until the end: joining each to all before it would take ever longer.
    """

    __slots__ = ("_details", "_fields", "_texts")

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = tuple(fields)
        self._texts: dict[str, list[str]] = {}
        self._details: dict[str, list[dict[str, Any]]] = {}  # texts in them that grow are lists of their pieces

    def add(self, part: object) -> None:
        """A piece of the message, or all of it: an object with the fields as attributes."""
        for name in self._fields:
            value = getattr(part, name, None)
            if isinstance(value, str) and value:
                self._texts.setdefault(name, []).append(value)
            elif isinstance(value, list):
                details = self._details.setdefault(name, [])
                for detail in value:
                    if isinstance(detail, dict):
                        _join(details, detail)

    def native(self, protocol: str) -> Native | None:
        """All of it; None if there is nothing to give back."""
        values: dict[str, Any] = {name: "".join(pieces) for name, pieces in self._texts.items()}
        for name, details in self._details.items():
            values[name] = [{key: _joined(key, value) for key, value in detail.items()} for detail in details]
        return Native(protocol, values) if values else None


def _joined(name: str, value: object) -> object:
    return "".join(value) if name in _GROWING and isinstance(value, _Pieces) else value


class _Pieces(list[str]):
    """A text in pieces, told from a list that the provider sent."""


def _join(details: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    last = details[-1] if details else {}
    same = last.get("index") == piece.get("index") is not None and last.get("type") == piece.get("type")
    if not same:
        details.append({name: _begun(name, value) for name, value in piece.items()})
        return
    for name, value in piece.items():
        grown = last.get(name)
        if isinstance(value, str) and isinstance(grown, _Pieces):
            grown.append(value)
        elif value is not None:
            last[name] = _begun(name, value)


def _begun(name: str, value: object) -> object:
    return _Pieces([value]) if name in _GROWING and isinstance(value, str) else value
