"""The JSON in what a model answered, wherever it stands: alone, in a code block, or in the middle of prose.

`found_json` gives every value that could be meant, the most likely one first, so that the caller can take the first
that has the wanted shape. A value is never changed but in the ways of `lollms_core.text.json_repair`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from lollms_core.text.code_blocks import fenced_blocks, split_lines
from lollms_core.text.json_repair import repaired_value
from lollms_core.text.thinking import remove_thinking_blocks

__all__ = ["LONGEST", "found_json"]

LONGEST = 4_000_000
"""Characters; in a longer answer no JSON is looked for."""

_MOST = 16
_OPENING = re.compile(r"[{\[]")
_DECODER = json.JSONDecoder()


def found_json(text: str, *, finished: bool = True) -> Iterator[Any]:
    """The JSON values that an answer may mean, the most likely first; nothing when there is none.

    `finished`: whether the model ended by itself; else what was not closed is not closed for it. Never raises.
    """
    if len(text) > LONGEST:
        return
    if "<think" in text.lower():
        text = remove_thinking_blocks(text)
    plain = text.strip()
    if not plain:
        return
    yield from _decoded(plain)
    blocks = ["\n".join(block.lines) for block in fenced_blocks(split_lines(text))][-_MOST:][::-1]
    for block in blocks:
        yield from _decoded(block)
    yield from reversed(list(_in_prose(text)))
    for candidate in (plain, *blocks, _from_first_to_last(text)):
        value = repaired_value(candidate, finished=finished)
        if value is not None:
            yield value


def _decoded(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return


def _no_json(name: str) -> Any:
    raise ValueError(name)


def _in_prose(text: str) -> Iterator[Any]:
    """The objects and lists that stand in a text one after another."""
    place, tried = 0, 0
    while tried < _MOST and (opening := _OPENING.search(text, place)) is not None:
        tried += 1
        try:
            value, place = _DECODER.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            place = opening.end()
        else:
            yield value


def _from_first_to_last(text: str) -> str:
    """What stands between the first opening bracket and the last closing one."""
    opening = _OPENING.search(text)
    if opening is None:
        return ""
    last = max(text.rfind("}"), text.rfind("]"))
    return text[opening.start() : last + 1] if last > opening.start() else text[opening.start() :]
