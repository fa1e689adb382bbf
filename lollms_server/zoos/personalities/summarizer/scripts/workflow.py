"""Summarise a text of any length, also with a model whose context is small.

A short text is summarised at once, and the summary is shown as it is written. A longer one is read in parts that fit
the model's context, several at once where the instance has the places, and the summary is made of their summaries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from lollms_core.text.tokens import estimate

SHORT = 1000  # tokens, which fit in any context

SUMMARISE = "Summarise the text. Begin with the most important point, in at most eight sentences."
LINE = "-----"


async def run_workflow(prompt: str, params: dict[str, Any], context: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """The summary of the prompt; of a long one, the caller is told how far it is."""
    text, binding = prompt.strip(), context["binding"]
    if not text:
        yield {"type": "chunk", "content": "There is no text to summarise: paste it as your message."}
    elif estimate(text) > SHORT:
        yield {"type": "chunk", "content": await binding.long_context_processing(text, SUMMARISE)}
    else:
        asked = f"{SUMMARISE} It stands between the lines.\n\n{LINE}\n{text}\n{LINE}\n\nSummary:"
        async for chunk in binding.generate_stream(asked):
            yield chunk
