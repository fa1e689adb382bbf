"""What documented bindings and scripts answer, as events: every documented form, whole or in chunks.

A text is looked through for thoughts and becomes deltas. Finished items, from a dictionary or a list, keep their order,
their media types and their own metadata; where they are one text with media behind it and nothing more, the plain
events say all of that. The content of a stream's `final` chunk is the whole answer: when its text was shown in chunks
already it is not shown again, and where the two differ the final one counts. A final chunk without any text, though,
takes nothing back.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lollms_core.errors import EngineError
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import Done, Event, Item, Media, Notice, Output, TextDelta, ThoughtDelta, ToolCallDelta, Usage

__all__ = ["AnswerReader", "output_items"]

_log = logging.getLogger(__name__)
_MAX_SAID = 500
_MEDIA = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}
_KINDS = ("text", *_MEDIA, "json", "error", "info", "function_call")
_FIELDS = ("type", "data", "mime_type", "thoughts", "metadata")
_ABOUT = ("usage", "finish_reason", "model_used")


def output_items(result: Any) -> list[dict[str, Any]]:
    """Whatever a documented `generate` returns as a list of items with `type` and `data`. Raises TypeError."""
    if result is None:
        return []
    if isinstance(result, str):
        return [{"type": "text", "data": result}]
    if hasattr(result, "model_dump"):
        result = result.model_dump(mode="json")
    if isinstance(result, Mapping):
        return _items(result)
    if isinstance(result, Sequence) and not isinstance(result, bytes | bytearray):
        return [item for each in result for item in output_items(each)]
    raise TypeError(f"a binding returned {type(result).__name__} instead of text, a dictionary or a list of them")


def _items(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of one dictionary: one that is an item, one that names its parts, or any other as JSON."""
    if "type" in given and "data" in given:
        return [dict(given)] if given["type"] in _KINDS else [{"type": "json", "data": dict(given)}]
    parts = [name for name in ("text", "image_base64", "audio_base64", "video_base64") if given.get(name) is not None]
    if not parts:
        return [{"type": "json", "data": dict(given)}]
    items: list[dict[str, Any]] = []
    for name in parts:
        items.append({"type": name.removesuffix("_base64"), "data": given[name]})
        if name != "text" and given.get("mime_type"):
            items[-1]["mime_type"] = given["mime_type"]
    if "text" in parts and given.get("thoughts"):
        items[0]["thoughts"] = given["thoughts"]
    rest = {name: value for name, value in given.items() if name not in parts and name not in _FIELDS}
    metadata = given.get("metadata")
    if own := {**rest, **metadata} if isinstance(metadata, Mapping) else rest:
        items[0]["metadata"] = own
    return items


class AnswerReader:
    """Reads one answer. `failure` is set when it said that it failed; what came before that counts."""

    def __init__(self, model: str = "") -> None:
        self.failure: EngineError | None = None
        self._splitter = ThoughtSplitter()
        self._text: list[str] = []  # what was shown
        self._thoughts: list[str] = []
        self._finished = False  # whether finished items were shown
        self._calls = 0
        self._done = Done(model=model)

    def feed(self, chunk: Any) -> list[Event]:
        """The events of one chunk of a stream. Raises TypeError for what is no chunk."""
        if hasattr(chunk, "model_dump"):
            chunk = chunk.model_dump(mode="json")
        if isinstance(chunk, str):
            return self._said(chunk)
        if not isinstance(chunk, Mapping):
            raise TypeError(f"a binding streamed {type(chunk).__name__} instead of text or a dictionary")
        kind, content = str(chunk.get("type", "chunk")), chunk.get("content")
        if kind == "final":
            events = self._final(content)
            self._note(chunk.get("metadata"))
            return events
        self._note(chunk.get("metadata"))
        if kind == "chunk":
            if isinstance(content, Mapping | list | tuple):
                return [*self._flush(), *self._shown(*self._read(output_items(content)))]
            thoughts = chunk.get("thoughts")
            content = chunk.get("text") if content is None else content
            return [*self._thought(thoughts), *self._said("" if content is None else content, split=thoughts is None)]
        if kind == "function_call" and isinstance(content, Mapping):
            return [self._call(content)]
        if kind == "error":
            self._fail(content)
            return []
        if kind in _KINDS and "data" in chunk:  # an item where a chunk belongs
            return [*self._flush(), *self._shown(*self._read(output_items(chunk)))]
        return [Notice("info", _clean(str(content)))] if content else []

    def whole(self, result: Any) -> list[Event]:
        """The events of a whole answer. Raises TypeError for what is none."""
        if isinstance(result, str):
            return self._said(result)
        return self._shown(*self._read(output_items(result)))

    def end(self) -> list[Event]:
        """What is left when the answer is complete."""
        return [*self._flush(), self._done]

    # ---- text

    def _said(self, text: Any, *, split: bool = True) -> list[Event]:
        text = _checked(text)
        if not text:
            return []
        if split:
            return self._counted(self._splitter.feed(text))
        return [*self._flush(), *self._counted([TextDelta(text)])]

    def _thought(self, thoughts: Any) -> list[Event]:
        return self._counted([ThoughtDelta(_clean(thoughts))]) if isinstance(thoughts, str) and thoughts else []

    def _flush(self) -> list[Event]:
        """What the splitter holds back; what comes after it begins anew."""
        events = self._counted(self._splitter.close())
        self._splitter = ThoughtSplitter()
        return events

    def _counted(self, events: Sequence[TextDelta | ThoughtDelta]) -> list[Event]:
        for event in events:
            (self._text if isinstance(event, TextDelta) else self._thoughts).append(event.text)
        return list(events)

    # ---- items

    def _read(self, items: Sequence[Mapping[str, Any]]) -> tuple[list[Item], list[Event]]:
        """The finished pieces and the tool calls of items, up to one that is an error."""
        pieces: list[Item] = []
        calls: list[Mapping[str, Any]] = []
        for item in items:
            if item["type"] == "error":
                self._fail(item["data"])
                break
            if item["type"] == "function_call" and isinstance(item["data"], Mapping):
                calls.append(item["data"])
            else:
                pieces.append(_piece(item))
        for piece in reversed(pieces):  # of several, the first speaks for the answer
            self._note(piece.metadata)
        if pieces:
            own = {name: value for name, value in pieces[0].metadata.items() if name not in _ABOUT}
            pieces[0] = msgspec.structs.replace(pieces[0], metadata=own)
        return pieces, [self._call(call) for call in calls[self._calls :]]

    def _shown(self, pieces: Sequence[Item], calls: Sequence[Event]) -> list[Event]:
        if not _is_plain(pieces):
            self._finished = True
            return [Output(tuple(pieces)), *calls]
        events: list[Event] = []
        for piece in pieces:
            if piece.kind == "text":
                events += [*self._thought(piece.thoughts), *self._said(piece.data, split=False)]
            else:
                self._finished = True
                events.append(_media(piece))
        return [*events, *calls]

    def _final(self, content: Any) -> list[Event]:
        """The whole answer at the end of a stream, without what was shown already."""
        before = self._flush()
        pieces, calls = self._read(output_items(content))
        text, thoughts = "".join(self._text), "".join(self._thoughts)
        if not (text or thoughts or self._finished):
            return [*before, *self._shown(pieces, calls)]
        texts = [place for place, piece in enumerate(pieces) if piece.kind == "text"]
        if len(texts) == 1:
            piece = pieces[texts[0]]
            if piece.data == text or not piece.data:
                pieces[texts[0]] = piece = msgspec.structs.replace(
                    piece, data=text, thoughts=piece.thoughts or thoughts or None
                )
            if not self._finished and _is_plain(pieces) and (piece.data, piece.thoughts or "") == (text, thoughts):
                return [*before, *map(_media, pieces[1:]), *calls]
        if not pieces or (not texts and not self._finished):
            return [*before, *self._shown(pieces, calls)]
        return [*before, Output(tuple(pieces), replaces=True), *calls]

    # ---- the rest

    def _call(self, given: Mapping[str, Any]) -> ToolCallDelta:
        index, self._calls = self._calls, self._calls + 1
        arguments = given.get("arguments") or {}
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(_plain(arguments)).decode()
        return ToolCallDelta(index, str(given.get("id") or f"call_{index}"), str(given.get("name") or ""), text)

    def _fail(self, said: Any) -> None:
        _log.warning("A binding reported an error: %s", str(said)[:_MAX_SAID])
        self.failure = EngineError("The binding reported an error; the server's log has its words.")

    def _note(self, metadata: Any) -> None:
        """Take usage, model and finish reason out of metadata, under the names that are in use."""
        if not isinstance(metadata, Mapping):
            return
        before = self._done
        usage = metadata.get("usage")
        reason = metadata.get("finish_reason")
        model = metadata.get("model_used") or metadata.get("model")
        self._done = Done(
            finish_reason=str(reason) if reason else before.finish_reason,
            usage=_usage(usage) if isinstance(usage, Mapping) else before.usage,
            model=str(model) if model else before.model,
        )


def _is_plain(pieces: Sequence[Item]) -> bool:
    """Whether plain events say all: at most one text, first, then media, and nothing has metadata of its own."""
    for place, piece in enumerate(pieces):
        if piece.metadata or (piece.kind not in _MEDIA and (place or piece.kind != "text" or piece.mime is not None)):
            return False
        if piece.kind in _MEDIA and piece.thoughts:
            return False
    return True


def _media(piece: Item) -> Media:
    return Media(base64.b64decode(piece.data), str(piece.mime))


def _piece(item: Mapping[str, Any]) -> Item:
    """One item as a value: its text split, its media checked, everything in it fit for JSON."""
    kind, data, mime = str(item["type"]), item["data"], item.get("mime_type")
    mime = str(mime) if mime else None
    thoughts, metadata = item.get("thoughts"), item.get("metadata")
    thoughts = _clean(thoughts) if isinstance(thoughts, str) and thoughts else None
    if kind == "text":
        data = _checked("" if data is None else data)
        if thoughts is None:
            data, thoughts = _split(data)
    elif kind in _MEDIA:
        data, shown = _base64(data)
        mime = mime or shown or _MEDIA[kind]
    else:
        data = _plain(data)
    own = _plain(metadata, strict=False) if isinstance(metadata, Mapping) else {}
    return Item(kind, data, mime, thoughts, own)


def _split(text: str) -> tuple[str, str | None]:
    splitter = ThoughtSplitter()
    said: dict[type, list[str]] = {TextDelta: [], ThoughtDelta: []}
    for event in (*splitter.feed(text), *splitter.close()):
        said[type(event)].append(event.text)
    return "".join(said[TextDelta]), "".join(said[ThoughtDelta]) or None


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a binding answered {type(text).__name__} where text belongs")
    return _clean(text)


def _clean(text: str) -> str:
    """The text, with what no encoding can say replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _base64(data: Any) -> tuple[str, str | None]:
    """Media as plain base64, and the media type where the data themselves name it."""
    if isinstance(data, bytes | bytearray):
        return base64.b64encode(data).decode("ascii"), None
    shown = None
    if isinstance(data, str) and data.startswith("data:"):
        head, _, data = data.partition(",")
        shown = head.removeprefix("data:").partition(";")[0] or None
    try:
        decoded = base64.b64decode("".join(data.split()) if isinstance(data, str) else data, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise EngineError("The binding answered with media that are not valid Base64.") from error
    return base64.b64encode(decoded).decode("ascii"), shown


def _plain(value: Any, *, strict: bool = True) -> Any:
    """A value of JSON, made of this one. Raises TypeError for what JSON cannot say, where `strict`."""

    def other(each: Any) -> Any:
        if hasattr(each, "model_dump"):
            return each.model_dump(mode="json")
        if strict:
            raise TypeError(f"a binding answered {type(each).__name__} where JSON belongs")
        return str(each)

    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=other))


def _usage(given: Mapping[str, Any]) -> Usage:
    def count(*names: str) -> int | None:
        for name in names:
            value = given.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
        return None

    return Usage(
        count("prompt_tokens", "input_tokens"), count("completion_tokens", "output_tokens"), count("total_tokens")
    )
