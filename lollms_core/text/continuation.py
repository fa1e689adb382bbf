"""An answer that was cut off within a block of code, and what the model wrote when it was asked to go on, as one text.

Models go on in many ways: at the very next character, from the start of the line they were in, from some lines before,
from the beginning of the block; in a new fence or as if the old one were still open; with a sentence before it, or with
another indentation of the first line. What they repeat is found by comparing lines, and left out. Two texts may mean
two things, since code may repeat itself, so the model should be asked to begin with `anchor`, lines that tell.

What is not found to be a repetition follows at the next character, so a word that was cut in two is whole again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from lollms_core.text.code_blocks import FenceReader, split_lines

__all__ = ["anchor", "continued", "joined", "open_block"]

_TELLING = 8  # letters and digits that two texts do not share by chance
_TELLING_INSIDE = 12  # the same within a line, where values stand that may repeat themselves
_RESTART = 3  # lines at the start that show that a block is written once more
_MOST_LINES = 400  # how far back a repetition may begin, unless it is the whole block
_TALK_LINES = 12
_LINE = 2_000  # characters of a line that are looked at
_ANCHOR = 400
_ANCHOR_LINES = 20

_REST_OF_NAME = re.compile(r"[\w+#.-]{1,12}")  # of a language that stands behind a fence
_RULERS = "-=#*_~+. \t"  # of such signs a line may have any number
_WORD = re.compile(r"\w")
_TWO_LINES = re.compile(r"\S.*\n\s*\S")
_FENCE_LINE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)\Z", re.DOTALL)
_CODE_TAG = re.compile(r"<code\b[^<>]{0,300}>", re.IGNORECASE)
_CODE_END = re.compile(r"</code\s*>", re.IGNORECASE)
_TAG_TAIL = re.compile(r"</?[a-z ]{0,5}\Z", re.IGNORECASE)
_TALK = re.compile(
    r"(?:sure|certainly|of course|okay|continuing|i['\u2019]m sorry|i am sorry|sorry|i apologi[sz]e|my apologies"
    r"|here(?:'s|\u2019s| is| are)? the (?:rest|remaining|continuation|continued|missing|complete|full)"
    r"|(?:the|your) (?:code|block|answer) (?:above )?(?:is|was) (?:already )?(?:complete|finished|whole)"
    r"|nothing (?:is|was) missing)\b[^=(){};<>]*\Z",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"[ \t]*(?:#{1,4}|//|--|/\*|<!--|;|%)\s*(?:\.{3}|\u2026)?\s*[(\[]?\s*"
    r"(?:continu(?:ed|ing|ation)|(?:the )?(?:rest|remainder) of|previous |(?:the )?(?:code|lines) above)\b.*",
    re.IGNORECASE,
)


class OpenBlock(NamedTuple):
    """A block that a text does not close: what opens it, and the offset of its content."""

    opening: str
    start: int


def open_block(text: str, form: str = "markdown") -> OpenBlock | None:
    """The block that is open at the end of a text of either form; None where all are closed."""
    if form == "html":
        return _open_tag(text)
    reader, at, start = FenceReader(), 0, 0
    for line in text.split("\n"):
        at += len(line) + 1
        was = reader.opening
        reader.line(line.removesuffix("\r"))
        if was is None and reader.opening is not None:
            start = at
    # The last line has no end: a fence that stands in it may not be whole.
    return None if reader.opening is None or start > len(text) else OpenBlock(reader.opening, start)


def anchor(code: str) -> str:
    """The last lines of code, two at least and the last one perhaps cut, as few as can hardly stand in it twice.

    Two of them show whether a continuation has moved everything to other columns.
    """
    tail, found = code[-_LINE:], ""
    lines = tail.split("\n")
    for count in range(1, min(len(lines), _ANCHOR_LINES)):
        last = "\n".join(lines[-count:])
        if found and len(last) > _ANCHOR:
            break
        if _tells(last) and (count >= 3 or tail.count(last) == 1):
            found = last
            if _TWO_LINES.search(last):
                break
    tail = found or tail
    if len(tail) <= _ANCHOR:
        return tail
    word = re.compile(r"(?<!\w)\w").search(tail, len(tail) - _ANCHOR)
    return tail[word.start() if word else -_ANCHOR :]


def continued(text: str, more: str, form: str = "markdown") -> str:
    """The text and what came when the model was asked to go on, as if it had been written at once.

    Where no block is open at the end of the text, both follow each other with an empty line between. Lines end with LF
    in what is returned.
    """
    text, more = _plain(text), _plain(more)
    block = open_block(text, form)
    if block is None:
        return _after_blocks(text, more, form)
    code = text[block.start :]
    if form == "html":
        return text[: block.start] + _with_tag(code, more)
    return text[: block.start] + _with_fence(code, more, block.opening)


def joined(code: str, more: str, *, in_fence: bool = False, is_closed: bool = False) -> str:
    """Code and its continuation without what both have.

    `in_fence` says that the continuation stands in a block of its own, `is_closed` that nothing comes after it.
    """
    if (repeated := _repeated(code, more)) is not None:
        return code + more[repeated:]
    if _restarts(code, more):
        return more if len(more) > len(code) or (is_closed and not code.startswith(more)) else code
    if (rest := _shifted(code, more)) is not None:
        return code + rest
    last = code[code.rfind("\n") + 1 :]
    if in_fence and last and not last.strip() and more.startswith(last):
        return code.removesuffix(last) + more  # a line of which nothing had come but its indentation
    if repeated := _repeated_inside(code, more):
        return code + more[repeated:]
    return code + ("\n" if in_fence and _is_next_line(code, more) else "") + more


# ---- where the code stands in an answer ----------------------------------------------------------------------------


def _with_fence(code: str, more: str, opening: str, *, may_quote: bool = True) -> str:
    """The code with the rest of its block, the fence that closes it, and what stands behind that.

    `may_quote` says that the first block may be a quotation of where the code had stopped.
    """
    marks = opening.lstrip()
    if ending := _rest_of_fence(code, more, marks):
        return code + ending
    whole_lines = _without_partial_fence(code, marks, _indent(opening))
    lines = more.split("\n")
    fences = [n for n, line in enumerate(lines) if _is_fence(line, marks)]
    is_new = bool(fences) and _opens(lines, fences, whole_lines, marks)
    if is_new or _repeated(whole_lines, more) is not None:
        code = whole_lines
    if not fences:
        return joined(code, _without_talk(code, more))
    first = fences[0]
    if is_new:
        reader, at = FenceReader(), first + 1
        reader.line(lines[first])
        while at < len(lines) and reader.line(lines[at]) is None:
            at += 1
        piece = _without_heading(code, _piece(lines, first + 1, at))
        whole = joined(code, piece, in_fence=True, is_closed=at < len(lines))
        if at == len(lines):
            return whole
        if may_quote and whole.rstrip() == code.rstrip() and _is_quoted(lines, first, at):
            return _with_fence(code, "\n".join(lines[at + 1 :]), opening, may_quote=False)
    else:
        at = first
        whole = joined(code, _without_talk(code, _piece(lines, 0, first)), is_closed=True)
    return "\n".join([_ended(whole) + opening, *lines[at + 1 :]])


def _opens(lines: Sequence[str], fences: Sequence[int], code: str, marks: str) -> bool:
    """Whether the first fence of a continuation opens a new block; else it closes the one that was open."""
    first = fences[0]
    found = _FENCE_LINE.match(lines[first])
    if found is not None and found[2].strip():
        return True
    before = "\n".join(lines[:first])
    if not before.strip():
        rest = "\n".join(lines[first + 1 :])
        closes = code.endswith("\n") or first > 0
        return len(fences) % 2 == 0 or _repeated(code, rest) is not None or (bool(rest.strip()) and not closes)
    second = _FENCE_LINE.match(lines[fences[1]]) if len(fences) % 2 == 0 else None
    return second is not None and not second[2].strip() and _repeated(code, before) is None


def _is_quoted(lines: Sequence[str], first: int, at: int) -> bool:
    """Whether a block from one fence to another only says where the model goes on, in the next block of its kind."""
    opening = lines[first].strip()
    later = (line.strip() for line in lines[at + 1 :] if _is_fence(line, opening[:3]))
    return next(later, "") == opening


def _is_fence(line: str, marks: str) -> bool:
    found = _FENCE_LINE.match(line)
    return found is not None and found[1].startswith(marks) and not (marks[0] == "`" and "`" in found[2])


def _piece(lines: Sequence[str], first: int, after: int) -> str:
    """Lines with their ends; the very last line of a text has none."""
    piece = "\n".join(lines[first:after])
    return f"{piece}\n" if after < len(lines) and after > first else piece


def _rest_of_fence(code: str, more: str, marks: str) -> str:
    """The continuation, where it begins with the marks that are missing of a closing fence; else ""."""
    last = code[code.rfind("\n") + 1 :].strip(" \t")
    if not last or last.strip(marks[0]):
        return ""
    first = more.split("\n", 1)[0]
    run = len(first) - len(first.lstrip(marks[0]))
    is_rest = 0 < run < 3 or first.strip() == marks[0] * (len(marks) - len(last))
    return more if is_rest and first.strip() else ""


def _without_partial_fence(code: str, marks: str, margin: int) -> str:
    """The code without a last line that is the beginning of the fence that closes it."""
    start = code.rfind("\n") + 1
    last = code[start:].strip(" \t")
    is_fence = last and not last.strip(marks[0]) and _indent(code[start:]) <= margin + 3
    return code[:start] if is_fence else code


def _with_tag(code: str, more: str) -> str:
    """As `_with_fence`, for elements of HTML."""
    cut = _TAG_TAIL.search(code)
    if cut and _CODE_END.match(cut[0] + more):
        return code + more
    tag, end = _CODE_TAG.search(more), _CODE_END.search(more)
    is_new = tag is not None and (end is None or tag.start() < end.start())
    start = tag.end() if is_new and tag else 0
    end = _CODE_END.search(more, start)
    piece = more[start : end.start() if end else len(more)]
    piece = _without_heading(code, piece.removeprefix("\n")) if is_new else _without_talk(code, piece)
    whole = joined(code, piece, in_fence=is_new, is_closed=end is not None)
    return whole + (more[end.start() :] if end else "")


def _open_tag(text: str) -> OpenBlock | None:
    at = 0
    while tag := _CODE_TAG.search(text, at):
        end = _CODE_END.search(text, tag.end())
        if end is None:
            start = tag.end() + 1 if text.startswith("\n", tag.end()) else tag.end()
            return OpenBlock(tag[0], start)
        at = end.end()
    return None


def _without_heading(code: str, more: str) -> str:
    """What stands in a block of its own, without empty lines and a remark that it goes on before what is repeated."""
    at = 0
    while (end := more.find("\n", at)) >= 0 and (not more[at:end].strip() or _GOES_ON.fullmatch(more, at, end)):
        at = end + 1
    if not at or _repeated(code, more) is not None:
        return more
    rest = more[at:]
    if _repeated(code, rest) is not None or _shifted(code, rest) is not None:
        return rest
    is_in_line = bool(code[code.rfind("\n") + 1 :].strip())
    return rest if is_in_line and more[:at].strip() else more


def _without_talk(code: str, more: str) -> str:
    """What a model wrote without a fence, without the sentences that it may begin with."""
    first, _, rest = more.lstrip().partition("\n")
    if _repeated(code, more) is not None or len(first.split()) < 3 or not _TALK.match(first):
        return more
    tail = anchor(code)
    place = f"\n{rest}".find(f"\n{tail}") if _tells(tail) else -1
    between = rest[: max(0, place)].split("\n")
    if place >= 0 and len(between) <= _TALK_LINES and all(map(_is_sentence, filter(str.strip, between))):
        return rest[place:]
    # Of empty lines, one parts the sentence from the code; more of them belong to code that was not cut in a line.
    return rest.removeprefix("\n") if code.endswith("\n") else rest.lstrip("\n")


def _is_sentence(line: str) -> bool:
    words = line.split()
    return (
        len(words) > 2 and line[0].isalnum() and words[-1][-1] in ".:!" and not any(each in line for each in "(){};<>=")
    )


def _after_blocks(text: str, more: str, form: str) -> str:
    """The text with what comes after it, where no block is open; a fence at its end may be cut in two."""
    start = text.rfind("\n") + 1
    last = text[start:]
    if form == "html" or not _is_cut_fence(text, last.strip()):
        return f"{text}\n\n{more}" if more.strip() else text
    fences = [found for line in more.split("\n") if (found := _FENCE_LINE.match(line))]
    if fences and (fences[0][2].strip() or len(fences) % 2 == 0):
        return text[:start] + more  # the block is begun once more
    first = more.split("\n", 1)[0]
    goes_on = not first or first[0] in "`~" or len(last.strip()) < 3 or _REST_OF_NAME.fullmatch(first)
    return text + ("" if goes_on else "\n") + more


def _is_cut_fence(text: str, last: str) -> bool:
    """Whether the last line of a text is the beginning of a fence that opens a block."""
    if last in ("`", "``", "~", "~~"):
        return True
    reader, (*before, cut) = FenceReader(), text.split("\n")
    for line in before:
        reader.line(line)
    if reader.opening is not None:
        return False
    reader.line(cut)
    return reader.opening is not None


# ---- what is repeated ----------------------------------------------------------------------------------------------


def _repeated(code: str, more: str) -> int | None:
    """How many characters at the start of `more` are the last lines of the code; None where they are not.

    The longest such repetition counts. A last line that is cut needs a sign that does not stand in rows to be one;
    whole lines need three different letters, since brackets may well follow each other.
    """
    if code and more.startswith(code) and _WORD.search(code):
        return len(code)
    starts = [0] + [at + 1 for at, each in enumerate(code) if each == "\n"]
    for start in starts[-_MOST_LINES:]:
        tail = code[start:]
        if tail and more.startswith(tail) and _is_repetition(tail):
            return len(tail)
    return None


def _is_repetition(tail: str) -> bool:
    last = tail[tail.rfind("\n") + 1 :]
    if last.strip():
        return bool(last.strip(_RULERS)) or last[-1].isspace() or len({*last.strip()}) > 1
    return len({each for each in tail if each.isalpha()}) >= 3


def _restarts(code: str, more: str) -> bool:
    """Whether the block is written once more, be it with other words later on."""
    ours = [line for line in code.split("\n") if line.strip()]
    theirs = [line for line in more.split("\n") if line.strip()]
    if len(ours) <= _RESTART:
        start = code.rstrip()
        return bool(more.strip()) and (_tells(start) and more.startswith(start))
    if theirs[:_RESTART] == ours[:_RESTART]:
        return _tells("\n".join(theirs[:_RESTART]))
    return _tells(more) and code.startswith(more)


def _shifted(code: str, more: str) -> str | None:
    """What follows the last lines of the code, where `more` begins with them but for their indentation."""
    ours, theirs = code.split("\n"), more.split("\n")
    for count in range(min(len(ours), len(theirs), _MOST_LINES), 0, -1):
        tail, head = ours[-count:], theirs[:count]
        last, now = tail[-1].lstrip(), head[-1].lstrip()
        same = [a.strip() for a in tail[:-1]] == [b.strip() for b in head[:-1]] and now.startswith(last)
        if not same or not _is_repetition_but_for_blanks(tail):
            continue
        shift = {_indent(a) - _indent(b) for a, b in zip(tail, head, strict=True) if a.strip() and b.strip()}
        by = shift.pop() if len(shift) == 1 and _is_moved(tail, head) else 0
        rest = [now[len(last) :] if last else _moved(head[-1], by)[len(tail[-1]) :], *theirs[count:]]
        return "\n".join([rest[0], *(_moved(line, by) for line in rest[1:])])
    return None


def _is_moved(tail: Sequence[str], head: Sequence[str]) -> bool:
    """Whether all that follows may stand in other columns too; of one line, its indentation alone may be lost."""
    lines = [line for line, own in zip(head, tail, strict=True) if own.strip()]
    return len(lines) > 1 or (bool(lines) and _indent(lines[0]) > 1)


def _is_repetition_but_for_blanks(tail: Sequence[str]) -> bool:
    text = "\n".join(tail)
    return _tells(text) or (bool(tail[-1].strip()) and len({each for each in tail[-1] if each.isalpha()}) >= 3)


def _repeated_inside(code: str, more: str) -> int:
    """How many characters at the start of `more` are the end of the last line, from the start of a word; 0 for none."""
    last = code[code.rstrip().rfind("\n") + 1 :][-_LINE:]
    for word in re.finditer(r"(?<!\w)\w", last):
        tail = last[word.start() :]
        if "\n" in tail and len(tail) < _ANCHOR // 2:
            break  # a line may well be the end of the line before it
        if len({*tail}) >= 6 and more.startswith(tail) and sum(map(len, re.findall(r"\w+", tail))) >= _TELLING_INSIDE:
            return len(tail)
    return 0


def _is_next_line(code: str, more: str) -> bool:
    """Whether a block of its own goes on with the line after the one that was cut; its indentation shows it."""
    first = more.split("\n", 1)[0]
    if not code or code[-1].isspace() or not first.startswith(("  ", "\t")):
        return False
    return bool(first.strip()) and first.lstrip()[0] not in "#/"


def _tells(text: str) -> bool:
    """Whether a text has enough letters and digits, equal lines once, to be known by them."""
    return sum(len(_WORD.findall(line)) for line in {each.strip() for each in text.split("\n")}) >= _TELLING


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _moved(line: str, by: int) -> str:
    if not line.strip():
        return line
    return " " * by + line if by > 0 else line[min(-by, _indent(line)) :]


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _plain(text: str) -> str:
    return "\n".join(split_lines(text))
