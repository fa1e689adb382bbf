"""Thoughts that a model writes into its text, between `<think>` or `<thinking>` and the closing tag.

`ThoughtSplitter` takes a text in pieces and gives it back as text and thoughts. What it gives is exact: only the outer
tags are taken out and nothing is put in. Joined up, its pieces are the same however the text was cut.

A tag counts only where it is meant as one. Not in a fenced code block (CommonMark fences of backticks or tildes, at any
indentation), and not right behind a backtick: models write `<think>` in code when they talk about it. Inside of a
thought fences do not count, because a thought that breaks off inside of a code block must still end at its closing tag;
tags do nest, and inner ones are part of the thought. A thought that is never closed is a thought to its end. A closing
tag outside of a thought is text.

Only what may be the beginning of a tag is held back, at most ten characters, so the cost is linear.
"""

from __future__ import annotations

import re

from lollms_core.types import TextDelta, ThoughtDelta

__all__ = ["ThoughtSplitter"]

_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE | re.ASCII)
_ANY = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE | re.ASCII)
_OPENERS = ("<think>", "<thinking>")
_TAGS = (*_OPENERS, "</think>", "</thinking>")
_LONGEST = len("</thinking>")


class _Fences:
    """Follows fenced code blocks through a text that comes in pieces. `inside` holds for the place reached so far."""

    __slots__ = ("_at_head", "_char", "_length", "_mark", "_run", "_spoilt")

    def __init__(self) -> None:
        self._char = ""  # the open fence, and its length
        self._length = 0
        self._newline()

    def _newline(self) -> None:
        self._at_head = True  # only blanks and fence characters so far in this line
        self._mark = ""  # the fence character that the line begins with, how many of them,
        self._run = 0
        self._spoilt = False  # and whether what follows them makes it no fence after all

    @property
    def inside(self) -> bool:
        return self._length > 0 or (self._run >= 3 and not self._spoilt)

    def plain(self, text: str) -> bool:
        """Whether `text` cannot change anything: it stays in an ordinary line."""
        return not self._at_head and self._run == 0 and "\n" not in text

    def advance(self, text: str) -> None:
        if "\n" not in text:
            self._part(text)
            return
        first, *lines = text.split("\n")
        self._part(first)
        for line in lines:
            self._end_of_line()
            if line:
                self._part(line)

    def _part(self, text: str) -> None:
        if self._at_head:
            text = self._head(text)
        if self._run >= 3 and text and not self._spoilt:
            # A closing fence stands alone in its line; the words behind an opening one have no backtick.
            self._spoilt = text.strip() != "" if self._length else self._mark == "`" and "`" in text

    def _head(self, text: str) -> str:
        rest = text
        if not self._run:
            rest = text.lstrip(" \t")
            if not rest:
                return ""
            if rest[0] not in "`~":
                self._at_head = False
                return rest
            self._mark = rest[0]
        after = rest.lstrip(self._mark)
        self._run += len(rest) - len(after)
        if after:
            self._at_head = False
            if self._run < 3:
                self._run = 0
        return after

    def _end_of_line(self) -> None:
        if self._run >= 3 and not self._spoilt:
            if not self._length:
                self._char, self._length = self._mark, self._run
            elif self._mark == self._char and self._run >= self._length:
                self._length = 0
        self._newline()


class ThoughtSplitter:
    """Splits a streamed text into text and thoughts; `inside=True` starts in one, for models that open it unseen."""

    __slots__ = ("_before", "_depth", "_fences", "_held")

    def __init__(self, inside: bool = False) -> None:
        self._depth = 1 if inside else 0
        self._held = ""
        self._before = ""  # the last character before the place reached, outside of thoughts
        self._fences = _Fences()

    def feed(self, text: str) -> list[TextDelta | ThoughtDelta]:
        """The events of the next piece."""
        if not self._depth and not self._held and "<" not in text:
            if text:
                if not self._fences.plain(text):
                    self._fences.advance(text)
                self._before = text[-1]
                return [TextDelta(text)]
            return []
        text = self._held + text
        self._held = ""
        out: list[TextDelta | ThoughtDelta] = []
        at = 0
        while at < len(text):
            at = self._in_thought(text, at, out) if self._depth else self._in_text(text, at, out)
        return out

    def close(self) -> list[TextDelta | ThoughtDelta]:
        """The text has ended: what was held back, which is no tag then."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [ThoughtDelta(held) if self._depth else TextDelta(held)]

    def _in_text(self, text: str, begin: int, out: list[TextDelta | ThoughtDelta]) -> int:
        """Read text from `begin` to the first tag that counts or to the end; returns the place after it."""
        seen = begin
        for tag in _OPEN.finditer(text, begin):
            self._fences.advance(text[seen : tag.start()])
            seen = tag.start()
            before = text[seen - 1] if seen > begin else self._before
            if before != "`" and not self._fences.inside:
                if seen > begin:
                    out.append(TextDelta(text[begin:seen]))
                self._before = ">"
                self._depth = 1
                return tag.end()
        end = self._hold(text, seen, _OPENERS)
        if end > begin:
            self._fences.advance(text[seen:end])
            self._before = text[end - 1]
            out.append(TextDelta(text[begin:end]))
        return len(text)

    def _in_thought(self, text: str, begin: int, out: list[TextDelta | ThoughtDelta]) -> int:
        end = begin
        for tag in _ANY.finditer(text, begin):
            end = tag.end()
            self._depth += -1 if tag[1] else 1
            if not self._depth:
                if tag.start() > begin:
                    out.append(ThoughtDelta(text[begin : tag.start()]))
                return end
        end = self._hold(text, end, _TAGS)
        if end > begin:
            out.append(ThoughtDelta(text[begin:end]))
        return len(text)

    def _hold(self, text: str, begin: int, tags: tuple[str, ...]) -> int:
        """Keep an end of `text` (from `begin`) that may become a tag; returns where it starts."""
        at = text.rfind("<", max(begin, len(text) - _LONGEST + 1))
        if at >= 0 and any(tag.startswith(text[at:].lower()) for tag in tags):
            self._held = text[at:]
            return at
        return len(text)
