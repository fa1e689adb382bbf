"""Sending an answer while it is made: plain ASGI, one send for one batch.

Three things can happen to a caller during a long answer, and each has its time here. It leaves: `receive` says so, and
the work is stopped, streamed or not, also while it waits for its turn. It hears nothing: a comment goes out after
every quiet while, so that no proxy between cuts the line, and the headers do not wait longer than that for the first
event. It does not read: sending blocks, so nothing more is read from the model either, and after a while the caller
is dropped; what waits for it in between is one socket buffer.

Most answers are quick, so the watcher for leaving starts a moment late and costs nothing for them; the other times
share one timer, which is not moved with each event but looks when it fires at what happened last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from lollms_core.errors import InternalError, LollmsError, meaning
from lollms_core.protocols.lollms_wire import (
    GenerateResponse,
    encode_batch,
    encode_error,
    encode_final,
    encode_response,
    reply_output,
)
from lollms_core.types import Batch, Reply
from lollms_runtime.alarm import Alarm
from lollms_runtime.secrets import Scrubber
from lollms_server.core.requests import LOG, RequestContext
from lollms_server.core.responses import ABORT, PIECE, WHOLE, Send, let_go, public_message, send_error
from lollms_server.core.services import Patience
from lollms_server.core.work import Work

__all__ = ["deliver"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

_JSON = (b"content-type", b"application/json")
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_COMMENT = b": still here\n\n"


def deliver(work: Work, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Run the work and send its answer, as a stream or whole; errors are sent, too."""
    patience, scrubber = work.house.patience, work.house.loaded.scrubber
    work.context.loop = asyncio.get_running_loop()
    way = _stream if work.asked.stream else _whole
    return way(work, scope, receive, send, patience, scrubber)


async def _whole(
    work: Work, scope: Scope, receive: Receive, send: Send, patience: Patience, scrubber: Scrubber
) -> None:
    context = work.context
    watch = _Watch(context, receive, patience.watch_after, work.house.alarm)
    try:
        reply = await work.run(_nowhere)
        seconds = round(time.monotonic() - context.started, 6)
        body = encode_response(GenerateResponse(context.personality, context.id, reply_output(reply), seconds))
    except Exception as error:
        await watch.stop()
        await send_error(send, _outward(error, context, scrubber), context.id)
        return
    except BaseException:
        await watch.stop()
        raise
    await watch.stop()
    length = (b"content-length", str(len(body)).encode())
    at_once = (scope.get("extensions") or {}).get(WHOLE)
    if at_once is None or not at_once(200, [_JSON, length], body):
        await send({"type": "http.response.start", "status": 200, "headers": [_JSON, length]})
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _nowhere(batch: Batch) -> None:
    """The sink of an answer that is sent whole."""


def _not_so(data: bytes) -> bool:
    """For a server that has no `PIECE`."""
    return False


async def _stream(
    work: Work, scope: Scope, receive: Receive, send: Send, patience: Patience, scrubber: Scrubber
) -> None:
    context = work.context
    watch = _Watch(context, receive, patience.watch_after, work.house.alarm)
    wire = _Wire(context, send, patience, (scope.get("extensions") or {}).get(PIECE, _not_so))
    failed: LollmsError | None = None
    reply: Reply | None = None
    try:
        reply = await work.run(wire.batch)
        end = encode_final(reply_output(reply), {"request_id": context.id})
    except Exception as error:
        failed = _outward(error, context, scrubber)
        end = _failed_end(failed, context, failed.partial or reply or Reply(finish_reason="error"))
    finally:
        wire.rest()
        await watch.stop()
        await wire.drop_comment()
    if context.stop_reason == "stalled":
        await _abort(scope)
    elif failed is not None and not wire.started:
        await send_error(send, failed, context.id)
    else:
        await _finish(wire, end, scope, patience)


def _failed_end(failed: LollmsError, context: RequestContext, reply: Reply) -> bytes:
    """The error, and what came before it; of what cannot be written as JSON only the text."""
    metadata = {"request_id": context.id, "status": "failed"}
    try:
        final = encode_final(reply_output(reply, failed=failed), metadata)
    except InternalError:
        told = Reply(reply.text, reply.thoughts, finish_reason="error", model=reply.model)
        final = encode_final(reply_output(told, failed=failed), metadata)
    return encode_error(failed) + final


async def _finish(wire: _Wire, end: bytes, scope: Scope, patience: Patience) -> None:
    """The end of a stream, in one piece; by now nothing of the request is left."""
    try:
        async with asyncio.timeout(patience.stalled):
            await wire.end(end)
    except TimeoutError:
        await _abort(scope)


async def _abort(scope: Scope) -> None:
    """Break the connection: what is still to be sent would wait for ever."""
    abort = (scope.get("extensions") or {}).get(ABORT)
    if abort is not None:
        abort["now"]()
        await asyncio.sleep(0)  # lets the HTTP server see it, so that it does not report an unfinished reply


def _outward(error: Exception, context: RequestContext, scrubber: Scrubber) -> LollmsError:
    """The error as it may leave the house; what it says inside goes to the log."""
    if not isinstance(error, LollmsError):
        LOG.error("request %s failed in an unforeseen way", context.id, exc_info=error)
        let_go(error)
        return InternalError("An unforeseen exception.")
    if meaning(error).http_status == 500:
        LOG.error("request %s failed: %s: %s", context.id, error.code, error.message, exc_info=error)
    let_go(error)
    error.message = scrubber.clean(public_message(error))
    error.request_id = context.id
    return error


class _Watch:
    """Stops the work when the caller leaves. Begins a moment after the work, and ends with it."""

    __slots__ = ("_alarm", "_context", "_loop", "_receive", "_task")

    def __init__(self, context: RequestContext, receive: Receive, after: float, alarm: Alarm) -> None:
        self._context = context
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        self._loop = context.loop or asyncio.get_running_loop()
        self._alarm = alarm
        alarm.set(self, context.started + after, self._loop)

    def expire(self) -> None:
        """The moment is over: watch."""
        self._task = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._context.cancel("disconnected")

    async def stop(self) -> None:
        if self._task is None:
            self._alarm.clear(self)
        else:
            self._task.cancel()
            await asyncio.wait([self._task])


class _Wire:
    """The sending side of one stream."""

    __slots__ = (
        "_beat",
        "_blocked_since",
        "_context",
        "_last",
        "_loop",
        "_patience",
        "_piece",
        "_send",
        "_timer",
        "started",
    )

    def __init__(self, context: RequestContext, send: Send, patience: Patience, piece: Callable[[bytes], bool]) -> None:
        self._context = context
        self._send = send
        self._piece = piece
        self._patience = patience
        self._loop = context.loop or asyncio.get_running_loop()
        self._last = self._loop.time()
        self._blocked_since: float | None = None
        self._beat: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(patience.silence, self._look)
        self.started = False

    async def batch(self, batch: Batch) -> None:
        """The sink of the driver."""
        data = encode_batch(batch)
        if data:
            if self._beat is None and self._piece(data):
                self._last = self._loop.time()
            else:
                await self._write(data, more=True)

    async def end(self, data: bytes) -> None:
        """Send the last piece."""
        await self._write(data, more=False)

    async def _write(self, data: bytes, *, more: bool) -> None:
        if self._beat is not None:
            await asyncio.wait([self._beat])
        await self._put(data, more=more)

    async def _put(self, data: bytes, *, more: bool) -> None:
        self._blocked_since = self._loop.time()
        try:
            if not self.started:
                self.started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": list(_STREAM_HEADERS)})
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
        finally:
            self._blocked_since = None
            self._last = self._loop.time()

    def _look(self) -> None:
        """The timer: is it too quiet, or does nobody read?"""
        now, patience = self._loop.time(), self._patience
        since = self._blocked_since
        if since is not None:
            left = since + patience.stalled - now
            if left <= 0:
                self._timer = None
                LOG.warning(
                    "request %s: its caller has not read for %g s and is dropped", self._context.id, now - since
                )
                self._context.cancel("stalled")
                return
            left = min(left, patience.silence)
        elif (left := self._last + patience.silence - now) <= 0.001:
            self._beat = self._loop.create_task(self._comment())
            left = patience.silence
        self._timer = self._loop.call_later(left, self._look)

    async def _comment(self) -> None:
        try:
            await self._put(_COMMENT, more=True)
        finally:
            self._beat = None

    def rest(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def drop_comment(self) -> None:
        """End a comment that is on its way: it waits for a reader, and nothing of it has been sent."""
        if (beat := self._beat) is not None:
            beat.cancel()
            await asyncio.wait([beat])
