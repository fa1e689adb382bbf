"""The JSON in what a model answered, wherever it stands: alone, in a code block, or in the middle of prose.

`found_json` gives every value that could be meant, the most likely one first, so that the caller can take the first
that has the wanted shape. Of several in a row the last is the most likely one: models quote the question and correct
themselves. What stands inside of an object or list that is broken or was cut off is never taken for the answer.

A value is never changed but in the ways of `lollms_core.text.json_repair`; beside these, comments are left out and
typographic quotation marks around texts are read as plain ones. No value has a name twice in one object, since only
the model knows which was meant, nor half of a surrogate pair, a number that is none, or more than `DEEPEST` levels.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from lollms_core.text.code_blocks import fenced_blocks, split_lines
from lollms_core.text.json_repair import LONGEST as LONGEST_TO_REPAIR
from lollms_core.text.json_repair import has_twins, repaired_value
from lollms_core.text.thinking import remove_thinking_blocks

__all__ = ["DEEPEST", "LONGEST", "found_json", "is_json_value", "why_no_json"]

LONGEST = 4_000_000
"""Characters; in a longer answer no JSON is looked for."""

DEEPEST = 100
"""Levels of objects and lists; what is nested deeper is not taken, because whoever checks it would fail."""

_MOST = 16  # values of a kind that are looked at, the last ones
# An object or list as models write them; other brackets belong to the prose.
_BEGINNING = re.compile(
    r"""\{\s*+(?:["'“}/]|[A-Za-z_$][\w$-]*+\s*+:)
    | \[\s*+(?:["'“{\[\]/]|-?[0-9]|(?:true|false|null|True|False|None)\b)""",
    re.VERBOSE,
)
_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?+|[{}\[\]]', re.DOTALL)
_DECORATION = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*+"?+)
    | (?P<comment>//[^\n]*+ | /\*(?:[^*]|\*(?!/))*+(?:\*/)?+)
    | “(?P<quoted>(?:[^“”"\\]|\\.)*+)”""",
    re.DOTALL | re.VERBOSE,
)
_THOUGHT_TAG = re.compile(r"<(?P<closing>/?)think(?:ing)?>", re.IGNORECASE | re.ASCII)
_BLANK = " \t\r\n"
_HOLDERS = (dict, list, tuple)


class _Nothing:
    """In place of a value, because None is one."""


_NOTHING = _Nothing()


def found_json(text: str, *, finished: bool = True) -> Iterator[Any]:
    """The JSON values that an answer may mean, the most likely first; nothing when there is none.

    `finished`: whether the model ended by itself; else what was not closed is not closed for it. Never raises; costs
    linear time.
    """
    plain, blocks, spans = _candidates(text if finished else _without_open_thought(text))
    if not plain:
        return
    broken: list[str] = []
    for candidate in (plain, *blocks, *spans):
        value = _value(candidate)
        if not isinstance(value, _Nothing):
            yield value
        if isinstance(value, (_Nothing, str)) and candidate not in broken:
            broken.append(candidate)
    for candidate in broken:
        value = _repaired(candidate, finished)
        if value is not None:
            yield value


def why_no_json(text: str) -> str:
    """What is wrong with the JSON of an answer in which `found_json` finds none, in words; "" where there is none."""
    plain, blocks, spans = _candidates(text)
    for candidate in (*blocks, *spans, plain):
        if not _BEGINNING.match(candidate.lstrip(_BLANK)):
            continue
        try:
            json.loads(candidate)
        except ValueError as error:
            return f"its JSON is broken: {error}"
        except RecursionError:
            return "its JSON is nested too deeply"
        if has_twins(candidate):
            return "an object in its JSON has the same name twice"
        return "its JSON has a number or a character that JSON does not allow, or is nested too deeply"
    return ""


def is_json_value(value: Any) -> bool:
    """Whether a value can be written as JSON, and is not too deep."""
    level = [value] if isinstance(value, _HOLDERS) else []
    for _ in range(DEEPEST):
        inside = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
        level = [each for each in inside if isinstance(each, _HOLDERS)]
    if level:
        return False
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _candidates(text: str) -> tuple[str, list[str], list[str]]:
    """Where JSON may stand: the whole answer, its code blocks, and the objects and lists in it, the last ones first."""
    if len(text) > LONGEST:
        return "", [], []
    if "<think" in text.lower():
        text = remove_thinking_blocks(text)
    plain = text.strip()
    fenced = deque(fenced_blocks(split_lines(text)), _MOST) if "```" in text or "~~~" in text else ()
    blocks = ["\n".join(block.lines) for block in fenced]
    spans = [text[start:end] for start, end in deque(_spans(text), _MOST)]
    return plain, blocks[::-1], spans[::-1]


def _without_open_thought(text: str) -> str:
    """The text up to a thought that was cut off: what stands in there is a draft."""
    last = deque(_THOUGHT_TAG.finditer(text), 1)
    return text[: last[0].start()] if last and not last[0]["closing"] else text


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where objects and lists stand, none of them in another; the last one may be open to the end of the text."""
    place = 0
    while (beginning := _BEGINNING.search(text, place)) is not None:
        place = _end(text, beginning.start())
        yield beginning.start(), place


def _end(text: str, start: int) -> int:
    """Where what begins at `start` is closed; the end of the text where it is not."""
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(text, start):
        sign = found[0]
        if sign in ("{", "["):
            depth += 1
            if depth > DEEPEST:
                break
        elif sign in ("}", "]"):
            depth -= 1
            if depth == 0:
                return found.end()
    return len(text)


def _value(text: str) -> Any:
    """The value that a JSON text is, `_NOTHING` where it is none."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _NOTHING
    if isinstance(value, (dict, list)) and (not is_json_value(value) or has_twins(text)):
        return _NOTHING
    return value


def _repaired(text: str, finished: bool) -> Any:
    """The object or list that a text means that is no JSON; None if it might mean another, or nothing."""
    if len(text) > LONGEST_TO_REPAIR or _is_json(text):
        return None
    value = repaired_value(text, finished=finished)
    if value is None and (plainer := _DECORATION.sub(_undecorated, text)) != text:
        value = repaired_value(plainer, finished=finished) if not has_twins(plainer, broken=False) else None
    return value if is_json_value(value) else None


def _is_json(text: str) -> bool:
    """Whether a text is an object or list already, which was not taken for another reason."""
    try:
        return isinstance(json.loads(text), (dict, list))
    except ValueError:
        return False
    except RecursionError:
        return True


def _undecorated(found: re.Match[str]) -> str:
    if found["comment"] is not None:
        is_closed = found[0].startswith("//") or (len(found[0]) > 3 and found[0].endswith("*/"))
        return " " if is_closed else found[0]
    return found[0] if found["text"] is not None else f'"{found["quoted"]}"'
