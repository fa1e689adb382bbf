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
from collections.abc import Callable, Iterator, Mapping, Sequence

from lollms_core.protocols.base import HttpRequest, Limits
from lollms_core.safety.urls import Url
from lollms_runtime.cancel import Cancel
from lollms_runtime.transport import failures
from lollms_runtime.transport.exchange import ThreadExchange
from lollms_runtime.transport.http11 import Head
from lollms_runtime.transport.limits import body_of
from lollms_runtime.transport.sockets import LookUp, Wire, connected, look_up, system_look_up
from lollms_runtime.transport.wire import header_lines, length_line, tls_context

__all__ = ["Approve", "PinnedResponse", "open_pinned"]

Approve = Callable[[Sequence[str]], None]
"""Is shown every address of a host as text; raises a `LollmsError` to refuse."""


class PinnedResponse:
    """A response whose headers have come; `status` may be any, redirects included. Header names are lower case."""

    def __init__(self, wire: Wire, head: Head, exchange: ThreadExchange, cancel: Cancel, limits: Limits) -> None:
        if head.status < 200:
            raise failures.malformed(exchange.url, f"it begins with status {head.status}")
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._wire = wire
        self._exchange = exchange
        self._cancel = cancel
        self._limits = limits

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked, as it comes. Raises `IdleTimeout`, `TotalTimeout`, `TruncatedStream`, `ReplyTooLarge`."""
        cancel, exchange = self._cancel, self._exchange
        body = body_of(exchange.url, self.headers.get("content-encoding", ""), self._limits)
        with cancel.undoing(exchange.abort):
            for data in self._wire.body(exchange):
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
    resolve: LookUp = system_look_up,
) -> Iterator[PinnedResponse]:
    """Send the request to `url` (`request.url` is only for messages) and wait for the headers; see the module.

    The body is asked for unpacked, because a part of a packed one is of no use. Leaving the block closes the
    connection. Raises what `approve` raises, `Refused`, `ConnectFailed`, `ConnectTimeout`, `FirstByteTimeout`,
    `TruncatedStream`, `ProtocolError`, `InvalidRequest` for a header that cannot be sent, and `Cancelled`.
    """
    exchange, data = ThreadExchange(request), _bytes_of(url, request)
    wire: Wire | None = None
    try:
        with cancel.undoing(exchange.abort):
            addresses = look_up(url.host, url.port, exchange, resolve)
            approve([str(address[0]) for *_, address in addresses])
            wire = connected(addresses, exchange)
            if url.scheme == "https":
                wire.start_tls(tls_context(request.verify_tls), url.host)
            head = wire.ask(exchange, request.method, data)
        yield PinnedResponse(wire, head, exchange, cancel, limits)
    finally:
        exchange.end()
        if wire is not None:
            wire.close()


def _bytes_of(url: Url, request: HttpRequest) -> bytes:
    host = url.origin.partition("://")[2]
    lines = header_lines(host, request.headers, {"host": host, "accept-encoding": "identity", "connection": "close"})
    head = f"{request.method} {url.target} HTTP/1.1\r\n{lines}{length_line(request)}\r\n"
    return head.encode("ascii") + request.body
