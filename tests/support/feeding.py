"""Feeds a reader in every way that matters and says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from lollms_core.errors import LollmsError
from lollms_core.fold import ReplyFold
from lollms_core.protocols.base import Limits, Reader
from lollms_core.protocols.lollms import LollmsReader
from lollms_core.protocols.lollms_webui import LollmsWebuiReader
from lollms_core.protocols.ollama_reader import OllamaReader
from lollms_core.protocols.openai_reader import ChatReader
from lollms_core.types import Event, Reply, TextDelta, ThoughtDelta, ToolCallDelta

TRANSCRIPTS = Path(__file__).resolve().parents[1] / "pure" / "transcripts"

Outcome = tuple[list[Event], type[LollmsError] | None, str]
"""The events in order, then the class and message of the error that ended the answer."""


def reader_for(name: str, content_type: str = "text/event-stream", limits: Limits | None = None) -> Reader:
    """The reader for a transcript of that name."""
    limits = limits or Limits()
    if name.startswith("webui_"):
        return LollmsWebuiReader(content_type, limits=limits)
    if name.startswith("ollama_"):
        return OllamaReader(content_type, limits=limits)
    if name.startswith("lollms_"):
        return LollmsReader(content_type, limits=limits)
    return ChatReader(content_type, limits=limits, think_tags=True)


def outcome(reader: Reader, chunks: Iterable[bytes]) -> Outcome:
    """All events and the error, if any; an exception that is not ours escapes and fails the test."""
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += reader.feed(chunk)
        events += reader.close()
    except LollmsError as error:
        return events, type(error), error.message
    return events, None, ""


def each_byte(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(ends)]


def merged(events: Iterable[Event]) -> list[Any]:
    """Events with neighbours of one kind (and tool call) joined: how an answer is cut into deltas is the backend's."""
    out: list[Any] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta):
            out[-1] = TextDelta(last.text + event.text)
        elif isinstance(event, ThoughtDelta) and isinstance(last, ThoughtDelta):
            out[-1] = ThoughtDelta(last.text + event.text)
        elif isinstance(event, ToolCallDelta) and isinstance(last, ToolCallDelta) and event.index == last.index:
            out[-1] = ToolCallDelta(last.index, last.id, last.name, last.arguments + event.arguments)
        else:
            out.append(event)
    return out


def folded(events: Iterable[Event]) -> Reply:
    fold = ReplyFold()
    fold.add(list(events))
    return fold.done()


def error_after(reader: Callable[[], Reader], data: bytes) -> LollmsError:
    """The error that an answer ends with."""
    made = reader()
    try:
        made.feed(data)
        made.close()
    except LollmsError as error:
        return error
    raise AssertionError("the answer was accepted")
