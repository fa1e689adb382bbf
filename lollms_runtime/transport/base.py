"""The seam between codecs and the network: `open(request)` gives a response whose body is read in chunks.

Two implementations over one parser, one conformance suite: sockets for threads (`http_sync`) and connections of an
event loop for coroutines (`http_async`), in the library as in the server. Both keep connections alive, follow no
redirect, keep no cookie, verify TLS, read no proxy setting that the caller did not ask for, unpack gzip under the
limits of `Limits`, and raise only errors of `lollms_core.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from lollms_core.protocols.base import HttpRequest
from lollms_runtime.cancel import Cancel

__all__ = ["AsyncResponse", "AsyncTransport", "Response", "Transport"]


class Response(Protocol):
    """A response whose headers have come. Header names are lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked, as it comes. Raises `IdleTimeout`, `TotalTimeout`, `TruncatedStream`, `ReplyTooLarge`."""
        ...

    def hurry(self, seconds: float) -> None:
        """The answer is complete: the body may take so many seconds to end, then `chunks` ends without an error."""
        ...


class Transport(Protocol):
    """Opens HTTP exchanges for threads."""

    def open(self, request: HttpRequest, cancel: Cancel) -> AbstractContextManager[Response]:
        """Send the request and wait for the headers. Leaving the block closes an unfinished body within 250 ms.

        Raises `Refused`, `ConnectFailed`, `ConnectTimeout`, `FirstByteTimeout`, `RedirectRefused`, `Cancelled`.
        """
        ...

    def close(self) -> None: ...


class AsyncResponse(Protocol):
    """As `Response`, for coroutines."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def chunks(self) -> AsyncIterator[bytes]: ...

    def hurry(self, seconds: float) -> None: ...


class AsyncTransport(Protocol):
    """As `Transport`, for coroutines; cancelling the task closes the connection."""

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[AsyncResponse]: ...

    async def close(self) -> None: ...
