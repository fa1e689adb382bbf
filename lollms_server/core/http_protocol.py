"""uvicorn's HTTP protocol with the limits it lacks: how long a head or a body may take, and how large a head may be.

uvicorn waits for ever for a client that opens a connection and says nothing, or one byte at a time. Here one timer
per connection runs only while something is owed: the first head after connecting, the rest of a head that has begun,
the next piece of a body. A request that arrives in one piece, as nearly all do, sets no timer at all. The timer is
not restarted by each byte: it looks at the time of the last deadline when it fires.

A head over a limit is refused with 431 before the application sees anything of it. What follows a body in chunks is
no part of the head and is dropped; a connection that sends ever more of it, and no body, is closed.

The parser takes an offer of another protocol (`Upgrade`) for the end of the request, so that a body behind it would be
read as the next one. We take no such offer: the request goes through a new parser once more, without it.

A finished answer waits for its caller in the transport, which waits for ever, also when it is told to close. So a
second timer runs while there is such a rest, and breaks a connection that takes nothing of it.

uvicorn stops reading while a request waits behind another, and then does not see that the caller has left. Here reading
goes on until several wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Sequence, Sized
from functools import partial
from typing import Any, cast

import httptools
from typing_extensions import override
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from lollms_runtime.cork import Cork
from lollms_server.core.responses import ABORT, PIECE, WHOLE, Header

__all__ = ["LimitedHttpProtocol", "protocol_class"]

_IDLE, _HEAD, _BODY = range(3)
_CONTINUE = b"HTTP/1.1 100"
_AT_ONCE = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)  # to linger for 0 seconds
_WORDS = {
    408: b"The request did not come in time.",
    431: b"The head of the request is too large.",
    501: b"The only transfer coding is chunked.",
}
_CLOSE = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"


class HeadWithBody:
    """The transport of one reply: sends the head together with the first piece of the body.

    uvicorn writes them one after the other, and each write is a system call and a packet. A head whose body is not
    there yet leaves at the loop's next turn.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = b""  # None once it has left

    def write(self, data: bytes) -> None:
        head = self._head
        if head is None or (not head and data.startswith(_CONTINUE)):
            self._transport.write(data)
        elif head:
            self._head = None
            self._transport.write(head + data)
        else:
            self._head = data
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._flush()
        self._transport.close()


class _Flow(FlowControl):
    """uvicorn's flow control, with a reason of our own not to read: too much waits already."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized, most: int) -> None:
        super().__init__(transport)
        self._waiting = waiting
        self._most = most

    @override
    def resume_reading(self) -> None:
        if self.read_paused and len(self._waiting) <= self._most:
            super().resume_reading()


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. Times in seconds, sizes in bytes; subclasses set other limits."""

    head_seconds: float = 15.0
    body_seconds: float = 30.0
    max_head_bytes: int = 65_536
    max_url_bytes: int = 16_384
    max_headers: int = 100
    unread_seconds: float = 75.0  # more than a stream waits, which then can say why it ended
    max_waiting: int = 16  # requests behind the one that runs
    cork = Cork()  # all connections of a server have the same

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._state = _IDLE
        self._head_bytes = 0
        self._chunk = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: int | None = None
        self._around_body = 0
        self._idle_until = 0.0
        self._running: RequestResponseCycle | None = None
        self._unread: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline, self.max_waiting)
        self._owe(self.head_seconds)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._owe_nothing()
        self._forget_unread()
        self._unset_keepalive_if_required()
        for cycle, _ in self.pipeline:
            self._forget_extensions(cycle)
        self.pipeline.clear()
        super().connection_lost(exc)
        if (running := self._running) is not None:
            self._forget_extensions(running)
            if not running.response_complete:  # uvicorn tells the last one
                running.disconnected = True
                running.message_event.set()

    @override
    def data_received(self, data: bytes) -> None:
        self.cork.flush()  # what is written from here on comes behind it
        self._chunk = len(data)
        if self._state == _HEAD:
            self._head_bytes += self._chunk
        elif self._state == _BODY:
            self._deadline = self.loop.time() + self.body_seconds
            self._around_body += self._chunk
        before = self._state
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self.transport.is_closing():
            self._owe_nothing()
        elif self._state == _HEAD and self._head_bytes > self.max_head_bytes:
            self._refuse(431)
        elif self._state == _BODY and self._around_body > self.max_head_bytes:
            self._owe_nothing()
            self.transport.close()
        elif self._state != before or self._timer is None or self._state == _IDLE:
            self._restart()

    def _parse(self, data: bytes) -> None:
        """Feed the parser; an offer of another protocol is taken out of its request."""
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                head = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self._version())]
                head += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(b"".join(head) + b"\r\n")
                rest = rest[offer.args[0] :]
            else:
                return

    def _version(self) -> bytes:
        return self.parser.get_http_version().encode()

    def _restart(self) -> None:
        """Set the timer for what is owed now."""
        if self._state == _IDLE:
            if self._timer is not None and self.cycle is not None:  # line ends alone are no request
                self._owe_nothing()
        else:
            self._owe(self.head_seconds if self._state == _HEAD else self.body_seconds)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._state = _HEAD
        self._head_bytes = self._chunk

    @override
    def on_headers_complete(self) -> None:
        if len(self.headers) > self.max_headers or self._head_size() > self.max_head_bytes:
            self._refusal = 431
            raise ValueError("the head of the request is over a limit")
        if self._has_other_coding():
            self._refusal = 501
            raise ValueError("the body of the request is coded in a way that is not supported")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("this is no proxy")
            return  # it comes again, without the offer
        self._state = _BODY
        self._around_body = 0
        extensions: dict[str, Any] = {ABORT: {"now": self._abort}}
        self.scope["extensions"] = extensions
        super().on_headers_complete()
        self.headers = []  # what follows the body is not among those that the application has
        self.flow.resume_reading()
        if self.scope["method"] != "HEAD":  # else there is no body to come
            self.cycle.transport = cast(asyncio.Transport, HeadWithBody(self.transport, self.loop))
            extensions[WHOLE] = partial(self._whole, self.cycle)
            extensions[PIECE] = partial(self._piece, self.cycle)

    def _abort(self) -> None:
        """Break the connection. Closed in the ordinary way, the system would go on to offer the rest for minutes."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _whole(self, cycle: RequestResponseCycle, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """See `WHOLE`. It does in one step what the two messages do; anything unusual is left to them."""
        if cycle.response_started or cycle.disconnected or not cycle.keep_alive or self.flow.write_paused:
            return False
        lines = [b"%s: %s\r\n" % header for header in (*cycle.default_headers, *headers)]
        data = b"".join([STATUS_LINE[status], *lines, b"\r\n", body])
        if len(self.tasks) > 1:
            self.cork.write(self.transport, data, self.loop)
        else:
            self.transport.write(data)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _piece(self, cycle: RequestResponseCycle, body: bytes) -> bool:
        """See `PIECE`."""
        if self.flow.write_paused or cycle.disconnected or not cycle.chunked_encoding or cycle.response_complete:
            return False
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True

    @override
    def on_body(self, body: bytes) -> None:
        self._around_body = 0
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        if self._state == _BODY:  # else it comes again, without its offer
            self._state = _IDLE
            super().on_message_complete()

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    @override
    def on_response_complete(self) -> None:
        """As uvicorn does it, but for the time that a connection may be idle: its timer is not set anew each time."""
        self.server_state.total_requests += 1
        if self._running is not None:
            self._forget_extensions(self._running)
        if not self.transport.is_closing():
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            else:
                self._idle_until = self.loop.time() + self.timeout_keep_alive
                if self.timeout_keep_alive_task is None:
                    self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._look_idle)
            self.flow.resume_reading()  # one less waits now
        self._watch_unread()

    def _look_idle(self) -> None:
        """Close a connection that has had nothing to do for long enough; one that works is looked at afterwards."""
        self.timeout_keep_alive_task = None
        if self._state == _HEAD or (self.cycle is not None and not self.cycle.response_complete):
            return
        left = self._idle_until - self.loop.time()
        if self._state == _BODY:  # of a request that has its answer already, so no other moment comes to look
            left = max(left, self.timeout_keep_alive)
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._look_idle)
        else:
            self.timeout_keep_alive_handler()

    @override
    def shutdown(self) -> None:
        self.cork.flush()  # an answer of this turn may wait there, and closing would drop it
        super().shutdown()

    @staticmethod
    def _forget_extensions(cycle: RequestResponseCycle) -> None:
        """They hold their request in a circle, which would wait for the collector."""
        cycle.scope.get("extensions", {}).clear()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unread()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch_unread()

    @override
    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        if self._unread is None:
            self._watch_unread()

    def _watch_unread(self) -> None:
        """Begin to watch that the caller takes what is there for it."""
        if self._unread is not None:
            self._forget_unread()
        if size := self.transport.get_write_buffer_size():
            self._unread = self.loop.call_later(self.unread_seconds, self._look_unread, size)

    def _look_unread(self, before: int) -> None:
        running = self._running
        # As long as an answer adds to the rest and is not held up by it, its size says nothing.
        adding = running is not None and not running.response_complete and not self.flow.write_paused
        if self.transport.get_write_buffer_size() < before or (adding and not self.transport.is_closing()):
            self._watch_unread()
        else:
            self._abort()

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _head_size(self) -> int:
        """The size of the head, at least when it could be over a limit: the reads it came in bound it from above."""
        if self._head_bytes <= self.max_url_bytes:
            return 0
        if len(self.url) > self.max_url_bytes:
            return self.max_head_bytes + 1
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _has_other_coding(self) -> bool:
        """Whether a body comes in another coding than chunks: the parser takes it for the body that was meant."""
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        return bool(codings) and (len(codings) > 1 or codings[0].strip().lower() != b"chunked")

    @override
    def send_400_response(self, msg: str) -> None:
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif (running := self._running) is not None and running.response_started and not running.response_complete:
            self.transport.close()  # the words would stand in the middle of that answer
        elif not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse(self, status: int) -> None:
        """Answer a request that will not be served, and close."""
        self._owe_nothing()
        if self.cycle is None or self.cycle.response_complete:
            words = _WORDS[status]
            self.transport.write(STATUS_LINE[status] + _CLOSE % (len(words), words))
        self.transport.close()

    def _owe(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._late)

    def _owe_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """The timer fired: close, unless bytes came in the meantime or it is we who do not read."""
        self._timer = None
        self.cork.flush()  # an answer of this turn may wait there, and closing would drop it
        left = self._deadline - self.loop.time()
        if left <= 0 and self.flow.read_paused:
            left = self.body_seconds
        if left > 0:
            self._timer = self.loop.call_later(left, self._late)
        elif self._state == _HEAD:
            self._refuse(408)
        else:
            self.transport.close()


def protocol_class(head_seconds: float, body_seconds: float) -> type[LimitedHttpProtocol]:
    """The protocol with these time limits, for the `http` setting of uvicorn."""
    own = {"head_seconds": head_seconds, "body_seconds": body_seconds, "cork": Cork()}
    return cast(type[LimitedHttpProtocol], type("ConfiguredHttpProtocol", (LimitedHttpProtocol,), own))
