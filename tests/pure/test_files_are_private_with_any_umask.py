"""Files are 0600 and folders 0700 whatever the umask; texts are read strictly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lollms_core.errors import StorageError
from lollms_runtime.files import open_to_others, private_dir, read_text_strict, write_atomic


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_we_make_is_for_its_owner_only(tmp_path: Path, umask: int) -> None:
    folder = private_dir(tmp_path / "a" / "b")
    write_atomic(folder / "file", "secret")
    assert [mode(tmp_path / "a"), mode(folder), mode(folder / "file")] == [0o700, 0o700, 0o600]
    write_atomic(folder / "file", b"again")
    assert mode(folder / "file") == 0o600
    assert open_to_others(folder / "file") == open_to_others(folder) == ""


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    assert mode(private_dir(tmp_path / "there")) == 0o755


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StorageError, match="is not a folder"):
        private_dir(tmp_path / "file")
    with pytest.raises(StorageError, match="could not be created"):
        private_dir(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0o600, ""),
        (0o640, "the group can read"),
        (0o604, "everybody can read"),
        (0o660, "the group can write"),
        (0o666, "everybody can write"),
    ],
)
def test_what_others_may_do_is_said(tmp_path: Path, bits: int, words: str) -> None:
    path = tmp_path / "file"
    path.write_text("x", encoding="utf-8")
    path.chmod(bits)
    assert open_to_others(path) == words


def test_text_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert read_text_strict(path) == "a\r\nb"
    path.write_bytes(b"one\ntwo\nthr\xffee")
    with pytest.raises(StorageError, match=r"file:3: byte 11 is not UTF-8"):
        read_text_strict(path)
    path.write_bytes(b"x" * 11)
    assert read_text_strict(path, 11)
    with pytest.raises(StorageError, match="larger than 10 bytes"):
        read_text_strict(path, 10)
    with pytest.raises(StorageError, match="could not be read"):
        read_text_strict(tmp_path / "none")


def test_what_is_not_a_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        with pytest.raises(StorageError):
            read_text_strict(path)
