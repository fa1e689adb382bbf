"""What was typed in earlier chats, so that the arrow keys find it again.

One line of JSON for each entry, because an entry may have several lines of text. The file is private. What begins
with a blank is not kept, as in shells, nor is one in which something looks like a key.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from pathlib import Path

from lollms_core.errors import ConfigError, StorageError
from lollms_runtime.files import private_dir, write_atomic
from lollms_runtime.keys import key_file

__all__ = ["History", "is_kept"]

_MOST = 1000
_LONGEST = 10_000
_MAX_BYTES = 8_000_000
_LIKE_A_KEY = re.compile(
    r"\b(sk|pk|rk|hf|gh[opsu]|github_pat|glpat|xox[abp]|gsk|AKIA|AIza|eyJ)[-_A-Za-z0-9]{12,}"
    r"|\b[A-Za-z_]*(key|token|secret|password|passwd)\s*[=:]\s*\S|\bbearer\s+\S{8}",
    re.IGNORECASE,
)
_LONG_WORD = re.compile(r"[A-Za-z0-9_\-]{32,}")


def is_kept(text: str) -> bool:
    """Whether what was typed may be kept."""
    if not text.strip() or text[:1].isspace() or len(text) > _LONGEST or _LIKE_A_KEY.search(text):
        return False
    return not any(re.search(r"\d", word) and re.search(r"[A-Za-z]", word) for word in _LONG_WORD.findall(text))


class History:
    """The file of entries; it does nothing where there is no home folder or it cannot be written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @classmethod
    def of_the_user(cls) -> History:
        """The history in the user's folder."""
        keys = key_file()
        return cls(None if keys is None else keys.with_name("chat_history"))

    def read(self) -> list[str]:
        """The entries, oldest first; a file that has grown long is shortened. Broken lines are left out."""
        if self._path is None:
            return []
        try:
            if self._path.is_symlink() or self._path.stat().st_size > _MAX_BYTES:
                return []
            lines = self._path.read_bytes().splitlines()
        except (OSError, ValueError):
            return []
        entries: list[str] = []
        for line in lines[-_MOST:]:
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, str):
                    entries.append(entry)
        if len(lines) > 2 * _MOST:
            with contextlib.suppress(StorageError):
                write_atomic(self._path, "".join(f"{json.dumps(each)}\n" for each in entries))
        return entries

    def add(self, text: str) -> None:
        """Keep what was typed, if it may be kept and the file can be written."""
        if self._path is None or not is_kept(text):
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            private_dir(self._path.parent)
            descriptor = os.open(self._path, flags, 0o600)
        except (OSError, ConfigError):  # a read-only disk is no reason to bother anybody
            self._path = None
            return
        try:
            if sys.platform != "win32":
                os.fchmod(descriptor, 0o600)
            os.write(descriptor, f"{json.dumps(text)}\n".encode())
        except OSError:
            self._path = None
        finally:
            os.close(descriptor)
