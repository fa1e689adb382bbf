"""Newline-delimited JSON: one JSON value per line, over bytes.

The rules are those of `sse`: a line ends at LF (a CR before it is a blank) and nowhere else, since U+2028 and its like
are ordinary characters of a JSON string; nothing is scanned twice; an error waits behind the lines before it. What
differs is the end: a last line without LF is a line all the same.
"""

from __future__ import annotations

from lollms_core.errors import LollmsError, ProtocolError, ReplyTooLarge
from lollms_core.protocols.base import Limits

__all__ = ["LineReader"]

_BOM = b"\xef\xbb\xbf"


class LineReader:
    """Turns the bytes of a body into its lines, without their ends; blank ones are left out.

    Attributes: `error` is the fault found behind the lines of the last `feed`; the next `feed` raises it.
    """

    __slots__ = ("_first", "_limit", "_tail", "error")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limit = (limits or Limits()).event_bytes
        self._tail = bytearray()  # the line that has not ended yet
        self._first = True
        self.error: LollmsError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Every line that is complete with these bytes, in order.

        Raises `ProtocolError` for bytes that are not UTF-8 and `ReplyTooLarge` for a line over the limit, at the call
        after the one that returned the lines before the fault.
        """
        if self.error is not None:
            raise self.error
        lines = data.split(b"\n")
        rest = lines.pop()
        out: list[bytes] = []
        try:
            if lines:
                if self._tail:
                    lines[0] = bytes(self._tail) + lines[0]
                    self._tail.clear()
                self._take(lines, out)
            if len(self._tail) + len(rest) > self._limit:
                raise self._too_large()
            self._tail += rest
        except ProtocolError as error:
            self._tail.clear()
            self.error = error
            if not out:
                raise
        return out

    def close(self) -> list[bytes]:
        """The last line, where it had no end. Raises as `feed` does."""
        if self.error is not None:
            raise self.error
        out: list[bytes] = []
        self._take([bytes(self._tail)], out)
        self._tail.clear()
        return out

    def _take(self, lines: list[bytes], out: list[bytes]) -> None:
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if len(line) > self._limit:
                raise self._too_large()
            if not line.isascii():
                try:
                    line.decode()
                except UnicodeDecodeError:
                    raise ProtocolError(
                        "The backend sent bytes that are not UTF-8 text; the answer was stopped."
                    ) from None
            if line and not line.isspace():
                out.append(line)

    def _too_large(self) -> ReplyTooLarge:
        return ReplyTooLarge(f"The backend sent a line of more than {self._limit:,} bytes; the answer was stopped.")
