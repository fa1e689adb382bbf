"""Files of the caller's that are read as text.

Only a path that the caller has given is ever opened. Nothing is guessed: what is not UTF-8 is refused, and the refusal
says what it is, where its bytes tell.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from lollms_core.errors import InvalidRequest, PayloadTooLarge, StorageError

__all__ = ["MOST", "FileSource", "paths_of", "read_text_file", "wide_encoding"]

FileSource: TypeAlias = "str | os.PathLike[str]"

MOST = 32 * 1024 * 1024
"""Bytes of a file."""

_SHOWN = 200
_WIDE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def paths_of(files: Sequence[FileSource] | FileSource | None) -> tuple[str, ...]:
    """The paths that a caller gave, a single one as well; none of them is opened. Raises `InvalidRequest`."""
    if files is None:
        return ()
    if isinstance(files, (str, os.PathLike)):
        files = (files,)
    if not isinstance(files, Iterable) or isinstance(files, bytes):
        raise InvalidRequest(f"files is a {type(files).__name__}; it must be a list of paths.", param="files")
    given = tuple(files)
    for place, each in enumerate(given):
        if not isinstance(each, (str, os.PathLike)) or not isinstance(os.fspath(each), str):
            raise InvalidRequest(f"files[{place}] is a {type(each).__name__}; it must be a path.", param="files")
    return tuple(os.fspath(each) for each in given)


def read_text_file(path: str) -> str:
    """The text of a file, in UTF-8, of at most `MOST` bytes; a byte order mark is left out.

    Raises `StorageError` where it cannot be read, `PayloadTooLarge`, and `InvalidRequest` for what is no such text.
    """
    shown = path[:_SHOWN]
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidRequest(f"{shown} is not a regular file.", param="files")
            data = file.read(MOST + 1)
    except InvalidRequest:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StorageError(f"{shown} cannot be read: {reason}.", param="files") from error
    if len(data) > MOST:
        raise PayloadTooLarge(
            f"{shown} is larger than {MOST // 2**20} MiB. Divide it into smaller files.", param="files"
        )
    return _decoded(data, shown)


def wide_encoding(data: bytes) -> str:
    """The encoding that a byte order mark tells of, "" for none and for that of UTF-8."""
    return next((name for mark, name in _WIDE if data.startswith(mark)), "")


def _decoded(data: bytes, shown: str) -> str:
    if wide := wide_encoding(data):
        raise InvalidRequest(f"{shown} is {wide}, and only UTF-8 is read. Save it as UTF-8.", param="files")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"{shown} is not UTF-8 text (see byte {error.start}){_kind(data)}. Give its text in UTF-8.", param="files"
        ) from None
    if "\0" in text:
        raise InvalidRequest(f"{shown} is no text: there are zero bytes in it{_kind(data)}.", param="files")
    return text


def _kind(data: bytes) -> str:
    from lollms_core.text.binary import sniff

    kind = sniff(data)
    return f"; it is {kind}" if kind else ""


def _without_waiting(path: str, flags: int) -> int:
    """Opening a named pipe would wait for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
