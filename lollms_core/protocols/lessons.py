"""What is learned from a refusal: a field that one model does not take, and what is sent in its place.

Providers change what their models accept faster than any table: a model wants `max_completion_tokens` and no
`max_tokens`, another none but the default temperature. A refusal that names such a field is a lesson: the request goes
out again without it, or under the other name, and so do all later ones to that model. The receipt of each says so.

Only fields that tune an answer are ever left out, never one that says what is asked; and only where the provider says
that it does not take the field. A value out of bounds is the caller's to correct.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from lollms_core.errors import InvalidRequest, LollmsError, UnsupportedFeature
from lollms_core.types import ReceiptItem

__all__ = ["Lesson", "heeded", "lesson_of"]

_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})

_REFUSES = re.compile(
    r"unsupported|not supported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|deprecated|"
    r"not available|cannot both|can't both|only one of|invalid parameter",
    re.IGNORECASE,
)
_STATUSES = (400, 422)


class Lesson(msgspec.Struct, frozen=True):
    """A field of requests that a model refused, and the name to send it under instead; "" to leave it out."""

    field: str
    instead: str = ""


def lesson_of(error: LollmsError, optional: Collection[str], known: Collection[Lesson] = ()) -> Lesson | None:
    """What an error teaches about the fields that may be left out; None if nothing, or nothing new.

    The provider's message is read for this alone: several name the field nowhere else.
    """
    if not optional or not isinstance(error, InvalidRequest | UnsupportedFeature) or error.status not in _STATUSES:
        return None
    if error.upstream_code not in _CODES and not _REFUSES.search(error.message):
        return None
    field = error.param.rpartition(".")[2]
    if field not in optional:
        named = [name for name in optional if re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", error.message)]
        if not named:
            return None
        field = min(named, key=error.message.index)
    instead = _OTHER_NAMES.get(field, "")
    if instead in {lesson.field for lesson in known}:
        instead = ""
    lesson = Lesson(field, instead)
    return None if lesson in known else lesson


def heeded(
    fields: Mapping[str, Any], lessons: Collection[Lesson], names: Mapping[str, str], provider: str
) -> tuple[dict[str, Any], list[ReceiptItem]]:
    """The fields of a request as the model takes them, and what the receipt says of it.

    `names` are ours of the provider's fields where they differ.
    """
    kept, receipt = dict(fields), []
    for lesson in lessons:
        if lesson.field not in kept:
            continue
        value, name = kept.pop(lesson.field), names.get(lesson.field, lesson.field)
        if lesson.instead:
            kept.setdefault(lesson.instead, value)
            receipt.append(ReceiptItem(name, "renamed", f"the model takes it as {lesson.instead}"))
        else:
            receipt.append(ReceiptItem(name, "dropped", f"the model refused it when {provider} was asked before"))
    return kept, receipt
