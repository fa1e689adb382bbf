"""The asynchronous transport: HTTP/1.1 over connections of our own (see `connections` and `http11`).

The clock and the sentences are those of the synchronous transport (see `exchange`).

Connections belong to an event loop, so each loop has its own, in whatever thread it runs; those of a loop which has
ended are let go at the next request.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from lollms_core.errors import ConnectFailed, IdleTimeout, TruncatedStream
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.transport import failures
from lollms_runtime.transport.idle import Idle
from lollms_runtime.transport.limits import Body, body_of
from lollms_runtime.transport.wire import Place, Routes, TlsContexts

if TYPE_CHECKING:
    from lollms_runtime.transport.connections import Connection
    from lollms_runtime.transport.exchange import Exchange
    from lollms_runtime.transport.http11 import Head

__all__ = ["AsyncHttpTransport"]


class AsyncHttpTransport:
    """HTTP for coroutines of any number of event loops. It starts afresh in a forked child.

    `close()` ends the exchanges of the loop it is called in and closes their connections; the object can be used again.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._states: dict[asyncio.AbstractEventLoop, _State] = {}

    def open(self, request: HttpRequest) -> Opened:
        """See `AsyncTransport.open`; also raises `InvalidRequest` for an address or header that cannot be sent."""
        return Opened(self._state(), request, self._limits)

    async def close(self) -> None:
        """End what is running in this event loop and close its connections."""
        self._afresh()
        with self._lock:
            state = self._states.pop(asyncio.get_running_loop(), None)
            self._let_go()
        if state is not None:
            state.close()

    def discard(self) -> None:
        """The same for all event loops, from any thread and without waiting, when nobody needs the transport any more.

        Those that run would otherwise keep the idle connections open.
        """
        if self._pid != os.getpid():
            return
        states, self._states = self._states, {}
        for loop, state in states.items():
            try:
                loop.call_soon_threadsafe(state.close)
            except RuntimeError:  # it has ended
                state.forget()

    def _state(self) -> _State:
        """What this event loop has; what ended loops had is let go."""
        loop = asyncio.get_running_loop()
        self._afresh()
        with self._lock:
            state = self._states.get(loop)
            if state is None:
                self._let_go()
                state = self._states[loop] = _State(loop)
            return state

    def _afresh(self) -> None:
        """A forked child must not use its parent's connections, nor its locks."""
        if self._pid != os.getpid():
            self._pid, self._lock, before = os.getpid(), threading.Lock(), self._states
            self._states = {}
            for each in before.values():
                each.forget()

    def _let_go(self) -> None:
        """Close what belongs to loops that have ended without a `close()`."""
        for ended in [each for each in self._states if each.is_closed()]:
            self._states.pop(ended).forget()


class Opened:
    """One exchange: a context manager and, inside of it, the response; see `AsyncResponse`."""

    def __init__(self, state: _State, request: HttpRequest, limits: Limits) -> None:
        self._state = state
        self._request = request
        self._limits = limits
        self._exchange: Exchange | None = None
        self._connection: Connection | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def chunks(self) -> Chunks:
        """The body, unpacked, as it comes; see `AsyncResponse.chunks`."""
        exchange, connection = self._running
        body = body_of(exchange.url, self.headers.get("content-encoding", ""), self._limits)
        return Chunks(connection, exchange, body)

    def hurry(self, seconds: float) -> None:
        """See `Response.hurry`."""
        self._running[0].hurry(seconds)

    async def __aenter__(self) -> Opened:
        from lollms_runtime.transport.exchange import Exchange

        request = self._request
        self._exchange = exchange = Exchange(request)
        self._state.running.add(exchange)
        try:
            self._connection, head = await self._state.send(request, exchange)
            self.status, self.headers = head
            if 300 <= head.status < 400:
                raise failures.redirected(request.url, head.status, self.headers.get("location", ""))
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._exchange is not None:
            self._exchange.end()
            self._state.running.discard(self._exchange)
        if self._connection is not None:
            self._state.give_back(self._connection)

    @property
    def _running(self) -> tuple[Exchange, Connection]:
        if self._exchange is None or self._connection is None:
            raise RuntimeError("use `async with` before reading the response")
        return self._exchange, self._connection


class Chunks:
    """The body as an async iterator; a class, because an abandoned async generator leaves a task behind."""

    def __init__(self, connection: Connection, exchange: Exchange, body: Body) -> None:
        self._connection = connection
        self._exchange = exchange
        self._body = body
        self._pieces: Iterator[bytes] = iter(())
        self._over = False
        exchange.reads_body()

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        body = self._body
        while not self._over:
            if body.packed:
                for piece in self._pieces:
                    return piece
            try:
                data = await self._connection.more(self._exchange)
                if not data:
                    self._over = True
                    body.end()
                    break
            except (IdleTimeout, TruncatedStream):
                self._over = True
                if not self._exchange.hurried:
                    raise
                break
            if not body.packed:
                body.count(data)
                return data
            self._pieces = body.unpack(data)  # at once, so that nothing is lost if we are cancelled
            await asyncio.sleep(0)  # unpacking takes time that others need too
        raise StopAsyncIteration


class _State:
    """What one event loop has: the idle connections, and the exchanges that run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        from lollms_runtime.transport.connections import Turn

        self._turn = Turn(loop)
        self.running = self._turn.running
        self._idle: Idle[Connection] = Idle()
        self._routes = Routes()
        self._tls = TlsContexts()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()

    async def send(self, request: HttpRequest, exchange: Exchange) -> tuple[Connection, Head]:
        """Send the request and wait for the headers, over a kept connection if there is one."""
        route = self._routes.get(request)
        data = route.head(request)
        connection = self._idle.take(route.place) or await self._connect(route.place, exchange)
        try:
            head = await connection.ask(exchange, request.method, data, request.body)
            if head.status < 200:
                raise failures.malformed(exchange.url, f"it begins with status {head.status}")
        except BaseException as error:
            if connection.kept and isinstance(error, ConnectFailed):
                self._idle.forget(route.place)
            connection.close()
            raise
        return connection, head

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for the next request if it can have one; else close it."""
        if connection.reusable:
            connection.kept = True
            self._idle.give(connection.place, connection)
        else:
            connection.close()

    async def _connect(self, place: Place, exchange: Exchange) -> Connection:
        from lollms_runtime.transport.connections import Connection, connected, look_up

        addresses = await look_up(place.host, place.port, exchange)
        connection = await connected(addresses, exchange, lambda asks: Connection(asks, place, self._turn))
        self._connections.add(connection)
        if place.scheme == "https":
            await connection.start_tls(self._tls.get(place.verified, exchange.url), place.host)
        return connection

    def close(self) -> None:
        for exchange in tuple(self.running):
            exchange.abort()
        self._idle.close()
        self._turn.alarm.close()

    def forget(self) -> None:
        """Let go of the connections of a loop that does not run any more."""
        for connection in tuple(self._connections):
            connection.drop()
