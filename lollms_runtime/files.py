"""Files that must be whole and private: old or new after any failure, and readable by their owner only.

A new content is written to a temporary file in the same folder, forced to the disk, renamed over the target, and the
folder is forced to the disk as well. A reader, or a machine that lost power, therefore sees the old content or the
new one and nothing between. The mode is set on the open descriptor, so that the process's umask plays no part.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from pathlib import Path

from lollms_core.errors import StorageError

__all__ = ["open_to_others", "private_dir", "read_text_strict", "write_atomic"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}


def _failed(what: str, path: Path, error: OSError | ValueError) -> StorageError:
    reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return StorageError(f"{path} could not be {what}: {reason}.")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _write_temporary(path: Path, data: bytes, mode: int) -> None:
    """Create the file `path` with this content and mode, forced to the disk."""
    descriptor = os.open(path, _CREATE | getattr(os, "O_BINARY", 0), mode)
    try:
        if sys.platform != "win32":
            os.fchmod(descriptor, mode)
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Force a rename in this folder to the disk; other systems than POSIX have no way to ask for it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_new(temporary: Path, path: Path) -> None:
    """Give the temporary file its name unless that name is taken; raises FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links: reserve the name, then replace the reservation, which is ours.
        os.close(os.open(path, _CREATE, 0o600))
        os.replace(temporary, path)
        return
    os.unlink(temporary)


def write_atomic(path: Path, data: str | bytes, mode: int = 0o600, *, exclusive: bool = False) -> None:
    """Write a file so that it is old or new, never half; text is UTF-8.

    The folder must exist. With `exclusive` an existing file is left as it is and FileExistsError is raised, also when
    two processes try at once. Raises StorageError with the reason; then no temporary file is left behind unless even
    removing it failed.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        _write_temporary(temporary, content, mode)
        if exclusive:
            _put_new(temporary, path)
        else:
            os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, FileExistsError) and exclusive:
            raise
        raise _failed("written", path, error) from error


def private_dir(path: Path) -> Path:
    """Make a folder, and the folders above it that are missing, with mode 0700; existing folders stay as they are.

    Raises StorageError when that is impossible or something else has the name.
    """
    missing = []
    probe = path
    while not os.path.exists(probe) and probe != probe.parent:
        missing.append(probe)
        probe = probe.parent
    try:
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.mkdir(folder, 0o700)
                if sys.platform != "win32":
                    os.chmod(folder, 0o700)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise _failed("created", path, error) from error
    if not path.is_dir():
        raise StorageError(f"{path} is not a folder. Move it away or choose another place.")
    return path


def read_text_strict(path: Path, max_bytes: int = 1_000_000) -> str:
    """The text of a regular file of at most `max_bytes`, which must be UTF-8; a byte order mark is dropped.

    Line ends stay as they are. Raises StorageError that names the file and, for a wrong byte, its line.
    """
    try:
        descriptor = os.open(path, _READ)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StorageError(f"{path} is not a regular file.")
            data = file.read(max_bytes + 1)
    except StorageError:
        raise
    except (OSError, ValueError) as error:
        raise _failed("read", path, error) from error
    if len(data) > max_bytes:
        raise StorageError(f"{path} is larger than {max_bytes} bytes.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StorageError(f"{path}:{line}: byte {error.start} is not UTF-8 text.") from error


def open_to_others(path: Path) -> str:
    """Say in one phrase what people other than the owner may do with a file or folder; "" when nothing.

    "write" is reported before "read", and everybody before the group. Where modes mean nothing the answer is "".
    """
    if sys.platform == "win32":
        return ""
    try:
        status = path.stat()
    except OSError as error:
        raise _failed("read", path, error) from error
    mode = status.st_mode
    shared_folder = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    if mode & stat.S_IWOTH and not shared_folder:
        return "everybody can write"
    if mode & stat.S_IWGRP and not shared_folder:
        return "the group can write"
    if mode & stat.S_IROTH:
        return "everybody can read"
    if mode & stat.S_IRGRP:
        return "the group can read"
    return ""
