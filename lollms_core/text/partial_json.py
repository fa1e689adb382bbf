"""A JSON value while it is being written: the text comes in pieces, and the value so far can be had at any time.

Texts are in the value as far as they were written; numbers, literals and names only when they are complete, because
`1` may become `12`. What stands before the first object or list is passed over, and so is what stands after it, until
another begins, which takes its place. Where the text breaks the rules of JSON the value stays as it was.

Every character is looked at once, whatever the pieces are; a copy of the value costs its size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

__all__ = ["DEEPEST", "NOTHING", "PartialJson"]


class _Nothing:
    """No value yet; None is one."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = _Nothing()

DEEPEST = 100
"""Levels; a value that is nested deeper stays as it is there."""

_OBJECT = r'\{[ \t\r\n]*+(?:["}]|(?P<cut>\Z))'
_LIST = r"""\[[ \t\r\n]*+(?:["\[{\]]|-?[0-9]|true|false|null
    |(?P<cut_list>(?:-|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?)?\Z))"""
# What begins a value, and what may become that with the next piece; other brackets belong to the prose.
_BEGINNINGS = {
    "{": re.compile(_OBJECT, re.VERBOSE),
    "{[": re.compile(f"{_OBJECT}|{_LIST}", re.VERBOSE),
}
_BLANKS = re.compile(r"[ \t\r\n]*+")
_PLAIN = re.compile(r"[^\"\\]++")
_SCALAR = re.compile(r"[-+.0-9A-Za-z]++")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?P<rest>\.[0-9]++)?(?P<power>[eE][+-]?[0-9]++)?")
_LITERALS = {"true": True, "false": False, "null": None}
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_LONGEST_SCALAR = 400
_LONGEST_SEARCH = 1_000  # blanks behind a bracket of which it is not known yet whether it begins a value


class _Text:
    """A text on its way, in the place where it belongs."""

    __slots__ = ("holder", "is_name", "parts", "place")

    def __init__(self, holder: Any, place: Any, *, is_name: bool) -> None:
        self.holder = holder
        self.place = place
        self.is_name = is_name
        self.parts: list[str] = []


class PartialJson:
    """Reads JSON piece by piece.

    Attributes: `changes` grows whenever the value does; `size` is the number of characters of the value's text so far;
    `is_complete` says whether the value was closed. Never raises.
    """

    def __init__(self, beginnings: str = "{[") -> None:
        """`beginnings`: the brackets that the value may begin with, `{` or `{[`."""
        self._beginning = _BEGINNINGS[beginnings]
        self.changes = 0
        self.size = 0
        self.is_complete = False
        self._root: Any = NOTHING
        self._open: list[Any] = []  # the objects and lists that are not closed, the outermost first
        self._names: list[str] = []  # of the values on their way, one for each open object or list
        self._expected = "start"  # start, value, name, colon, comma, text, scalar, broken
        self._rest = ""  # characters that say nothing without the next ones
        self._text = _Text(None, None, is_name=True)  # the last that has begun
        self._steps: dict[str, Callable[[str, int], int]] = {
            "start": self._read_start,
            "value": self._read_value,
            "name": self._read_name,
            "colon": self._read_colon,
            "comma": self._read_comma,
            "text": self._read_text,
            "scalar": self._read_scalar,
            "broken": self._read_broken,
        }

    def feed(self, piece: str) -> None:
        """Read more of the text."""
        data, place = self._rest + piece, 0
        self._rest = ""
        while place < len(data):
            before = place
            place = self._steps[self._expected](data, place)
            self.size += place - before

    def value(self) -> Any:
        """A copy of the value so far; `NOTHING` where none has begun."""
        text = self._text
        if not text.is_name:
            _put(text.holder, text.place, "".join(text.parts))
        return _copied(self._root)

    # ---- steps: each reads on from a place and returns where it stopped

    def _read_start(self, data: str, place: int) -> int:
        """What stands before a value, up to the bracket that begins it."""
        while (found := self._beginning.search(data, place)) is not None:
            if found["cut"] is None and found.groupdict().get("cut_list") is None:
                self.is_complete, self._open, self._names = False, [], []
                self.size = 0
                self._root = self._begun(data[found.start()])
                return found.start() + 1
            if len(data) - found.start() < _LONGEST_SEARCH:
                self._rest = data[found.start() :]
                return len(data)
            place = found.start() + 1
        return len(data)

    def _begun(self, bracket: str) -> Any:
        made: Any = {} if bracket == "{" else []
        self._open.append(made)
        self._names.append("")
        self._expected = "name" if bracket == "{" else "value"
        self.changes += 1
        return made

    def _read_value(self, data: str, place: int) -> int:
        place = _skipped(data, place)
        if place == len(data):
            return place
        sign, holder = data[place], self._open[-1]
        if sign in "{[":
            if len(self._open) >= DEEPEST:
                return self._broken(data)
            at = self._place()
            _put(holder, at, self._begun(sign))
            return place + 1
        if sign == '"':
            self._text = _Text(holder, self._place(), is_name=False)
            _put(holder, self._text.place, "")
            self.changes += 1
            self._expected = "text"
            return place + 1
        if sign == "]" and isinstance(holder, list):
            return self._closed(place)
        self._expected = "scalar"
        return place

    def _read_name(self, data: str, place: int) -> int:
        place = _skipped(data, place)
        if place == len(data):
            return place
        if data[place] == '"':
            self._text = _Text(None, None, is_name=True)
            self._expected = "text"
            return place + 1
        return self._closed(place) if data[place] == "}" else self._broken(data)

    def _read_colon(self, data: str, place: int) -> int:
        place = _skipped(data, place)
        if place == len(data):
            return place
        if data[place] != ":":
            return self._broken(data)
        self._expected = "value"
        return place + 1

    def _read_comma(self, data: str, place: int) -> int:
        place = _skipped(data, place)
        if place == len(data):
            return place
        holder = self._open[-1]
        if data[place] == ",":
            self._expected = "name" if isinstance(holder, dict) else "value"
            return place + 1
        if data[place] == ("}" if isinstance(holder, dict) else "]"):
            return self._closed(place)
        return self._broken(data)

    def _read_text(self, data: str, place: int) -> int:
        text = self._text
        if plain := _PLAIN.match(data, place):
            text.parts.append(plain[0])
            self.changes += not text.is_name
            place = plain.end()
            if place == len(data):
                return place
        if data[place] == '"':
            whole = "".join(text.parts)
            self._text = _Text(None, None, is_name=True)
            if text.is_name:
                self._names[-1] = whole
                self._expected = "colon"
            else:
                _put(text.holder, text.place, whole)
                self._expected = "comma"
            return place + 1
        return self._read_escape(text, data, place)

    def _read_escape(self, text: _Text, data: str, place: int) -> int:
        """An escape, or half a surrogate pair with the other half; kept back until it is whole."""
        kind = data[place + 1 : place + 2]
        if kind in _ESCAPES and kind:
            text.parts.append(_ESCAPES[kind])
            self.changes += not text.is_name
            return place + 2
        if kind not in ("", "u"):
            return self._broken(data)
        code = data[place + 2 : place + 6]
        if len(code) < 4:
            return self._kept(data, place)
        if not _HEX.fullmatch(code):
            return self._broken(data)
        number, end = int(code, 16), place + 6
        if 0xD800 <= number < 0xDC00:
            other = data[end : end + 6]
            if len(other) < 6 and "\\u".startswith(other[:2]):
                return self._kept(data, place)
            if not (other.startswith("\\u") and _HEX.fullmatch(other[2:]) and 0xDC00 <= int(other[2:], 16) < 0xE000):
                return self._broken(data)
            number = 0x10000 + ((number - 0xD800) << 10) + (int(other[2:], 16) - 0xDC00)
            end += 6
        elif 0xDC00 <= number < 0xE000:
            return self._broken(data)
        text.parts.append(chr(number))
        self.changes += not text.is_name
        return end

    def _read_scalar(self, data: str, place: int) -> int:
        found = _SCALAR.match(data, place)
        if found is None:
            return self._broken(data)
        if found.end() == len(data):
            return self._kept(data, place) if len(found[0]) <= _LONGEST_SCALAR else self._broken(data)
        value = _scalar(found[0])
        if value is NOTHING:
            return self._broken(data)
        _put(self._open[-1], self._place(), value)
        self.changes += 1
        self._expected = "comma"
        return found.end()

    def _read_broken(self, data: str, place: int) -> int:
        return len(data)

    # ---- inside

    def _place(self) -> Any:
        """Where the next value stands in the innermost object or list."""
        holder = self._open[-1]
        return self._names[-1] if isinstance(holder, dict) else len(holder)

    def _closed(self, place: int) -> int:
        self._open.pop()
        self._names.pop()
        self._expected = "comma"
        if not self._open:
            self._expected = "start"
            self.is_complete = True
        return place + 1

    def _kept(self, data: str, place: int) -> int:
        self._rest = data[place:]
        return len(data)

    def _broken(self, data: str) -> int:
        self._expected = "broken"
        return len(data)


def _skipped(data: str, place: int) -> int:
    found = _BLANKS.match(data, place)
    return found.end() if found else place


def _put(holder: Any, place: Any, value: Any) -> None:
    if isinstance(holder, list) and place == len(holder):
        holder.append(value)
    else:
        holder[place] = value


def _scalar(text: str) -> Any:
    if text in _LITERALS:
        return _LITERALS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return NOTHING
    if number["rest"] is None and number["power"] is None:
        return int(text)
    made = float(text)
    return made if math.isfinite(made) else NOTHING


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
