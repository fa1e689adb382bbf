"""A file that is written atomically is the old one or the new one, whatever fails on the way."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import StorageError
from lollms_runtime.files import write_atomic

STEPS = ("open", "fchmod", "write", "fsync", "close", "replace", "link", "unlink")
OLD, NEW = "old content\n", "new content\n" * 1000


def fail_at(monkeypatch: pytest.MonkeyPatch, step: str, nth: int, code: int) -> list[int]:
    """Let the nth call of os.<step> fail after the real work of closing; returns the counter of calls."""
    real = getattr(os, step)
    calls = [0]

    def shim(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == nth:
            if step == "close":
                real(*args, **kwargs)
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, step, shim)
    return calls


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("exclusive", [False, True])
def test_every_failing_call_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, nth: int, code: int, exclusive: bool
) -> None:
    target = tmp_path / "file"
    if not exclusive:
        target.write_text(OLD, encoding="utf-8")
    before = target.read_text(encoding="utf-8") if target.exists() else None
    with monkeypatch.context() as patch:
        calls = fail_at(patch, step, nth, code)
        try:
            write_atomic(target, NEW, exclusive=exclusive)
            message = ""
        except StorageError as error:
            message = error.message
    failed = message != ""
    assert not failed or str(target) in message
    assert failed == (calls[0] >= nth)
    after = target.read_text(encoding="utf-8") if target.exists() else None
    assert after in (before, NEW)
    assert failed or after == NEW
    leftovers = [path for path in tmp_path.iterdir() if path != target]
    assert leftovers == [] or step == "unlink"


def test_a_write_that_takes_only_some_bytes_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))
        write_atomic(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_text(encoding="utf-8") == NEW


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr("lollms_runtime.files.secrets.token_hex", lambda _: "fixed")
        (tmp_path / ".file.fixed.tmp").symlink_to(outside)
        with pytest.raises(StorageError):
            write_atomic(tmp_path / "file", NEW)
    assert outside.read_text(encoding="utf-8") == "untouched"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("links", [True, False])
def test_exclusive_never_replaces_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    target = tmp_path / "file"
    with monkeypatch.context() as patch:
        if not links:
            patch.setattr(os, "link", no_links)
        write_atomic(target, OLD, exclusive=True)
        with pytest.raises(FileExistsError):
            write_atomic(target, NEW, exclusive=True)
    assert target.read_text(encoding="utf-8") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.stat().st_mode & 0o777 == 0o600
