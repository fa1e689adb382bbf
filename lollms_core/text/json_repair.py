"""What a model wrote that is nearly JSON, read where it can mean one thing only.

What is put right: a Markdown fence around the value, an object written as a JSON text in a JSON text, commas before a
closing bracket, single quotes, names without quotes, the literals of Python, line breaks inside of texts, and brackets
that were never closed by a model that had finished. Whatever else is wrong is not guessed at: it is given back to the
model, which knows what it meant. No word, number or sign of what the model wrote is ever left out or added, but for
those commas and brackets.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

__all__ = ["LONGEST", "has_twins", "repaired", "repaired_value"]

LONGEST = 100_000
"""Characters; longer texts are not repaired."""

_FENCED = re.compile(r"\s*```[a-zA-Z]*\s(.*)```\s*", re.DOTALL)
_TOKEN = re.compile(
    r"""\s++
    | (?P<sign>[{}\[\]:,])
    | (?P<double>"(?:[^"\\]|\\.)*+")
    | (?P<single>'(?:[^'\\]|\\.)*+')
    | (?P<number>-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?(?![\w.]))
    | (?P<word>[A-Za-z_$][\w$-]*+)""",
    re.DOTALL | re.VERBOSE,
)
_LITERALS = {"true": "true", "false": "false", "null": "null", "True": "true", "False": "false", "None": "null"}
_CLOSING = {"{": "}", "[": "]"}
_ODD = re.compile(r"\\.|[\x00-\x1f\"]", re.DOTALL)


def repaired(raw: str, *, finished: bool) -> dict[str, Any] | None:
    """The object that `raw` must mean; None if it might mean another, or nothing.

    `finished`: whether the model ended by itself; else what was not closed may have been cut off. Never raises; costs
    linear time.
    """
    value = repaired_value(raw, finished=finished)
    return value if isinstance(value, dict) else None


def repaired_value(raw: str, *, finished: bool) -> dict[str, Any] | list[Any] | None:
    """As `repaired`, where a list may be meant as well."""
    if len(raw) > LONGEST:
        return None
    value = _decoded(raw)
    if isinstance(value, str):
        value = _decoded(raw := value)
    if isinstance(value, (dict, list)):
        return value
    fenced = _FENCED.fullmatch(raw)
    text = _rewritten(fenced[1] if fenced else raw, finished)
    value = _decoded(text) if text is not None else None
    return value if isinstance(value, (dict, list)) and text is not None and not has_twins(text) else None


def has_twins(text: str, *, broken: bool = True) -> bool:
    """Whether an object has a name twice: which value is meant, only the model knows.

    `text` is JSON; `broken` is the result where it is none.
    """
    twins = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twins
        twins = twins or len(dict(pairs)) < len(pairs)

    try:
        json.loads(text, object_pairs_hook=look, parse_int=float)
    except (ValueError, RecursionError):
        return broken
    return twins


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _rewritten(text: str, finished: bool) -> str | None:
    """The text with each of its tokens as JSON has it; None where one is none that is known."""
    tokens = _tokens(text)
    if not tokens:
        return None
    made: list[str] = []
    opened: list[str] = []
    for place, (kind, token) in enumerate(tokens):
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if token == "," and following in ("}", "]"):  # noqa: S105
            if made and made[-1] in ("{", "[", ":"):
                return None
            continue
        if kind == "sign":
            if token in _CLOSING:
                opened.append(_CLOSING[token])
            elif token in ("}", "]") and (not opened or opened.pop() != token):
                return None
            made.append(token)
        elif kind == "word":
            word = f'"{token}"' if following == ":" and token not in _LITERALS else _LITERALS.get(token)
            if word is None:
                return None
            made.append(word)
        else:
            made.append(token)
    if opened:
        kind, token = tokens[-1]
        if not finished or kind == "number" or token in (":", ",", "{", "["):
            return None  # perhaps there was more to come
        made += reversed(opened)
    return " ".join(made)


def _tokens(text: str) -> list[tuple[str, str]] | None:
    """The tokens with their kinds, texts as JSON writes them; None if anything lies between them."""
    tokens: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            return None
        place = found.end()
        kind, token = found.lastgroup, found[0]
        if kind in ("single", "double"):
            tokens.append(("text", f'"{_ODD.sub(_in_json, token[1:-1])}"'))
        elif kind is not None:
            tokens.append((kind, token))
    return tokens


def _in_json(found: re.Match[str]) -> str:
    """A character of a text that JSON writes in another way; escapes are left as they are."""
    odd = found[0]
    if odd == "\\'":
        return "'"
    if odd == '"':
        return '\\"'
    return odd if len(odd) == 2 else f"\\u{ord(odd):04x}"
