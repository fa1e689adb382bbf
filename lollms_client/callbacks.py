"""Streaming callbacks: how they are called, and what event becomes which call.

Callbacks of the lollms world come in every shape: `(chunk, msg_type)`, `(chunk, msg_type, params=None, metadata=None)`,
`(chunk, type, **k)`, methods, lambdas that return None. So the signature decides, and it is read once: `chunk` and
`msg_type` go by position; `params` and `metadata` go by keyword where the signature names them or takes `**kwargs`, and
by position only into further slots. Only `False` itself stops: a callback that returns None, as `print` does, goes on.

A callback of two parameters is not told of progress ("the model is being loaded"): the documentation's simplest
callbacks print every chunk whatever its type, and progress is no part of an answer. All others are told.

A callback may call the client again. Nothing is locked while it runs.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from lollms_client.lollms_types import MSG_TYPE
from lollms_core.errors import InvalidRequest, LollmsError
from lollms_core.fold import ReplyFold
from lollms_core.types import (
    Batch,
    Done,
    Event,
    Item,
    Media,
    Notice,
    Output,
    Partial,
    Progress,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCallDelta,
)

__all__ = ["AsyncCallbackSink", "CallbackSink", "StreamingCallback", "adapted", "item_text"]

StreamingCallback: TypeAlias = Callable[..., Any]
"""Called as `callback(chunk, msg_type)`, and with `params` and `metadata` where it can take them."""

_Send: TypeAlias = Callable[[str, MSG_TYPE, Mapping[str, Any]], Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_EXTRAS = ("params", "metadata")
_NO_PARAMS: Mapping[str, Any] = {}
_STEPS = {
    "step": MSG_TYPE.MSG_TYPE_STEP,
    "step_start": MSG_TYPE.MSG_TYPE_STEP_START,
    "step_progress": MSG_TYPE.MSG_TYPE_STEP_PROGRESS,
    "step_end": MSG_TYPE.MSG_TYPE_STEP_END,
}


def adapted(callback: StreamingCallback) -> tuple[_Send, bool]:
    """A function `(chunk, msg_type, params)` that calls the callback the way its signature wants.

    Second, whether the callback is to be told of progress. Raises `InvalidRequest` for what cannot be called.
    """
    if not callable(callback):
        kind = type(callback).__name__
        raise InvalidRequest(f"The streaming callback is a {kind}, which cannot be called.", param="streaming_callback")
    try:
        parameters = list(inspect.signature(callback).parameters.values())
    except (TypeError, ValueError):  # some built-in callables have no signature that can be read
        return (lambda chunk, kind, params: callback(chunk, kind)), False
    takes_rest = _has(parameters, inspect.Parameter.VAR_POSITIONAL)
    if sum(each.kind in _POSITIONAL for each in parameters) == 1 and not takes_rest:
        return (lambda chunk, kind, params: callback(chunk)), False
    by_position, by_name = _plan(parameters)
    if not by_position and not by_name:
        return (lambda chunk, kind, params: callback(chunk, kind)), takes_rest

    def send(chunk: str, kind: MSG_TYPE, params: Mapping[str, Any]) -> Any:
        extras: dict[str, Any] = {"params": dict(params), "metadata": {}}
        named = {slot: extras[what] for slot, what in by_name.items()}
        return callback(chunk, kind, *(extras[what] for what in by_position), **named)

    return send, True


def _plan(parameters: list[inspect.Parameter]) -> tuple[list[str], dict[str, str]]:
    """Which of `params` and `metadata` go where: those by position, in order, and those by the name of a parameter."""
    positional = [each for each in parameters if each.kind in _POSITIONAL][2:]
    keyword = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    by_name = {
        each.name: each.name
        for each in (*positional, *keyword)
        if each.name in _EXTRAS and each.kind is not inspect.Parameter.POSITIONAL_ONLY
    }
    free = [name for name in _EXTRAS if name not in by_name]
    takes_all = _has(parameters, inspect.Parameter.VAR_KEYWORD)
    by_position: list[str] = []
    for slot in positional:
        if not free or slot.name in by_name or (takes_all and slot.default is not slot.empty):
            continue
        if slot.kind is inspect.Parameter.POSITIONAL_ONLY:
            by_position.append(free.pop(0))
        else:
            by_name[slot.name] = free.pop(0)
    if takes_all:
        by_name.update({name: name for name in free})
    return by_position, by_name


def _has(parameters: list[inspect.Parameter], kind: object) -> bool:
    return any(each.kind is kind for each in parameters)


class Spoken(NamedTuple):
    """What a callback is told: its first two arguments, and `params`."""

    text: str
    kind: MSG_TYPE
    params: Mapping[str, Any]


class Teller:
    """Makes of events what a callback is told of them. A tool call is told once, complete."""

    def __init__(self, *, progress: bool) -> None:
        self._tells_progress = progress
        self._calls = ReplyFold()
        self._has_calls = False
        self.text_shown = 0
        """Characters of the answer that were shown; the sinks show them themselves, since most events are that."""

    def of(self, event: Event) -> Iterable[Spoken]:
        """What to say about an event that is not text of the answer."""
        if isinstance(event, ToolCallDelta):
            self._calls.add((event,))
            self._has_calls = True
            return ()
        if isinstance(event, Done):
            return self.rest()
        if isinstance(event, Output):
            return self._items(event)
        if isinstance(event, Progress) and not self._tells_progress:
            return ()
        said = _spoken(event)
        return () if said is None else (said,)

    def rest(self) -> Iterator[Spoken]:
        """The stream has ended: the tool calls that are complete now."""
        if not self._has_calls:
            return
        reply, self._calls, self._has_calls = self._calls.done(), ReplyFold(), False
        for call in reply.tool_calls:
            text = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
            params = {"id": call.id, "name": call.name, "arguments": call.arguments}
            yield Spoken(text, MSG_TYPE.MSG_TYPE_TOOL_CALL, params)

    def _items(self, output: Output) -> Iterator[Spoken]:
        """The items of a rich answer; its texts only when no text was shown before."""
        for item in output.items:
            facts = {"type": item.kind, "mime_type": item.mime, **item.metadata}
            if item.kind == "text":
                if not (output.replaces and self.text_shown) and item.data:
                    yield Spoken(str(item.data), MSG_TYPE.MSG_TYPE_CHUNK, facts)
            elif item.kind in ("info", "error"):
                kind = MSG_TYPE.MSG_TYPE_INFO if item.kind == "info" else MSG_TYPE.MSG_TYPE_WARNING
                yield Spoken(item_text(item), kind, facts)
            else:
                yield Spoken(item_text(item), MSG_TYPE.MSG_TYPE_JSON_INFOS, {**facts, "data": item.data})


def item_text(item: Item) -> str:
    """An item of a rich answer as text: JSON as it is written, media by their kind and type."""
    if item.kind in ("image", "audio", "video"):
        return json.dumps({"type": item.kind, "mime_type": item.mime})
    return item.data if isinstance(item.data, str) else json.dumps(item.data, ensure_ascii=False, default=str)


class CallbackSink:
    """Shows events to a callback. `show` and `finish` return False when the callback wants the work to stop.

    An event without text is not shown. What the callback raises passes through. Raises `InvalidRequest` for a callback
    that is a coroutine function: nobody would wait for it.
    """

    def __init__(self, callback: StreamingCallback) -> None:
        if is_async(callback):
            raise _no_coroutines()
        self._send, tells_progress = adapted(callback)
        self._teller = Teller(progress=tells_progress)

    def shown_of(self, reply: Reply) -> Reply:
        """A reply that was stopped, without the text behind the piece at which the callback stopped it."""
        return msgspec.structs.replace(reply, text=reply.text[: self._teller.text_shown])

    def show(self, batch: Batch) -> bool:
        """Show a batch, event by event; stops at the first False."""
        send = self._send
        for event in batch:
            if type(event) is TextDelta:
                if event.text:
                    self._teller.text_shown += len(event.text)
                    if not _goes_on(send(event.text, MSG_TYPE.MSG_TYPE_CHUNK, _NO_PARAMS)):
                        return False
            elif not self._tell(self._teller.of(event)):
                return False
        return True

    def finish(self) -> bool:
        """The stream has ended: show the tool calls that are complete now."""
        return self._tell(self._teller.rest())

    def failed(self, error: LollmsError) -> None:
        """Tell the callback of an error; its answer does not matter any more, but what it raises passes through."""
        _goes_on(self._send(*_failure(error)))

    def _tell(self, what: Iterable[Spoken]) -> bool:
        return all(_goes_on(self._send(*said)) for said in what)


def _goes_on(answer: object) -> bool:
    """Whether a callback that answered this wants more.

    Raises `InvalidRequest` for a coroutine: a lambda around an `async def` cannot be told from others before.
    """
    if answer is None or answer is True:
        return True
    if inspect.iscoroutine(answer):
        answer.close()
        raise _no_coroutines()
    return answer is not False


def _no_coroutines() -> InvalidRequest:
    return InvalidRequest(
        "This streaming callback is `async def`, which only AsyncLollmsClient can wait for. Use that client, "
        "or a callback made with `def`.",
        param="streaming_callback",
    )


class AsyncCallbackSink:
    """As `CallbackSink`, for coroutines: a callback may be `def` or `async def`."""

    def __init__(self, callback: StreamingCallback) -> None:
        self._send, tells_progress = adapted(callback)
        self._teller = Teller(progress=tells_progress)

    def shown_of(self, reply: Reply) -> Reply:
        """See `CallbackSink.shown_of`."""
        return msgspec.structs.replace(reply, text=reply.text[: self._teller.text_shown])

    async def show(self, batch: Batch) -> bool:
        """See `CallbackSink.show`."""
        for event in batch:
            if type(event) is TextDelta:
                if event.text:
                    self._teller.text_shown += len(event.text)
                    if not await self._tell((Spoken(event.text, MSG_TYPE.MSG_TYPE_CHUNK, _NO_PARAMS),)):
                        return False
            elif not await self._tell(self._teller.of(event)):
                return False
        return True

    async def finish(self) -> bool:
        """See `CallbackSink.finish`."""
        return await self._tell(self._teller.rest())

    async def failed(self, error: LollmsError) -> None:
        """See `CallbackSink.failed`."""
        await self._tell((_failure(error),))

    async def _tell(self, what: Iterable[Spoken]) -> bool:
        for said in what:
            wanted = self._send(*said)
            if inspect.isawaitable(wanted):
                wanted = await wanted
            if wanted is False:
                return False
        return True


def is_async(callback: StreamingCallback) -> bool:
    """Whether calling it gives a coroutine."""
    return callable(callback) and any(map(inspect.iscoroutinefunction, (callback, type(callback).__call__)))


def _failure(error: LollmsError) -> Spoken:
    return Spoken(error.message or type(error).__name__, MSG_TYPE.MSG_TYPE_EXCEPTION, {"code": error.code})


def _spoken(event: Event) -> Spoken | None:
    """What a callback is told about an event; None when there is nothing to say."""
    if isinstance(event, ThoughtDelta):
        return Spoken(event.text, MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK, _NO_PARAMS) if event.text else None
    if isinstance(event, Progress):
        kind = _STEPS.get(event.kind)
        if kind is None:
            kind = MSG_TYPE.MSG_TYPE_INFO if event.fraction is None else MSG_TYPE.MSG_TYPE_STEP_PROGRESS
        facts = {"kind": event.kind, "fraction": event.fraction, "position": event.position}
        given = {name: value for name, value in facts.items() if value is not None}
        return Spoken(_sentence(event), kind, {**given, **event.data})
    if isinstance(event, Notice):
        kind = MSG_TYPE.MSG_TYPE_WARNING if event.level == "warning" else MSG_TYPE.MSG_TYPE_INFO
        return Spoken(event.text, kind, event.data) if event.text else None
    if isinstance(event, Partial):
        text = json.dumps(event.value, ensure_ascii=False)
        return Spoken(text, MSG_TYPE.MSG_TYPE_JSON_INFOS, {"kind": "partial", "data": event.value})
    if isinstance(event, Media):
        text = json.dumps({"mime": event.mime, "bytes": len(event.data)})
        return Spoken(text, MSG_TYPE.MSG_TYPE_JSON_INFOS, {"mime": event.mime, "data": event.data})
    return None


def _sentence(event: Progress) -> str:
    if event.message:
        return event.message
    if event.position is not None:
        return f"{event.kind}: {event.position} before you"
    if event.fraction is not None:
        return f"{event.kind}: {event.fraction:.0%}"
    return event.kind or "working"
