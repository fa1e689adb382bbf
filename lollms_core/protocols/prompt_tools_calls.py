"""What a model wrote in place of a tool call: JSON to names and arguments, as far as it can be understood."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

__all__ = ["calls_of", "first_value", "is_broken"]

_ARGUMENTS = ("arguments", "parameters")
_WRAPPERS = ("tool_call", "tool_calls", "function")
_FENCE = "```"
_FENCED = re.compile(r"```[a-z_]*\s*")
_NAME = re.compile(r'"name"\s*:\s*"((?:[^"\\]|\\.)*)"')
_RAW = re.compile(r'"(?:arguments|parameters)"\s*:\s*')
_BRACES = 3  # closing brackets too many that are overlooked

_raws = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode
_anything = msgspec.json.Decoder().decode


def calls_of(content: str, *, broken: bool, named: bool) -> list[tuple[str, str]] | None:
    """The calls in the text between the tags: their names, and their arguments as JSON text.

    None for what is no call. With `broken`, what is no JSON is a call as well, whose arguments are whatever can be
    found. With `named`, an object without a name is a call with the name "".
    """
    content = content.strip()
    if (fence := _FENCED.match(content)) is not None:
        content = content[fence.end() :].removesuffix(_FENCE).rstrip()
    found = _parsed(content.encode("utf-8", "replace"), named=named)
    if found is None and broken and is_broken(content):
        return [_repaired(content)]
    return found


def first_value(content: str) -> tuple[str, str] | None:
    """The JSON value that a text begins with, and what is behind it; None where there is none."""
    content = content.lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(content)
    except (ValueError, RecursionError):
        return None
    return content[:end], content[end:]


def is_broken(content: str) -> bool:
    """Whether a text is no JSON."""
    try:
        _anything(content.encode("utf-8", "replace"))
    except (ValueError, RecursionError, OverflowError):
        return True
    return False


def _parsed(data: bytes, *, named: bool, depth: int = 3) -> list[tuple[str, str]] | None:
    try:
        value = _raws(data)
    except (ValueError, RecursionError, OverflowError):
        return None
    if isinstance(value, list):
        found = [_parsed(bytes(each), named=named, depth=depth - 1) for each in value] if depth else []
        return [call for calls in found for call in calls or ()] if found and None not in found else None
    name = _text(value.get("name"))
    if name is None:
        for wrapper in _WRAPPERS:
            if depth and wrapper in value:
                return _parsed(bytes(value[wrapper]), named=named, depth=depth - 1)
        return [("", data.decode())] if named else None
    if not named and set(value) - {"name", *_ARGUMENTS}:
        return None
    raw = next((bytes(value[key]).decode() for key in _ARGUMENTS if key in value), "{}").strip()
    if raw.startswith('"'):
        raw = _text(raw.encode()) or ""
    return [(name, "{}" if raw in ("null", "") else raw)]


def _text(raw: Any) -> str | None:
    """A JSON string; None for other values."""
    if raw is None:
        return None
    try:
        value = _anything(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def _repaired(content: str) -> tuple[str, str]:
    """The name and the arguments of a broken call: good arguments where only brackets around them are wrong."""
    name, begin = _NAME.search(content), _RAW.search(content)
    said = (_text(f'"{name[1]}"'.encode("utf-8", "replace")) or "") if name is not None else ""
    if begin is None:
        return said, content
    raw = content[begin.end() :].rstrip()
    tried = raw
    for _ in range(_BRACES):
        if not is_broken(tried):
            return said, tried
        if not tried.endswith("}"):
            break
        tried = tried[:-1].rstrip()
    return said, raw[:-1] if raw.endswith("}") else raw
