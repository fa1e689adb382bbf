"""One generation for callers of the documented methods: text back, a callback told, errors as a dictionary.

This is the only place where an error becomes the documented dictionary; everything below raises.
"""

from __future__ import annotations

from typing import Any

from lollms_client.callbacks import CallbackSink, StreamingCallback
from lollms_client.stream import Stream
from lollms_core.errors import CallbackFailed, LollmsError, as_dict
from lollms_core.flows.answer import answer
from lollms_core.flows.base import Flow
from lollms_core.types import GenerationCall, Reply
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Ports, drive
from lollms_runtime.observe import NOTHING, Observer

__all__ = ["error_result", "open_stream", "run", "text_or_error"]


def open_stream(flow: Flow[Reply], ports: Ports, observer: Observer = NOTHING) -> Stream:
    """The stream of a flow; nothing happens before it is read."""
    cancel = Cancel()
    return Stream(drive(flow, ports, cancel, observer), cancel)


def run(stream: Stream, callback: StreamingCallback | None = None) -> Reply:
    """Read a stream to its end, showing its events to the callback.

    When the callback returns False the connection is closed and the reply so far comes back, with finish reason
    `cancelled`. When it raises, the connection is closed as well and `CallbackFailed` is raised from its error.
    """
    if callback is None:
        return stream.result()
    sink = CallbackSink(callback)
    with stream:
        for batch in stream.batches():
            try:
                wanted = sink.show(batch)
            except Exception as error:
                raise _callback_failed(error, _stopped(stream)) from error
            if not wanted:
                return _stopped(stream)
        reply = stream.result()
        try:
            sink.finish()
        except Exception as error:
            raise _callback_failed(error, reply) from error
        return reply


def text_or_error(
    call: GenerationCall,
    ports: Ports,
    callback: StreamingCallback | None = None,
    *,
    raise_errors: bool = False,
    observer: Observer = NOTHING,
) -> str | dict[str, Any]:
    """The text of an answer; or, after an EXCEPTION event, the documented error dictionary.

    With `raise_errors` the error is raised instead.
    """
    try:
        return run(open_stream(answer(call), ports, observer), callback).text
    except LollmsError as error:
        return error_result(error, callback, raise_errors=raise_errors)


def error_result(error: LollmsError, callback: StreamingCallback | None, *, raise_errors: bool) -> dict[str, Any]:
    """Tell the callback of an error and make it the documented dictionary; with `raise_errors` raise it."""
    if callback is not None and not isinstance(error, CallbackFailed):
        try:
            CallbackSink(callback).failed(error)
        except Exception as second:
            error.add_note(f"The streaming callback failed as well when it was told: {second!r}")
    if raise_errors:
        raise error
    return as_dict(error)


def _stopped(stream: Stream) -> Reply:
    stream.close()
    try:
        return stream.result()
    except LollmsError as error:
        return error.partial or Reply(finish_reason="cancelled")


def _callback_failed(error: Exception, partial: Reply) -> CallbackFailed:
    failed = CallbackFailed(f"The streaming callback raised {type(error).__name__}: {error}")
    failed.partial = partial
    return failed
