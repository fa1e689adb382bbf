"""Passages of documents: read from whatever a function of the caller's found, kept once each, cut to what may be sent.

Functions that search come in many manners. What can mean one thing only is taken for that: another usual name of a
field, a number as text, a text alone. What cannot be understood is refused in words, or counted and left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from lollms_core.errors import CallbackFailed

__all__ = ["Found", "Passage", "as_json", "fitting", "merged", "passages_in"]

_TEXTS = ("chunk_text", "text", "content", "page_content", "chunk", "passage", "document")
_PLACES = ("file_path", "path", "source", "file", "file_name", "filename", "document_name", "title", "url", "uri")
_PERCENTS = ("similarity_percent", "similarity_percentage")
_SHARES = ("similarity", "score", "similarity_score", "relevance_score")
_LISTS = ("results", "chunks", "passages", "documents", "sources", "matches", "hits", "items", "data")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)\s*")


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document. `source` says where it stands, "" where nobody knows.

    `similarity` is in percent, None where the function did not say; `rest` is what else it said.
    """

    text: str
    source: str = ""
    similarity: float | None = None
    rest: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def documented(self) -> dict[str, Any]:
        """The passage under the documented names, with what else the function said."""
        own = {"chunk_text": self.text, "file_path": self.source, "similarity_percent": self.similarity}
        return {**own, **{name: value for name, value in self.rest.items() if name not in own}}


class Found(msgspec.Struct, frozen=True):
    """What one search found, the best first; `ignored` counts what had no text."""

    passages: tuple[Passage, ...] = ()
    ignored: int = 0


def as_json(found: Any) -> str:
    """What a function found as JSON text, for `passages_in`. Raises `CallbackFailed` for what cannot be written so."""
    try:
        return json.dumps(found, default=_plain, skipkeys=True)
    except (TypeError, ValueError, RecursionError) as error:
        words = f"The function that finds passages returned what cannot be written as JSON: {error}"
        raise CallbackFailed(words, param="rag_query_function") from error


def _plain(value: Any) -> Any:
    """Something that JSON does not know, in what it knows: numbers of numpy, dataclasses, generators, paths."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return dict(value)
    for method in ("model_dump", "tolist", "_asdict"):
        if callable(make := getattr(value, method, None)) and not isinstance(value, type):
            return make()
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if isinstance(value, Iterable):
        return list(value)
    return str(value)


def passages_in(text: str) -> Found:
    """The passages in the JSON text that a function answered with.

    The documented form is a list of `{"chunk_text", "file_path", "similarity_percent"}`. Also read are one such object,
    a list of texts, a text alone, nothing, an object with the list in it, and the usual other names of the fields;
    `similarity` and `score` between 0 and 1 are shares of one. Raises `CallbackFailed` for anything else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"something that is not JSON ({error})") from error
    listed = _list_in(value)
    read = [_passage_in(each) for each in listed]
    passages = _best_first(each for each in read if each is not None)
    if listed and not passages:
        raise _refused(f"{len(listed)} entries, none of which has a text")
    return Found(passages, len(listed) - len(passages))


def merged(known: Sequence[Passage], new: Iterable[Passage]) -> tuple[tuple[Passage, ...], int]:
    """All passages, the best first and each once, and how many of the new ones nobody knew.

    Two are the same when their files and texts are; the greater similarity is kept.
    """
    by_name = {(each.source, each.text): each for each in known}
    before = len(by_name)
    for each in new:
        name = each.source, each.text
        if name not in by_name or _rank(each) < _rank(by_name[name]):
            by_name[name] = each
    return _best_first(by_name.values()), len(by_name) - before


def fitting(passages: Sequence[Passage], characters: int) -> tuple[str, int]:
    """The best passages as a JSON text of at most so many characters, and how many were left out, each as a whole."""
    taken: list[str] = []
    left = characters - len("[]")
    for passage in passages:
        shown: dict[str, Any] = {"number": len(taken) + 1, "file": passage.source, "text": passage.text}
        line = json.dumps(shown, ensure_ascii=False)
        needed = len(line) + (len(",\n") if taken else 0)
        if needed <= left:
            taken.append(line)
            left -= needed
    lines = ",\n".join(taken)
    return (f"[{lines}]" if taken else ""), len(passages) - len(taken)


# ---- reading -------------------------------------------------------------------------------------------------------


def _list_in(value: Any) -> list[Any]:
    if value is None or value == {}:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [value] if value.strip() else []
    if not isinstance(value, dict):
        raise _refused("a truth value" if isinstance(value, bool) else "a number")
    if _passage_in(value) is not None:
        return [value]
    for name in _LISTS:
        if isinstance(inner := value.get(name), list):
            return inner
    raise _refused(f"an object with {', '.join(map(repr, list(value)[:5]))}")


def _refused(what: str) -> CallbackFailed:
    words = 'a list of {"chunk_text": ..., "file_path": ..., "similarity_percent": ...} is expected'
    return CallbackFailed(f"The function that finds passages returned {what}; {words}.", param="rag_query_function")


def _passage_in(entry: Any) -> Passage | None:
    """The passage of one entry, None where there is no text in it."""
    if isinstance(entry, str):
        entry = {"chunk_text": entry}
    if not isinstance(entry, dict):
        return None
    name = next((name for name in _TEXTS if isinstance(entry.get(name), str) and entry[name].strip()), None)
    if name is None:
        return None
    inner = entry.get("metadata")
    place = _place_in(entry)
    said = place or (_place_in(inner) if isinstance(inner, dict) else None)
    rest = {key: value for key, value in entry.items() if key not in (name, place and place[0])}
    return Passage(_whole(entry[name]), _whole(said[1]) if said else "", _similarity_in(entry), rest)


def _place_in(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """The name of the field that says where a passage stands, and what it says."""
    for name in _PLACES:
        value = entry.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return name, str(value)
    return None


def _similarity_in(entry: Mapping[str, Any]) -> float | None:
    for name in _PERCENTS:
        if (number := _number(entry.get(name))) is not None:
            return number[0]
    for name in _SHARES:
        if (number := _number(entry.get(name))) is not None:
            value, is_percent = number
            return value * 100 if 0 <= value <= 1 and not is_percent else value
    return None


def _number(value: Any) -> tuple[float, bool] | None:
    """A finite number, also one written as a text, and whether a sign says that it is percent."""
    sign = False
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            return None
        value, sign = match[1], bool(match[2])
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return (number, sign) if math.isfinite(number) else None


def _whole(text: str) -> str:
    """The text without halves of characters, which cannot be sent."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _rank(passage: Passage) -> float:
    return math.inf if passage.similarity is None else -passage.similarity


def _best_first(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    return tuple(sorted(passages, key=_rank))
