"""A person at a terminal: a program on a pty of a given size, what it shows and what is typed, without fixed waits."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator

from tests.support.command_line import COMMAND

__all__ = ["Talk", "talking"]

_SECONDS = 30


class Talk:
    """`shown` is all that reached the terminal; `see` waits for more of it."""

    def __init__(self, process: int, terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self.shown = b""
        self._seen = 0
        self._code: int | None = None

    def see(self, wanted: str) -> str:
        """Wait until a text is shown that was not seen before; gives what came up to its end."""
        look_for = wanted.encode()
        deadline = time.monotonic() + _SECONDS
        while (at := self.shown.find(look_for, self._seen)) < 0:
            assert time.monotonic() < deadline, f"{wanted!r} did not come: {self.shown[self._seen :][-2000:]!r}"
            assert self._more(0.1), f"it ended before {wanted!r}: {self.shown[self._seen :][-2000:]!r}"
        came = self.shown[self._seen : at + len(look_for)]
        self._seen = at + len(look_for)
        return came.decode(errors="replace")

    def type(self, text: str | bytes) -> None:
        """Type; what is shown meanwhile is read, so that neither side waits for the other."""
        data = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + _SECONDS
        os.set_blocking(self._terminal, False)
        while data:
            assert time.monotonic() < deadline, "the program does not read"
            self._more(0)
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._terminal, data[:2048]) :]
        os.set_blocking(self._terminal, True)

    def paste(self, text: str) -> None:
        """Paste as a terminal does that was asked to mark pasted text."""
        assert b"\x1b[?2004h" in self.shown
        self.type("\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~")

    def end(self) -> int:
        """Wait until it has ended; gives its exit code."""
        deadline = time.monotonic() + _SECONDS
        while self._more(0.1):
            assert time.monotonic() < deadline, f"it does not end: {self.shown[-2000:]!r}"
        _, status = os.waitpid(self.process, 0)
        self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def plain(self) -> str:
        """All that was shown, without the marks of pasting and the moves of line editing."""
        return re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]|\r", "", self.shown.decode(errors="replace"))

    def _more(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # the other side has closed
            return False
        self.shown += data
        return bool(data)

    def close(self) -> None:
        """Whatever happened, the program is gone after this."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self._terminal)


@contextlib.contextmanager
def talking(*arguments: str, env: dict[str, str], columns: int = 80, cwd: str | None = None) -> Iterator[Talk]:
    """Start `lollms` on a terminal of its own."""
    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        if cwd is not None:
            os.chdir(cwd)
        os.execve(COMMAND[0], [*COMMAND, *arguments], env)
    talk = Talk(process, terminal)
    try:
        yield talk
    finally:
        talk.close()
