"""The sum of a stream: batches of events add up to one `Reply`, the same that a JSON answer gives."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from lollms_core.types import (
    Batch,
    Done,
    FinishReason,
    Item,
    Media,
    Native,
    Output,
    ReceiptItem,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

__all__ = ["ReplyFold"]


class _CallFold:
    """One tool call while its pieces arrive."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


_PIECES = 1024
_BY_ITSELF = ("tool_calls", "stop")
_REPAIRED = "the arguments for {} were no JSON object as the model wrote them, and were repaired"


def _joined(pieces: list[str], begin: int) -> int:
    """Make one of the pieces from `begin` on, because each takes sixty bytes beside its letters; how many there are."""
    pieces[begin:] = ["".join(pieces[begin:])]
    return len(pieces)


class ReplyFold:
    """Adds batches up to a `Reply`. `done()` may be called at any time: it gives what has come so far."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_finish",
        "_items",
        "_media",
        "_model",
        "_native",
        "_receipt",
        "_settled",
        "_settled_media",
        "_settled_thoughts",
        "_text",
        "_thoughts",
        "_usage",
    )

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._blocks = [0, 0]  # how many of the texts and thoughts are as large as they should be
        self._calls: dict[int, _CallFold] = {}
        self._media: list[Media] = []
        self._usage: Usage | None = None
        self._finish = ""
        self._model = ""
        self._receipt: tuple[ReceiptItem, ...] = ()
        self._native: Native | None = None
        self._items: list[Item] = []
        # How many of the texts, thoughts and media are in the items already.
        self._settled = 0
        self._settled_thoughts = 0
        self._settled_media = 0

    def add(self, batch: Batch) -> None:
        for event in batch:
            kind = type(event)
            if kind is TextDelta:
                self._text.append(event.text)  # type: ignore[union-attr]
            elif kind is ThoughtDelta:
                self._thoughts.append(event.text)  # type: ignore[union-attr]
            elif isinstance(event, ToolCallDelta):
                self._add_call(event)
            elif isinstance(event, Media):
                self._media.append(event)
            elif isinstance(event, Output):
                self._add_output(event)
            elif isinstance(event, Native):
                self._native = event
            elif isinstance(event, Done):
                self._finish = event.finish_reason or self._finish
                self._usage = event.usage or self._usage
                self._model = event.model or self._model
                self._receipt += event.receipt
        if len(self._text) - self._blocks[0] > _PIECES:
            self._blocks[0] = _joined(self._text, max(self._blocks[0], self._settled))
        if len(self._thoughts) - self._blocks[1] > _PIECES:
            self._blocks[1] = _joined(self._thoughts, max(self._blocks[1], self._settled_thoughts))

    def _add_call(self, piece: ToolCallDelta) -> None:
        call = self._calls.setdefault(piece.index, _CallFold())
        call.id = call.id or piece.id
        call.name = call.name or piece.name
        call.arguments.append(piece.arguments)

    def _add_output(self, output: Output) -> None:
        if output.replaces:
            self._items, self._text, self._thoughts, self._media = [], [], [], []
            self._blocks = [0, 0]
        else:
            self._items = self._in_order()
        for item in output.items:
            self._items.append(item)
            if item.kind == "text":
                self._text.append(str(item.data))
            if item.thoughts:
                self._thoughts.append(item.thoughts)
        self._settled, self._settled_thoughts = len(self._text), len(self._thoughts)
        self._settled_media = len(self._media)

    def _in_order(self) -> list[Item]:
        """The items, and after them what has come since the last."""
        text = "".join(self._text[self._settled :])
        thoughts = "".join(self._thoughts[self._settled_thoughts :])
        later = [Item("text", text, thoughts=thoughts or None)] if text or thoughts else []
        later += [_media_item(media) for media in self._media[self._settled_media :]]
        return self._items + later

    def done(self, finish_reason: FinishReason = "") -> Reply:
        """The reply so far; `finish_reason` overrides the one that was reported."""
        calls: list[ToolCall] = []
        broken: list[tuple[str, str]] = []
        receipt = self._receipt
        finish = finish_reason or self._finish
        for index, call in sorted(self._calls.items()):
            raw = "".join(call.arguments)
            try:
                arguments = msgspec.json.decode(raw or "{}", type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                found = _repaired(raw, finish)
                if found is None:
                    broken.append((call.name, raw))
                    continue
                arguments = found
                receipt += (ReceiptItem("tool_calls", "rewritten", _REPAIRED.format(call.name[:64])),)
            calls.append(ToolCall(call.id or f"call_{index}", call.name, arguments))
        return Reply(
            text="".join(self._text),
            thoughts="".join(self._thoughts),
            tool_calls=tuple(calls),
            media=tuple(self._media),
            usage=self._usage,
            finish_reason=finish or ("tool_calls" if calls else "stop"),
            model=self._model,
            receipt=receipt,
            broken_calls=tuple(broken),
            items=tuple(self._in_order()) if self._items else (),
            native=self._native,
        )


def _repaired(raw: str, finish: FinishReason) -> dict[str, Any] | None:
    """The object that arguments must mean; imported here, because nearly all arguments are right."""
    from lollms_core.text.json_repair import repaired

    return repaired(raw, finished=finish in _BY_ITSELF)


def _media_item(media: Media) -> Item:
    kind = media.mime.partition("/")[0]
    return Item(
        kind if kind in ("image", "audio", "video") else "image",
        base64.b64encode(media.data).decode("ascii"),
        media.mime,
    )
