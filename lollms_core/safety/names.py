"""Names that become file names.

Names of instances, models or personalities are looked up in what a scan has found and never joined to a path. Only a
name that we create a file from must pass here. The pattern is narrow on purpose: what it lets through is harmless on
every file system, including those that drop trailing dots, split streams at a colon or reserve device names.
"""

from __future__ import annotations

import re

from lollms_core.errors import InvalidRequest

__all__ = ["check_file_name", "is_file_name"]

_PATTERN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)


def is_file_name(name: str) -> bool:
    """True when a file may be created under this name on any system."""
    if not _PATTERN.match(name) or name.endswith(".") or ".." in name:
        return False
    return name.split(".", 1)[0] not in _DEVICES


def check_file_name(name: str) -> str:
    """Return the name, or raise InvalidRequest saying what a name may look like."""
    if not is_file_name(name):
        raise InvalidRequest(
            "A name that becomes a file has 1 to 64 characters from a-z, 0-9, '_', '-' and '.', starts with a letter "
            "or a digit, does not end with a dot and is not a device name of Windows."
        )
    return name
