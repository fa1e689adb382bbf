"""Server-sent events, as the WHATWG HTML standard (section 9.2.6) defines them, over bytes.

Three rules keep this file small and honest:

Lines end at CR, LF or CRLF and nowhere else. U+2028, U+2029 and U+0085 are ordinary characters of a JSON string, so the
parser never uses `splitlines` of `str`. A chunk with a CR in it is first rewritten to LF; what follows sees only LF.

Nothing is scanned twice. An unfinished line waits in a buffer that grows in place and is looked at again only when its
end has come, so an endless line that arrives byte by byte costs linear time; at the event limit it is an error.

An error waits its turn. `feed` hands out the events that were complete before the bad bytes and raises at the next
call; so the events, and the error after them, do not depend on how the bytes were cut.

Nearly all streams consist of `data: {...}` and an empty line. A chunk of only such events is split in C, without a look
at single lines. Limits count the bytes of an event's data and of the line being read; comments are dropped at once.
"""

from __future__ import annotations

from lollms_core.errors import LollmsError, ProtocolError, ReplyTooLarge
from lollms_core.protocols.base import Limits

__all__ = ["NamedData", "SseReader"]

_BLANK = 32
_BOM = b"\xef\xbb\xbf"


class NamedData(bytes):
    """The data of an event that has a name: bytes that also carry `name`."""

    name: str = ""


class SseReader:
    """Turns the bytes of an event stream into the data of its events.

    An event with a name is a `NamedData`. `id` and `retry` are read past: an answer is never resumed by reconnecting.
    As the standard says, an event that is not followed by an empty line before the stream ends is not an event.

    Attributes: `error` is the fault found behind the events of the last `feed`; the next `feed` raises it.
    """

    __slots__ = ("_data", "_limit", "_name", "_size", "_skip_lf", "_start", "_started", "_tail", "error")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limit = (limits or Limits()).event_bytes
        self._started = False
        self._start = b""  # the first bytes, while they may still be a byte order mark
        self._skip_lf = False  # the last chunk ended with CR: a LF at the head of the next one belongs to it
        self._tail = bytearray()  # the line that has not ended yet
        self._data: list[bytes] = []  # the data lines of the event that has not ended yet
        self._size = 0  # bytes in _data
        self._name = ""
        self.error: LollmsError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that is complete with these bytes, in order.

        Raises `ProtocolError` for bytes that are not UTF-8 and `ReplyTooLarge` for an event over the limit, at the call
        after the one that returned the events before the fault.
        """
        if self.error is not None:
            raise self.error
        if not self._started:
            data = self._strip_mark(data)
        if self._skip_lf or b"\r" in data:
            data = self._only_lf(data)
        if self._tail:
            if b"\n" not in data:
                self._keep(data)
                return self._out([])
            data = bytes(self._tail) + data
            self._tail.clear()
        out: list[bytes] = []
        try:
            if self._data or self._name:
                data = self._finish_event(data, out)
            self._split(data, out)
        except ProtocolError as error:
            self.error = error
        return self._out(out)

    def _out(self, out: list[bytes]) -> list[bytes]:
        if self.error is not None and not out:
            raise self.error
        return out

    def _strip_mark(self, data: bytes) -> bytes:
        data = self._start + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._start = data
            return b""
        self._started = True
        self._start = b""
        return data.removeprefix(_BOM)

    def _only_lf(self, data: bytes) -> bytes:
        if data and self._skip_lf:
            data = data.removeprefix(b"\n")
            self._skip_lf = False
        if b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _keep(self, data: bytes) -> None:
        """Remember the beginning of a line."""
        if len(self._tail) + len(data) > self._limit:
            self._tail.clear()
            self.error = self._too_large()
        else:
            self._tail += data

    def _too_large(self) -> ReplyTooLarge:
        return ReplyTooLarge(f"The backend sent an event of more than {self._limit:,} bytes; the answer was stopped.")

    def _split(self, data: bytes, out: list[bytes]) -> None:
        """Events of bytes that begin where an event begins."""
        if data[:5] == b"data:" and data[-2:] == b"\n\n" and data.count(b"\n") == 2 and self._is_fit(data):
            # one event, as most models send them, a token at a time
            out.append(data[6:-2] if data[5] == _BLANK else data[5:-2])
            return
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        found = [block[6:] for block in blocks if block[:6] == b"data: "]
        if (
            len(found) == len(blocks)
            and data.count(b"\n") == 2 * len(blocks) + rest.count(b"\n")
            and len(data) <= self._limit
            and (data.isascii() or _is_utf8(data[: len(data) - len(rest)]))
        ):
            out += found
        else:
            for block in blocks:
                self._lines(block, out)
                self._end_event(out)
        if rest:
            whole, _, unfinished = rest.rpartition(b"\n")
            if len(unfinished) < len(rest):
                self._lines(whole, out)
            self._keep(unfinished)

    def _is_fit(self, data: bytes) -> bool:
        return len(data) <= self._limit and data.isascii()

    def _finish_event(self, data: bytes, out: list[bytes]) -> bytes:
        """Read on in an event whose first lines have come; returns what lies behind its end."""
        while data:
            if data[:1] == b"\n":
                self._end_event(out)
                return data[1:]
            block, gap, rest = data.partition(b"\n\n")
            if gap:
                self._lines(block, out)
                self._end_event(out)
                return rest
            whole, _, unfinished = block.rpartition(b"\n")
            if len(unfinished) < len(block):
                self._lines(whole, out)
            self._keep(unfinished)
            return b""
        return data

    def _lines(self, block: bytes, out: list[bytes]) -> None:
        """Complete lines, without the LF of the last one. An empty line ends the event."""
        for line in block.split(b"\n"):
            if not line:
                self._end_event(out)
                continue
            if len(line) > self._limit:
                raise self._too_large()
            if not line.isascii() and not _is_utf8(line):
                raise ProtocolError("The backend sent bytes that are not UTF-8 text; the answer was stopped.")
            self._field(line)

    def _field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            self._size += len(value)
            if self._size > self._limit:
                raise self._too_large()
            self._data.append(value)
        elif field == b"event":
            self._name = value.removeprefix(b" ").decode()

    def _end_event(self, out: list[bytes]) -> None:
        if self._data:
            data = b"\n".join(self._data)
            if self._name:
                named = NamedData(data)
                named.name = self._name
                data = named
            out.append(data)
            self._data = []
            self._size = 0
        self._name = ""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
