"""The connections of the asynchronous transport: what httpcore2's pool reads and writes through in an event loop.

They keep the two rules of `sockets`: a connection is aborted the moment its exchange is told to stop, and time-outs are
deadlines of the exchange. While the pool connects and writes, the exchange stands in a context variable; a connection
that is connected or written to belongs to it from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
import weakref
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, cast

import httpcore2

from lollms_core.errors import LollmsError
from lollms_runtime.transport import failures
from lollms_runtime.transport.pace import GATHER
from lollms_runtime.transport.sockets import Exchange

__all__ = ["Connections"]

_READ_AHEAD = 256 * 1024  # bytes that may wait for the reader before the connection is told to pause

_EXCHANGE: ContextVar[Exchange] = ContextVar("lollms_exchange")


class Connections(httpcore2.AsyncNetworkBackend):
    """Connects for the exchange that is being served."""

    def __init__(self) -> None:
        self._connections: weakref.WeakSet[_Connection] = weakref.WeakSet()

    @contextlib.contextmanager
    def serving(self, exchange: Exchange) -> Iterator[None]:
        """What is connected or written inside the block belongs to this exchange."""
        token = _EXCHANGE.set(exchange)
        try:
            yield
        finally:
            _EXCHANGE.reset(token)

    def drop(self) -> None:
        """Close the sockets of a loop that does not run any more."""
        for each in tuple(self._connections):
            each.drop()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> _Stream:
        """See `httpcore2`; the time that is left is the exchange's, so `timeout` is not used."""
        exchange = _EXCHANGE.get()
        addresses = await _resolve(host, port, exchange)
        last = OSError()
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            # An address that swallows packets must leave time for the next one.
            seconds = exchange.patience() / (len(addresses) - index)
            connection = _Connection(exchange)
            self._connections.add(connection)
            try:
                await connection.connect(socket.socket(family, kind, protocol), address, seconds)
                return _Stream(connection)
            except OSError as error:
                last = error
        raise exchange.not_connected(last) from last


async def _resolve(host: str, port: int, exchange: Exchange) -> list[Any]:
    """The addresses of a host. That of a number needs no look-up, which takes a thread."""
    with contextlib.suppress(socket.gaierror, UnicodeError):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: list[Any] = []
    clock = asyncio.timeout(exchange.patience())
    with contextlib.suppress(OSError, UnicodeError):  # a TimeoutError is one
        async with clock:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if clock.expired():
        raise exchange.not_connected(TimeoutError())
    if not found:
        raise failures.unknown_name(exchange.url)
    return found


class _Connection(asyncio.Protocol):
    """A connection of one event loop, and the exchange that uses it at the moment."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.ended = False  # whether the reader was told that nothing more comes
        self.kept = False  # whether it has served an earlier exchange
        self._over = False
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._paused = self._blocked = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    # ---- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _READ_AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over, self._error = True, exc
        self._wake()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._wake()

    # ---- what the exchange calls

    async def connect(self, sock: socket.socket, address: Any, seconds: float) -> None:
        """Raises `OSError`, `Cancelled`."""
        loop = asyncio.get_running_loop()
        self._socket = sock
        try:
            self.exchange.uses(self)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, address)
            await loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            self.shut_down()
            sock.close()
            raise

    async def start_tls(self, context: ssl.SSLContext, name: str | None) -> None:
        """Raises the exchange's errors."""
        loop, exchange = asyncio.get_running_loop(), self.exchange
        transport = self._open()
        try:
            async with asyncio.timeout(exchange.patience()):
                self._transport = await loop.start_tls(transport, self, context, server_hostname=name)
        except LollmsError:
            self.shut_down()
            raise
        except (OSError, ValueError) as error:
            self.shut_down()
            raise exchange.not_connected(error) from error
        except BaseException:
            self.shut_down()
            raise
        if self._transport is None:
            raise exchange.not_connected(ConnectionResetError())

    async def write(self, data: bytes) -> None:
        """Raises `httpcore2.WriteError`: the server may have answered before it had read everything."""
        self._open().write(data)
        while self._blocked and not self._over:
            await self._wait()
        if self._error is not None:
            raise httpcore2.WriteError(str(self._error))

    async def read(self) -> bytes:
        """What has come; b"" at the end. Raises `OSError` when the connection was lost."""
        exchange = self.exchange
        if rested := exchange.should_rest and not self._over:
            await self._rest()
        began = time.monotonic()
        while not self._received:
            if self._error is not None:
                raise self._error
            if self._over:
                self.ended = True
                return b""
            await self._wait()
        data = bytes(self._received)
        self._received.clear()
        exchange.took(len(data), began, rested=rested)
        if self._paused and not self._over:
            self._paused = False
            self._open().resume_reading()
        return data

    async def _rest(self) -> None:
        """Let chunks gather, in the system and not here, where each would wake the loop."""
        self._open().pause_reading()
        try:
            await asyncio.sleep(GATHER)
        finally:
            if not self._over and not self._paused:
                self._open().resume_reading()

    @property
    def is_readable(self) -> bool:
        """Whether a read would not wait; of an idle connection that means that the server has closed it."""
        return self._over or bool(self._received)

    @property
    def ssl_object(self) -> Any:
        """The TLS state, for the protocol that was agreed upon; None without TLS."""
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def shut_down(self) -> None:
        """Break the connection at once: whoever waits for it is woken."""
        self._over = True
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._transport.abort()
        self._wake()

    def drop(self) -> None:
        """Close this process's copy of the descriptor."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()

    def _open(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            raise httpcore2.WriteError("the connection is closed")
        return self._transport

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        """Until something happens. Raises the exchange's time-out."""
        exchange = self.exchange
        seconds = exchange.patience()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError as error:
            raise exchange.failed(error) from error
        finally:
            self._waiter = None


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection as httpcore2 sees it."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        await self._connection.start_tls(ssl_context, server_hostname)
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        connection, exchange = self._connection, _EXCHANGE.get(None)
        if exchange is not None and exchange is not connection.exchange:
            connection.exchange, connection.kept = exchange, True
        connection.exchange.uses(connection)
        connection.exchange.sends()
        await connection.write(buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = self._connection.exchange
        try:
            data = await self._connection.read()
        except OSError as error:
            raise exchange.failed(error) from error
        if data:
            exchange.answered()
        return data

    async def aclose(self) -> None:
        self._connection.shut_down()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._connection.is_readable
        return self._connection.ssl_object if info == "ssl_object" else None
