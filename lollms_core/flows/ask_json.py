"""Small questions to a model that a user does not see: a search query, a title, what there is to remember.

The answer is JSON, and it helps; it is not what the user waits for. So nothing of it is shown, and a model that gives
none stops nothing: the work goes on with a default, and a notice says so. A backend that cannot be asked is another
matter, since what comes after will not reach it either: its errors are raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from lollms_core.errors import (
    Cancelled,
    InvalidRequest,
    LollmsError,
    StructuredOutputError,
    UnsupportedFeature,
)
from lollms_core.flows.base import Emit, Flow, Generate, emit
from lollms_core.flows.shapes import Shape, object_shape, shape_of
from lollms_core.flows.spending import Limits, Spending
from lollms_core.flows.structured import PASSING, structured
from lollms_core.flows.views import Hidden
from lollms_core.types import GenerationCall, Notice, ReceiptItem

__all__ = ["OBJECTIVES", "QUERY", "ROOM", "ask_json", "query_in"]

T = TypeVar("T")

ROOM = 1_024
"""Tokens that an answer may have at least: a limit that is meant for the text of an answer would cut JSON off."""

_MAX_QUERY = 1_000
_MAX_OBJECTIVES = 12
_OF_THIS_ANSWER = (StructuredOutputError, *PASSING)
"""Errors that say nothing of the next call; `structured` has tried again before it raised one of them."""


def ask_json(
    call: GenerationCall,
    wanted: Shape | Mapping[str, Any] | str,
    default: T,
    limits: Limits = Limits(calls=2),  # noqa: B008  an immutable value
    *,
    what: str = "answer",
    spending: Spending | None = None,
) -> Flow[T]:
    """Ask for a small value that the user is not shown; `default` where the model gives no usable one.

    `wanted` is a `Shape`, a template or a JSON Schema; with a shape of one's own, `read` makes the result. Neither the
    text nor the thoughts of the model are shown. When the default is taken, a notice of level `info` and the receipt of
    `spending` say that there was no usable `what`. `spending` is where the calls are counted.

    Costs one call where the first answer can be used, at most `limits.calls`, as in `structured`; each has at most
    `max_tokens` tokens of the call, but no less than `ROOM`, and is not ended by its stop texts. Raises what the
    backend raises when it cannot be asked (no connection, a wrong key, a refusal), and `Cancelled`; `partial` has what
    was spent, and no text.
    """
    spending = Spending() if spending is None else spending
    shape = wanted if isinstance(wanted, Shape) else shape_of(wanted)
    try:
        found = yield from _silent(structured(_roomy(call), shape, limits, _no_view), spending)
    except _OF_THIS_ANSWER as error:
        words = f"The model gave no usable {what}, so the work goes on without one."
        spending.note(ReceiptItem(what, "dropped", f"the model gave no usable one: {error}"))
        yield from emit(Notice("info", words, {"reason": str(error)}))
        return default
    except LollmsError as error:
        error.partial = spending.reply("", "cancelled" if isinstance(error, Cancelled) else "error")
        raise
    value: T = found.value
    return value


def _roomy(call: GenerationCall) -> GenerationCall:
    most = call.params.max_tokens
    params = msgspec.structs.replace(call.params, max_tokens=None if most is None else max(most, ROOM), stop=None)
    return msgspec.structs.replace(call, params=params)


def _no_view() -> Hidden:
    return Hidden(thoughts=False)


def _silent(flow: Flow[T], spending: Spending) -> Flow[T]:
    """The same flow, which tells nobody how it gets on; what its calls cost is added up, a refused one nothing."""
    value: Any = None
    error: LollmsError | None = None
    try:
        while True:
            try:
                request = flow.send(value) if error is None else flow.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            value, error = None, None
            if isinstance(request, Emit):
                continue
            try:
                value = yield request
            except LollmsError as failed:
                error = failed
            if isinstance(request, Generate) and not isinstance(error, (UnsupportedFeature, InvalidRequest)):
                spending.add(value if error is None else error.partial)
    finally:
        flow.close()


# ---- what is asked for ---------------------------------------------------------------------------------------------


def query_in(value: Any) -> str:
    """The search query of an answer. Raises `ValueError` where there is none."""
    query = value.get("query") if isinstance(value, Mapping) else value
    if not isinstance(query, str) or not query.strip():
        raise ValueError("it must be an object whose property 'query' is a text that is not empty")
    return " ".join(query.split())[:_MAX_QUERY]


def _objectives_in(value: Any) -> tuple[str, ...]:
    given = value.get("objectives") if isinstance(value, Mapping) else value
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list):
        raise ValueError("it must be an object whose property 'objectives' is a list of texts")
    texts = [" ".join(each.split())[:_MAX_QUERY] for each in listed if isinstance(each, str) and each.strip()]
    if not texts:
        raise ValueError("there is no objective in it")
    return tuple(dict.fromkeys(texts))[:_MAX_OBJECTIVES]


QUERY = object_shape({"query": {"type": "string"}}, 'It looks like this: {"query": "what to search for"}', query_in)
"""A search query, which is read as a text."""

OBJECTIVES = object_shape(
    {"objectives": {"type": "array", "items": {"type": "string"}}},
    'It looks like this: {"objectives": ["the first objective", "the second"]}',
    _objectives_in,
)
"""What somebody wants to achieve, which is read as a tuple of texts."""
