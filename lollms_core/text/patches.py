"""Changes to a text as models write them: unified diffs that are rarely exact, and blocks to search and replace.

The numbers in a model's diff are guesses, its context is shorter than it says, and blanks at ends of lines are lost.
So a hunk is put where its lines are, and its numbers only count where the whole diff is exact. What stands nowhere, or
in two places, is refused with a reason that a model can use; nothing is applied by half.

The text keeps its own line ends (LF, CRLF, CR; new lines get the one that most lines have), its blanks in context lines
and whether its last line has an end.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from lollms_core.text.code_blocks import split_lines

__all__ = [
    "PatchFailed",
    "apply_blocks",
    "apply_unified",
    "difference",
    "is_elided",
    "is_part",
    "looks_like_diff",
    "replaced",
]

_HEADER = re.compile(r"@@(?:\s*-(\d+)(?:,(\d+))?\s+\+(\d+)(?:,(\d+))?\s*@@)?")
_FILE = re.compile(r"(?:diff --git |index [0-9a-f]{4,}|new file mode |deleted file mode |similarity index |rename )")
_SEARCH = re.compile(r"(<{5,9})\s*(?:SEARCH|ORIGINAL|OLD)?\s*\Z", re.IGNORECASE)
_REPLACE = re.compile(r"(>{5,9})\s*(?:REPLACE|UPDATED|NEW)?\s*\Z", re.IGNORECASE)
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})[\w+#.-]*\s*\Z")
_DOTS = re.compile(r"\s*(?:#|//|--|/\*|<!--|;|%)?\s*(?:\.{3}|\u2026).*\Z")
_ELIDED = re.compile(
    r"\s*(?:#|//|--|/\*|<!--|;|%)?\s*[(\[{]?\s*(?:\.{3}|\u2026)\s*[(\[]?\s*(?:the |all |your )?"
    r"(?:existing|rest|remaining|remainder|unchanged|same|previous|other|omitted|as before|code)\b"
    r"|\s*(?:#|//|--|/\*|<!--|;|%)\s*(?:the )?"
    r"(?:(?:rest|remainder) of (?:the|your|this) |(?:existing|remaining|other) )"
    r"(?:code|file|class|functions?|methods?|imports?|module|script|implementation)\b.*"
    r"(?:unchanged|the same|as before|here|\.{3}|\u2026)\W*\Z",
    re.IGNORECASE,
)
_SHOWN_LINES = 6
_SHOWN = 200


class PatchFailed(ValueError):
    """A change that cannot be applied; the message says why, in words for whoever wrote it."""


class _Hunk(NamedTuple):
    """Lines of a change, each with its mark, and where its header puts them, None without one.

    The mark is ` `, `-` or `+`, or "" for a line of context that has none.
    """

    lines: tuple[tuple[str, str], ...]
    start: int | None = None
    is_counted: bool = False

    @property
    def old(self) -> list[str]:
        return [text for mark, text in self.lines if mark != "+"]

    @property
    def changes(self) -> bool:
        return any(mark in ("-", "+") for mark, _ in self.lines)


class _Placed(NamedTuple):
    hunk: _Hunk
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.hunk.old)


# ---- unified diffs -------------------------------------------------------------------------------------------------


def looks_like_diff(text: str) -> bool:
    """Whether a text is a diff, and not code."""
    lines = split_lines(text)
    has_files = any(a.startswith("--- ") and b.startswith("+++ ") for a, b in pairwise(lines))
    return has_files or any(line.startswith("@@") and _HEADER.match(line) for line in lines)


def apply_unified(original: str, patch: str) -> str:
    """The text with a unified diff applied: all of it, or `PatchFailed` with the reason.

    A diff whose numbers and lines are all exact is applied where it says. In any other, each hunk is put where its old
    lines stand: exactly, else but for blanks at the ends of lines, and in one place only. A line of dots among the
    context stands for any lines. Hunks without a header, with wrong numbers, and with blank lines that lost their blank
    are understood.
    """
    lines, ends = _with_ends(original)
    hunks = [hunk for hunk in _hunks(split_lines(patch)) if hunk.lines]
    if not any(hunk.changes for hunk in hunks):
        raise PatchFailed("the diff has no line that begins with + or -, so it changes nothing")
    known = {line.strip() for line in lines}
    for hunk in hunks:
        for mark, text in hunk.lines:
            if mark == "+" and is_elided(text) and text.strip() not in known:
                raise PatchFailed(f"the diff adds {_shown([text])}, which stands for code that was left out")
    placed = _as_declared(lines, hunks) or _found(lines, hunks)
    return _written(lines, ends, placed)


def _hunks(lines: Sequence[str]) -> Iterator[_Hunk]:
    """The hunks of a diff; what stands before the first header, or is about files, is no part of any."""
    has_headers = any(_is_header(line) for line in lines)
    found: re.Match[str] | None = None
    inside: list[tuple[str, str]] = []
    is_open, at = not has_headers, 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("--- ") and at < len(lines) and lines[at].startswith("+++ "):
            yield _hunk(found, inside)
            found, inside, is_open, at = None, [], not has_headers, at + 1
        elif _is_header(line):
            yield _hunk(found, inside)
            found, inside, is_open = _HEADER.match(line), [], True
        elif is_open and not _FILE.match(line) and not line.startswith("\\ "):
            inside.append((line[0], line[1:]) if line[:1] in (" ", "-", "+") else ("", line))
    yield _hunk(found, inside)


def _is_header(line: str) -> bool:
    return line.startswith("@@") and _HEADER.match(line) is not None


def _hunk(header: re.Match[str] | None, lines: Sequence[tuple[str, str]]) -> _Hunk:
    """A hunk, without the empty lines that only end the text of the diff."""
    count = len(lines)
    old, new = _counts(lines)
    declared = None
    if header is not None and header[1]:
        declared = (int(header[2] or 1), int(header[4] or 1))
    while count and lines[count - 1] == ("", "") and (old, new) != declared:
        count, old, new = count - 1, old - 1, new - 1
    if header is None or not header[1]:
        return _Hunk(tuple(lines[:count]))
    start = int(header[1])
    return _Hunk(tuple(lines[:count]), start if old == 0 else start - 1, (old, new) == declared)


def _counts(lines: Sequence[tuple[str, str]]) -> tuple[int, int]:
    return sum(mark != "+" for mark, _ in lines), sum(mark != "-" for mark, _ in lines)


def _as_declared(lines: Sequence[str], hunks: Sequence[_Hunk]) -> list[_Placed]:
    """The hunks where their headers put them, if every one is exact there; else none."""
    after = 0
    for hunk in hunks:
        old, start = hunk.old, hunk.start
        if not hunk.is_counted or start is None or start < after or list(lines[start : start + len(old)]) != old:
            return []
        if lines and not any(line.strip() for line in old):
            return []  # nothing that shows that the place is right
        after = start + len(old)
    return [_Placed(hunk, hunk.start or 0) for hunk in hunks]


def _found(lines: Sequence[str], hunks: Sequence[_Hunk]) -> list[_Placed]:
    """The hunks where their lines are."""
    placed: list[_Placed] = []
    for number, hunk in enumerate(hunks, 1):
        if not hunk.changes:
            continue
        name = f"hunk {number}" if len(hunks) > 1 else "the hunk"
        placed += _place(lines, hunk, name)
    placed.sort(key=lambda each: each.at)
    bare = list(map(_without_context, placed))
    for (before, old), (after, new) in pairwise(zip(placed, bare, strict=True)):
        if before.end > new.at or old.end > after.at:
            raise PatchFailed("two hunks change the same lines; write them as one")
    return bare


def _without_context(placed: _Placed) -> _Placed:
    """The hunk from its first change to its last, since models let the context of two hunks overlap."""
    lines = placed.hunk.lines
    changes = [number for number, (mark, _) in enumerate(lines) if mark in ("-", "+")]
    return _Placed(_Hunk(lines[changes[0] : changes[-1] + 1]), placed.at + changes[0])


def _place(lines: Sequence[str], hunk: _Hunk, name: str) -> list[_Placed]:
    """Where one hunk belongs; in parts, where lines of dots part it."""
    old = hunk.old
    if not old:
        if not any(line.strip() for line in lines):
            return [_Placed(hunk, 0)]
        raise PatchFailed(f"{name} has no context, so its place is not known; give some of the lines around it")
    without_marks = _Hunk(tuple((mark, f" {text}" if mark == " " else text) for mark, text in hunk.lines))
    for reading in (hunk, without_marks):
        for at in _places(lines, reading.old, name):
            return [_Placed(reading, at)]
    if any(_is_gap(mark, text) for mark, text in hunk.lines):
        parts = [part for part in _parts(hunk) if part.lines]
        return [one for part in parts if part.changes for one in _place(lines, part, f"a part of {name}")]
    raise PatchFailed(f"{name} does not fit: these lines do not stand in the code like this:\n{_nearest(lines, old)}")


def _is_gap(mark: str, text: str) -> bool:
    return mark in (" ", "") and _DOTS.match(text) is not None


def _parts(hunk: _Hunk) -> Iterator[_Hunk]:
    part: list[tuple[str, str]] = []
    for mark, text in hunk.lines:
        if _is_gap(mark, text):
            yield _Hunk(tuple(part))
            part = []
        else:
            part.append((mark, text))
    yield _Hunk(tuple(part))


def _places(lines: Sequence[str], old: Sequence[str], name: str) -> list[int]:
    """The one place where lines stand, or none. Raises `PatchFailed` where there are several."""
    if not any(line.strip() for line in old):
        raise PatchFailed(f"{name} has only empty lines as context, which stand in many places; give other lines")
    for ours, theirs in ((lines, old), ([each.rstrip() for each in lines], [each.rstrip() for each in old])):
        places = _all_places(ours, theirs)
        if len(places) == 1:
            return places
        if places:
            where = ", ".join(str(at + 1) for at in places[:_SHOWN_LINES])
            raise PatchFailed(f"{name} fits in {len(places)} places (lines {where}); give more lines around it")
    return []


def _all_places(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where lines stand among others. They are looked up by the rarest of them, so that this stays cheap."""
    wanted = list(wanted)
    counts = Counter(lines)
    rarest = min(range(len(wanted)), key=lambda n: counts[wanted[n]])
    key, last = wanted[rarest], len(lines) - len(wanted)
    starts = [at - rarest for at, line in enumerate(lines) if line == key]
    return [at for at in starts if 0 <= at <= last and lines[at : at + len(wanted)] == wanted]


def _written(lines: Sequence[str], ends: Sequence[str], placed: Sequence[_Placed]) -> str:
    """The text with the hunks in their places, which follow each other. Context stays as it is in the text."""
    usual = _usual(ends)
    written: list[tuple[str, str]] = []
    at = 0
    for hunk, start in placed:
        written += zip(lines[at:start], ends[at:start], strict=True)
        at = start
        for mark, text in hunk.lines:
            if mark == "+":
                written.append((text, usual))
                continue
            if mark != "-":
                written.append((lines[at], ends[at]))
            at += 1
    written += zip(lines[at:], ends[at:], strict=True)
    return _text(written, usual, has_end=not ends or ends[-1] != "")


# ---- search and replace --------------------------------------------------------------------------------------------


def apply_blocks(original: str, answer: str) -> str:
    """The text with blocks applied: `<<<<<<< SEARCH`, old lines, `=======`, new lines, `>>>>>>> REPLACE`.

    Old lines are found as those of `apply_unified` are, in one place only; all blocks are applied, or `PatchFailed` is
    raised. Empty old lines stand for all of an empty text.
    """
    lines, ends = _with_ends(original)
    blocks = list(_blocks(split_lines(answer)))
    if not blocks:
        raise PatchFailed("there is no block that begins with <<<<<<< SEARCH and ends with >>>>>>> REPLACE")
    hunks = []
    for old, new in blocks:
        if any(is_elided(line) for line in new if line not in old):
            raise PatchFailed(f"a block has {_shown([each for each in new if is_elided(each)])} in place of code")
        hunks.append(_Hunk((*(("-", line) for line in old), *(("+", line) for line in new))))
    if all(old == new for old, new in blocks):
        raise PatchFailed("what is to be replaced and what replaces it are the same")
    return _written(lines, ends, _found(lines, hunks))


def _blocks(lines: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    old: list[str] = []
    new: list[str] = []
    state, between = "", ""
    for line in lines:
        if found := _SEARCH.match(line):
            if state:
                raise PatchFailed("a block has no end: >>>>>>> REPLACE is missing")
            state, between, old, new = "old", "=" * len(found[1]), [], []
        elif state == "old" and line.rstrip() == between:
            state = "new"
        elif state == "new" and (found := _REPLACE.match(line)) and len(found[1]) == len(between):
            state = ""
            yield _unfenced(old), _unfenced(new)
        elif state:
            (old if state == "old" else new).append(line)
    if state:
        raise PatchFailed("the last block has no end: ======= or >>>>>>> REPLACE is missing")


def _unfenced(lines: list[str]) -> list[str]:
    """Lines without the fences that some models put around each half."""
    if len(lines) >= 2 and _FENCE.match(lines[0]) and _FENCE.match(lines[-1]):
        return lines[1:-1]
    return lines


# ---- whole texts ---------------------------------------------------------------------------------------------------


def replaced(original: str, code: str) -> str:
    """A text that takes the place of another, with the line ends of that and its end of the last line."""
    _, ends = _with_ends(original)
    usual = _usual(ends)
    lines = split_lines(code)
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return _text([(line, usual) for line in lines], usual, has_end=not ends or ends[-1] != "")


def is_elided(line: str) -> bool:
    """Whether a line stands for code that was left out, such as `# ... the rest stays the same`."""
    return _ELIDED.match(line) is not None


def is_part(original: str, lines: Sequence[str]) -> bool:
    """Whether lines that are to take the place of a text begin within it, or end there, and leave out the rest.

    They do where a quarter of the text or more stands before the first line that both have, or behind the last one,
    and the lines have next to nothing in its place. Only lines that stand in the text once are compared.
    """
    ours, theirs = ([line.strip() for line in each if line.strip()] for each in (split_lines(original), lines))
    counts = Counter(ours)
    places = {line: at for at, line in enumerate(ours) if counts[line] == 1}
    common = [(places[line], at) for at, line in enumerate(theirs) if line in places]
    if not common:
        return False
    (first, before), (last, until) = min(common), max(common)
    left_out = max(0, first - 2 * before), max(0, len(ours) - last - 2 * (len(theirs) - until) + 1)
    return sum(left_out) >= max(1, len(ours) // 4)


def difference(before: str, after: str, name: str = "code") -> str:
    """The exact unified diff between two texts; "" where they are the same."""
    ours, theirs = (_ended_lines(text) for text in (before, after))
    pieces = []
    for line in difflib.unified_diff(ours, theirs, f"a/{name}", f"b/{name}"):
        pieces.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(pieces)


def _ended_lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


# ---- lines ---------------------------------------------------------------------------------------------------------


def _with_ends(text: str) -> tuple[list[str], list[str]]:
    """The lines of a text, and what ends each of them."""
    lines = split_lines(text)
    ends = re.findall(r"\r\n|\n|\r", text)
    if lines[-1]:
        return lines, [*ends, ""]
    return lines[:-1], ends


def _usual(ends: Sequence[str]) -> str:
    counted = Counter(end for end in ends if end)
    return counted.most_common(1)[0][0] if counted else "\n"


def _text(written: Sequence[tuple[str, str]], usual: str, *, has_end: bool) -> str:
    if not written:
        return ""
    last, end = written[-1]
    pieces = [line + (end or usual) for line, end in written[:-1]]
    return "".join([*pieces, last, (end or usual) if has_end else ""])


def _nearest(lines: Sequence[str], old: Sequence[str]) -> str:
    """The lines that were looked for, from the first that stands nowhere."""
    known = {line.rstrip() for line in lines}
    missing = [line for line in old if line.rstrip() not in known]
    return _shown(missing or old)


def _shown(lines: Sequence[str]) -> str:
    shown = [line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…" for line in lines[:_SHOWN_LINES]]
    return "\n".join([*shown, *(["…"] if len(lines) > _SHOWN_LINES else [])])
