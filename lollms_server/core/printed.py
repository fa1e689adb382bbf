"""What third-party code prints, as records of the log: scrubbed, escaped, and with the id of the request.

`print`, the colours of `ascii_colors`, warnings and the tracebacks of threads all end at `sys.stdout` or `sys.stderr`.
Printed text comes in pieces; a record is made of each finished line. A handler that somebody put on the replaced
stream would turn each record into printed text and that into a record again, so what is written while a record is on
its way is dropped.
"""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Callable
from typing import Any, TextIO

from typing_extensions import override

__all__ = ["Printed"]

_MAX_LINE = 8000
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _Pieces(threading.local):
    """What a thread has printed since its last line, and whether a record of it is on its way."""

    text = ""
    busy = False


class Printed(io.TextIOBase):
    """Takes the place of a standard stream: text becomes records where `caught()` says so, else it is passed on."""

    def __init__(self, name: str, level: int, real: TextIO, caught: Callable[[], bool]) -> None:
        super().__init__()
        self._log = logging.getLogger(name)
        self._level = level
        self._real = real
        self._caught = caught
        self._pieces = _Pieces()

    @override
    def write(self, text: str) -> int:
        if not self._caught():
            return self._real.write(text)
        pieces = self._pieces
        if not pieces.busy:
            pieces.busy = True
            try:
                self._take(pieces, text)
            finally:
                pieces.busy = False
        return len(text)

    def _take(self, pieces: _Pieces, text: str) -> None:
        *lines, rest = (pieces.text + text).split("\n")
        pieces.text = ""
        if len(rest) > _MAX_LINE:
            lines.append(rest)
        else:
            pieces.text = rest
        for line in lines:
            if (said := _COLOURS.sub("", line)).strip():
                self._log.log(self._level, "%s", said)

    @override
    def writable(self) -> bool:
        return True

    @override
    def flush(self) -> None:
        """A line that is not finished waits for its end."""
        self._real.flush()

    @override
    def isatty(self) -> bool:
        return False

    @override
    def fileno(self) -> int:
        return self._real.fileno()

    @property
    def buffer(self) -> Any:
        """The bytes below, for programs that insist on them."""
        return self._real.buffer

    @property
    @override
    def encoding(self) -> str:  # type: ignore[override]
        return self._real.encoding

    @property
    @override
    def errors(self) -> str | None:  # type: ignore[override]
        return self._real.errors
