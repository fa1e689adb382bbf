"""The files in which a chat is saved.

Only paths that the user typed are looked at. Nothing that exists is written over unless the user says so, because a
chat may be fed by a pipe whose lines nobody has read.
"""

from __future__ import annotations

from pathlib import Path

from lollms_cli.chat_transcript import Transcript, from_text
from lollms_core.errors import InvalidRequest, StorageError

__all__ = ["path_of", "read_transcript", "write_transcript"]

_MAX_TRANSCRIPT = 256_000_000


def path_of(text: str) -> Path:
    """The path that was typed; quotes around it are taken off, `~` is the home folder. Raises `InvalidRequest`."""
    name = text.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        name = name[1:-1]
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # no home folder
        raise InvalidRequest(f"The home folder of {name} is not known. Write the whole path.") from error


def write_transcript(path: Path, text: str, *, force: bool) -> None:
    """Write a conversation, readable by its owner only. Raises `StorageError`, also where a file is there already."""
    from lollms_runtime.files import write_atomic

    try:
        write_atomic(path, text, exclusive=not force)
    except FileExistsError as error:
        raise StorageError(f"{path} is there already. `/save -f {path}` writes over it.") from error


def read_transcript(path: Path) -> Transcript:
    """Read a saved conversation. Raises `InvalidRequest` or `StorageError`."""
    from lollms_runtime.files import read_text_strict

    return from_text(read_text_strict(path, _MAX_TRANSCRIPT))
