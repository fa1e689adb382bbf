"""Flows: work of one or several steps as generators. A flow yields requests and receives results; it never does I/O.

A driver (see `lollms_runtime.drive`) performs the requests, shows the events to the user as they come, and sends the
folded result back into the flow; an error is thrown into it. So the same flow serves the sync client, the async client
and the server, and is tested by sending it a list of results.

Rules: a flow is written only with `yield from ask(...)`, `tool(...)`, `count(...)`, `emit(...)`, `together(...)`; it
owns no resources; after `Cancelled` it may emit and return, but not ask again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from lollms_core.errors import LollmsError
from lollms_core.types import Batch, Event, GenerationCall, Reply, ToolCall

__all__ = [
    "CountTokens",
    "Emit",
    "Flow",
    "Generate",
    "Request",
    "RunTool",
    "Together",
    "View",
    "ask",
    "count",
    "emit",
    "together",
    "tool",
]

T = TypeVar("T")


class View(Protocol):
    """A pure filter between the model's events and the user's.

    `feed` returns what the user sees of a batch; when `enough` turns true the upstream call is ended early and the
    reply so far, with finish reason `enough`, goes to the flow.
    """

    enough: bool

    def feed(self, batch: Batch) -> Batch: ...


class Generate(msgspec.Struct, frozen=True):
    """Ask a model. The result is the folded `Reply`."""

    call: GenerationCall
    view: View | None = None


class RunTool(msgspec.Struct, frozen=True):
    """Run a tool. The result is its output as text."""

    call: ToolCall


class CountTokens(msgspec.Struct, frozen=True):
    """Count the tokens of a text. The result is a number."""

    text: str


class Emit(msgspec.Struct, frozen=True):
    """Show events to the user. There is no result."""

    batch: Batch


class Together(msgspec.Struct, frozen=True):
    """Run several flows at once, at most `limit` of them; the result is the list of their results or errors."""

    flows: tuple[Flow[Any], ...]
    limit: int = 4


Request: TypeAlias = Generate | RunTool | CountTokens | Emit | Together
Flow: TypeAlias = Generator[Request, Any, T]


def ask(call: GenerationCall, view: View | None = None) -> Flow[Reply]:
    """Generate, showing the events to the user (through `view`); returns the reply."""
    reply: Reply = yield Generate(call, view)
    return reply


def tool(call: ToolCall) -> Flow[str]:
    """Run a tool and return its output."""
    result: str = yield RunTool(call)
    return result


def count(text: str) -> Flow[int]:
    """Count tokens with the tokenizer of the current model."""
    tokens: int = yield CountTokens(text)
    return tokens


def emit(*events: Event) -> Flow[None]:
    """Show events to the user."""
    yield Emit(events)


def together(flows: Sequence[Flow[T]], limit: int = 4) -> Flow[list[T | LollmsError]]:
    """Run flows at once; each result is the flow's value, or the error that ended it."""
    results: list[T | LollmsError] = yield Together(tuple(flows), limit)
    return results
