"""One exchange with an address that has been looked at: nothing can come between the look and the connection.

A name is resolved once. Every address that comes back is shown to `approve`, which raises if it does not like one of
them; then the connection is made to these numbers and never to the name again, so a name server that gives another
answer a moment later changes nothing. The request still carries the name, in its Host header and in the TLS handshake,
and the certificate is checked against the name.

Each exchange has a connection of its own: one that was kept open would have been approved for something else.

This module imports the HTTP library; it is itself imported when the first URL is fetched.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import httpcore2
from typing_extensions import override

from lollms_core.protocols.base import HttpRequest, Limits
from lollms_core.safety.urls import Url
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport import failures
from lollms_runtime.transport.limits import body_of
from lollms_runtime.transport.sockets import Exchange, Wire, translated
from lollms_runtime.transport.wire import headers_to_send, joined, tls_context

__all__ = ["Approve", "PinnedResponse", "Resolve", "open_pinned", "resolve_name"]

Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]
"""Host and port to addresses, in the form of `socket.getaddrinfo`. Raises `OSError`."""

Approve = Callable[[Sequence[str]], None]
"""Is shown every address of a host as text; raises a `LollmsError` to refuse."""


def resolve_name(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """The system's look-up."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class PinnedResponse:
    """A response whose headers have come; `status` may be any, redirects included. Header names are lower case."""

    def __init__(self, raw: httpcore2.Response, exchange: Exchange, cancel: Cancel, limits: Limits) -> None:
        if raw.status < 200:
            raise failures.malformed(exchange.url, f"it begins with status {raw.status}")
        self.status: int = raw.status
        self.headers: Mapping[str, str] = joined((_text(name), _text(value)) for name, value in raw.headers)
        self._raw = raw
        self._exchange = exchange
        self._cancel = cancel
        self._limits = limits

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked, as it comes. Raises `IdleTimeout`, `TotalTimeout`, `TruncatedStream`, `ReplyTooLarge`."""
        cancel, exchange = self._cancel, self._exchange
        body = body_of(exchange.url, self.headers.get("content-encoding", ""), self._limits)
        exchange.reads_body()
        with cancel.undoing(exchange.abort), translated(exchange):
            for data in self._raw.iter_stream():
                cancel.check()
                yield from body.unpack(data)
            body.end()


@contextlib.contextmanager
def open_pinned(
    url: Url,
    request: HttpRequest,
    cancel: Cancel,
    limits: Limits,
    *,
    approve: Approve,
    resolve: Resolve = resolve_name,
) -> Iterator[PinnedResponse]:
    """Send the request to `url` (`request.url` is only for messages) and wait for the headers; see the module.

    The body is asked for unpacked, because a part of a packed one is of no use. Leaving the block closes the
    connection. Raises what `approve` raises, `Refused`, `ConnectFailed`, `ConnectTimeout`, `FirstByteTimeout`,
    `TruncatedStream`, `ProtocolError`, `InvalidRequest` for a header that cannot be sent, and `Cancelled`.
    """
    exchange = Exchange(request)
    connection = _connection(url, request, _Pinned(exchange, approve, resolve))
    raw: httpcore2.Response | None = None
    try:
        with cancel.undoing(exchange.abort), translated(exchange):
            raw = connection.handle_request(_request(url, request))
        yield PinnedResponse(raw, exchange, cancel, limits)
    finally:
        exchange.end()
        if raw is not None:
            raw.close()
        connection.close()


def _connection(url: Url, request: HttpRequest, backend: _Pinned) -> httpcore2.HTTPConnection:
    return httpcore2.HTTPConnection(
        httpcore2.Origin(url.scheme.encode(), url.host.encode(), url.port),
        ssl_context=tls_context(request.verify_tls) if url.scheme == "https" else None,
        network_backend=backend,
    )


def _request(url: Url, request: HttpRequest) -> httpcore2.Request:
    host = url.origin.partition("://")[2]
    headers = {"host": host, **headers_to_send(request), "accept-encoding": "identity", "connection": "close"}
    return httpcore2.Request(
        request.method,
        httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()],
        content=request.body,
    )


class _Pinned(httpcore2.NetworkBackend):
    """Connects one exchange to approved addresses."""

    def __init__(self, exchange: Exchange, approve: Approve, resolve: Resolve) -> None:
        self._exchange = exchange
        self._approve = approve
        self._resolve = resolve
        self._local = threading.local()

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Wire:
        """See `httpcore2`; the time that is left is the exchange's, so `timeout` is not used."""
        exchange = self._exchange
        self._local.exchange = exchange
        found = self._addresses(host, port)
        self._approve([str(address[0]) for *_, address in found])
        last = OSError()
        for index, (family, kind, protocol, _, address) in enumerate(found):
            # An address that swallows packets must leave time for the next one.
            seconds = exchange.patience() / (len(found) - index)
            wire = Wire(socket.socket(family, kind, protocol), self._local)
            try:
                wire.connect(address, seconds)
                return wire
            except OSError as error:
                wire.close()
                last = error
            except BaseException:
                wire.close()
                raise
        raise exchange.not_connected(last) from last

    def _addresses(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """What the one look-up says. It cannot be interrupted, so it runs beside us."""
        with contextlib.suppress(OSError, UnicodeError):
            return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
        found: list[tuple[Any, ...]] = []

        def look_up() -> None:
            with contextlib.suppress(OSError, UnicodeError):
                found.extend(self._resolve(host, port))
            self._exchange.wake()

        threading.Thread(target=look_up, name="lollms-name-look-up", daemon=True).start()
        self._exchange.wait()
        if not found:
            raise failures.unknown_name(self._exchange.url)
        return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
