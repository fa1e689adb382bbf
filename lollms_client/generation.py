"""One generation for a caller on a thread: a stream, a reply, or text with errors as a dictionary.

This is the only place where an error becomes the documented dictionary; everything below raises. Its twin for
coroutines, `async_generation`, has the same names; `LollmsClient` is written with them, and `AsyncLollmsClient` made
from it by exchanging the one module for the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from lollms_client.callbacks import CallbackSink, StreamingCallback, item_text
from lollms_client.calls import Asked, PreparedCall
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.ports import BindingPorts, Tools
from lollms_client.stream import Stream
from lollms_core.errors import CallbackFailed, Cancelled, InvalidRequest, LollmsError, as_dict
from lollms_core.flows.answer import answer
from lollms_core.flows.base import Flow
from lollms_core.flows.steps import announced
from lollms_core.types import Reply
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import drive
from lollms_runtime.observe import NOTHING, Observer

__all__ = [
    "as_it_is",
    "call",
    "callback_failed",
    "close_binding",
    "complete",
    "documented_text",
    "error_result",
    "failure",
    "is_mistake",
    "is_of_the_callback",
    "log_failure",
    "mark_stopped",
    "open_stream",
    "run",
    "text_or_error",
]

P = ParamSpec("P")
T = TypeVar("T")

_CALLBACK = "streaming_callback"


def call(method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a method of a binding returns; it may take its time."""
    return method(*args, **kwargs)


def close_binding(binding: LollmsLLMBinding) -> None:
    """Let a binding go of its connections and processes."""
    binding.close()


def open_stream(asked: Asked, observer: Observer = NOTHING) -> Stream[Reply]:
    """The stream of an answer; nothing is sent before it is read. Raises `InvalidRequest` for what cannot be asked."""
    prepared, cancel = asked.prepared(), Cancel()
    ports = BindingPorts(asked.binding, asked.discussion)
    return Stream(drive(answer(*prepared), ports, cancel, observer), cancel)


def complete(asked: Asked, callback: StreamingCallback | None = None, observer: Observer = NOTHING) -> Reply:
    """The whole answer, its events shown to the callback as they come.

    When the callback returns False the connection is closed and the reply so far comes back, with finish reason
    `cancelled`. When it raises, the connection is closed as well and `CallbackFailed` is raised from its error.
    """
    stream = open_stream(asked, observer)
    return _shown(stream, callback, as_it_is, cut=True)


def run(
    asked: Asked,
    flow: Callable[[PreparedCall], Flow[T]],
    callback: StreamingCallback | None = None,
    observer: Observer = NOTHING,
    *,
    stopped: Callable[[Reply], T] | None = None,
    tools: Tools | None = None,
) -> T:
    """What a flow of one or several calls comes to, its events shown to the callback as they come.

    `tools` are the functions that the flow may ask for. When the callback returns False, the result is what `stopped`
    makes of the reply so far; without `stopped` the flow's `Cancelled` is raised. When the callback raises,
    `CallbackFailed` is raised from its error.
    """
    prepared, cancel = asked.prepared(), Cancel()
    ports = BindingPorts(asked.binding, asked.discussion, tools or {})
    stream = Stream(drive(announced(prepared.receipt, flow(prepared)), ports, cancel, observer), cancel)
    return _shown(stream, callback, stopped)


def _shown(
    stream: Stream[T],
    callback: StreamingCallback | None,
    stopped: Callable[[Reply], T] | None,
    *,
    cut: bool = False,
) -> T:
    """See `run`; with `cut` the reply of work that was stopped ends where the callback stopped it."""
    if callback is None:
        return stream.result()
    sink = CallbackSink(callback)
    with stream:
        for batch in stream.batches():
            try:
                wanted = sink.show(batch)
            except Exception as error:
                raise callback_failed(error, sink.shown_of(_stopped(stream))) from error
            if not wanted:
                return _result_of_stopped(stream, stopped, sink if cut else None)
        result = stream.result()
        try:
            sink.finish()
        except Exception as error:
            raise callback_failed(error, result if isinstance(result, Reply) else Reply()) from error
        return result


def _result_of_stopped(stream: Stream[T], stopped: Callable[[Reply], T] | None, sink: CallbackSink | None) -> T:
    """What is made of the reply so far; with a sink, of what it has shown of that."""
    stream.close()
    try:
        return stream.result()
    except LollmsError as error:
        if stopped is None:
            mark_stopped(error)
            raise
        reply = error.partial or Reply(finish_reason="cancelled")
        return stopped(reply if sink is None else sink.shown_of(reply))


def as_it_is(reply: Reply) -> Reply:
    """The reply so far of work that was stopped, as the result of that work."""
    return reply


def text_or_error(
    asked: Asked,
    callback: StreamingCallback | None = None,
    *,
    raise_errors: bool = False,
    observer: Observer = NOTHING,
) -> str | dict[str, Any]:
    """The text of an answer; or, after an EXCEPTION event, the documented error dictionary.

    With `raise_errors` the error is raised instead.
    """
    try:
        return documented_text(complete(asked, callback, observer))
    except LollmsError as error:
        return error_result(error, callback, raise_errors=raise_errors)


def error_result(error: LollmsError, callback: StreamingCallback | None, *, raise_errors: bool) -> dict[str, Any]:
    """Tell the callback of an error and make it the documented dictionary; with `raise_errors` raise it."""
    if callback is not None and not is_of_the_callback(error):
        try:
            CallbackSink(callback).failed(error)
        except Exception as second:
            error.add_note(f"The streaming callback failed as well when it was told: {second!r}")
    if raise_errors:
        raise error
    return as_dict(error)


def failure(error: LollmsError, callback: StreamingCallback | None, *, raise_errors: bool) -> None:
    """As `error_result`, for a method whose value on failure does not say why: without a callback, the log does.

    A mistake in the arguments is raised in any case: no other call with them could go better.
    """
    error_result(error, callback, raise_errors=raise_errors or is_mistake(error))
    if callback is None:
        log_failure(error)


def is_mistake(error: LollmsError) -> bool:
    """Whether the arguments were refused before anything was sent."""
    return type(error) is InvalidRequest and error.status is None


def log_failure(error: LollmsError) -> None:
    """Say in the log why something failed."""
    logging.getLogger("lollms_client").warning("%s (%s)", error.message or type(error).__name__, error.code)


def is_of_the_callback(error: LollmsError) -> bool:
    """Whether it comes of the streaming callback, which knows of it then: it has raised, or has stopped the work.

    Another function of the caller's that has raised has a name, and a stop by anybody else has none.
    """
    if isinstance(error, Cancelled):
        return error.param == _CALLBACK
    return isinstance(error, CallbackFailed) and not error.param


def mark_stopped(error: LollmsError) -> None:
    """Say of the error of stopped work that it was the streaming callback which has stopped it."""
    if isinstance(error, Cancelled):
        error.param = _CALLBACK


def documented_text(reply: Reply) -> str:
    """The text of a reply. One that consists of JSON alone, as some personalities answer, is that JSON."""
    if reply.text or not reply.items:
        return reply.text
    return "\n".join(item_text(item) for item in reply.items if item.kind == "json")


def callback_failed(error: Exception, partial: Reply) -> CallbackFailed:
    """The error of a callback, with the reply so far."""
    failed = CallbackFailed(f"The streaming callback raised {type(error).__name__}: {error}")
    failed.partial = partial
    return failed


def _stopped(stream: Stream[Any]) -> Reply:
    """Stop a stream; what came of it."""
    stream.close()
    try:
        result = stream.result()
    except LollmsError as error:
        result = error.partial
    return result if isinstance(result, Reply) else Reply(finish_reason="cancelled")
