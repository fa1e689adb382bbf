"""Structured output: a value of a given shape, or a typed error, whatever the model does.

There are three ways to ask for one, and they are tried in this order: hold the answer to the schema (a provider's own
mode, or a grammar on a local engine), offer a tool whose arguments are the answer, and ask for JSON in words. The next
way is taken when a backend refuses one, and when its answer has no JSON at all, because then the way does not work
there. In each way the prompt describes the shape, since not every backend shows the schema to its model.

Nothing is trusted: every answer is looked through for JSON, repaired where it can mean one thing only, and checked
here. What does not fit is given back to the model with the reason, until the limits are reached.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from lollms_core.errors import (
    Cancelled,
    ContextTooLong,
    EngineCrashed,
    IdleTimeout,
    InvalidRequest,
    LollmsError,
    StructuredOutputError,
    TruncatedStream,
    UnknownModel,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.flows.base import Flow, View, ask
from lollms_core.flows.shapes import Shape
from lollms_core.flows.spending import Limits, Spending
from lollms_core.flows.steps import warn
from lollms_core.flows.views import Hidden
from lollms_core.text.json_answers import found_json
from lollms_core.types import Attempt, GenerationCall, Message, Reply, TextPart, Tool

__all__ = ["Structured", "structured"]

_WAYS: tuple[str, ...] = ("schema", "tool", "prompt")
_TOOL = "answer"
_INSIDE = "value"  # the property that holds an answer that is no object
_SHOWN = 2_000
_UNFINISHED = ("length", "content_filter", "cancelled", "error")
_PASSING = (TruncatedStream, IdleTimeout, UpstreamFailed, EngineCrashed)
"""Errors in the middle of an answer; all others are tried again, if at all, where the connection is made."""
_OTHER_REFERENCE = re.compile(r'"\$ref": "(?!#/(?:\$defs|definitions)/)')


class Structured(msgspec.Struct, frozen=True):
    """A value of the wanted shape; `reply` has its JSON text, and what all attempts have cost."""

    value: Any
    reply: Reply
    attempts: tuple[Attempt, ...]


def structured(
    call: GenerationCall,
    shape: Shape,
    limits: Limits = Limits(),  # noqa: B008  an immutable value
    show: Callable[[], View] = Hidden,
) -> Flow[Structured]:
    """Ask for a value of a shape: the answer to the last message of the call, which has no tools and no schema itself.

    Costs one call where the first answer fits, and never more than `limits`; a way that is refused before anything is
    sent costs nothing. The user sees of each answer what passes a view of `show`, by default everything but its text.

    Raises `StructuredOutputError` when no answer was of the shape, with its trail in `attempts`, and what the backend
    raised where it could not be asked at all.
    """
    work = _Work(call, shape, limits)
    while True:
        try:
            reply = yield from ask(work.asked(), show())
        except LollmsError as error:
            problem = work.failed(error)  # raises what is not tried again
        else:
            found = work.read(reply)
            if found is not None:
                return found
            if not work.spending.is_left:
                raise work.given_up() from None
            problem = f"The answer could not be used: {work.problem}. It is asked for again."
        if problem:
            yield from warn(problem)


class _Work:
    """One structured answer on its way."""

    def __init__(self, call: GenerationCall, shape: Shape, limits: Limits) -> None:
        self._call = call
        self._shape = shape
        self._form, self._is_inside = _as_object(shape.schema)
        self._ways: list[str] = list(_WAYS)
        self._last = ""
        self._attempts: list[Attempt] = []
        self.spending = Spending(limits)
        self.problem = ""

    # ---- asking

    def asked(self) -> GenerationCall:
        """The next call."""
        way, messages = self._ways[0], _with_words(self._call.messages, self._words())
        if self.problem:
            again = f"That cannot be used: {self.problem}. Answer once more, with the whole JSON and nothing else."
            before = (Message.assistant(_cut(self._last)),) if self._last else ()
            messages = (*messages, *before, Message.user(again))
        tools = (Tool(_TOOL, "Takes the answer.", self._form),) if way == "tool" else ()
        schema = self._form if way == "schema" else None
        return self.spending.within(msgspec.structs.replace(self._call, messages=messages, tools=tools, schema=schema))

    def _words(self) -> str:
        told, way = self._shape.told, self._ways[0]
        if not told:
            return ""
        if self._is_inside and way != "prompt":
            told += f"\nIt stands in the property {_INSIDE!r} of an object."
        if way == "tool":
            return f"Give the answer by calling the tool `{_TOOL}`, whose arguments are a JSON value. {told}"
        return f"Answer with a JSON value alone, and nothing before or after it. {told}"

    # ---- what came

    def failed(self, error: LollmsError) -> str:
        """The call ended with an error; returns what the user is told before it is tried again, "" for nothing.

        Raises the error where that makes no sense.
        """
        way = self._ways[0]
        if isinstance(error, UnsupportedFeature) and len(self._ways) > 1:
            self._ways.pop(0)
            return ""
        if isinstance(error, Cancelled):
            raise error
        self.spending.add(error.partial)
        self._attempts.append(Attempt(way, _cut(error.partial.text if error.partial else ""), str(error), "error"))
        refused = len(self._ways) > 1 and _refuses_the_way(error)
        if not self.spending.is_left or not (refused or isinstance(error, _PASSING)):
            raise error
        if refused:
            self._ways.pop(0)
            return ""
        return f"The answer ended with an error and is asked for again: {error}"

    def read(self, reply: Reply) -> Structured | None:
        """The value in a reply; None where there is none, and `problem` says why."""
        self.spending.add(reply)
        problem, text = "", _text_of(reply)
        for value in self._values(reply):
            try:
                result = self._shape.read(value)
            except ValueError as error:
                problem = problem or str(error)
            else:
                self._attempts.append(Attempt(self._ways[0], _cut(text), "", reply.finish_reason))
                return Structured(result, self._whole(value, reply), tuple(self._attempts))
        has_json = bool(problem)
        self.problem = problem or _why_nothing(reply)
        self._attempts.append(Attempt(self._ways[0], _cut(text), self.problem, reply.finish_reason))
        cut = reply.finish_reason in _UNFINISHED
        if len(self._ways) > 1 and (text == self._last or not (has_json or cut)):
            self._ways.pop(0)
        self._last = text
        return None

    def _values(self, reply: Reply) -> Iterator[Any]:
        """The values that a reply may mean, the most likely first."""
        finished = reply.finish_reason not in _UNFINISHED
        calls = [each.arguments for each in reply.tool_calls]
        broken = [value for _, raw in reply.broken_calls for value in found_json(raw, finished=finished)]
        for value in (*calls, *found_json(reply.text, finished=finished), *broken):
            if self._is_inside and isinstance(value, dict) and list(value) == [_INSIDE]:
                yield value[_INSIDE]
            yield value

    def _whole(self, value: Any, reply: Reply) -> Reply:
        return self.spending.reply(json.dumps(value, ensure_ascii=False), thoughts=reply.thoughts)

    def given_up(self) -> StructuredOutputError:
        """The error with the trail of attempts."""
        times = "once" if len(self._attempts) == 1 else f"{len(self._attempts)} times"
        error = StructuredOutputError(
            f"The model was asked {times} and gave no answer of the wanted shape. The last time: {self.problem}."
        )
        error.attempts = tuple(self._attempts)
        error.partial = self.spending.reply(self._last, "error")
        return error


def _refuses_the_way(error: LollmsError) -> bool:
    """Whether a backend says that it does not take the call as it is; perhaps it takes it in another way."""
    if not isinstance(error, InvalidRequest) or isinstance(error, (ContextTooLong, UnknownModel)):
        return False
    return error.status in (400, 422) or error.param in ("schema", "tools")


def _text_of(reply: Reply) -> str:
    """What the model wrote, wherever it stands."""
    calls = [json.dumps(each.arguments, ensure_ascii=False) for each in reply.tool_calls]
    return "\n".join(filter(None, [reply.text, *calls, *(raw for _, raw in reply.broken_calls)]))


def _why_nothing(reply: Reply) -> str:
    if reply.finish_reason == "content_filter":
        return "it was held back by the content filter of the backend"
    if reply.finish_reason == "length":
        return "it was cut off at the limit of its tokens, so it must be shorter"
    return "there is no JSON in it" if _text_of(reply).strip() else "it is empty"


def _with_words(messages: tuple[Message, ...], words: str) -> tuple[Message, ...]:
    """The conversation, with words at the end of its last message."""
    if not words:
        return messages
    if not messages or messages[-1].role != "user":
        return (*messages, Message.user(words))
    last = messages[-1]
    return (*messages[:-1], msgspec.structs.replace(last, parts=(*last.parts, TextPart(f"\n\n{words}"))))


def _as_object(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema of an object that answers can be held to everywhere, and whether the value stands inside of it."""
    kind = schema.get("type", "enum" if "enum" in schema else None)
    kinds = kind if isinstance(kind, list) else [kind]
    if None in kinds or "object" in kinds:
        return schema, False
    inside = {name: value for name, value in schema.items() if name not in ("$schema", "$defs", "definitions")}
    if _OTHER_REFERENCE.search(json.dumps(inside)):
        return schema, False
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    whole = {"type": "object", "properties": {_INSIDE: inside}, "required": [_INSIDE], "additionalProperties": False}
    return {**whole, **definitions}, True


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
