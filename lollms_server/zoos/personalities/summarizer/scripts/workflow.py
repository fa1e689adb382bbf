"""Summarise a text of any length, also with a model whose context is small.

A text that fits is summarised at once. A longer one is cut at the ends of paragraphs, notes are taken of each part, and
the summary is made of the notes; when there are too many notes, notes are taken of the notes first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from lollms_core.errors import LollmsError
from lollms_core.text.tokens import estimate

SHARE = 0.5  # of the context, for the text; the rest is for instructions and answer
FALLBACK_CONTEXT = 2048  # tokens, where nobody knows
SMALLEST = 100  # tokens of a part
MOST_ROUNDS = 4

SUMMARISE = "Summarise the text between the lines. Begin with the most important point, in at most eight sentences."
TAKE_NOTES = "The text between the lines is one part of a longer text. Write down its points as short notes."
LINE = "-----"


async def run_workflow(prompt: str, params: dict[str, Any], context: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """The summary of the prompt, in chunks; on the way it says how far it is."""
    text, binding = prompt.strip(), context["binding"]
    if not text:
        yield {"type": "chunk", "content": "There is no text to summarise: paste it as your message."}
        return
    tokens = max(SMALLEST, int(SHARE * await context_size(binding, params)))
    for _ in range(MOST_ROUNDS):
        parts = cut(text, characters(text, tokens))
        if len(parts) == 1:
            break
        notes = []
        for place, part in enumerate(parts, 1):
            yield {"type": "info", "content": f"Reading part {place} of {len(parts)}."}
            answer = await binding.generate(f"{TAKE_NOTES}\n\n{framed(part)}\n\nNotes:")
            notes.append(answer.text.strip())
        text = "\n\n".join(note for note in notes if note)
    text = text[: characters(text, tokens)]
    async for chunk in binding.generate_stream(f"{SUMMARISE}\n\n{framed(text)}\n\nSummary:"):
        yield chunk


async def context_size(binding: Any, params: dict[str, Any]) -> int:
    """The context of the model in tokens: what the request says, else what the binding knows."""
    size = params.get("context_size")
    if not size:
        try:
            size = (await binding.get_model_info()).get("context_size")
        except LollmsError:
            size = None
    return int(size or FALLBACK_CONTEXT)


def characters(text: str, tokens: int) -> int:
    """About how many characters of a text make up so many tokens: four in English, one in Chinese."""
    return max(1, int(tokens * len(text) / max(1, estimate(text))))


def framed(text: str) -> str:
    """The text between two lines, so that the model can tell it from its instructions."""
    return f"{LINE}\n{text}\n{LINE}"


def cut(text: str, room: int) -> list[str]:
    """The text in parts of at most `room` characters, cut where a paragraph, line, sentence or word ends."""
    parts = []
    while len(text) > room:
        ends = (text.rfind(mark, room // 2, room) for mark in ("\n\n", "\n", ". ", " "))
        at = next((end + 1 for end in ends if end > 0), room)
        parts.append(text[:at].strip())
        text = text[at:].strip()
    return [part for part in (*parts, text) if part]
