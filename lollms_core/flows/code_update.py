"""A change to code that exists: the model writes a patch, and only a patch that fits is applied.

There are two forms, a unified diff and blocks to search and replace. A patch that does not fit is given back with the
reason. At the last attempt, the model is asked for the whole code instead, which always fits but costs the most tokens.
A whole file is also taken where a patch was asked for, if it has most lines of the code and leaves none out.
"""

from __future__ import annotations

import re

import msgspec

from lollms_core.errors import Cancelled, InvalidRequest, LollmsError, StructuredOutputError
from lollms_core.flows.base import Flow, ask
from lollms_core.flows.spending import Limits, Spending
from lollms_core.flows.steps import warn
from lollms_core.text.code_blocks import extract_code_blocks, split_lines
from lollms_core.text.patches import (
    PatchFailed,
    apply_blocks,
    apply_unified,
    difference,
    is_elided,
    looks_like_diff,
    replaced,
)
from lollms_core.types import Attempt, GenerationCall, Message, Reply, TextPart

__all__ = ["PATCH_FORMATS", "UpdatedCode", "code_update"]

PATCH_FORMATS = ("unified", "simple")
"""A unified diff; blocks of `<<<<<<< SEARCH`, `=======`, `>>>>>>> REPLACE`."""

_SHOWN = 4_000
_BLOCK = re.compile(r"^<{5,9}[ \t]*(?:SEARCH|ORIGINAL|OLD)?[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_WHOLE = "whole"
_ALIKE = 0.5  # of the lines of the code that a whole file must have, where none was asked for
_TOLD = {
    "unified": (
        "Answer with a unified diff of the changes, in one block that begins with a line ```diff and ends with a line "
        "```. Give each hunk a header line that begins with @@, and three unchanged lines before and after the change, "
        "copied exactly."
    ),
    "simple": (
        "Answer with the changes, each as a block of this form:\n<<<<<<< SEARCH\nlines of the code as they are\n"
        "=======\nlines that take their place\n>>>>>>> REPLACE\nCopy the lines of the first half exactly, and so many "
        "that they stand in one place of the code only."
    ),
    _WHOLE: (
        "Answer with the whole code after the change, in one block between a line ``` and a line ```, from its first "
        "line to its last. Leave nothing out."
    ),
}


class UpdatedCode(msgspec.Struct, frozen=True):
    """Code after a change; `patch` is the exact unified diff that leads to it, `reply` has what it has cost."""

    code: str
    patch: str
    reply: Reply
    attempts: tuple[Attempt, ...]


def code_update(
    call: GenerationCall, original: str, language: str = "python", patch_format: str = "unified", attempts: int = 3
) -> Flow[UpdatedCode]:
    """Change code as the last message of the call says.

    Costs one call where the first patch fits, at most `attempts`, of which the last asks for the whole code if there
    are several; each has at most the tokens that the call allows. Line ends of the code are kept.

    Raises `StructuredOutputError` with the trail in `attempts` when nothing fitted, and `InvalidRequest` for another
    format. Nothing is ever applied by half.
    """
    if patch_format not in PATCH_FORMATS:
        known = " or ".join(map(repr, PATCH_FORMATS))
        raise InvalidRequest(f"patch_format is {patch_format!r}; it must be {known}.", param="patch_format")
    spending, trail, text = Spending(Limits(calls=max(1, attempts))), list[Attempt](), ""
    asked = msgspec.structs.replace(call, messages=_about(call.messages, original, language))
    try:
        while True:
            way = _WHOLE if trail and len(trail) + 1 >= attempts else patch_format
            reply = yield from ask(_next(asked, way, trail, text))
            spending.add(reply)
            text = reply.text
            try:
                code = _read(original, reply, way)
            except PatchFailed as failed:
                trail.append(Attempt(way, _cut(text), str(failed), reply.finish_reason))
            else:
                trail.append(Attempt(way, _cut(text), "", reply.finish_reason))
                patch = difference(original, code)
                return UpdatedCode(code, patch, spending.reply(code, thoughts=reply.thoughts), tuple(trail))
            if not spending.is_left:
                raise _given_up(trail)
            yield from warn(f"The change could not be used: {trail[-1].problem}. It is asked for again.")
    except LollmsError as error:
        partial = error.partial
        if not isinstance(error, StructuredOutputError):
            spending.add(partial)
        finish = "cancelled" if isinstance(error, Cancelled) else "error"
        error.partial = spending.reply(partial.text if partial and partial.text else text, finish)
        raise


def _given_up(trail: list[Attempt]) -> StructuredOutputError:
    times = "once" if len(trail) == 1 else f"{len(trail)} times"
    error = StructuredOutputError(
        f"The model was asked {times} and gave no change that fits the code. The last time: {trail[-1].problem}."
    )
    error.attempts = tuple(trail)
    return error


# ---- asking --------------------------------------------------------------------------------------------------------


def _about(messages: tuple[Message, ...], original: str, language: str) -> tuple[Message, ...]:
    """The conversation, whose last message is what to change, with the code before that."""
    longest = max((len(marks) for marks in re.findall(r"`{3,}", original)), default=2)
    fence = "`" * (longest + 1)
    name = f"{language} code" if language else "code"
    end = "" if original.endswith("\n") else "\n"
    code = TextPart(f"This is {name}:\n{fence}{language}\n{original}{end}{fence}\n\nChange it in this way:\n")
    if not messages or messages[-1].role != "user":
        return (*messages, Message("user", (code,)))
    last = messages[-1]
    return (*messages[:-1], msgspec.structs.replace(last, parts=(code, *last.parts)))


def _next(call: GenerationCall, way: str, trail: list[Attempt], text: str) -> GenerationCall:
    """The next call; after a patch that did not fit with the reason."""
    words = _TOLD[way]
    if not trail:
        last = call.messages[-1]
        first = msgspec.structs.replace(last, parts=(*last.parts, TextPart(f"\n\n{words}")))
        return msgspec.structs.replace(call, messages=(*call.messages[:-1], first))
    before = (Message.assistant(_cut(text)),) if text.strip() else ()
    again = Message.user(f"That cannot be used: {trail[-1].problem}.\n\n{words}")
    return msgspec.structs.replace(call, messages=(*call.messages, *before, again))


# ---- what came -----------------------------------------------------------------------------------------------------


def _read(original: str, reply: Reply, way: str) -> str:
    """The code after the change in a reply. Raises `PatchFailed`."""
    if reply.finish_reason == "length":
        raise PatchFailed("it was cut off at the limit of its tokens, so it must be shorter")
    if reply.finish_reason == "content_filter":
        raise PatchFailed("it was held back by the content filter of the backend")
    if not reply.text.strip():
        raise PatchFailed("it is empty")
    blocks = extract_code_blocks(reply.text)
    if blocks and not blocks[-1]["is_complete"]:
        raise PatchFailed("its last block is not closed, so it may have been cut off")
    if _BLOCK.search(reply.text) and (way == "simple" or not _BLOCK.search(original)):
        changed = apply_blocks(original, reply.text)
    elif diffs := _diffs(reply.text, blocks):
        changed = original
        for diff in diffs:
            changed = apply_unified(changed, diff)
    else:
        changed = _whole(original, [block["content"] for block in blocks], is_wanted=way == _WHOLE)
    if changed == original:
        raise PatchFailed("it changes nothing")
    return changed


def _diffs(text: str, blocks: list[dict[str, object]]) -> list[str]:
    """The diffs in an answer, between fences or without any."""
    if not blocks:
        return [text] if looks_like_diff(text) else []
    contents = [(str(block["type"]).lower(), str(block["content"])) for block in blocks]
    return [content for kind, content in contents if kind in ("diff", "patch", "udiff") or looks_like_diff(content)]


def _whole(original: str, blocks: list[str], *, is_wanted: bool) -> str:
    """The longest block as the whole code. Where it was not asked for, it must have most lines of the code."""
    if not blocks:
        raise PatchFailed("there is no block between fences (```) in it")
    code = max(blocks, key=len)
    if not code.strip():
        raise PatchFailed("its block is empty")
    ours = {line.strip() for line in split_lines(original) if line.strip()}
    lines = split_lines(code)
    left_out = [line.strip() for line in lines if is_elided(line) and line.strip() not in ours]
    if left_out:
        raise PatchFailed(f"it has {left_out[0]!r} in place of code")
    common = len(ours & {line.strip() for line in lines})
    if not is_wanted and common < _ALIKE * len(ours):
        raise PatchFailed("it is neither a change in the form that was asked for nor the whole code")
    return replaced(original, code)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
