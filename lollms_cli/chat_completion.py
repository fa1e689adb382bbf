"""What the tab key offers in a chat: commands, what can be set, models and file names."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lollms_cli.chat_lines import COMMANDS

__all__ = ["PARAMETERS", "SWITCHES", "offers"]

SWITCHES = ("parameter", "system", "schema", "think", "nothink", "usage", "nousage", "stream", "nostream")
PARAMETERS = (
    "ctx_size",
    "frequency_penalty",
    "max_tokens",
    "min_p",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "stop",
    "temperature",
    "top_k",
    "top_p",
)
_SHOWN = ("messages", "model", "parameters", "system")
_WITH_FILES = ("/attach", "/a", "/load", "/save", "/set schema")


def offers(line: str, begin: int, models: Sequence[str] = ()) -> list[str]:
    """What can stand in the place of `line[begin:]`, the word before the cursor, where the line is cut."""
    if not line.startswith("/"):
        return []
    head = " ".join(line[:begin].split())
    if not head:
        return [f"/{name} " for name in COMMANDS if f"/{name}".startswith(line)]
    if any(head == each or head.startswith(f"{each} ") for each in _WITH_FILES):
        return _files(line, begin)
    choices: Sequence[str] = {
        "/set": SWITCHES,
        "/set parameter": PARAMETERS,
        "/unset": ("schema", "system", *PARAMETERS),
        "/show": _SHOWN,
        "/model": models,
    }.get(head, ())
    return [f"{choice} " for choice in choices if choice.startswith(line[begin:])]


def _files(line: str, begin: int) -> list[str]:
    """File names; one with blanks is completed although the word before the cursor is only a part of it."""
    command = "/set schema" if line.split()[:2] == ["/set", "schema"] else line.split()[0]
    rest = line[line.index(command.split()[-1]) + len(command.split()[-1]) :].lstrip()
    typed = rest[3:].lstrip() if rest.startswith("-f ") else rest
    folder, name = os.path.split(typed)
    try:
        found = sorted(os.scandir(os.path.expanduser(folder) or "."), key=lambda entry: entry.name)
    except (OSError, ValueError):
        return []
    before = len(typed) - len(line[begin:])
    return [
        os.path.join(folder, entry.name)[before:] + ("/" if entry.is_dir() else "")
        for entry in found
        if entry.name.startswith(name) and (name or not entry.name.startswith("."))
    ]
