"""The asynchronous transport of the library: httpcore2's connection pool over connections of our own.

The server uses aiohttp, which is faster; this one needs nothing that the library has not installed anyway. The clock
and the sentences are those of the synchronous transport (see `sockets.Exchange`).

A pool belongs to an event loop, so each loop gets one of its own, in whatever thread it runs; that of a loop which has
ended is let go at the next request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from lollms_core.errors import IdleTimeout, TruncatedStream
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.transport import failures
from lollms_runtime.transport.limits import body_of
from lollms_runtime.transport.wire import headers_to_send, joined, split, tls_context

if TYPE_CHECKING:
    import httpcore2

    from lollms_runtime.transport.sockets import Exchange

__all__ = ["Httpcore2AsyncTransport"]

_KEEP_ALIVE = 30.0  # seconds for which an idle connection is kept

_log = logging.getLogger(__name__)


class Httpcore2AsyncTransport:
    """HTTP for coroutines of any number of event loops. It starts afresh in a forked child.

    `close()` ends the exchanges of the loop it is called in and closes their connections; the object can be used again.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._states: dict[asyncio.AbstractEventLoop, _State] = {}

    def open(self, request: HttpRequest) -> _Opened:
        """See `AsyncTransport.open`; also raises `InvalidRequest` for an address or header that cannot be sent."""
        return _Opened(self._state(), request, self._limits)

    async def close(self) -> None:
        """End what is running in this event loop and close its connections."""
        with self._lock:
            state = self._states.pop(asyncio.get_running_loop(), None)
            self._let_go()
        if state is not None:
            await state.close()

    def _state(self) -> _State:
        """What this event loop has; what ended loops had is let go."""
        loop = asyncio.get_running_loop()
        if self._pid != os.getpid():  # a forked child must not use its parent's connections, nor its locks
            self._pid, self._lock, before = os.getpid(), threading.Lock(), self._states
            self._states = {}
            for each in before.values():
                each.forget()
        with self._lock:
            state = self._states.get(loop)
            if state is None:
                self._let_go()
                state = self._states[loop] = _State()
            return state

    def _let_go(self) -> None:
        """Close what belongs to loops that have ended without a `close()`."""
        for ended in [each for each in self._states if each.is_closed()]:
            self._states.pop(ended).forget()


class _Opened:
    """One exchange: a context manager and, inside of it, the response; see `AsyncResponse`."""

    def __init__(self, state: _State, request: HttpRequest, limits: Limits) -> None:
        self._state = state
        self._request = request
        self._limits = limits
        self._exchange: Exchange | None = None
        self._raw: httpcore2.Response | None = None
        self._body: AsyncGenerator[bytes, None] | None = None
        self._headers: Mapping[str, str] = {}
        self._over = False  # the whole body was read, so the connection may serve others

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, unpacked, as it comes; see `AsyncResponse.chunks`."""
        self._body = self._chunks()
        return self._body

    def hurry(self, seconds: float) -> None:
        """See `Response.hurry`."""
        self._running.hurry(seconds)

    async def __aenter__(self) -> _Opened:
        from lollms_runtime.transport.sockets import Exchange

        self._exchange = exchange = Exchange(self._request)
        self._state.running.add(exchange)
        try:
            self._raw = raw = await self._state.send(self._request, exchange)
            self._headers = joined((_text(name), _text(value)) for name, value in raw.headers)
            if raw.status < 200:
                raise failures.malformed(exchange.url, f"it begins with status {raw.status}")
            if 300 <= raw.status < 400:
                raise failures.redirected(exchange.url, raw.status, self._headers.get("location", ""))
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        exchange = self._running
        self._state.running.discard(exchange)
        if not self._over:
            exchange.abort()  # at once, whatever the steps below wait for
        exchange.end()
        if self._body is not None:
            await self._body.aclose()
        if self._raw is not None:
            await self._raw.aclose()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        exchange = self._running
        body = body_of(exchange.url, self._headers.get("content-encoding", ""), self._limits)
        exchange.reads_body()
        stream = self._response.aiter_stream()
        try:
            try:
                async for data in stream:
                    if not body.packed:
                        body.count(data)
                        yield data
                        continue
                    await asyncio.sleep(0)  # unpacking takes time that others need too
                    for piece in body.unpack(data):
                        yield piece
            except self._state.errors as error:
                raise exchange.failed(error) from error
            body.end()
            self._over = True
        except (IdleTimeout, TruncatedStream):
            if not exchange.hurried:
                raise
        finally:
            await stream.aclose()

    @property
    def _response(self) -> httpcore2.Response:
        if self._raw is None:
            raise RuntimeError("use `async with` before reading the response")
        return self._raw

    @property
    def _running(self) -> Exchange:
        if self._exchange is None:
            raise RuntimeError("use `async with` before reading the response")
        return self._exchange


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


class _State:
    """What one event loop has: a pool for each kind of connection, and the exchanges that run."""

    def __init__(self) -> None:
        import httpcore2

        from lollms_runtime.transport.connections import Connections

        self.errors = (httpcore2.ProtocolError, httpcore2.NetworkError)
        self.running: set[Exchange] = set()
        self._connections = Connections()
        self._pools: dict[tuple[str, bool], httpcore2.AsyncConnectionPool] = {}

    async def send(self, request: HttpRequest, exchange: Exchange) -> httpcore2.Response:
        """Send the request and wait for the headers."""
        import httpcore2

        parts = split(request.url)
        headers = {"host": parts.netloc, **headers_to_send(request)}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pool = self._pool(parts.scheme, request.verify_tls, request.url)
        with self._connections.serving(exchange):
            try:
                return await pool.handle_async_request(
                    httpcore2.Request(
                        request.method,
                        httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target),
                        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()],
                        content=request.body,
                    )
                )
            except self.errors as error:
                raise exchange.failed(error) from error

    def _pool(self, scheme: str, verify: bool, url: str) -> httpcore2.AsyncConnectionPool:
        import httpcore2

        kind = (scheme, verify or scheme == "http")
        if kind not in self._pools:
            if not kind[1]:
                _log.warning("TLS certificates are not verified for %s.", failures.origin(url))
            self._pools[kind] = httpcore2.AsyncConnectionPool(
                ssl_context=tls_context(verify) if scheme == "https" else None,
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=_KEEP_ALIVE,
                network_backend=self._connections,
            )
        return self._pools[kind]

    async def close(self) -> None:
        for exchange in tuple(self.running):
            exchange.abort()
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.aclose()

    def forget(self) -> None:
        """Let go of the connections of a loop that does not run any more."""
        self._connections.drop()
