"""Helpers for what models write: code blocks, and thoughts between tags."""

from __future__ import annotations

import re
from typing import Any, Literal, overload

from lollms_core.text.code_blocks import FencedBlock, fenced_blocks, split_lines
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import TextDelta

__all__ = ["extract_code_blocks", "parse_thought_tags"]

_FILE_NAME = re.compile(r"<file_name>(?P<tag>[^<]*)</file_name>|^\s*##\s*filename:(?P<line>.*)$", re.IGNORECASE)
_SECTION = re.compile(r"<section>(?P<name>[^<]*)</section>", re.IGNORECASE)


@overload
def extract_code_blocks(text: str, return_remaining_text: Literal[False] = False) -> list[dict[str, Any]]: ...
@overload
def extract_code_blocks(text: str, return_remaining_text: Literal[True]) -> tuple[list[dict[str, Any]], str]: ...
@overload
def extract_code_blocks(
    text: str, return_remaining_text: bool
) -> list[dict[str, Any]] | tuple[list[dict[str, Any]], str]: ...


def extract_code_blocks(
    text: str, return_remaining_text: bool = False
) -> list[dict[str, Any]] | tuple[list[dict[str, Any]], str]:
    """The fenced code blocks of a text, and the text without them if wanted.

    A block is a dictionary: `index` counts from 0; `file_name` comes from `<file_name>x</file_name>` or
    `## filename: x` in the line before it, `section` from `<section>x</section>` there ("" without); `content` has no
    newline at its end; `type` is the word behind the opening fence, or `unknown`; `is_complete` is False where the
    closing fence is missing.
    """
    lines = split_lines(text)
    blocks: list[dict[str, Any]] = []
    outside: list[str] = []
    at = 0
    for found in fenced_blocks(lines):
        outside += lines[at : found.first]
        blocks.append(_block(len(blocks), found, outside))
        at = found.after
    outside += lines[at:]
    return (blocks, "\n".join(outside).strip()) if return_remaining_text else blocks


def _block(index: int, found: FencedBlock, before: list[str]) -> dict[str, Any]:
    """A block; the line before it is taken away where it says something about it."""
    heading = before[-1] if before else ""
    name, section = _FILE_NAME.search(heading), _SECTION.search(heading)
    if name or section:
        before.pop()
    words = found.info.split()
    return {
        "index": index,
        "file_name": (name["tag"] or name["line"] or "").strip() if name else "",
        "section": section["name"].strip() if section else "",
        "content": "\n".join(found.lines),
        "type": words[0] if words else "unknown",
        "is_complete": found.is_complete,
    }


def parse_thought_tags(text: str) -> tuple[str, str | None]:
    """A text without the thoughts in it, without blanks at its ends, and the thoughts; None where there are none.

    Several thoughts are joined by an empty line. One that is never closed is a thought to the end of the text. Tags in
    code blocks do not count.
    """
    splitter = ThoughtSplitter()
    said: list[str] = []
    thoughts: list[str] = []
    for event in splitter.feed(text):
        (said if isinstance(event, TextDelta) else thoughts).append(event.text)
    for event in splitter.close():  # the rest of the last piece, which only looked like a tag
        if isinstance(event, TextDelta):
            said.append(event.text)
        elif thoughts:
            thoughts[-1] += event.text
        else:
            thoughts.append(event.text)
    joined = "\n\n".join(thought.strip() for thought in thoughts if thought.strip())
    return "".join(said).strip(), joined or None
