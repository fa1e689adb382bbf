"""Structured output: a value of a given shape, or a typed error, whatever the model does.

There are three ways to ask for one, and they are tried in this order: hold the answer to the schema (a provider's own
mode, or a grammar on a local engine), offer a tool whose arguments are the answer, and ask for JSON in words. The next
way is taken when a backend refuses one or breaks at it, when an answer has no JSON that can be read, because then the
way does not work there, and when an answer comes a second time. In each way the prompt describes the shape, since not
every backend shows the schema to its model.

Nothing is trusted: every answer is looked through for JSON, repaired where it can mean one thing only, checked here,
and fitted to the schema where that loses nothing. What does not fit is given back to the model with the reason, until
the limits are reached.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from lollms_core.errors import (
    Cancelled,
    ContextTooLong,
    EngineCrashed,
    IdleTimeout,
    InvalidRequest,
    LollmsError,
    MalformedBody,
    StructuredOutputError,
    TruncatedStream,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.flows.base import Flow, View, ask, emit
from lollms_core.flows.shapes import Shape
from lollms_core.flows.spending import Limits, Spending
from lollms_core.flows.steps import warn
from lollms_core.flows.turns import excerpt, with_words
from lollms_core.flows.views import Hidden, JsonView
from lollms_core.text.json_answers import found_json, is_json_value, why_no_json
from lollms_core.text.json_fitting import Fitted, fitted
from lollms_core.text.json_roots import INSIDE, as_object
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.types import Attempt, GenerationCall, Message, Partial, ReceiptItem, Reply, Tool

__all__ = ["PASSING", "Structured", "structured"]

_WAYS: tuple[str, ...] = ("schema", "tool", "prompt")
_TOOL = "answer"
_LONGEST_TO_FIT = 100_000
_UNFINISHED = ("length", "content_filter", "cancelled", "error")
PASSING = (TruncatedStream, IdleTimeout, UpstreamFailed, EngineCrashed)
"""Errors in the middle of an answer; all others are tried again, if at all, where the connection is made."""


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

    Costs one call where the first answer fits, and never more than `limits`. A way of asking that the backend refuses
    costs nothing of them, since no answer is written then; there are two such refusals at most, and the receipt names
    them. Nor does a refusal because the context has no room for an answer that is given back: it is asked again without
    it. The user sees of each answer what passes a view of `show`, by default everything but its text; with `JsonView`
    the last `Partial` is the value.

    Raises `StructuredOutputError` when no answer was of the shape, with its trail in `attempts`, and what the backend
    raised where it could not be asked at all. The `partial` of any error has what all attempts have cost.
    """
    work = _Work(call, shape, limits)
    try:
        while True:
            view = work.looking(show())
            try:
                reply = yield from ask(work.asked(), view)
            except Cancelled:
                raise
            except LollmsError as error:
                problem = work.failed(error)  # raises what is not tried again
            else:
                found = work.read(reply)
                if found is not None:
                    yield from _last_shown(found, view)
                    return found
                if not work.spending.is_left:
                    raise work.given_up() from None
                problem = f"The answer could not be used: {work.problem}. It is asked for again."
            if problem:
                yield from warn(problem)
    except Cancelled as error:
        error.partial = work.stopped(error.partial)
        raise


def _last_shown(found: Structured, view: View) -> Flow[None]:
    """Show the value where what was shown of it on the way is not the same."""
    if isinstance(view, JsonView):
        value = json.loads(found.reply.text)  # a copy: whoever is shown it may change it
        if not view.has_shown(value):
            yield from emit(Partial(value))


class _Work:
    """One structured answer on its way."""

    def __init__(self, call: GenerationCall, shape: Shape, limits: Limits) -> None:
        self._call = call
        self._shape = shape
        self._form, self._is_inside = as_object(shape.schema)
        self._ways: list[str] = list(_WAYS)
        self._checker: SchemaChecker | None = None
        self._broke_at = ""  # the way whose answer was broken off last
        self._gives_back = True  # whether the model is shown the answer that could not be used
        self._last = ""
        self._attempts: list[Attempt] = []
        self.spending = Spending(limits)
        self.problem = ""

    # ---- asking

    def looking(self, view: View) -> View:
        """A view of the next answer."""
        if self._is_inside and isinstance(view, JsonView):
            view.look_inside(INSIDE)
        return view

    def asked(self) -> GenerationCall:
        """The next call."""
        way, words = self._ways[0], self._words()
        if not self.problem:
            messages = with_words(self._call.messages, words)
        elif self._last and self._gives_back:
            before = Message.assistant(excerpt(self._last))
            messages = (*with_words(self._call.messages, words), before, Message.user(self._again()))
        else:  # some models take turns only one by one, and none has nothing to say
            messages = with_words(self._call.messages, f"{words}\n\n{self._again()}".strip())
        tools = (Tool(_TOOL, "Takes the answer.", self._form),) if way == "tool" else ()
        schema = self._form if way == "schema" else None
        return self.spending.within(msgspec.structs.replace(self._call, messages=messages, tools=tools, schema=schema))

    def _again(self) -> str:
        how = f"Call the tool `{_TOOL}` once more, with the whole answer."
        if self._ways[0] != "tool":
            how = "Answer once more, with the whole JSON and nothing else."
        return f"That cannot be used: {self.problem}. {how}"

    def _words(self) -> str:
        told, way = self._shape.told, self._ways[0]
        if not told:
            return ""
        if self._is_inside and way != "prompt":
            told += f"\nIt stands in the property {INSIDE!r} of an object."
        if way == "tool":
            return f"Give the answer by calling the tool `{_TOOL}`, whose arguments are a JSON value. {told}"
        return f"Answer with a JSON value alone, and nothing before or after it. {told}"

    # ---- what came

    def failed(self, error: LollmsError) -> str:
        """The call ended with an error; returns what the user is told before it is tried again, "" for nothing.

        Raises the error where that makes no sense.
        """
        way, is_last = self._ways[0], len(self._ways) == 1
        if isinstance(error, ContextTooLong) and self.problem and self._last and self._gives_back:
            self._gives_back = False  # a small context may have room for the question alone
            return ""
        if not is_last and _refuses_the_way(error):
            self._ways.pop(0)
            self.spending.note(ReceiptItem(way, "dropped", f"the backend does not take it: {excerpt(str(error), 200)}"))
            return ""
        text = _text_of(error.partial) if error.partial else ""
        if error.partial is not None or isinstance(error, PASSING):
            self.spending.add(error.partial)
            self._attempts.append(Attempt(way, excerpt(text), str(error), "error"))
        if not self.spending.is_left or not isinstance(error, PASSING):
            error.partial = self.spending.reply(text or self._last, "error")
            raise error
        if not is_last and (not text or self._broke_at == way):
            self._ways.pop(0)  # perhaps it is the way that it breaks at
        self._broke_at = way
        return f"The answer ended with an error and is asked for again: {error}"

    def read(self, reply: Reply) -> Structured | None:
        """The value in a reply; None where there is none, and `problem` says why."""
        self.spending.add(reply)
        text, values = _text_of(reply), list(self._values(reply))
        problem, is_of_object = "", False
        for value in values:
            try:
                return self._accepted(value, text, reply)
            except ValueError as error:
                if not problem or (isinstance(value, dict) and not is_of_object):
                    problem, is_of_object = str(error), isinstance(value, dict)
        for value in values:
            if (found := self._fitted(value, text, reply)) is not None:
                return found
        has_json = bool(values)
        self.problem = problem or _why_nothing(reply, text)
        self._attempts.append(Attempt(self._ways[0], excerpt(text), self.problem, reply.finish_reason))
        cut = reply.finish_reason in _UNFINISHED
        if len(self._ways) > 1 and ((text and text == self._last) or not (has_json or cut)):
            self._ways.pop(0)
        self._last = text
        return None

    def _values(self, reply: Reply) -> Iterator[Any]:
        """The values that a reply may mean, the most likely first."""
        finished = reply.finish_reason not in _UNFINISHED
        calls = [each.arguments for each in reply.tool_calls if is_json_value(each.arguments)]
        items = [each.data for each in reply.items if each.kind == "json" and is_json_value(each.data)]
        broken = [value for _, raw in reply.broken_calls for value in found_json(raw, finished=finished)]
        for value in (*calls, *found_json(reply.text, finished=finished), *items, *broken):
            if self._is_inside and isinstance(value, dict) and list(value) == [INSIDE]:
                yield value[INSIDE]
            if self._ways[0] == "tool" and isinstance(value, dict) and value.get("name") == _TOOL:
                yield value.get("arguments", value.get("parameters"))  # a call that the model wrote as text
            yield value

    def _accepted(self, value: Any, text: str, reply: Reply) -> Structured:
        """The result of a value. Raises `ValueError`, in a sentence for the model, for one of another shape."""
        if value == self._shape.schema:
            raise ValueError("it is the schema itself, and not a value that obeys it")
        result = self._shape.read(value)
        if len(text) <= _LONGEST_TO_FIT and _has_whole_float(value):  # 3.0 obeys where a whole number is wanted
            fit = self._fit(value)
            if fit.changes:
                value, result = fit.value, self._shape.read(fit.value)
        return self._found(result, value, text, reply)

    def _fitted(self, value: Any, text: str, reply: Reply) -> Structured | None:
        """The result of a value that is of the shape once it is fitted to it."""
        if len(text) > _LONGEST_TO_FIT:
            return None
        fit = self._fit(value)
        if not fit.changes:
            return None
        try:
            result = self._shape.read(fit.value)
        except ValueError:
            return None
        shown = "; ".join(fit.changes[:8]) + (f"; and {len(fit.changes) - 8} more" if len(fit.changes) > 8 else "")
        self.spending.note(ReceiptItem("answer", "rewritten", shown))
        return self._found(result, fit.value, text, reply)

    def _fit(self, value: Any) -> Fitted:
        schema = self._shape.schema
        try:
            self._checker = self._checker or SchemaChecker(schema)
        except InvalidRequest:  # a class may say of itself what is no schema, and still read values
            return Fitted(value, ())
        return fitted(value, schema, self._checker.is_valid)

    def _found(self, result: Any, value: Any, text: str, reply: Reply) -> Structured:
        self._attempts.append(Attempt(self._ways[0], excerpt(text), "", reply.finish_reason))
        self._last = json.dumps(value, ensure_ascii=False)
        whole = self.spending.reply(self._last, thoughts=reply.thoughts)
        return Structured(result, whole, tuple(self._attempts))

    # ---- the end

    def given_up(self) -> StructuredOutputError:
        """The error with the trail of attempts."""
        times = "once" if len(self._attempts) == 1 else f"{len(self._attempts)} times"
        cut = all(each.finish_reason == "length" for each in self._attempts)
        hint = " Allow longer answers: max_tokens, which is n_predict." if cut else ""
        error = StructuredOutputError(
            f"The model was asked {times} and gave no answer of the wanted shape. The last time: {self.problem}.{hint}"
        )
        error.attempts = tuple(self._attempts)
        error.partial = self.spending.reply(self._last, "error")
        return error

    def stopped(self, partial: Reply | None) -> Reply:
        """The reply of work that was stopped while `partial` came: its text, else that of the answer before."""
        if partial is not None:
            self.spending.add(partial)
            self._last = _text_of(partial) or self._last
        return self.spending.reply(self._last, "cancelled")


def _refuses_the_way(error: LollmsError) -> bool:
    """Whether a backend says that it does not take the call as it is; perhaps it takes it in another way."""
    if isinstance(error, UnsupportedFeature):
        return error.param != "images"
    if type(error) not in (InvalidRequest, MalformedBody):  # the others say what else is wrong
        return False
    return error.status in (400, 422) or error.param in ("schema", "tools")


def _text_of(reply: Reply) -> str:
    """What the model wrote, wherever it stands."""
    calls = [json.dumps(each.arguments, ensure_ascii=False, default=str) for each in reply.tool_calls]
    text = "\n".join(filter(None, [reply.text, *calls, *(raw for _, raw in reply.broken_calls)]))
    return text.encode("utf-8", "replace").decode()  # halves of characters cannot be sent back


def _why_nothing(reply: Reply, text: str) -> str:
    if reply.finish_reason == "content_filter":
        return "it was held back by the content filter of the backend"
    if reply.finish_reason == "length":
        return "it was cut off at the limit of its tokens, so it must be shorter"
    if not text.strip():
        return "it is empty"
    return why_no_json(text) or "there is no JSON in it"


def _has_whole_float(value: Any) -> bool:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is float and each.is_integer():
            return True
        if isinstance(each, (dict, list)):
            waiting += each.values() if isinstance(each, dict) else each
    return False
