"""Views: what a user sees of a model's answer that is meant for a flow."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from lollms_core.text.partial_json import NOTHING, PartialJson
from lollms_core.types import Batch, Event, Notice, Output, Partial, Progress, TextDelta, ThoughtDelta, ToolCallDelta

__all__ = ["Hidden", "JsonView"]


class Hidden:
    """Shows that something is going on, and perhaps what the model thinks, and nothing of the answer itself."""

    enough = False

    def __init__(self, *, thoughts: bool = True) -> None:
        self._shown = (Progress, Notice, ThoughtDelta) if thoughts else (Progress, Notice)

    def feed(self, batch: Batch) -> Batch:
        return [event for event in batch if isinstance(event, self._shown)]


_SMALL = 2_000
_GROWTH = 32


class JsonView(Hidden):
    """As `Hidden`, and the JSON of the answer as it grows, as `Partial` events with a copy of the value so far.

    Once the model calls a tool, the value is the arguments of that call. While its text is short, each batch that
    changes the value shows it; later it is shown when the text has grown by a thirty-second, and when it is complete,
    so that all of them together cost linear time.
    """

    def __init__(self, *, thoughts: bool = True) -> None:
        super().__init__(thoughts=thoughts)
        self._inside = ""
        self._json = PartialJson("{")
        self._call: int | None = None  # the tool call whose arguments are shown
        self._seen = 0  # changes of the value that were shown
        self._size = 0  # of the value's text when it was shown
        self._has_text = False

    def look_inside(self, name: str) -> None:
        """The value may stand in the property of this name of an object that has no other."""
        self._inside = name
        self._json = PartialJson()

    @override
    def feed(self, batch: Batch) -> Batch:
        shown: list[Event] = []
        for event in batch:
            if isinstance(event, self._shown):
                shown.append(event)
            else:
                self._read(event)
        partial = self._partial()
        return shown if partial is None else [*shown, partial]

    def _read(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._has_text = True
            if self._call is None:
                self._json.feed(event.text)
        elif isinstance(event, ToolCallDelta):
            if self._call is None:
                self._call, self._json = event.index, PartialJson("{")
                self._seen = self._size = 0
            if event.index == self._call:
                self._json.feed(event.arguments)
        elif isinstance(event, Output) and self._call is None and not self._has_text:
            for item in event.items:
                if item.kind == "text":
                    self._json.feed(str(item.data))

    def has_shown(self, value: Any) -> bool:
        """Whether the last that was shown is this value."""
        last = self._value() if self._seen == self._json.changes else NOTHING
        return type(last) is type(value) and bool(last == value)

    def _partial(self) -> Partial | None:
        """The value, when it is time to show it."""
        json = self._json
        if json.changes == self._seen:
            return None
        if json.size < self._size:
            self._size = 0  # another value has taken the place of the one before
        if json.size > _SMALL and not json.is_complete and (json.size - self._size) * _GROWTH < json.size:
            return None
        value = self._value()
        self._seen, self._size = json.changes, json.size
        return None if value is NOTHING else Partial(value)

    def _value(self) -> Any:
        """A copy of the value so far, out of the object that it stands in; `NOTHING` where it has not begun."""
        value = self._json.value()
        if not self._inside or not isinstance(value, dict):
            return value
        if list(value) == [self._inside]:
            return value[self._inside]
        return value if value and self._json.is_complete else NOTHING
