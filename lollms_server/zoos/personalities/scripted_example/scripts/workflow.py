"""An example script: one draft, one fact from a function, one second opinion, and an answer as it is written.

The server calls `run_workflow` in the place of the model. It may be `async def`, plain `def` (which runs on a thread),
or a generator, and return or yield text, dictionaries, or lists of them. Whatever is left out of a call of
`binding.generate` is taken from the request: its model, its parameters and its system message.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

DRAFT_TOKENS = 200

log = logging.getLogger(__name__)


async def run_workflow(prompt: str, params: dict[str, Any], context: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Answer in steps. Each `yield` is seen by the caller at once when the request is streamed, else at the end."""
    binding = context["binding"]

    # Information for the caller, which is no part of the answer.
    yield {"type": "info", "content": "Writing a draft."}

    # A call of the model, with parameters of its own. The answer is a list of items; `.text` is its text.
    draft = (await binding.generate(f"Question: {prompt}\nDraft:", {**params, "max_tokens": DRAFT_TOKENS})).text

    # A function of the server. It never raises: it says whether it worked, and gives the result or a reason.
    worked, today = await context["function_manager"].execute_function("dates.now", {})
    if not worked:
        log.warning("No date for this answer: %s", today)
    date = f"Today is {today['date']}.\n" if worked else ""

    # Another binding instance, if one is loaded. What goes wrong with it must not spoil the answer.
    opinion = ""
    if (other := second(context)) is not None:
        yield {"type": "info", "content": f"Asking {other.binding_instance_name} for a second opinion."}
        try:
            opinion = (await other.generate(f"Question: {prompt}\nAnswer: {draft}\nWhat is wrong with it?")).text
        except Exception as error:
            log.warning("There is no second opinion: %s", error)
    remarks = f"Remarks on the draft: {opinion}\n" if opinion else ""

    # The answer. Chunks of a binding can be handed on as they are.
    async for chunk in binding.generate_stream(f"{date}Question: {prompt}\nDraft: {draft}\n{remarks}Final answer:"):
        yield chunk


def second(context: dict[str, Any]) -> Any:
    """Another loaded instance that makes text, or None."""
    manager, own = context["binding_manager"], context["binding"].binding_instance_name
    for name in manager.list_binding_instances():
        binding = manager.get_binding(name)
        if name != own and binding is not None and "text" in binding.get_supported_output_modalities():
            return binding
    return None
