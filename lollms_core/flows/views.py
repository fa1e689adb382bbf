"""Views: what a user sees of a model's answer that is meant for a flow."""

from __future__ import annotations

from lollms_core.types import Batch, Notice, Progress, ThoughtDelta

__all__ = ["Hidden", "JsonView"]


class Hidden:
    """Shows that something is going on, and perhaps what the model thinks, and nothing of the answer itself."""

    enough = False

    def __init__(self, *, thoughts: bool = True) -> None:
        self._shown = (Progress, Notice, ThoughtDelta) if thoughts else (Progress, Notice)

    def feed(self, batch: Batch) -> Batch:
        return [event for event in batch if isinstance(event, self._shown)]


class JsonView(Hidden):
    """As `Hidden`."""
