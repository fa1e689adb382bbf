"""The simplest flow: one call, one reply."""

from __future__ import annotations

from lollms_core.flows.base import Flow, ask
from lollms_core.types import GenerationCall, Reply


def answer(call: GenerationCall) -> Flow[Reply]:
    """Ask the model once and return its reply. Costs exactly one call."""
    return (yield from ask(call))
