"""The synchronous transport: HTTP/1.1 over sockets of our own (see `sockets` and `http11`).

An HTTP client with cookies, redirects, proxies and environment variables is not used: we want none of these, and it
would cost as much again for each piece of a stream.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lollms_core.errors import ConnectFailed, IdleTimeout, TruncatedStream
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport import failures
from lollms_runtime.transport.idle import Idle
from lollms_runtime.transport.limits import body_of
from lollms_runtime.transport.wire import Place, Routes, TlsContexts

if TYPE_CHECKING:
    from lollms_runtime.transport.exchange import ThreadExchange
    from lollms_runtime.transport.http11 import Head
    from lollms_runtime.transport.sockets import Wire

__all__ = ["HttpTransport"]


class HttpTransport:
    """HTTP for threads. One object serves any number of them, and starts afresh in a forked child.

    `close()` ends the exchanges that are running and closes the idle connections; the object can be used again.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._state = _State()

    @contextlib.contextmanager
    def open(self, request: HttpRequest, cancel: Cancel) -> Iterator[Response]:
        """See `Transport.open`; also raises `InvalidRequest` for an address or header that cannot be sent."""
        from lollms_runtime.transport.exchange import ThreadExchange

        state = self._state
        if state.pid != os.getpid():  # a forked child must not use its parent's connections, nor its locks
            state.forget()
            state = self._state = _State()
        exchange = ThreadExchange(request)
        state.running.add(exchange)
        response: Response | None = None
        try:
            with cancel.undoing(exchange.abort):
                wire, head = state.send(request, exchange)
                response = Response(wire, head, exchange, cancel, self._limits)
            if 300 <= response.status < 400:
                raise failures.redirected(request.url, response.status, response.headers.get("location", ""))
            yield response
        finally:
            exchange.end()
            state.running.discard(exchange)
            if response is not None:
                state.give_back(response.wire)

    def close(self) -> None:
        """End what is running and close all connections."""
        if self._state.pid == os.getpid():
            self._state.close()


class Response:
    """A response whose headers have come; see `base.Response`. `wire` is the connection that it came over."""

    def __init__(self, wire: Wire, head: Head, exchange: ThreadExchange, cancel: Cancel, limits: Limits) -> None:
        self.wire = wire
        self._exchange = exchange
        self._cancel = cancel
        self.status, self.headers = head
        self._limits = limits

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked, as it comes; see `base.Response.chunks`."""
        try:
            yield from self._chunks()
        except (IdleTimeout, TruncatedStream):
            if not self._exchange.hurried:
                raise

    def hurry(self, seconds: float) -> None:
        """See `base.Response.hurry`."""
        self._exchange.hurry(seconds)

    def _chunks(self) -> Iterator[bytes]:
        cancel, exchange = self._cancel, self._exchange
        body = body_of(exchange.url, self.headers.get("content-encoding", ""), self._limits)
        # One registration for the whole body: the socket is shut down whether or not this thread is reading just now.
        with cancel.undoing(exchange.abort):
            for data in self.wire.body(self._exchange):
                cancel.check()
                if body.packed:
                    yield from body.unpack(data)
                else:
                    body.count(data)
                    yield data
            body.end()


class _State:
    """What one process holds: the idle connections, and the exchanges that run."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.running: set[ThreadExchange] = set()
        self._idle: Idle[Wire] = Idle()
        self._routes = Routes()
        self._tls = TlsContexts()
        self._wires: weakref.WeakSet[Wire] = weakref.WeakSet()

    def send(self, request: HttpRequest, exchange: ThreadExchange) -> tuple[Wire, Head]:
        """Send the request and wait for the headers, over a kept connection if there is one."""
        route = self._routes.get(request)
        data = route.head(request) + request.body
        wire = self._idle.take(route.place) or self._connect(route.place, exchange)
        try:
            head = wire.ask(exchange, request.method, data)
            if head.status < 200:
                raise failures.malformed(exchange.url, f"it begins with status {head.status}")
        except BaseException as error:
            if wire.kept and isinstance(error, ConnectFailed):
                self._idle.forget(route.place)
            wire.close()
            raise
        return wire, head

    def give_back(self, wire: Wire) -> None:
        """Keep the connection for the next request if it can have one; else close it."""
        if wire.http.reusable and not wire.ended:
            wire.kept = True
            self._idle.give(wire.place, wire)
        else:
            wire.close()

    def _connect(self, place: Place, exchange: ThreadExchange) -> Wire:
        from lollms_runtime.transport.sockets import connected, look_up

        wire = connected(look_up(place.host, place.port, exchange), exchange)
        wire.place = place
        self._wires.add(wire)
        if place.scheme == "https":
            wire.start_tls(self._tls.get(place.verified, exchange.url), place.host)
        return wire

    def close(self) -> None:
        for exchange in tuple(self.running):
            exchange.abort()
        self._idle.close()

    def forget(self) -> None:
        """In a forked child: let go of the parent's sockets, so that they close when the parent closes them."""
        for wire in tuple(self._wires):
            wire.drop()
