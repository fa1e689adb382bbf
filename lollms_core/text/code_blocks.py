"""The code blocks in what a model wrote: Markdown fences, and `<code>` elements of HTML.

Fences are read as CommonMark reads them: three or more backticks or tildes open a block, and a line of at least as many
of the same character and nothing else closes it, so a block may hold shorter fences. Two rules are wider, because
models put blocks into lists without much care: a fence may stand at any indentation, and what the opening one has is
taken from the lines inside. A closing fence is indented at most three columns more than the opening one; deeper ones
are part of the code.

Lines end with LF, CRLF or CR, and with nothing else; in what is returned they end with LF. Every line is looked at once
and never more than 200 characters before a block, so the cost is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lollms_core.errors import InvalidRequest

__all__ = ["FenceReader", "FencedBlock", "extract_code_blocks", "fenced_blocks", "kind_and_name", "split_lines"]

_WINDOW = 200  # characters before a block in which its file name is looked for
_NO_LANGUAGE = "language-specific"
_LINE_END = re.compile(r"\r\n|\n|\r")
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<marks>`{3,}|~{3,})(?P<info>.*)\Z", re.DOTALL)
# Each value has one way to be read, so that no text makes this slow.
_ATTRIBUTES = re.compile(r"[^\s=]+(?:\s+(?:[\w:.-]+=(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)|\{[\d,\s-]*\}))+")

_FILE_TAG = re.compile(r"<file_name>([^<]*)</file_name>", re.IGNORECASE)
_FILE_LINE = re.compile(r"[\s#*>/_`\[;-]*(?:file|filename)[*_`]*\s*:(.*)", re.IGNORECASE)
_FILE_WORD = re.compile(r"\b(?:file|filename)[*_`]*\s*:[*_`]*\s*(\S+)\s*\Z", re.IGNORECASE)
_AROUND_NAMES = " \t*`'\"]"
# A name that a block has itself. Each form says what it is, or is a path that can be nothing else.
_NAMED = re.compile(r"\b(?:title|file|filename|file_name)=(?:\"([^\"]+)\"|'([^']+)'|([^\s\"']+))", re.IGNORECASE)
_KIND_AND_PATH = re.compile(r"([\w+#.-]+):([\w./\\-]*\w\.\w{1,10})")
_NAMED_IN_COMMENT = re.compile(
    r"\s*(?:#|//|--|;|%|/\*|<!--)+\s*(?:file|filename)\s*:\s*([^\s:*]+)\s*(?:\*/|-->)?\s*", re.IGNORECASE
)
_PATH_IN_COMMENT = re.compile(r"\s*(?:#|//|--|;|%|/\*|<!--)+\s*((?:[\w.-]+/)+[\w.-]*\w\.\w{1,10})\s*(?:\*/|-->)?\s*")
_NAME_ALONE = re.compile(r"[\s#*>-]*(?:\d+[.)]\s*)?[*_]*`([\w./\\-]*\w\.\w{1,10})`[*_]*\s*:?[*_]*\s*")

_CODE = re.compile(r"<code\b(?P<attributes>[^<>]{0,300})>", re.IGNORECASE)
_CODE_END = re.compile(r"</code\s*>", re.IGNORECASE)
_LANGUAGE = re.compile(r"\bclass\s*=\s*[\"']?[^\"'>]*?\blanguage-([^\s\"'>]+)", re.IGNORECASE)
_PRE = re.compile(r"<pre\b[^<>]*>\s*\Z", re.IGNORECASE)


class FencedBlock(NamedTuple):
    """A block between fences: what stands behind the opening one, its lines, and which lines of the text it takes.

    `first` is the number of the line with the opening fence, `after` that of the first line behind the block; both
    count from 0. `is_complete` is False where the closing fence is missing.
    """

    info: str
    lines: list[str]
    first: int
    after: int
    is_complete: bool


def split_lines(text: str) -> list[str]:
    """The lines of a text without their ends. Other than `str.splitlines`, code with odd characters stays whole."""
    return _LINE_END.split(text)


def fenced_blocks(lines: Sequence[str]) -> Iterator[FencedBlock]:
    """The fenced blocks among the lines of a text, in their order."""
    reader = FenceReader()
    for line in lines:
        if found := reader.line(line):
            yield found
    if found := reader.rest():
        yield found


class FenceReader:
    """Finds fenced blocks in lines that are given one after the other. `opening` is the fence of the open block.

    A closing fence is indented at most `slack` columns more than the opening one. A block of Markdown may hold blocks
    whose fences are as long as its own, if a language stands behind them: models write them so, although CommonMark
    would end the outer block with the inner one.
    """

    def __init__(self, slack: int = 3) -> None:
        self._slack = slack
        self._opened: re.Match[str] | None = None
        self._number = self._first = self._margin = 0
        self._inside: list[str] = []
        self._within = 0  # blocks that are open inside of a block of Markdown

    @property
    def opening(self) -> str | None:
        """The indentation and the marks of the fence that is not closed so far."""
        return None if self._opened is None else self._opened["indent"] + self._opened["marks"]

    def line(self, line: str) -> FencedBlock | None:
        """The next line, without its end; returns the block that it closes."""
        number, self._number = self._number, self._number + 1
        fence = _FENCE.match(line) if "```" in line or "~~~" in line else None
        opened = self._opened
        if opened is None:
            if fence is not None and not (fence["marks"][0] == "`" and "`" in fence["info"]):
                self._opened, self._first, self._margin, self._inside = fence, number, _columns(fence["indent"]), []
        elif fence is not None and _opens_within(fence, opened):
            self._within += 1
            self._inside.append(_without_indent(line, self._margin))
        elif fence is not None and _closes(fence, opened, self._margin + self._slack) and not self._ends_within():
            self._opened = None
            return FencedBlock(opened["info"].strip(), self._inside, self._first, number + 1, is_complete=True)
        else:
            self._inside.append(_without_indent(line, self._margin))
        return None

    def _ends_within(self) -> bool:
        """Whether a closing fence is that of a block inside, which then is closed."""
        is_within = self._within > 0
        self._within -= is_within
        return is_within

    def rest(self) -> FencedBlock | None:
        """The block that no line has closed, when there are no more lines."""
        if self._opened is None:
            return None
        inside = self._inside
        if inside and not inside[-1]:
            inside = inside[:-1]  # the text ended with a newline, which is no empty line of code
        return FencedBlock(self._opened["info"].strip(), inside, self._first, self._number, is_complete=False)


def extract_code_blocks(text: str, format: str = "markdown") -> list[dict[str, Any]]:
    """The code blocks of a text, as dictionaries.

    `index` counts from 0. `file_name` is what the last line with text before the block names, within 200 characters:
    `<file_name>x</file_name>`, `file: x`, `filename: x`, or nothing but a name with an extension in backticks; else
    what the block names itself: `python title="x.py"` or `python:x.py` behind the fence, or a comment in its first line
    that is `file: x.py` or a path with a slash and an extension; else "". It is as the model wrote it, so check it
    before a file of that name is opened. `content` has no newline at its end. `type` is what stands behind the opening
    fence where that is one word (or a word and attributes, `python title="x"`); else `language-specific`, and several
    words are the first line of the content. `is_complete` is False for a last block that is never closed.

    `format` is `markdown`, or `html` for `<code class="language-x">` and any `<code>` directly inside `<pre>`; their
    content is not unescaped. Raises `InvalidRequest`, a ValueError, for another format.
    """
    wanted = format.lower()
    if wanted == "markdown":
        return _of_markdown(text)
    if wanted == "html":
        return _of_html(text)
    raise InvalidRequest(f"Code blocks are read from markdown or html, not from {format!r}.", param="format")


def _of_markdown(text: str) -> list[dict[str, Any]]:
    lines = split_lines(text)
    blocks: list[dict[str, Any]] = []
    for found in fenced_blocks(lines):
        kind, own_name = kind_and_name(found.info)
        content = found.lines if kind or not found.info else [found.info, *found.lines]
        name = _file_name(_line_before(lines, found.first)) or own_name or _name_inside(content)
        blocks.append(_block(len(blocks), name, "\n".join(content), kind or _NO_LANGUAGE, found.is_complete))
    return blocks


def kind_and_name(info: str) -> tuple[str, str]:
    """The language and the file name that stand behind an opening fence; "" for what does not."""
    first = info.split(None, 1)[0] if info else ""
    if first != info and not _ATTRIBUTES.fullmatch(info):
        return "", ""
    path = _KIND_AND_PATH.fullmatch(first)
    named = _NAMED.search(info)
    name = (named[1] or named[2] or named[3]) if named else path[2] if path else ""
    return path[1] if path else first, name.strip()


def _of_html(text: str) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    at = 0
    while tag := _CODE.search(text, at):
        at = tag.end()
        before = text[max(0, tag.start() - _WINDOW) : tag.start()]
        language, pre = _LANGUAGE.search(tag["attributes"]), _PRE.search(before)
        if language is None and pre is None:
            continue  # a word of code within a sentence
        closing = _CODE_END.search(text, at)
        content = "\n".join(split_lines(text[at : closing.start() if closing else len(text)]))
        content = content.removeprefix("\n").removesuffix("\n")
        heading = split_lines((before[: pre.start()] if pre else before).rstrip())[-1]
        kind = language[1] if language else _NO_LANGUAGE
        name = _file_name(heading) or _name_inside(split_lines(content[:_WINDOW]))
        blocks.append(_block(len(blocks), name, content, kind, closing is not None))
        at = closing.end() if closing else len(text)
    return blocks


def _block(index: int, file_name: str, content: str, kind: str, is_complete: bool) -> dict[str, Any]:
    return {
        "index": index,
        "file_name": file_name,
        "content": content,
        "type": kind,
        "is_complete": is_complete,
    }


def _columns(indent: str) -> int:
    return len(indent.expandtabs(4))


def _opens_within(fence: re.Match[str], opened: re.Match[str]) -> bool:
    """Whether a fence inside of a block of Markdown opens a block there."""
    info, marks = fence["info"].strip(), fence["marks"]
    is_of_markdown = opened["info"].split(None, 1)[:1] in (["markdown"], ["md"])
    return is_of_markdown and bool(info) and "`" not in info and marks.startswith(opened["marks"])


def _closes(fence: re.Match[str], opened: re.Match[str], most: int) -> bool:
    alone = not fence["info"].strip() and fence["marks"].startswith(opened["marks"])
    return alone and _columns(fence["indent"]) <= most


def _without_indent(line: str, margin: int) -> str:
    """The line without up to `margin` columns of blanks, as many as the opening fence has before it."""
    if not margin:
        return line
    blanks = line[: len(line) - len(line.lstrip(" \t"))].expandtabs(4)
    return blanks[margin:] + line.lstrip(" \t")


def _line_before(lines: Sequence[str], number: int) -> str:
    """The last line with text before a line, as far as it stands within the window."""
    left = _WINDOW
    for line in reversed(lines[max(0, number - _WINDOW) : number]):
        if line.strip():
            return line[-left:]
        left -= len(line) + 1
        if left <= 0:
            break
    return ""


def _file_name(heading: str) -> str:
    """The name of a file in the line before a block; "" where it names none."""
    if found := _FILE_TAG.search(heading):
        return found[1].strip()
    found = _FILE_LINE.match(heading) or _FILE_WORD.search(heading) or _NAME_ALONE.fullmatch(heading)
    return found[1].strip(_AROUND_NAMES) if found else ""


def _name_inside(lines: Sequence[str]) -> str:
    """The name in a comment that is the first line of a block; "" where it is none."""
    first = lines[0] if lines and len(lines[0]) <= _WINDOW else ""
    found = _NAMED_IN_COMMENT.fullmatch(first) or _PATH_IN_COMMENT.fullmatch(first)
    return found[1].strip(_AROUND_NAMES) if found else ""
