"""Thoughts in a finished text, between `<think>` or `<thinking>` and the closing tag of the same name.

This is the documented pair of helpers for texts that are there as a whole. They differ from `ThoughtSplitter`, which
reads a stream as it comes: only thoughts that are closed count, and tags count wherever they stand. Tags of one name
nest. Where the pairs do not come out even, an opening tag without a partner of its own reaches to the next closing one,
because what a model says of the tag `<think>` within a thought is still a thought. All tags are paired in one pass, so
the cost is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["extract_thinking_blocks", "remove_thinking_blocks"]

_TAG = re.compile(r"<(/?)(think(?:ing)?)>", re.IGNORECASE | re.ASCII)
_GAP = re.compile(r"\n{3,}")


def extract_thinking_blocks(text: str) -> list[str]:
    """What stands in each closed thought of a text, stripped, in the order of the text."""
    return [text[opening.end() : closing.start()].strip() for opening, closing in _closed(text)]


def remove_thinking_blocks(text: str) -> str:
    """The text without its closed thoughts, stripped, and without more than one empty line in a row."""
    kept, at = list[str](), 0
    for opening, closing in _closed(text):
        kept.append(text[at : opening.start()])
        at = closing.end()
    return _GAP.sub("\n\n", "".join([*kept, text[at:]])).strip()


def _closed(text: str) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    """The outermost pairs of tags."""
    tags = list(_TAG.finditer(text))
    partners = _partners(tags)
    at = 0
    for number, tag in enumerate(tags):
        partner = partners[number]
        if partner is not None and tag.start() >= at:
            yield tag, tags[partner]
            at = tags[partner].end()


def _partners(tags: list[re.Match[str]]) -> list[int | None]:
    """For each tag the number of the one that closes it; None for closing tags and where none follows."""
    partners: list[int | None] = [None] * len(tags)
    unclosed: dict[str, list[int]] = {"think": [], "thinking": []}
    for number, tag in enumerate(tags):
        stack = unclosed[tag[2].lower()]
        if not tag[1]:
            stack.append(number)
        elif stack:
            partners[stack.pop()] = number
    following: dict[str, int] = {}
    for number in range(len(tags) - 1, -1, -1):
        name = tags[number][2].lower()
        if tags[number][1]:
            following[name] = number
        elif partners[number] is None:
            partners[number] = following.get(name)
    return partners
