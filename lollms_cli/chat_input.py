"""Where a chat's lines come from: a terminal with editing and history, a plain one, or a pipe.

`input()` edits lines only when both standard input and output are the terminal. Otherwise lines are read as bytes, so
that no locale decides how they are understood, and the prompt goes to standard error.

A signal that comes after the last look at signals and before the system call that waits for a key would be seen only
with the next key, and nobody may press one: SIGTERM would be ignored. So while a line is read a timer interrupts the
waiting now and then, and whatever has come in between is seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Protocol

import click

from lollms_cli.chat_completion import offers
from lollms_cli.chat_history import History
from lollms_cli.output import Output

__all__ = ["EditedLines", "Lines", "PlainLines", "lines_of_this_process"]

_LOOK = 0.25  # seconds


class Lines(Protocol):
    """A source of lines."""

    person: bool
    """Whether somebody types them."""

    def read(self, prompt: str) -> str | None:
        """The next line without its line feed; None at the end. Raises `UsageError` for what is not UTF-8."""

    def keep(self, text: str) -> None:
        """Put what was typed where the arrow keys find it."""


class PlainLines:
    """Lines as they come; where somebody types them the prompt goes to standard error."""

    def __init__(self, *, person: bool) -> None:
        self.person = person
        self._number = 0

    def read(self, prompt: str) -> str | None:
        """See `Lines`."""
        if self.person:
            _write_prompt(prompt)
        try:
            with _looking_at_signals():
                data = sys.stdin.buffer.readline() if sys.stdin is not None else b""
        except (OSError, ValueError):  # standard input was closed
            return None
        if not data:
            return None
        self._number += 1
        try:
            return data.decode("utf-8-sig" if self._number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise click.UsageError(f"Line {self._number} is not UTF-8 text (byte {error.start}).") from error

    def keep(self, text: str) -> None:
        """Nothing: there are no arrow keys here."""


class EditedLines:
    """Lines typed at a terminal with the `readline` module."""

    person = True

    def __init__(self, readline: Any, history: History | None, models: Callable[[], Sequence[str]]) -> None:
        self._readline = readline
        self._history = history
        self._models = models
        self._found: list[str] = []
        reconfigure = getattr(sys.stdin, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="surrogateescape")
        gnu = "libedit" not in (readline.__doc__ or "")
        # in a locale without UTF-8 the first setting would turn letters into key strokes
        settings = ["set convert-meta off", "set input-meta on", "set output-meta on", "tab: complete"]
        for setting in [*settings, "set enable-bracketed-paste on"] if gnu else ["bind ^I rl_complete"]:
            readline.parse_and_bind(setting)
        readline.set_completer_delims(" \t\n")
        readline.set_completer(self._complete)
        with contextlib.suppress(AttributeError):
            readline.set_auto_history(False)
        for entry in history.read() if history is not None else []:
            self._remember(entry)

    def read(self, prompt: str) -> str | None:
        """See `Lines`."""
        try:
            with _looking_at_signals():
                line = input(prompt)
        except EOFError:
            return None
        try:
            return line.encode("utf-8", "surrogateescape").decode("utf-8")
        except UnicodeError as error:
            raise click.UsageError("This line is not UTF-8 text. It was not sent.") from error

    def keep(self, text: str) -> None:
        """See `Lines`; in the file only what may be kept there."""
        if text.strip():
            self._remember(text)
        if self._history is not None:
            self._history.add(text)

    def _remember(self, text: str) -> None:
        if "\0" in text:
            return
        try:
            self._readline.add_history(text)
        except UnicodeError:  # the locale has no such letters: they are handed over as bytes
            with contextlib.suppress(UnicodeError):
                self._readline.add_history(text.encode().decode("ascii", "surrogateescape"))

    def _complete(self, text: str, state: int) -> str | None:
        if state == 0:
            line = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            self._found = offers(line, self._readline.get_begidx(), self._models())
        return self._found[state] if state < len(self._found) else None


@contextlib.contextmanager
def _looking_at_signals() -> Iterator[None]:
    """While the block waits, it is interrupted a few times a second, so that no signal is overlooked."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def nothing(number: int, frame: FrameType | None) -> None:
        """The interruption is all that is wanted."""

    before = signal.signal(signal.SIGALRM, nothing)
    signal.setitimer(signal.ITIMER_REAL, _LOOK, _LOOK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _write_prompt(prompt: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(prompt)
        sys.stderr.flush()


def lines_of_this_process(output: Output, *, history: bool, models: Callable[[], Sequence[str]]) -> Lines:
    """The lines of standard input, edited where that is possible."""
    person = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    if person and output.on_terminal and os.environ.get("TERM") != "dumb":
        try:
            import readline
        except ImportError:
            return PlainLines(person=True)
        return EditedLines(readline, History.of_the_user() if history else None, models)
    return PlainLines(person=person)
