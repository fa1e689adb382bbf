"""What models and backends do when they are asked for JSON: by name, as the results that a flow is sent.

`DEEDS` has for each name a function of the value that is wanted and of the call that was asked, which gives a reply or
an error. `play` drives a flow of structured output with such results and keeps everything that can be seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from lollms_core import errors
from lollms_core.errors import LollmsError
from lollms_core.flows.base import Emit, Flow, Generate
from lollms_core.flows.structured import Structured
from lollms_core.types import Event, GenerationCall, Item, Reply, ToolCall, Usage

__all__ = ["DEEDS", "REFUSALS", "Deed", "Played", "play", "way_of"]

Deed: TypeAlias = Callable[[Any, GenerationCall], Reply | LollmsError]


class Played(NamedTuple):
    """A run: what came of it, the calls that were made and what each of them got, and what was shown."""

    value: Structured | None
    error: LollmsError | None
    calls: list[GenerationCall]
    results: list[Reply | LollmsError]
    shown: list[Event]


def play(flow: Flow[Structured], results: Sequence[Deed], wanted: Any) -> Played:
    """Send a flow these results, the last again and again."""
    calls: list[GenerationCall] = []
    got: list[Reply | LollmsError] = []
    shown: list[Event] = []
    sent: Any = None
    try:
        while True:
            request = flow.throw(sent) if isinstance(sent, LollmsError) else flow.send(sent)
            sent = None
            if isinstance(request, Emit):
                shown += request.batch
                continue
            assert isinstance(request, Generate)
            sent = results[min(len(calls), len(results) - 1)](wanted, request.call)
            calls.append(request.call)
            got.append(sent)
    except StopIteration as end:
        return Played(end.value, None, calls, got, shown)
    except LollmsError as error:
        return Played(None, error, calls, got, shown)


def way_of(call: GenerationCall) -> str:
    """How a value is asked for in a call."""
    return "schema" if call.schema is not None else "tool" if call.tools else "prompt"


def _said(text: str, finish: str = "stop", **more: Any) -> Reply:
    tokens = len(text) // 4 + 1
    return Reply(text=text, finish_reason=finish, usage=Usage(10, tokens, 10 + tokens), **more)


def _called(arguments: Any, name: str = "answer") -> Reply:
    return Reply(tool_calls=(ToolCall("c", name, arguments),), finish_reason="tool_calls", usage=Usage(10, 9, 19))


def _failed(error: LollmsError, text: str = "") -> LollmsError:
    if text:
        error.partial = _said(text, "error")
    return error


def _texts(value: Any) -> Any:
    """The value with all that is no text as a text."""
    if isinstance(value, dict):
        return {name: _texts(each) for name, each in value.items()}
    return value if isinstance(value, (str, list)) else json.dumps(value)


REFUSALS: dict[str, Deed] = {
    "refuses the way at once": lambda v, c: (
        errors.UnsupportedFeature("no", param="schema") if way_of(c) != "prompt" else _said(json.dumps(v))
    ),
    "refuses the way with 400": lambda v, c: errors.InvalidRequest("bad response_format", status=400),
    "refuses the way with 422": lambda v, c: errors.InvalidRequest("bad tools", status=422),
    "refuses the way itself": lambda v, c: errors.InvalidRequest("not like that", param="tools"),
    "refuses the way with 501": lambda v, c: errors.UnsupportedFeature("not here", status=501),
}

DEEDS: dict[str, Deed] = {
    "right": lambda v, c: _said(json.dumps(v)),
    "right by tool": lambda v, c: _called(v),
    "prose around it": lambda v, c: _said(f"Of course! {json.dumps(v)} I hope that helps [1]."),
    "fenced": lambda v, c: _said(f"```json\n{json.dumps(v, indent=1)}\n```"),
    "fenced, never closed": lambda v, c: _said(f"```\n{json.dumps(v)}"),
    "a draft before it": lambda v, c: _said(f'First {{"name": 1}}. No: {json.dumps(v)}'),
    "as Python writes it": lambda v, c: _said(repr(v)),
    "a comma too many": lambda v, c: _said(json.dumps(v)[:-1] + ",}"),
    "comments in it": lambda v, c: _said("{ // the answer\n" + json.dumps(v)[1:]),
    "as a text in a text": lambda v, c: _said(json.dumps(json.dumps(v))),
    "thoughts before it": lambda v, c: _said(f'<think>{{"a": 1}}</think>{json.dumps(v)}'),
    "brackets never closed": lambda v, c: _said(json.dumps(v)[:-1]),
    "types as texts": lambda v, c: _said(json.dumps(_texts(v))),
    "extra keys": lambda v, c: _said(json.dumps({**v, "note": "Hi", "confidence": 1})),
    "as json items": lambda v, c: _said("", items=(Item("json", v),)),
    "another tool with it": lambda v, c: _called(v, "search"),
    "prose alone": lambda v, c: _said("The name is Ada, and she is 36."),
    "truncated": lambda v, c: _said(json.dumps(v)[: len(json.dumps(v)) // 2], "length"),
    "truncated at its last bracket": lambda v, c: _said(json.dumps(v)[:-1], "length"),
    "thought until the limit": lambda v, c: _said("", "length", thoughts="Hm. " * 20),
    "wrong types": lambda v, c: _said(json.dumps({name: {"x": [1.5]} for name in v})),
    "keys missing": lambda v, c: _said(json.dumps(dict(list(v.items())[1:]))),
    "wrong name": lambda v, c: _said(json.dumps({("Name" if k == "name" else k): e for k, e in v.items()})),
    "a list instead": lambda v, c: _said(json.dumps([v, v])[:-1] + ', "and more"]'),
    "a number instead": lambda v, c: _said("42"),
    "null": lambda v, c: _said("null"),
    "not a number": lambda v, c: _said('{"name": "Ada", "age": NaN, "tags": []}'),
    "too large a number": lambda v, c: _said('{"name": "Ada", "age": 1e999, "tags": []}'),
    "the same name twice": lambda v, c: _said('{"name": "Ada", "age": 1, "age": 2, "tags": []}'),
    "half a character": lambda v, c: _said('{"name": "\\ud83d", "age": 1, "tags": []}'),
    "deep": lambda v, c: _said("[" * 50_000),
    "long": lambda v, c: _said('{"name": "' + "x" * 200_000),
    "backticks": lambda v, c: _said("`" * 10_000),
    "repeated text": lambda v, c: _said("I am I am I am " * 200, "length"),
    "empty": lambda v, c: _said(""),
    "blanks": lambda v, c: _said(" \n\t"),
    "refusal": lambda v, c: _said("I'm sorry, but I can't help with {that}."),
    "filtered": lambda v, c: _said("", "content_filter"),
    "the schema itself": lambda v, c: _said(json.dumps(c.schema or {"type": "object", "properties": {}})),
    "another tool": lambda v, c: _called({"query": "Ada"}, "search"),
    "broken arguments": lambda v, c: Reply(broken_calls=(("answer", '{"name": Ada}'),), usage=Usage(10, 5, 15)),
    "odd arguments": lambda v, c: _called({"name": float("nan"), "age": {1, 2}, "tags": "\ud83d"}),
    "breaks off": lambda v, c: _failed(errors.TruncatedStream("the connection was lost"), json.dumps(v)[:9]),
    "breaks before it begins": lambda v, c: _failed(errors.UpstreamFailed("500")),
    "falls silent": lambda v, c: _failed(errors.IdleTimeout("nothing came")),
    "crashes": lambda v, c: _failed(errors.EngineCrashed("signal 11"), "{"),
    "is too busy": lambda v, c: _failed(errors.Overloaded("busy")),
    "rejects the key": lambda v, c: _failed(errors.AuthFailed("no")),
    "talks nonsense": lambda v, c: _failed(errors.ProtocolError("no JSON"), "x"),
    "is stopped": lambda v, c: _failed(errors.Cancelled("stop"), '{"name": "A'),
    "has too long a prompt": lambda v, c: _failed(errors.ContextTooLong("too long", status=400)),
    **REFUSALS,
}
