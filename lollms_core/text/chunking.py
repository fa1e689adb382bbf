"""Where a long text may be cut, and where a piece of it may begin.

The best place is between two sections (before a Markdown heading, after a form feed), then between two paragraphs,
after a line, after a sentence, after a word, and at last anywhere. A piece is not made much shorter for a better place:
it is looked for in the last quarter of what fits, then in the last half; a word may end anywhere.

A sentence ends with `.`, `!`, `?` or `…` before a space, or with one of their Chinese and Japanese kin. This is kept
simple: a dot does not end a sentence behind a single letter ("e.g.", "J. S. Bach"), behind a few abbreviations, and
before a small letter, and "3.14" has no space. Other abbreviations are taken for ends, at the price of a poorer cut.

No place is inside of what is seen as one character: a line end of two, a letter with marks, a picture joined of
several, the two halves of a character in texts that hold them apart. Of more than `MOST_MARKS` marks in a row the rest
may be cut off, since no language has so many.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["MOST_MARKS", "cut_at", "is_between", "next_cut", "start_at"]

MOST_MARKS = 32
"""Marks and joiners that are kept together with the letter before them."""

_WORDS = 80  # characters in which there is nearly always the end of a word
_JOINER = "\u200d"
_ABBREVIATIONS = (
    r"(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\bvs)(?<!\bcf)(?<!\bca)(?<!\bNo)(?<!\bFig)(?<!\bProf)"
)
_AFTER = r"[\"'”’»)\]]*+"
_SENTENCE = re.compile(rf"(?:(?<!\b\w){_ABBREVIATIONS}\.|[!?…]){_AFTER}\s++(?![a-zß-öø-ÿ])|[。！？][”’』」）】]*+\s*+")
_SECTION = re.compile(r"^(?=#{1,6}[ \t])|\f", re.MULTILINE)
_PARAGRAPH = re.compile(r"(?:\r\n|\n|\r)(?:[ \t]*+(?:\r\n|\n|\r))++|\u2029")
_LINE = re.compile(r"\r\n|[\n\r\v\x85\u2028\u2029]")
_WORD = re.compile(r"\s++|[，、；：]")
_STRONG = (_SECTION, _PARAGRAPH, _LINE, _SENTENCE)


def cut_at(text: str, low: int, high: int) -> int:
    """The best place to end a piece of a text: behind `low`, and not behind `high`.

    Only where all of that is one character, the place is the end of it. `low` must be before the end of the text. The
    time it takes grows with `high - low`.
    """
    if high >= len(text):
        return len(text)
    for nearest in (high - (high - low) // 4, high - (high - low) // 2):
        for pattern in _STRONG:
            if place := _last(pattern, text, max(nearest, low + 1), high):
                return place
    for near in (high - _WORDS, low + 1):
        if place := _last(_WORD, text, max(near, low + 1), high):
            return place
    return _anywhere(text, low, high)


def start_at(text: str, low: int, high: int) -> int:
    """The best place from `low` to `high` to begin a piece at: where a sentence begins, else a word, else anywhere."""
    middle = low + (high - low) // 2
    for pattern, most in ((_PARAGRAPH, low + (high - low) // 4), (_SENTENCE, middle), (_LINE, middle), (_WORD, high)):
        for place in _places(pattern, text, low, most):
            return place
    return min(next_cut(text, low - 1), high) if low > 0 else low


def is_between(text: str, place: int) -> bool:
    """Whether a place is between two characters, as they are seen."""
    if not 0 < place < len(text):
        return True
    before, after = text[place - 1], text[place]
    if before == "\r" and after == "\n":
        return False
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return False
    if not _belongs(before, after):
        return True
    start = place - MOST_MARKS
    return start > 0 and all(_belongs(text[each - 1], text[each]) for each in range(place - 1, start - 1, -1))


def next_cut(text: str, place: int) -> int:
    """The first place behind a place that is between two characters."""
    place += 1
    while not is_between(text, place):
        place += 1
    return place


def _anywhere(text: str, low: int, high: int) -> int:
    for place in range(high, max(low, high - 2 * MOST_MARKS), -1):
        if is_between(text, place):
            return place
    return next_cut(text, low)


def _last(pattern: re.Pattern[str], text: str, low: int, high: int) -> int:
    """The last place of a kind from `low` to `high`, 0 for none."""
    found = 0
    for place in _places(pattern, text, low, high):
        found = place
    return found


def _places(pattern: re.Pattern[str], text: str, low: int, high: int) -> Iterator[int]:
    """Where matches end, from `low` to `high`, in order."""
    # One character more on both sides, so that a match is seen whose first or next character is there.
    for match in pattern.finditer(text, max(0, low - 2), min(len(text), high + 1)):
        if low <= match.end() <= high and match.end() > 0 and is_between(text, match.end()):
            yield match.end()


def _belongs(before: str, after: str) -> bool:
    """Whether a character is seen as one with the character before it."""
    if after < "\u0300" and before < "\u0300":
        return False
    if before == _JOINER or after == _JOINER or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    return unicodedata.category(after)[0] == "M"
