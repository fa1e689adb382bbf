"""A change to code that exists: the model writes a patch, and only a patch that fits is applied.

There are two forms, a unified diff and blocks to search and replace. A patch that does not fit is given back with the
reason. At the last attempt, the model is asked for the whole code instead, which always fits but costs the most tokens.
A whole file is also taken where a patch was asked for, if it has most lines of the code and leaves none out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from lollms_core.errors import Cancelled, InvalidRequest, LollmsError, StructuredOutputError
from lollms_core.flows.base import Flow, ask
from lollms_core.flows.spending import Limits, Spending
from lollms_core.flows.steps import warn
from lollms_core.flows.turns import excerpt
from lollms_core.text.code_blocks import (
    FencedBlock,
    FenceReader,
    extract_code_blocks,
    fenced_blocks,
    kind_and_name,
    split_lines,
)
from lollms_core.text.patches import (
    PatchFailed,
    apply_blocks,
    apply_unified,
    difference,
    is_elided,
    is_part,
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
_LONGER = "the code has fences of its own; answer between fences that are longer than those"
_ALIKE = 0.5  # of the lines of the code that a whole file must have, where none was asked for
_WANTED_ALIKE = 0.25  # and where one was
_SHORT = 2_000  # characters; in shorter code also letters are compared, since one changed line may be all of it
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
            reply = yield from ask(_next(asked, way, original, trail, text))
            spending.add(reply)
            text = reply.text
            try:
                code = _read(original, reply, way)
            except PatchFailed as failed:
                trail.append(Attempt(way, excerpt(text, _SHOWN), str(failed), reply.finish_reason))
            else:
                trail.append(Attempt(way, excerpt(text, _SHOWN), "", reply.finish_reason))
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
    fence = _fence(original)
    name = f"{language} code" if language else "code"
    end = "" if original.endswith("\n") else "\n"
    code = TextPart(f"This is {name}:\n{fence}{language}\n{original}{end}{fence}\n\nChange it in this way:\n")
    if not messages or messages[-1].role != "user":
        return (*messages, Message("user", (code,)))
    last = messages[-1]
    return (*messages[:-1], msgspec.structs.replace(last, parts=(code, *last.parts)))


def _fence(original: str) -> str:
    """A fence that no line of the code closes."""
    return "`" * (max((len(marks) for marks in re.findall(r"`{3,}", original)), default=2) + 1)


def _next(call: GenerationCall, way: str, original: str, trail: list[Attempt], text: str) -> GenerationCall:
    """The next call; after a patch that did not fit with the reason."""
    words = _TOLD[way].replace("```", _fence(original))
    if not trail:
        last = call.messages[-1]
        first = msgspec.structs.replace(last, parts=(*last.parts, TextPart(f"\n\n{words}")))
        return msgspec.structs.replace(call, messages=(*call.messages[:-1], first))
    before = (Message.assistant(excerpt(text, _SHOWN)),) if text.strip() else ()
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
    if _BLOCK.search(reply.text) and (way == "simple" or not _BLOCK.search(original)):
        _check_closed(next(reversed([*fenced_blocks(split_lines(reply.text))]), None))
        changed = apply_blocks(original, reply.text)
    elif diffs := _diffs(original, reply.text):
        _check_files(diffs)
        changed = original
        for diff in dict.fromkeys(diffs):  # some models write their answer twice
            changed = apply_unified(changed, diff)
    else:
        changed = _whole(original, reply.text, is_wanted=way == _WHOLE)
    if changed == original:
        raise PatchFailed("it changes nothing")
    return changed


def _check_closed(block: FencedBlock | None) -> None:
    if block is not None and not block.is_complete:
        raise PatchFailed("its last block is not closed, so it may have been cut off")


def _diffs(original: str, text: str) -> list[str]:
    """The diffs in an answer, between fences or without any.

    Fences within the code have a mark before them in a diff, and so do not close it. Where models forget that mark, a
    part of the diff stands outside, which must not be overlooked.
    """
    lines, diffs, others, fence, at = split_lines(text), list[str](), list[str](), "", 0
    while at < len(lines):
        block = _block_at(lines, at)
        if block is None:
            if looks_like_diff("\n".join(lines[at : at + 2])) and not diffs:
                return ["\n".join(lines[at:])]
            others.append(lines[at])
            at += 1
            continue
        if _is_diff(original, block):
            block = _block_at(lines, at, slack=0) or block
            _check_closed(block)
            diffs.append("\n".join(block.lines))
            fence = lines[at]
        else:
            others += block.lines
        at += block.after
    if diffs and (looks_like_diff("\n".join(others)) or (_is_closed_by(original, fence) and _has_marks(others))):
        raise PatchFailed(f"a part of the diff may stand outside of its block, because {_LONGER}")
    return diffs


def _check_files(diffs: Sequence[str]) -> None:
    """Refuses diffs of several files; also one that names its file within a hunk, where it may be lines of the code."""
    names = set[str]()
    for diff in diffs:
        is_inside = False
        for before, after in pairwise([*split_lines(diff), ""]):
            if before.startswith("--- ") and after.startswith("+++ "):
                given = before if after.startswith("+++ /dev/null") else after
                names |= {
                    given[4:].split("\t")[0].strip().rpartition("/")[2],
                    *([""] if is_inside and not names else []),
                }
            is_inside = is_inside or before.startswith("@@")
    if len(names) > 1:
        raise PatchFailed("the diff changes several files, but there is only this one")


def _block_at(lines: Sequence[str], at: int, slack: int = 3) -> FencedBlock | None:
    """The block that begins with a line; its numbers count from there."""
    reader = FenceReader(slack)
    for number in range(at, len(lines)):
        if found := reader.line(lines[number]):
            return found
        if reader.opening is None:
            return None
    return reader.rest()


def _is_diff(original: str, block: FencedBlock) -> bool:
    if kind_and_name(block.info)[0].lower() in ("diff", "patch", "udiff"):
        return True
    return looks_like_diff("\n".join(block.lines)) and not looks_like_diff(original)


def _is_closed_by(code: str, fence: str) -> bool:
    """Whether code has a line that closes a block with this opening fence."""
    reader = FenceReader()
    reader.line(fence)
    return any(reader.line(line) for line in split_lines(code))


def _has_marks(lines: Sequence[str]) -> bool:
    return any(line.startswith(("+", "-")) for line in lines)


def _whole(original: str, text: str, *, is_wanted: bool) -> str:
    """The longest block as the whole code. Where it was not asked for, it must have most lines of the code."""
    lines, blocks = split_lines(text), extract_code_blocks(text)
    fences = list(fenced_blocks(lines))
    _check_closed(fences[-1] if fences else None)
    if not blocks:
        raise PatchFailed("there is no block between fences (```) in it")
    longest = max(range(len(blocks)), key=lambda number: len(blocks[number]["content"]))
    code = str(blocks[longest]["content"])
    if not code.strip():
        raise PatchFailed("its block is empty")
    if _is_closed_by(original, lines[fences[longest].first]):
        raise PatchFailed(f"it cannot be told where it ends, because {_LONGER}")
    lines = split_lines(code)
    ours = {line.strip() for line in split_lines(original) if line.strip()}
    left_out = [line.strip() for line in lines if is_elided(line) and line.strip() not in ours]
    if left_out:
        raise PatchFailed(f"it has {left_out[0]!r} in place of code")
    common = len(ours & {line.strip() for line in lines})
    if not is_wanted and common < _ALIKE * len(ours):
        raise PatchFailed("it is neither a change in the form that was asked for nor the whole code")
    if is_part(original, lines):
        raise PatchFailed("it leaves out the beginning or the end of the code, so it may be a part of it only")
    if common < _WANTED_ALIKE * len(ours) and not _reads_alike(original, code):
        raise PatchFailed("it has hardly a line of the code, so it is something else")
    return replaced(original, code)


def _reads_alike(original: str, code: str) -> bool:
    if max(len(original), len(code)) > _SHORT:
        return False
    return difflib.SequenceMatcher(None, original, code, autojunk=False).ratio() >= _ALIKE
