"""Counting in texts. Models see pieces of words and not letters."""

from __future__ import annotations

from typing import Annotated

_MAX_TEXT = 1_000_000


async def count(
    text: Annotated[str, "The text to look at."],
    part: Annotated[str | None, "What to count in it: a letter, a word or any piece of text."] = None,
) -> dict[str, int]:
    """Count the characters, words and lines of a text, and how often something occurs in it.

    Upper and lower case count as the same.
    """
    if len(text) > _MAX_TEXT:
        raise ValueError(f"The text has more than {_MAX_TEXT} characters.")
    found = {"characters": len(text), "words": len(text.split()), "lines": len(text.splitlines())}
    if part:
        found["occurrences"] = text.casefold().count(part.casefold())
    return found
