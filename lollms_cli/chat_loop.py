"""The loop of a chat: read a line, do what it means, until somebody leaves."""

from __future__ import annotations

import click

from lollms_cli.chat_commands import obey
from lollms_cli.chat_input import Lines
from lollms_cli.chat_lines import Blocks, Command, Line, Say
from lollms_cli.chat_session import Session
from lollms_core.errors import LollmsError

__all__ = ["converse"]

_FIRST, _MORE = ">>> ", "... "


class _Unended(click.UsageError):
    """The input ended inside a block."""


def converse(session: Session, lines: Lines) -> int:
    """Talk until the end; returns the exit code.

    Somebody at a terminal leaves with 0 (/bye, Ctrl-D) or 130 (Ctrl-C twice). Lines from a pipe give 0, or the code of
    the first thing that failed; Ctrl-C ends these with KeyboardInterrupt.
    """
    session.person = lines.person
    blocks = Blocks()
    pressed = False
    line: str | None = ""
    while True:
        try:
            line = lines.read(_MORE if blocks.is_open else _FIRST)
            if line is None:
                if not blocks.is_open:
                    break
                blocks.drop()
                raise _Unended('The message has no end: """ is missing. It was not sent.')
            pressed = False
            if not _step(session, lines, blocks, line):
                break
        except KeyboardInterrupt:
            if not lines.person:
                raise
            session.say("")
            if pressed:
                return 130
            pressed = True
            blocks.drop()
            session.output.note("(Ctrl-C again or Ctrl-D to leave)")
        except (LollmsError, click.UsageError) as error:
            if isinstance(error, _Unended) and lines.person:
                session.say("")
            session.fail(error)
            if isinstance(error, _Unended) and not lines.person:
                break
    if lines.person and line is None:
        session.say("")
    return 0 if lines.person else session.code


def _step(session: Session, lines: Lines, blocks: Blocks, line: str) -> bool:
    """One line; returns whether the chat goes on."""
    meant: Line = blocks.feed(line)
    lines.keep(line)
    if isinstance(meant, Command):
        return obey(session, meant)
    if isinstance(meant, Say):
        session.conversation.fresh()
        session.ask(session.conversation.question(meant.text))
    return True
