"""Runs the questions of a catalog (see `lollms_core.protocols.catalog`) for bindings that are asked from a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpRequest, HttpResponse
from lollms_core.protocols.catalog import Answer
from lollms_core.types import ModelInfo

__all__ = ["ask", "described"]

T = TypeVar("T")


def ask(question: Answer[T], fetch: Callable[[HttpRequest], HttpResponse]) -> T:
    """What a question comes to. Errors of `fetch` are thrown into it, so that it may go on without an answer."""
    try:
        request = next(question)
        while True:
            try:
                response = fetch(request)
            except LollmsError as error:
                request = question.throw(error)
            else:
                request = question.send(response)
    except StopIteration as end:
        found: T = end.value
        return found
    finally:
        question.close()


def described(model: ModelInfo, *, sure: bool = True) -> dict[str, Any]:
    """A model as a dictionary: `model_name`, what it can do, all else known, and the sizes that are known, in tokens:
    `context_size`, and `max_output_tokens` of one answer.

    With `sure` False, what it cannot do is left out, because the backend may simply not have said it.
    """
    known: dict[str, Any] = {"model_name": model.name}
    sizes = {"context_size": model.context_size, "max_output_tokens": model.max_output_tokens}
    known.update((name, size) for name, size in sizes.items() if size is not None)
    abilities = {
        "supports_vision": model.supports_vision,
        "supports_audio": model.supports_audio,
        "supports_tools": model.supports_tools,
    }
    return {**model.details, **known, **{name: able for name, able in abilities.items() if able or sure}}
