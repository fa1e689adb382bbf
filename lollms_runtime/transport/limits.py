"""What a reply may cost: the bytes of a body, unpacked under a limit.

A gzip body of a few kilobytes can expand a thousandfold, so it is never unpacked as a whole: zlib is asked for at most
`PIECE` bytes at a time and the pieces are counted as they leave. The packed bytes are counted too, because a stream of
empty gzip members can go on for ever without giving a single byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from lollms_core.protocols.base import Limits
from lollms_runtime.transport import failures

__all__ = ["ERROR_BODY_BYTES", "Body", "body_of"]

PIECE = 256 * 1024
"""Bytes that unpacking holds at once."""

ERROR_BODY_BYTES = 64 * 1024
"""How much of an error reply is read."""

_GZIP = 31  # zlib's number for "a gzip header and the largest window"


class Body:
    """The accounts of one body: `unpack` each read (or `count` it, if nothing is packed), `end` when it is over."""

    __slots__ = ("_left", "_limits", "_packed_left", "_unzip", "_url", "packed")

    def __init__(self, url: str, limits: Limits, *, packed: bool = False) -> None:
        self.packed = packed
        self._url = url
        self._limits = limits
        self._left = self._packed_left = limits.reply_bytes
        self._unzip = zlib.decompressobj(_GZIP) if packed else None

    def count(self, data: bytes) -> None:
        """Data that is passed on. Raises `ReplyTooLarge`."""
        self._left -= len(data)
        if self._left < 0:
            raise failures.too_large(self._url, self._limits.reply_bytes)

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """The unpacked pieces of one read, at most `PIECE` bytes each. Raises `ReplyTooLarge`, `ProtocolError`."""
        if self._unzip is None:
            self.count(data)
            yield data
            return
        self._packed_left -= len(data)
        if self._packed_left < 0:
            raise failures.too_large(self._url, self._limits.reply_bytes)
        held = False  # a full piece may have left output inside zlib although all input is consumed
        while data or held:
            if self._unzip.eof:
                self._unzip = zlib.decompressobj(_GZIP)
            try:
                piece = self._unzip.decompress(data, PIECE)
            except zlib.error as error:
                raise failures.malformed(self._url, "its gzip data is damaged") from error
            data = self._unzip.unused_data if self._unzip.eof else self._unzip.unconsumed_tail
            held = len(piece) == PIECE and not self._unzip.eof
            if piece:
                self.count(piece)
                yield piece

    def end(self) -> None:
        """The connection says that the body is complete. Raises `TruncatedStream` if its packing is not."""
        begun = self._packed_left != self._limits.reply_bytes
        if self._unzip is not None and begun and not self._unzip.eof:
            raise failures.truncated(self._url)


def body_of(url: str, encoding: str, limits: Limits) -> Body:
    """The body of a reply with this Content-Encoding. Raises `ProtocolError` for a packing that was not asked for."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return Body(url, limits)
    if encoding in ("gzip", "x-gzip"):
        return Body(url, limits, packed=True)
    raise failures.malformed(url, "it is packed in a way that was not asked for")
