"""One generation for a coroutine; see `generation`, whose names this module has. Callbacks may be `async def`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from lollms_client.async_stream import AsyncStream
from lollms_client.callbacks import AsyncCallbackSink, StreamingCallback
from lollms_client.calls import Asked, PreparedCall
from lollms_client.generation import (
    as_it_is,
    callback_failed,
    documented_text,
    is_mistake,
    is_of_the_callback,
    log_failure,
    mark_stopped,
)
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.native_binding import NativeBinding
from lollms_client.ports import AsyncBindingPorts, Tools
from lollms_core.errors import Cancelled, LollmsError, as_dict
from lollms_core.flows.answer import answer
from lollms_core.flows.base import Flow
from lollms_core.flows.steps import announced
from lollms_core.types import Batch, Reply
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.observe import NOTHING, Observer
from lollms_runtime.threads import run_in_thread

__all__ = ["call", "close_binding", "complete", "error_result", "failure", "open_stream", "run", "text_or_error"]

P = ParamSpec("P")
T = TypeVar("T")

_NO_TOOLS: Tools = {}


async def call(method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a method of a binding returns; it runs on a thread. A cancelled task stops its HTTP request."""
    return await run_in_thread(method, *args, **kwargs)


async def close_binding(binding: LollmsLLMBinding) -> None:
    """Let a binding go of its connections and processes."""
    if isinstance(binding, NativeBinding):
        await binding.aclose()
    else:
        await run_in_thread(binding.close)


def open_stream(asked: Asked, observer: Observer = NOTHING) -> AsyncStream:
    """The stream of an answer; nothing is sent before it is read. Raises `InvalidRequest` for what cannot be asked.

    What takes time to prepare, such as images, is prepared, and refused, when the stream is first read.
    """
    prepared = None if asked.is_heavy else asked.prepared()

    async def work(sink: Sink) -> Reply:
        return await _answer(asked, prepared, sink, observer)

    return AsyncStream(work)


async def complete(asked: Asked, callback: StreamingCallback | None = None, observer: Observer = NOTHING) -> Reply:
    """The whole answer, its events shown to the callback as they come; see `generation.complete`."""
    return await _shown(asked, lambda prepared: answer(*prepared), callback, observer, as_it_is, cut=True)


async def run(
    asked: Asked,
    flow: Callable[[PreparedCall], Flow[T]],
    callback: StreamingCallback | None = None,
    observer: Observer = NOTHING,
    *,
    stopped: Callable[[Reply], T] | None = None,
    tools: Tools | None = None,
) -> T:
    """What a flow of one or several calls comes to; see `generation.run`."""
    return await _shown(
        asked, lambda prepared: announced(prepared.receipt, flow(prepared)), callback, observer, stopped, tools or {}
    )


async def _shown(
    asked: Asked,
    flow: Callable[[PreparedCall], Flow[T]],
    callback: StreamingCallback | None,
    observer: Observer,
    stopped: Callable[[Reply], T] | None,
    tools: Tools = _NO_TOOLS,
    *,
    cut: bool = False,
) -> T:
    """See `run`; with `cut` the reply of work that was stopped ends where the callback stopped it."""
    prepared = await run_in_thread(asked.prepared) if asked.is_heavy else asked.prepared()
    ports = AsyncBindingPorts(asked.binding, asked.discussion, tools)
    if callback is None:
        return await adrive(flow(prepared), ports, _nothing, observer)
    sink = AsyncCallbackSink(callback)
    failure: Exception | None = None
    stopped_by_callback = False
    turn = asyncio.Lock()  # of the parts of a flow that run at once, one is shown at a time

    async def show(batch: Batch) -> None:
        nonlocal failure, stopped_by_callback
        async with turn:
            if stopped_by_callback:
                raise Cancelled("The streaming callback stopped it.")
            try:
                wanted = await sink.show(batch)
            except Exception as error:
                failure, stopped_by_callback = error, True
                raise Cancelled("The streaming callback raised.") from error
            if not wanted:
                stopped_by_callback = True
                raise Cancelled("The streaming callback stopped it.")

    try:
        result = await adrive(flow(prepared), ports, show, observer)
    except Cancelled as error:
        if not stopped_by_callback:
            raise  # the client was closed
        reply = error.partial or Reply(finish_reason="cancelled")
        reply = sink.shown_of(reply) if cut else reply
        if failure is not None:
            raise callback_failed(failure, reply) from failure
        if stopped is None:
            mark_stopped(error)
            raise
        return stopped(reply)
    if failure is not None:
        raise callback_failed(failure, Reply(finish_reason="cancelled")) from failure
    try:
        await sink.finish()
    except Exception as error:
        raise callback_failed(error, result if isinstance(result, Reply) else Reply()) from error
    return result


async def text_or_error(
    asked: Asked,
    callback: StreamingCallback | None = None,
    *,
    raise_errors: bool = False,
    observer: Observer = NOTHING,
) -> str | dict[str, Any]:
    """The text of an answer, or the documented error dictionary; see `generation.text_or_error`."""
    try:
        return documented_text(await complete(asked, callback, observer))
    except LollmsError as error:
        return await error_result(error, callback, raise_errors=raise_errors)


async def error_result(error: LollmsError, callback: StreamingCallback | None, *, raise_errors: bool) -> dict[str, Any]:
    """Tell the callback of an error and make it the documented dictionary; with `raise_errors` raise it."""
    if callback is not None and not is_of_the_callback(error):
        try:
            await AsyncCallbackSink(callback).failed(error)
        except Exception as second:
            error.add_note(f"The streaming callback failed as well when it was told: {second!r}")
    if raise_errors:
        raise error
    return as_dict(error)


async def failure(error: LollmsError, callback: StreamingCallback | None, *, raise_errors: bool) -> None:
    """Tell the callback of an error, or the log; see `generation.failure`."""
    await error_result(error, callback, raise_errors=raise_errors or is_mistake(error))
    if callback is None:
        log_failure(error)


async def _answer(asked: Asked, prepared: PreparedCall | None, sink: Sink, observer: Observer) -> Reply:
    if prepared is None:
        prepared = await run_in_thread(asked.prepared) if asked.is_heavy else asked.prepared()
    return await adrive(answer(*prepared), AsyncBindingPorts(asked.binding, asked.discussion), sink, observer)


async def _nothing(batch: Batch) -> None:
    """Nobody is shown anything."""
