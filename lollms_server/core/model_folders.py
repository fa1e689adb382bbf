"""What lies in the models folder: names, by kind, and nothing more.

The scan reads names only, no file and no deeper folder. A link is listed, or the folder of a kind that is one is read,
only while it stays inside the models folder: names of files elsewhere on the machine are nobody's business.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lollms_core.errors import StorageError

__all__ = ["KINDS", "MOST", "scan"]

KINDS = ("ttt", "tti", "ttv", "ttm", "tts", "stt", "audio2audio", "i2i", "gguf", "diffusers_models")
"""The documented subfolders."""

MOST = 10_000
"""Names listed of one subfolder."""


def scan(models: Path) -> dict[str, list[str]]:
    """The names directly in each documented subfolder of `models`, sorted, without hidden ones; at most `MOST` of each.

    A folder that does not exist is empty. Raises `StorageError` when one exists that cannot be read.
    """
    if not os.path.lexists(models):
        return {kind: [] for kind in KINDS}
    root = Path(os.path.realpath(models))
    try:
        if not root.is_dir():
            raise StorageError(f"paths.models_folder: {models} is not a folder.")
        return {kind: sorted(_names(root, kind))[:MOST] for kind in KINDS}
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"The models folder {models} cannot be read: {error.strerror or error}.") from error


def _names(root: Path, kind: str) -> Iterator[str]:
    folder = root / kind
    if not _is_inside(folder, root) or not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            if not entry.is_symlink() or _is_inside(Path(entry.path), root):
                yield entry.name


def _is_inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)


def _is_text(name: str) -> bool:
    """Whether a name can be written as JSON: a file system may hold names that are not Unicode."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
