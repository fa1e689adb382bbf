'''From what is typed in a chat to what is meant: a message, a command, or nothing yet.

A message is one line, or a block between `"""` and `"""`. A line that begins with a slash and a word is a command; `//`
sends a slash. A path such as `/etc/hosts looks odd` is a message, because no command has a slash in its name. Text that
was pasted arrives as one line that holds line feeds: it is one message, however many lines it has.
'''

from __future__ import annotations

import difflib
import re
from typing import NamedTuple, TypeAlias

__all__ = ["COMMANDS", "Blocks", "Command", "Say", "near_command", "read_line"]

COMMANDS = (
    "attach",
    "bye",
    "clear",
    "help",
    "load",
    "model",
    "models",
    "retry",
    "save",
    "set",
    "show",
    "undo",
    "unset",
)
_OTHER_NAMES = {
    "?": "help",
    "exit": "bye",
    "quit": "bye",
    "q": "bye",
    "a": "attach",
    "image": "attach",
    "file": "attach",
    "new": "clear",
    "reset": "clear",
    "regenerate": "retry",
    "list": "models",
}
_FENCE = '"""'
_A_COMMAND = re.compile(r"/([^\s/]*)(?:\s+(.*))?\Z", re.DOTALL)
_SYSTEM_BLOCK = re.compile(r'/set\s+system\s+"""', re.ASCII)


class Say(NamedTuple):
    """A message for the model."""

    text: str


class Command(NamedTuple):
    """A command by its first name; `word` is what was typed, `rest` what stands behind it."""

    name: str
    rest: str
    word: str


Line: TypeAlias = Say | Command | None


class Blocks:
    """Puts the lines of a block together."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._before = ""

    @property
    def is_open(self) -> bool:
        """Whether a block has begun and not ended."""
        return bool(self._lines)

    def drop(self) -> None:
        """Forget a block that has no end."""
        self._lines = []

    def feed(self, line: str) -> Line:
        """What a line, without its line feed, makes complete: a message, a command, or nothing."""
        if not self._lines:
            opening = _SYSTEM_BLOCK.match(line)
            if opening is None and not line.lstrip().startswith(_FENCE):
                return read_line(line)
            self._before = "" if opening is None else "/set system "
            line = line.partition(_FENCE)[2]
        self._lines.append(line)
        if not line.rstrip().endswith(_FENCE):
            return None
        text = "\n".join(self._lines).rstrip().removesuffix(_FENCE).strip("\n")
        self._lines = []
        if self._before:
            return Command("set", f"system {text}", "set")
        return Say(text) if text.strip() else None


def read_line(line: str) -> Line:
    """A line outside of blocks; None when it is blank."""
    text = line.strip("\n")
    if not text.strip():
        return None
    if text.startswith("//"):
        return Say(text[1:])
    if text.strip() == "?":
        return Command("help", "", "?")
    found = _A_COMMAND.match(text)
    if found is None or "\n" in text.strip():
        return Say(text)
    word, rest = found.group(1), (found.group(2) or "").strip()
    return Command(_OTHER_NAMES.get(word.lower(), word.lower()), rest, word)


def near_command(word: str) -> str:
    """The command that a misspelt word is meant for; "" when none is near."""
    near = difflib.get_close_matches(word.lower(), [*COMMANDS, *_OTHER_NAMES], 1, 0.6)
    return _OTHER_NAMES.get(near[0], near[0]) if near else ""
