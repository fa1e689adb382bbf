"""The synchronous transport: httpcore2's connection pool over sockets of our own (see `sockets`).

The pool and the HTTP/1.1 parser are those of `httpx2`, which keeps them in a package of their own, `httpcore2`. The
client on top of them, with its cookies, redirects, proxies and environment variables, is left out: we want none of
these, and it costs as much again per chunk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lollms_core.errors import IdleTimeout, TruncatedStream
from lollms_core.protocols.base import HttpRequest, Limits
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport import failures
from lollms_runtime.transport.limits import body_of
from lollms_runtime.transport.wire import headers_to_send, joined, split, tls_context

if TYPE_CHECKING:
    import httpcore2

    from lollms_runtime.transport.sockets import Exchange, Wire

__all__ = ["Httpcore2Transport"]

_KEEP_ALIVE = 30.0  # seconds for which an idle connection is kept

_log = logging.getLogger(__name__)


class Httpcore2Transport:
    """HTTP for threads. One object serves any number of them, and starts afresh in a forked child.

    `close()` ends the exchanges that are running and closes the idle connections; the object can be used again.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._state = _State()

    @contextlib.contextmanager
    def open(self, request: HttpRequest, cancel: Cancel) -> Iterator[_Response]:
        """See `Transport.open`; also raises `InvalidRequest` for an address or header that cannot be sent."""
        from lollms_runtime.transport.sockets import Exchange

        state = self._state
        if state.pid != os.getpid():  # a forked child must not use its parent's connections, nor its locks
            state.forget()
            state = self._state = _State()
        exchange = Exchange(request)
        state.running.add(exchange)
        raw: httpcore2.Response | None = None
        try:
            with cancel.undoing(exchange.abort):
                raw = state.send(request, exchange)
            response = _Response(raw, exchange, cancel, self._limits)
            if 300 <= response.status < 400:
                raise failures.redirected(request.url, response.status, response.headers.get("location", ""))
            yield response
        finally:
            exchange.end()
            state.running.discard(exchange)
            if raw is not None:
                raw.close()  # closes the connection too, unless the body was read to its end

    def close(self) -> None:
        """End what is running and close all connections."""
        if self._state.pid == os.getpid():
            self._state.close()


class _Response:
    """A response whose headers have come; see `Response`."""

    def __init__(self, raw: httpcore2.Response, exchange: Exchange, cancel: Cancel, limits: Limits) -> None:
        self._raw = raw
        self._exchange = exchange
        self._cancel = cancel
        self._status = raw.status
        if raw.status < 200:
            raise failures.malformed(exchange.url, f"it begins with status {raw.status}")
        self._headers = joined((_text(name), _text(value)) for name, value in raw.headers)
        self._body = body_of(exchange.url, self._headers.get("content-encoding", ""), limits)

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked, as it comes; see `Response.chunks`."""
        try:
            yield from self._chunks()
        except (IdleTimeout, TruncatedStream):
            if not self._exchange.hurried:
                raise

    def hurry(self, seconds: float) -> None:
        """See `Response.hurry`."""
        self._exchange.hurry(seconds)

    def _chunks(self) -> Iterator[bytes]:
        from lollms_runtime.transport.sockets import translated

        cancel, body, exchange = self._cancel, self._body, self._exchange
        exchange.reads_body()
        # One registration for the whole body: the socket is shut down whether or not this thread is reading just now.
        with cancel.undoing(exchange.abort), translated(exchange):
            for data in self._raw.iter_stream():
                cancel.check()
                if body.packed:
                    yield from body.unpack(data)
                else:
                    body.count(data)
                    yield data
            body.end()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


class _State:
    """What one process holds: a pool for each kind of connection, and the exchanges that run."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.running: set[Exchange] = set()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._pools: dict[tuple[str, bool], httpcore2.ConnectionPool] = {}
        self._wires: weakref.WeakSet[Wire] = weakref.WeakSet()

    def send(self, request: HttpRequest, exchange: Exchange) -> httpcore2.Response:
        """Send the request and wait for the headers."""
        import httpcore2

        from lollms_runtime.transport.sockets import translated

        parts = split(request.url)
        headers = {"host": parts.netloc, **headers_to_send(request)}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pool = self._pool(parts.scheme, request.verify_tls, request.url)
        self._local.exchange = exchange
        try:
            with translated(exchange):
                return pool.handle_request(
                    httpcore2.Request(
                        request.method,
                        httpcore2.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target),
                        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()],
                        content=request.body,
                    )
                )
        finally:
            self._local.exchange = None

    def _pool(self, scheme: str, verify: bool, url: str) -> httpcore2.ConnectionPool:
        import httpcore2

        from lollms_runtime.transport.sockets import Backend

        kind = (scheme, verify or scheme == "http")
        with self._lock:
            if kind not in self._pools:
                if not kind[1]:
                    _log.warning("TLS certificates are not verified for %s.", failures.origin(url))
                self._pools[kind] = httpcore2.ConnectionPool(
                    ssl_context=tls_context(verify) if scheme == "https" else None,
                    max_connections=None,
                    max_keepalive_connections=None,
                    keepalive_expiry=_KEEP_ALIVE,
                    network_backend=Backend(self._local, self._wires),
                )
            return self._pools[kind]

    def close(self) -> None:
        for exchange in tuple(self.running):
            exchange.abort()
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def forget(self) -> None:
        """In a forked child: let go of the parent's sockets, so that they close when the parent closes them."""
        for wire in tuple(self._wires):
            wire.drop()
