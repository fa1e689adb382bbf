"""What every reader shares: which form an answer has, how much of it is kept, and when its error is raised.

An answer may be an event stream or one JSON body, whatever was asked for; a reader handles both with the same code, so
that both fold to the same reply. The content type decides; where it is missing or says nothing (`text/plain`), the
first bytes do.

Errors keep their place behind the events before them. `feed` returns the events of a chunk up to the fault and raises
at the next call; whoever wants to raise it at once looks at `error` after each `feed`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from lollms_core.errors import LollmsError, ReplyTooLarge, TruncatedStream
from lollms_core.protocols.base import Limits
from lollms_core.protocols.http_errors import not_the_protocol
from lollms_core.protocols.sse import SseReader
from lollms_core.types import Batch, Event

__all__ = ["AnswerReader"]

_SNIFF = 6  # bytes that tell a stream from anything else: `event:`
_FIRST_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_SNIPPET = 1024


class AnswerReader(ABC):
    """Base of the readers: subclasses give `payloads` and `body`, and `ended`, which may raise.

    `secrets` are taken out of the messages of errors.

    Attributes: `error` is the fault behind the events last returned, `finished` is true once nothing more can come.
    """

    __slots__ = ("_buffer", "_content_type", "_form", "_limits", "_name", "_secrets", "_sse", "error", "finished")

    def __init__(self, content_type: str, limits: Limits, name: str = "", secrets: Iterable[str] = ()) -> None:
        self._content_type = content_type
        self._limits = limits
        self._name = name
        self._secrets = tuple(secrets)
        self._buffer = bytearray()
        self._sse: SseReader | None = None  # made for a stream
        self._form = _form_of(content_type)
        self.error: LollmsError | None = None
        self.finished = False

    # What a protocol has to say.

    @abstractmethod
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        """Add the events of some server-sent events to `out`; raise the error that is among them."""

    @abstractmethod
    def body(self, body: bytes, out: list[Event]) -> None:
        """Add the events of a whole JSON body to `out`; raise its error."""

    @abstractmethod
    def ended(self, out: list[Event]) -> None:
        """The stream is over: add what was held back; raise `TruncatedStream` if it is not complete."""

    # The two verbs.

    def feed(self, data: bytes) -> Batch:
        """Events that are complete with this data; raises what `error` held, or a fault at the head of `data`."""
        if self.error is not None:
            raise self.error
        if self.finished or not data:
            return ()
        out: list[Event] = []
        try:
            if self._form == "stream":
                self._stream(data, out)
            else:
                self._collect(data, out)
        except LollmsError as error:
            self.error = error
        if self.error is not None and not out:
            raise self.error
        return out

    def close(self) -> Batch:
        """The body has ended: the remaining events. Raises `TruncatedStream` and what `error` held."""
        if self.error is not None:
            raise self.error
        if self.finished:
            return ()
        out: list[Event] = []
        try:
            if self._form == "unknown":
                self._decide(self._buffer, out, last=True)
            if self._form == "stream":
                self.ended(out)
            else:
                self._whole_body(bytes(self._buffer), out)
        except LollmsError as error:
            self.error = error
            raise
        self.finished = True
        return out

    def _stream(self, data: bytes, out: list[Event]) -> None:
        sse = self._sse
        if sse is None:
            sse = self._sse = SseReader(self._limits)
        self.payloads(sse.feed(data), out)
        if not self.finished:  # what follows the end does not matter
            self.error = sse.error

    def _collect(self, data: bytes, out: list[Event]) -> None:
        if len(self._buffer) + len(data) > self._limits.reply_bytes:
            self._buffer.clear()
            raise ReplyTooLarge(
                f"{self._name or 'The backend'} sent an answer of more than {self._limits.reply_bytes:,} bytes."
            )
        self._buffer += data
        if self._form == "unknown":
            self._decide(self._buffer, out, last=False)
        if self._form == "other" and len(self._buffer) >= _SNIPPET:
            raise not_the_protocol(self._content_type, bytes(self._buffer[:_SNIPPET]), self._name, self._secrets)

    def _decide(self, buffer: bytearray, out: list[Event], *, last: bool) -> None:
        begin = bytes(buffer[:_SNIPPET]).removeprefix(b"\xef\xbb\xbf").lstrip()
        if len(begin) < _SNIFF and len(buffer) < _SNIPPET and not last:
            return
        if begin.startswith(b"{"):
            self._form = "json"
        elif begin.startswith(_FIRST_FIELDS):
            self._form = "stream"
            data = bytes(buffer)
            buffer.clear()
            self._stream(data, out)
        else:
            self._form = "other"

    def _whole_body(self, body: bytes, out: list[Event]) -> None:
        begin = body[:_SNIPPET].removeprefix(b"\xef\xbb\xbf").strip()
        if self._form == "other" or (begin and not begin.startswith(b"{")):
            raise not_the_protocol(self._content_type, body[:_SNIPPET], self._name, self._secrets)
        if not body.rstrip().endswith(b"}"):
            raise TruncatedStream(
                f"{self._name or 'The backend'} closed the connection before its answer was complete."
            )
        self.body(body, out)


def _form_of(content_type: str) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "stream"
    if kind == "application/json" or kind.endswith("+json"):
        return "json"
    return "other" if kind == "text/html" else "unknown"
