"""How a question on the terminal waits for its answer: a moment at a time, so that Ctrl-C is never lost.

A signal that comes when a read is just about to begin is seen only when that read ends (see `lollms_runtime.waiting`).
"""

from __future__ import annotations

import os
import select
import sys

__all__ = ["answer", "ask_patiently"]

_LOOK = 0.25  # seconds


def ask_patiently() -> None:
    """Let the questions of `click` wait so, where the system can say that a line has been typed."""
    import click.termui

    if os.name != "nt":
        click.termui.visible_prompt_func = answer


def answer(prompt: str = "") -> str:
    """The next line of standard input, without its end. Raises `EOFError` at the end of the input, as `input` does."""
    if not sys.stdin.isatty():
        return input(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    while not select.select([sys.stdin.fileno()], [], [], _LOOK)[0]:
        pass
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")
