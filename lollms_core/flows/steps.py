"""The words with which a flow of several steps tells how it gets on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from lollms_core.flows.base import Flow, emit
from lollms_core.types import Notice, Progress, ReceiptItem

__all__ = ["announced", "mention", "step_end", "step_start", "warn"]

T = TypeVar("T")


def announced(receipt: Sequence[ReceiptItem], flow: Flow[T]) -> Flow[T]:
    """A flow, before which the user is told what was changed about what they gave."""
    for item in receipt:
        yield from emit(Notice("info", f"{item.name} was {item.action}: {item.reason}"))
    return (yield from flow)


def step_start(name: str, step_id: str, fraction: float | None = None, **data: Any) -> Flow[None]:
    """A step begins; `step_id` is its id, and `fraction` how much of all the work is done before it."""
    yield from emit(Progress("step_start", name, fraction, data={"id": step_id, **data}))


def step_end(name: str, step_id: str, fraction: float | None = None, **data: Any) -> Flow[None]:
    """The step of that id has ended; `data` is what came of it."""
    yield from emit(Progress("step_end", name, fraction, data={"id": step_id, **data}))


def mention(text: str) -> Flow[None]:
    """Something to say about the work that has no beginning and end."""
    yield from emit(Progress("step", text))


def warn(text: str, **data: Any) -> Flow[None]:
    """Something that went wrong, although the work goes on."""
    yield from emit(Notice("warning", text, data))
