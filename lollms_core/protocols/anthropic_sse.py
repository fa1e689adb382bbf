"""Server-sent events of the Messages protocol, where every event has a name.

The name says the same as the `type` inside of the data, so it need not be looked at. A chunk of nothing but deltas,
which nearly all of an answer is made of, is split in C; any other chunk is left to `SseReader`, which follows the
standard line by line.
"""

from __future__ import annotations

from typing_extensions import override

from lollms_core.protocols.sse import SseReader

__all__ = ["DeltaSseReader"]

_HEAD = b"event: content_block_delta\ndata: "
_SIZE = len(_HEAD)


class DeltaSseReader(SseReader):
    """As `SseReader`; the data of deltas is plain bytes, without the name."""

    __slots__ = ()

    @override
    def _split(self, data: bytes, out: list[bytes]) -> None:
        if data[:_SIZE] != _HEAD:
            super()._split(data, out)
            return
        if data[-2:] == b"\n\n" and data.count(b"\n") == 3 and self._is_fit(data):
            out.append(data[_SIZE:-2])
            return
        whole, gap, rest = data.rpartition(b"\n\n")
        blocks = whole.split(b"\n\n")
        found = [block[_SIZE:] for block in blocks if block[:_SIZE] == _HEAD]
        # Each of these has two lines: more line ends would be more lines, which only the base knows how to read.
        if (
            gap
            and len(found) == len(blocks)
            and whole.count(b"\n") == 3 * len(blocks) - 2
            and len(data) <= self._limit
            and (whole.isascii() or _is_utf8(whole))
        ):
            out += found
            if rest:
                super()._split(rest, out)
        else:
            super()._split(data, out)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
