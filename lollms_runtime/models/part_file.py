"""The beginning of a file that is being fetched, kept so that the next try can go on where this one stopped.

`NAME.part` has the bytes, `NAME.part.json` says of what: the URL, what the server calls this version of the file, its
size. The bytes count only together with that note, and the note is written first. Whoever writes the part holds a lock
on it, so two processes never write one file; the lock ends with the process.

A full disk or a failing one ends the try with the part as it is: when there is room again, it goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lollms_core.errors import StorageError
from lollms_runtime.files import private_dir, read_text_strict, write_atomic
from lollms_runtime.os_lock import try_lock

if TYPE_CHECKING:
    import hashlib

__all__ = ["Note", "PartFile", "in_bytes", "read_note", "write_note"]

_OPEN = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
)
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}
_READ_SIZE = 1 << 20
_SPARE = 16 * 1024 * 1024  # bytes that stay free for everything else


class Note(msgspec.Struct, frozen=True):
    """What is known of a fetched file, or of one that is being fetched. `size` in bytes.

    `source` is what the user asked for; `validator` is the strong ETag or the date of the version.
    """

    url: str = ""
    source: str = ""
    validator: str = ""
    size: int | None = None
    sha256: str = ""
    commit: str = ""


def read_note(path: Path) -> Note | None:
    """The note in a file; None if there is none that can be understood."""
    try:
        return msgspec.json.decode(read_text_strict(path, 100_000), type=Note)
    except (StorageError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def write_note(path: Path, note: Note) -> None:
    """Write a note (0600: its URL may hold a signature). Raises `StorageError`."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(note)) + b"\n")


def in_bytes(count: int) -> str:
    """A size for people, in units of 1000."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= 99.5 or units[0] == "B" else f"{size:.1f} {units[0]}"


class PartFile:
    """The part of one file, open and locked. `length` is the number of bytes in it."""

    def __init__(self, target: Path) -> None:
        """Raises `StorageError` when it cannot be written, or when another process is fetching this file."""
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self._note_path = target.with_name(target.name + ".part.json")
        private_dir(target.parent)
        self._descriptor = self._open()
        self.length = os.fstat(self._descriptor).st_size

    def _open(self) -> int:
        while True:
            try:
                descriptor = os.open(self.path, _OPEN, 0o644)
            except OSError as error:
                raise self.failed(error) from error
            try:
                if not try_lock(descriptor):
                    raise StorageError(
                        f"{self.target.name} is being fetched by another process. Wait for it, or stop it."
                    )
                here = os.stat(self.path)
                if os.path.samestat(here, os.fstat(descriptor)):
                    return descriptor
            except FileNotFoundError:
                pass  # whoever held the lock has finished the file meanwhile
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    # ---- content

    @property
    def note(self) -> Note | None:
        """What the bytes are of, if that is known."""
        return read_note(self._note_path)

    def begin(self, note: Note) -> None:
        """Start from nothing. Raises `StorageError`."""
        try:
            os.ftruncate(self._descriptor, 0)
        except OSError as error:
            raise self.failed(error) from error
        self.length = 0
        write_note(self._note_path, note)

    def write(self, data: bytes) -> None:
        """Append. Raises `StorageError`, and keeps what is there."""
        view = memoryview(data)
        try:
            os.lseek(self._descriptor, self.length, os.SEEK_SET)
            while view:
                count = os.write(self._descriptor, view)
                view = view[count:]
                self.length += count
        except OSError as error:
            raise self.failed(error) from error

    def read_into(self, digest: hashlib._Hash) -> None:
        """Feed all bytes to a digest. Raises `StorageError`."""
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            left = self.length
            while left:
                data = os.read(self._descriptor, min(_READ_SIZE, left))
                if not data:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                digest.update(data)
                left -= len(data)
        except OSError as error:
            raise self.failed(error) from error

    def check_room(self, size: int) -> None:
        """Raises `StorageError` unless the disk has room for what is missing to so many bytes."""
        try:
            free = shutil.disk_usage(self.target.parent).free
        except OSError:
            return  # nobody can say: the writing will tell
        missing = size - self.length
        if missing > max(0, free - _SPARE):
            raise StorageError(
                f"There is no room for {self.target.name}: {in_bytes(missing)} are missing, and {self.target.parent} "
                f"has {in_bytes(free)} free. Make room, or choose another folder with LOLLMS_MODELS."
            )

    # ---- the end

    def finish(self, note: Note, *, replace: bool) -> None:
        """Give the file its name, whole and forced to the disk, and keep the note beside it.

        Raises `StorageError`; without `replace` also when the name is taken.
        """
        try:
            os.fsync(self._descriptor)
            beside = self.target.with_name(self.target.name + ".json")
            if replace:
                beside.unlink(missing_ok=True)  # it is of the file that goes
            if os.name == "nt":
                self.close()  # an open file cannot be renamed there
            if replace:
                os.replace(self.path, self.target)
            else:
                self._rename_new()
            self._sync_folder()
            write_note(beside, note)
        except FileExistsError as error:
            raise StorageError(f"{self.target} is there already. Choose another name with --name.") from error
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise self.failed(error) from error
        with contextlib.suppress(OSError):
            self._note_path.unlink()

    def _rename_new(self) -> None:
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(self.target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            os.replace(self.path, self.target)
            return
        os.unlink(self.path)

    def _sync_folder(self) -> None:
        if os.name == "nt":
            return
        descriptor = os.open(self.target.parent, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Remove the part and its note: they are of no use."""
        for path in (self.path, self._note_path):
            with contextlib.suppress(OSError):
                path.unlink()
        self.length = 0

    def close(self) -> None:
        """Unlock and close; may be called twice. A part without a byte is removed."""
        if self._descriptor < 0:
            return
        if not self.length:
            self.discard()
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def failed(self, error: OSError) -> StorageError:
        """What an error of the disk means."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            kept = in_bytes(getattr(self, "length", 0))
            return StorageError(
                f"There is no room left for {self.target.name} in {self.target.parent}: {error.strerror}. Its first "
                f"{kept} are kept: make room, then repeat the command."
            )
        return StorageError(f"{self.path} cannot be written: {error.strerror or type(error).__name__}.")
