"""The connections of one event loop.

They keep the two rules of `sockets`: a connection belongs to its exchange from the first moment on and is aborted the
moment that is told to stop, and time-outs are deadlines of the exchange. One timer serves all waits of a loop.

What comes is parsed at once, by a parser in C, and what it was is kept; only the reader's task is woken once for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from lollms_core.errors import LollmsError
from lollms_runtime.alarm import Alarm
from lollms_runtime.cancel import Cancel
from lollms_runtime.cork import Cork
from lollms_runtime.threads import in_background
from lollms_runtime.transport import failures
from lollms_runtime.transport.exchange import Exchange
from lollms_runtime.transport.http11 import Head, Http11, NotHttp
from lollms_runtime.transport.idle import is_readable
from lollms_runtime.transport.wire import Place

__all__ = ["Connection", "Turn", "connected", "look_up"]

_READ_AHEAD = 64 * 1024  # bytes that may wait for the reader before the connection is told to pause
_PIECE = 64 * 1024  # bytes of one read; those above us count the pieces that may wait, not their bytes
_TOGETHER = 16 * 1024  # bytes of a body up to which the requests of a turn leave together
_WRITTEN = 256 * 1024  # bytes of a request that are written at once; with TLS, others would wait for more


class Turn:
    """What the connections of an event loop share."""

    __slots__ = ("alarm", "cork", "loop", "running")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.running: set[Exchange] = set()
        self.alarm = Alarm()
        self.cork = Cork()


async def look_up(host: str, port: int, exchange: Exchange) -> list[Any]:
    """The addresses of a host. That of a number needs no look-up, which takes a thread.

    A thread of its own, since the end of an event loop waits for those of its pool, and a look-up can take minutes.
    Raises `ConnectFailed`, the time-out of the exchange, and `Cancelled`.
    """
    with contextlib.suppress(OSError, UnicodeError):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    asked = _LookUp(in_background(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), Cancel()))
    exchange.uses(asked)
    found: list[Any] = []
    clock = asyncio.timeout(exchange.patience())
    with contextlib.suppress(OSError, UnicodeError):  # a TimeoutError is one
        async with clock:
            found = await asked.found
    if clock.expired():
        raise exchange.not_connected(TimeoutError())
    exchange.uses(asked)  # raises if that has ended it
    if not found:
        raise failures.unknown_name(exchange.url)
    return found


class _LookUp:
    """The look-up of a name, which an exchange can give up as it breaks a connection."""

    ended = kept = False

    def __init__(self, found: asyncio.Future[list[Any]]) -> None:
        self.found = found

    def shut_down(self) -> None:
        if not self.found.done():
            self.found.set_result([])


async def connected(addresses: Sequence[Any], exchange: Exchange, make: Callable[[Exchange], Connection]) -> Connection:
    """A connection to the first address that accepts one. Raises the errors of the exchange."""
    last = OSError()
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        # An address that swallows packets must leave time for the next one.
        seconds = exchange.patience() / (len(addresses) - index)
        connection = make(exchange)
        try:
            await connection.connect(socket.socket(family, kind, protocol), address, seconds)
            return connection
        except OSError as error:
            last = error
    raise exchange.not_connected(last) from last


class Connection(asyncio.Protocol):
    """A connection of one event loop, and the exchange that uses it at the moment."""

    def __init__(self, exchange: Exchange, place: Place, turn: Turn) -> None:
        self.ended = False
        self.kept = False
        self.place = place
        self.http = Http11()
        self._turn = turn
        self._loop = turn.loop
        self._exchange = exchange
        self._over = False  # nothing more will come, though the reader may not know yet
        self._connecting: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._below: asyncio.Transport | None = None  # what TLS writes to
        self._socket: socket.socket | None = None
        self._size = 0  # bytes that have come since the last read
        self._paused = False
        self._halved = False  # whether more of what came at once waits for its reader
        self._rested_until = 0.0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[bool] | None = None  # its result: whether it waited for too long

    # ---- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        self.http.feed(data)
        if self.http.waiting > _READ_AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over, self._error = True, exc
        self._wake()

    # ---- connecting

    async def connect(self, sock: socket.socket, address: Any, seconds: float) -> None:
        """Raises `OSError`, `Cancelled`."""
        self._socket = sock
        try:
            self._exchange.uses(self)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._reach(sock, address, seconds)
            await self._loop.create_connection(lambda: self, sock=sock)
            self._exchange.uses(self)  # raises if it was shut down meanwhile
        except BaseException:
            self.close()
            sock.close()
            raise

    async def _reach(self, sock: socket.socket, address: Any, seconds: float) -> None:
        """Raises `OSError`. A task of its own, which `shut_down` can end: the loop knows no other way to."""
        self._connecting = connecting = asyncio.ensure_future(self._loop.sock_connect(sock, address))
        timer = self._loop.call_later(seconds, connecting.cancel)
        error: BaseException | None = None
        try:
            await asyncio.wait([connecting])
        finally:
            timer.cancel()
            if connecting.cancel():  # we are cancelled; the loop must let go of the socket before that is closed
                await asyncio.wait([connecting])
            if not connecting.cancelled():
                error = connecting.exception()
        if connecting.cancelled():
            error = ConnectionAbortedError() if self._over else TimeoutError()
        if error is not None:
            raise error

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Raises the errors of the exchange; the connection is closed then."""
        exchange = self._exchange
        try:
            async with asyncio.timeout(exchange.patience()):
                below = self._below = self._open()
                transport = await self._loop.start_tls(below, self, context, server_hostname=name)
            if transport is None:
                raise ConnectionResetError
            self._transport = transport
        except LollmsError:
            self.close()
            raise
        except (OSError, ValueError) as error:
            self.close()
            raise exchange.not_connected(error) from error
        except BaseException:
            self.close()
            raise

    # ---- one request and its answer

    async def ask(self, exchange: Exchange, method: str, head: bytes, body: bytes) -> Head:
        """Send a request and wait for the head of the answer. Raises the errors of the exchange."""
        self._exchange = exchange
        exchange.uses(self)
        exchange.sends()
        http = self.http
        http.asked(method)
        self._size = 0
        await self._write(head, body)
        try:
            while (answer := http.head()) is None:
                await self._read()
            return answer
        except NotHttp as error:
            raise exchange.failed(error) from error

    async def more(self, exchange: Exchange) -> bytes:
        """More of the body of the answer, as it comes; b"" at its end. Raises the errors of the exchange."""
        if exchange is not self._exchange:
            raise RuntimeError("the response is read after its block, and its connection serves another one")
        http = self.http
        if self._halved:
            self._halved = False
            await asyncio.sleep(0)  # others have their turn between the pieces of what came at once
        try:
            while not (data := http.body(_PIECE)) and not http.complete:
                await self._read()
        except NotHttp as error:
            raise self._exchange.failed(error) from error
        if http.waiting:
            self._halved = True
        elif self._paused:
            self._paused = False
            self._resume()
        return data

    async def _write(self, head: bytes, body: bytes) -> None:
        """What cannot be sent is left: the server may have answered before it had read everything."""
        with contextlib.suppress(OSError):
            if len(body) <= _TOGETHER:
                if len(self._turn.running) > 1:
                    self._turn.cork.write(self._open(), head + body, self._loop)
                else:
                    self._open().write(head + body)
                return
            self._open().write(head + body[:_WRITTEN])
            for start in range(_WRITTEN, len(body), _WRITTEN):
                await asyncio.sleep(0)
                self._open().write(body[start : start + _WRITTEN])

    async def _read(self) -> None:
        """Until something has come, which the parser has then. Raises the errors of the exchange."""
        exchange, alarm, rested = self._exchange, self._turn.alarm, False
        began = time.monotonic()
        if not self._size and (seconds := exchange.should_rest):
            rested = self._rest(seconds)
        while not self._size:
            if self._error is not None:
                raise exchange.failed(self._error) from self._error
            if self._over:
                exchange.check()
                self.ended = True
                self.http.feed(b"")
                return
            # Not by `asyncio.timeout`: it cancels the task, and of two cancellations in one turn of the loop only the
            # first one's message arrives. A stop would go unnoticed.
            alarm.set(self, began + exchange.patience(), self._loop)
            waiter = self._waiter = self._loop.create_future()
            try:
                expired = await waiter
            finally:
                alarm.clear(self)
                self._waiter = None
            if expired:
                raise exchange.failed(TimeoutError())
        exchange.took(self._size, self._rested_until if rested else began, time.monotonic(), rested=rested)
        self._size = 0

    def _rest(self, seconds: float) -> bool:
        """Let chunks gather, in the system and not here, where each would wake the loop; unless it is ending."""
        if self._over or self._transport is None or self._transport.is_closing():
            return False
        self._transport.pause_reading()
        self._rested_until = math.inf
        self._loop.call_later(seconds, self._rested)
        return True

    def _rested(self) -> None:
        self._rested_until = time.monotonic()
        if not self._paused:
            self._resume()

    def _resume(self) -> None:
        if not self._over and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def expire(self) -> None:
        """The wait takes too long."""
        self._wake(True)

    def _wake(self, expired: bool = False) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(expired)

    def _open(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        return self._transport

    # ---- its end

    @property
    def is_readable(self) -> bool:
        """Of an idle connection: whether the server has closed it, or said something unasked.

        The loop may not have told us yet; what it would tell later would stand before the next answer.
        """
        return self._over or not self.http.reusable or self._socket is None or is_readable(self._socket)

    @property
    def reusable(self) -> bool:
        """Whether the connection can have another request: the answer is over, and all of ours has left."""
        transport = self._transport
        if self._over or self._paused or transport is None or not self.http.reusable:
            return False
        below = self._below or transport
        return not transport.get_write_buffer_size() and not below.get_write_buffer_size()

    def shut_down(self) -> None:
        """Break the connection at once: whoever waits for it is woken."""
        self._over = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._transport.abort()
        self._wake()

    def close(self) -> None:
        """The same: nothing that matters is still to be sent."""
        self.http.close()
        self.shut_down()

    def drop(self) -> None:
        """Close this process's copy of the descriptor, for a loop that does not run any more."""
        self.http.close()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
