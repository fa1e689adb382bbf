"""The shape of a codec: pure code that turns calls into HTTP requests and response bytes into batches of events.

A codec does no I/O. Whatever bytes it is fed, it answers with events or raises `ProtocolError` or another error of
`lollms_core.errors`, never anything else; and it gives the same events however the bytes were cut.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from lollms_core.errors import LollmsError
from lollms_core.protocols.lessons import Lesson
from lollms_core.types import Batch, GenerationCall, ReceiptItem

__all__ = ["Codec", "Exchange", "HttpRequest", "HttpResponse", "Limits", "Reader", "Sleep", "Target", "Timeouts"]

T = TypeVar("T")


class Limits(msgspec.Struct, frozen=True):
    """What a reply may cost: bytes of the whole body (after decompression), bytes of one event, JSON nesting."""

    reply_bytes: int = 64 * 1024 * 1024
    event_bytes: int = 8 * 1024 * 1024
    json_depth: int = 128


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect, to the first byte of the body's headers, between two chunks, and in all (None: no limit)."""

    connect: float = 10.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float | None = None


class Target(msgspec.Struct, frozen=True):
    """Where a call goes: base URL without a trailing slash, the key ("" for none), and a name for messages.

    `lessons` is what the model that is asked has refused before. The key never appears in `repr`, so that a target can
    be logged.
    """

    base_url: str
    key: str = ""
    provider: str = ""
    model: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    options: Mapping[str, object] = msgspec.field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    verify_tls: bool = True
    lessons: tuple[Lesson, ...] = ()

    def __repr__(self) -> str:
        return f"Target({self.base_url!r}, provider={self.provider!r}, model={self.model!r})"


class HttpRequest(msgspec.Struct, frozen=True):
    """One HTTP request as a value. Header names are lower case; `body` is complete.

    Of a generation, `receipt` says what of the call is not asked for as it stands there, and `optional` names the
    fields of the body that may be left out if the model refuses them. `repr` shows neither headers nor query, which may
    hold a key.
    """

    method: str
    url: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    timeouts: Timeouts = Timeouts()
    verify_tls: bool = True
    receipt: tuple[ReceiptItem, ...] = ()
    optional: Collection[str] = ()

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.url.partition('?')[0]}, {len(self.body)} bytes)"


class HttpResponse(msgspec.Struct, frozen=True):
    """A complete HTTP response; header names are lower case. For an error reply `body` may be cut at 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Sleep(msgspec.Struct, frozen=True):
    """A step of an exchange: wait so many seconds."""

    seconds: float


Exchange: TypeAlias = Generator[HttpRequest | Sleep, HttpResponse, T]
"""Wire work of several steps: yields requests, receives complete responses, returns a value."""


class Reader(Protocol):
    """Turns the bytes of one response body into events.

    An error waits behind the events of the same chunk: `feed` returns these, and `error` is what the next call would
    raise. `finished` is true when nothing more is expected, though the connection may stay open.
    """

    @property
    def error(self) -> LollmsError | None: ...

    @property
    def finished(self) -> bool: ...

    def feed(self, data: bytes) -> Batch:
        """Events that are complete with this data. Raises `ProtocolError` or the error the backend reports."""
        ...

    def close(self) -> Batch:
        """The body has ended: the remaining events. Raises `TruncatedStream` if it ended too early."""
        ...


class Codec(Protocol):
    """One provider protocol for text generation."""

    def prepare(self, call: GenerationCall, target: Target) -> Exchange[HttpRequest]:
        """Returns the request whose response the reader reads; yields requests that must be answered before it."""
        ...

    def reader(
        self,
        call: GenerationCall,
        content_type: str,
        target: Target | None = None,
        receipt: tuple[ReceiptItem, ...] = (),
    ) -> Reader:
        """A reader for the answer of `call`; `content_type` tells a JSON body from a stream.

        With `target`, errors inside the body name the provider and never contain the target's key. `receipt` is that of
        the request; `Done` carries it.
        """
        ...

    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx."""
        ...
