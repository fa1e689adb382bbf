"""uvicorn's HTTP protocol with the limits it lacks: how long a head or a body may take, and how large a head may be.

uvicorn waits for ever for a client that opens a connection and says nothing, or one byte at a time. Here one timer
per connection runs only while something is owed: the first head after connecting, the rest of a head that has begun,
the next piece of a body. A request that arrives in one piece, as nearly all do, sets no timer at all. The timer is
not restarted by each byte: it looks at the time of the last deadline when it fires.

A head over a limit is refused with 431 before the application sees anything of it.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

__all__ = ["LimitedHttpProtocol", "protocol_class"]

_IDLE, _HEAD, _BODY = range(3)
_CONTINUE = b"HTTP/1.1 100"
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


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. Times in seconds, sizes in bytes; subclasses set other limits."""

    head_seconds: float = 15.0
    body_seconds: float = 30.0
    max_head_bytes: int = 65_536
    max_url_bytes: int = 16_384
    max_headers: int = 100

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._state = _IDLE
        self._head_bytes = 0
        self._chunk = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._too_large = False

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._owe(self.head_seconds)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._owe_nothing()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        self._chunk = len(data)
        if self._state == _HEAD:
            self._head_bytes += self._chunk
        elif self._state == _BODY:
            self._deadline = self.loop.time() + self.body_seconds
        before = self._state
        super().data_received(data)
        if self.transport.is_closing():
            self._owe_nothing()
        elif self._state == _HEAD and self._head_bytes > self.max_head_bytes:
            self._refuse(431)
        elif self._state != before or self._timer is None or self._state == _IDLE:
            self._restart()

    def _restart(self) -> None:
        """Set the timer for what is owed now."""
        if self._state == _IDLE:
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
            self._too_large = True
            raise ValueError("the head of the request is over a limit")
        self._state = _BODY
        cycle = self.cycle
        super().on_headers_complete()
        if self.cycle is not cycle and self.scope["method"] != "HEAD":  # else an upgrade, or there is no body to come
            self.cycle.transport = cast(asyncio.Transport, HeadWithBody(self.transport, self.loop))

    @override
    def on_message_complete(self) -> None:
        self._state = _IDLE
        super().on_message_complete()

    @override
    def handle_websocket_upgrade(self) -> None:
        self._owe_nothing()
        super().handle_websocket_upgrade()

    @override
    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: such a request is served as a plain one, and clients must not be able to fill the log."""

    def _head_size(self) -> int:
        """The size of the head, at least when it could be over a limit: the reads it came in bound it from above."""
        if self._head_bytes <= self.max_url_bytes:
            return 0
        if len(self.url) > self.max_url_bytes:
            return self.max_head_bytes + 1
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    @override
    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            self._refuse(431)
        elif not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse(self, status: int) -> None:
        """Answer a request that will not be served, and close."""
        self._owe_nothing()
        if self.cycle is None or self.cycle.response_complete:
            words = b"The head of the request is too large." if status == 431 else b"The request did not come in time."
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
        left = self._deadline - self.loop.time()
        if left <= 0 and self._state == _BODY and self.flow.read_paused:
            left = self.body_seconds
        if left > 0:
            self._timer = self.loop.call_later(left, self._late)
        elif self._state == _HEAD:
            self._refuse(408)
        else:
            self.transport.close()


def protocol_class(head_seconds: float, body_seconds: float) -> type[LimitedHttpProtocol]:
    """The protocol with these time limits, for the `http` setting of uvicorn."""
    limits = {"head_seconds": head_seconds, "body_seconds": body_seconds}
    return cast(type[LimitedHttpProtocol], type("ConfiguredHttpProtocol", (LimitedHttpProtocol,), limits))
