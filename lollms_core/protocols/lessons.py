"""What is learned from a refusal: a field that one model does not take, and what is sent in its place.

Providers change what their models accept faster than any table: a model wants `max_completion_tokens` and no
`max_tokens`, another none but the default temperature. A refusal that names such a field is a lesson: the request goes
out again without it, or under the other name, and so do all later ones to that model. The receipt of each says so.

Only fields that tune an answer are ever left out, never one that says what is asked; and only where the provider says
that it does not take the field. A value out of bounds is the caller's to correct, and so is one that the model does not
know where it knows others. What a refusal quotes of the conversation teaches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from lollms_core.errors import ContextTooLong, InvalidRequest, LollmsError, UnknownModel, UnsupportedFeature
from lollms_core.types import ReceiptItem

__all__ = ["Lesson", "heeded", "lesson_of"]

_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})

_REFUSES = re.compile(
    r"unsupported|not (?:be )?support|unknown (?:name|field|parameter|argument|property|key)|unrecogni[sz]ed|"
    r"unexpected (?:keyword|field|parameter|argument|property|key)|not permitted|not allowed|deprecated|not available|"
    r"must be unset|or unset|may only be set to|cannot both|can't both|only one of",
    re.IGNORECASE,
)
_EITHER = re.compile(r"cannot both|can't both|only one of", re.IGNORECASE)
_OTHER_VALUES = re.compile(
    r"supported values (?:are|include)|permitted values|(?:must|should) be (?:one of|between|in |less|greater|at )|"
    r"expected one of|out of range|not exceed|exceeds|too (?:large|small|high|low|many|long|big)|more than|at most|"
    r"at least|up to|maximum|minimum|negative",
    re.IGNORECASE,
)
_ONLY_ONE_VALUE = re.compile(r"only the default|only .{0,40} is supported|unset|may only be set to", re.IGNORECASE)
# Words in quotation marks; not the message of an error that is quoted whole, as validators write it.
_QUOTED = re.compile(r"""(?<!\w)(?<!'msg': )(?<!"msg": )(?<!"message": )(["'`])(?=[^\s"'`]*\s)(?:(?!\1).)*\1(?!\w)""")
_ASKED = frozenset(
    {
        *("messages", "message", "input", "inputs", "contents", "content", "prompt", "system", "systemInstruction"),
        *("instructions", "tools", "tool_choice", "functions", "model", "schema", "response_format", "text_format"),
        *("format", "suffix", "documents"),
    }
)
_STATUSES = (400, 422)


class Lesson(msgspec.Struct, frozen=True):
    """A field of requests that a model refused, and the name to send it under instead; "" to leave it out.

    With `beside`, it is refused only where that field is sent, too.
    """

    field: str
    instead: str = ""
    beside: str = ""


def lesson_of(error: LollmsError, optional: Collection[str], known: Collection[Lesson] = ()) -> Lesson | None:
    """What an error teaches about the fields that may be left out; None if nothing, or nothing new.

    The provider's message is read for this alone: several name the field nowhere else.
    """
    if not optional or not isinstance(error, InvalidRequest | UnsupportedFeature) or error.status not in _STATUSES:
        return None
    if isinstance(error, ContextTooLong | UnknownModel):
        return None
    words = _QUOTED.sub(" ", error.message)
    if error.upstream_code not in _CODES and not _REFUSES.search(words):
        return None
    if _OTHER_VALUES.search(words) and not _ONLY_ONE_VALUE.search(words):
        return None
    named = _named(error.param, words, optional)
    if not named:
        return None
    if len(named) > 1 and _EITHER.search(words):
        lesson = Lesson(named[1], beside=named[0])
    else:
        instead = _OTHER_NAMES.get(named[0], "")
        lesson = Lesson(named[0], "" if instead in {each.field for each in known} else instead)
    return None if lesson in known else lesson


def _named(param: str, words: str, optional: Collection[str]) -> list[str]:
    """The optional fields that an error names, by its parameter if it has one, else in the order of its words."""
    steps = [step for step in re.split(r"[.\[\]]+", param) if step]
    for step in reversed(steps):
        if step in optional:
            return [step] if not _ASKED & set(steps[: steps.index(step)]) else []
    if _ASKED & set(steps):
        return []
    places = {name: re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", words) for name in optional}
    found = [(place.start(), name) for name, place in places.items() if place]
    return [name for _, name in sorted(found)]


def heeded(
    fields: Mapping[str, Any], lessons: Collection[Lesson], names: Mapping[str, str], provider: str
) -> tuple[dict[str, Any], list[ReceiptItem]]:
    """The fields of a request as the model takes them, and what the receipt says of it.

    `names` are ours of the provider's fields where they differ.
    """
    kept, receipt = dict(fields), []
    for lesson in lessons:
        if lesson.field not in kept or (lesson.beside and lesson.beside not in kept):
            continue
        value, name = kept.pop(lesson.field), names.get(lesson.field, lesson.field)
        if lesson.instead:
            kept.setdefault(lesson.instead, value)
            receipt.append(ReceiptItem(name, "renamed", f"the model takes it as {lesson.instead}"))
        else:
            beside = f" beside {names.get(lesson.beside, lesson.beside)}" if lesson.beside else ""
            words = f"the model refused it{beside} when {provider} was asked before"
            receipt.append(ReceiptItem(name, "dropped", words))
    return kept, receipt
