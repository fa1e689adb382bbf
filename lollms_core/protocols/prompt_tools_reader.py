"""Reads the answers of a model that was told of tools in its prompt: the calls in its text become events.

Everything but the text is passed on as the reader inside gives it; see `prompt_tools` for the format, and
`prompt_tools_splitter` for what is taken as a call.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import Reader
from lollms_core.protocols.prompt_tools_splitter import CallSplitter
from lollms_core.types import Batch, Done, Event, Native, TextDelta, ToolCallDelta

__all__ = ["PromptToolsReader"]


class PromptToolsReader:
    """A reader around another: calls in the text become events. `names` are those of the tools that are offered."""

    __slots__ = ("_calls", "_inner", "_places", "_splitter")

    def __init__(self, inner: Reader, names: Collection[str]) -> None:
        self._inner = inner
        self._splitter = CallSplitter(names)
        self._places: dict[int, int] = {}  # the places of calls that the provider knows of itself
        self._calls = 0

    @property
    def error(self) -> LollmsError | None:
        return self._inner.error

    @property
    def finished(self) -> bool:
        return self._inner.finished

    def feed(self, data: bytes) -> Batch:
        """See `Reader.feed`."""
        out: list[Event] = []
        self._take(self._inner.feed(data), out)
        return out

    def close(self) -> Batch:
        """See `Reader.close`."""
        out: list[Event] = []
        self._take(self._inner.close(), out)
        self._add(self._splitter.close(), out)
        return out

    def _take(self, batch: Batch, out: list[Event]) -> None:
        feed = self._splitter.feed
        for event in batch:
            kind = type(event)
            if kind is TextDelta:
                self._add(feed(event.text), out)  # type: ignore[union-attr]
            elif isinstance(event, ToolCallDelta):
                place = self._places.get(event.index)
                if place is None:
                    place = self._places[event.index] = self._calls
                    self._calls += 1
                out.append(msgspec.structs.replace(event, index=place))
            elif isinstance(event, Done | Native):
                self._add(self._splitter.close(), out)
                if self._calls and isinstance(event, Done) and event.finish_reason == "stop":
                    event = msgspec.structs.replace(event, finish_reason="tool_calls")
                out.append(event)
            else:
                out.append(event)

    def _add(self, found: Sequence[TextDelta | tuple[str, str]], out: list[Event]) -> None:
        for each in found:
            if isinstance(each, TextDelta):
                out.append(each)
            else:
                out.append(ToolCallDelta(self._calls, f"call_{self._calls}", *each))
                self._calls += 1
