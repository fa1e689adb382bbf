"""What the command line writes: answers on standard output, everything else on standard error.

A model's words are data from outside. On a terminal its control characters would move the cursor, change the title,
write the clipboard (OSC 52) or hide a link's target (OSC 8), so they are shown as escapes; in a pipe or file the text
is passed on as it is, because a program there wants exactly what the model said.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO

from lollms_core.errors import StorageError
from lollms_runtime.secrets import escape_controls

__all__ = ["Output", "OutputClosed", "one_line", "printable"]

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class OutputClosed(Exception):
    """Whoever read our output has gone away (`lollms ... | head`)."""


def printable(text: str) -> str:
    r"""The text with every control character but tab and line feed written as `\x1b`; safe on a terminal."""
    return escape_controls(text, keep="\n\t")


def one_line(text: str) -> str:
    """The text on one line, safe on a terminal: for messages."""
    return printable(" ".join(text.split()))


class Output:
    """The two streams of a command. Whatever the locale, no text makes them fail."""

    def __init__(self, out: IO[str] | None = None, err: IO[str] | None = None, *, quiet: bool = False) -> None:
        self._out = _open_stream(out or sys.stdout)
        self._err = _open_stream(err or sys.stderr)
        self.quiet = quiet
        self._out_tty = _is_tty(self._out)
        self._err_tty = _is_tty(self._err)
        self._styled = _wants_style(self._err_tty)
        self._at_line_start = True
        self._in_thought = False
        for stream, tty in ((self._out, self._out_tty), (self._err, self._err_tty)):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None and tty:
                reconfigure(errors="backslashreplace")
            elif reconfigure is not None:
                reconfigure(encoding="utf-8", errors="backslashreplace")

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads standard output."""
        return self._out_tty

    @property
    def remarks_on_terminal(self) -> bool:
        """Whether a person reads standard error."""
        return self._err_tty

    def drop(self) -> None:
        """Standard output has no reader any more: whatever else is written to it is lost, without an error."""
        _drop(self._out)

    def answer(self, text: str) -> None:
        """A piece of the answer, on standard output, at once. Raises `OutputClosed`."""
        if not text:
            return
        self.end_thought()
        self._at_line_start = text.endswith("\n")  # before writing: Ctrl-C may come at any moment
        self._write(self._out, printable(text) if self._out_tty else text)

    def thought(self, text: str) -> None:
        """A piece of the model's reasoning, on standard error, dimmed where that is possible."""
        if not text:
            return
        if not self._in_thought:
            self._in_thought = True
            self._say(_DIM if self._styled else "")
        self._say(printable(text))

    def end_thought(self) -> None:
        """The reasoning is over: back to plain, on a line of its own."""
        if self._in_thought:
            self._in_thought = False
            self._say((_PLAIN if self._styled else "") + "\n")

    def end_answer(self) -> None:
        """End the last line of the answer, if it is open."""
        self.end_thought()
        if not self._at_line_start:
            self._at_line_start = True
            self._write(self._out, "\n")

    def line(self, text: str) -> None:
        """A line on standard output: the result of a command that is not an answer. Raises `OutputClosed`."""
        self.answer(text + "\n")

    def note(self, text: str) -> None:
        """A line on standard error that `--quiet` leaves out."""
        if not self.quiet:
            self.message(text)

    def message(self, text: str) -> None:
        """A line on standard error."""
        self._say(printable(text) + "\n")

    def _say(self, text: str) -> None:
        with contextlib.suppress(OutputClosed, StorageError):  # nobody reads the remarks: the answer still counts
            self._write(self._err, text)

    @staticmethod
    def _write(stream: IO[str], text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError as error:
            _drop(stream)
            raise OutputClosed from error
        except OSError as error:
            _drop(stream)
            raise StorageError(f"The output cannot be written: {error.strerror or error}.") from error


def _open_stream(stream: IO[str] | None) -> IO[str]:
    """The stream; or nothing, for a program that was started with it closed."""
    return open(os.devnull, "w", encoding="utf-8") if stream is None else stream


def _is_tty(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # closed, or not a real stream
        return False


def _wants_style(tty: bool) -> bool:
    """Whether to dim what is an aside: NO_COLOR forbids it, CLICOLOR_FORCE asks for it, else terminals get it."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return tty and os.environ.get("CLICOLOR") != "0" and os.environ.get("TERM") != "dumb"


def _drop(stream: IO[str]) -> None:
    """Point a broken stream at nothing, so that the interpreter's own flush at exit does not complain."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
