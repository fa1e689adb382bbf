"""A model file gets its name when it is whole and checked; what came before stays and is gone on with."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_core import errors
from lollms_core.protocols.base import Timeouts
from lollms_core.safety.urls import parse_url
from lollms_runtime.cancel import Cancel
from lollms_runtime.models.download import Downloaded, Patience, Wanted, download
from lollms_runtime.models.part_file import PartFile
from tests.support.chaos import ChaosServer, refused_url
from tests.support.model_server import ServedFile, model_bytes

MODEL = model_bytes()
SUM = hashlib.sha256(MODEL).hexdigest()
QUICK = Timeouts(connect=2, first_byte=1, idle=0.3, total=None)
SOON = Patience(first=1, again=3, base=0.01, longest=0.02, obey=0.1)
ONCE = Patience(first=0, again=0)


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


def get(chaos: ChaosServer, folder: Path, mode: str = "file", **more: Any) -> Downloaded:
    options = {"timeouts": QUICK, "patience": SOON, **more}
    known = {name: options.pop(name) for name in ("sha256", "size", "allow_private") if name in options}
    url = parse_url(chaos.url(f"{mode}/model.gguf"))
    wanted = Wanted(url, folder / "model.gguf", str(url), **{"allow_private": True, **known})
    return download(wanted, **options)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def ranges(chaos: ChaosServer) -> list[str | None]:
    return [seen.headers.get("range") for seen in chaos.requests]


def test_a_file_comes_whole(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    shown: list[tuple[int, int | None]] = []
    before = os.umask(0o022)
    try:
        done = get(chaos, folder, progress=lambda *each: shown.append(each))
    finally:
        os.umask(before)
    assert done == (folder / "model.gguf", len(MODEL), True)
    assert done.path.read_bytes() == MODEL
    assert files(folder) == {"model.gguf", "model.gguf.json"}
    assert shown[0] == (0, len(MODEL))
    assert shown[-1] == (len(MODEL), len(MODEL))
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o644
    assert stat.S_IMODE((folder / "model.gguf.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_time_nothing_is_asked(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    get(chaos, folder)
    assert get(chaos, folder) == (folder / "model.gguf", len(MODEL), False)
    assert get(chaos, folder, sha256=SUM).fetched is False
    (folder / "model.gguf.json").unlink()
    assert get(chaos, folder, sha256=SUM).fetched is False
    assert len(chaos.requests) == 1


def test_a_broken_connection_goes_on_where_it_broke(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[100_000, 50_000]))
    said: list[str] = []
    done = get(chaos, folder, waits=said.append)
    assert done.path.read_bytes() == MODEL
    assert ranges(chaos) == [None, "bytes=100000-", "bytes=150000-"]
    assert [seen.headers.get("if-range") for seen in chaos.requests] == [None, '"v1"', '"v1"']
    assert len(said) == 2
    assert "from 100 kB on" in said[0]


def test_the_next_call_goes_on_too(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[100_000]))
    with pytest.raises(errors.TruncatedStream):
        get(chaos, folder, patience=ONCE)
    assert files(folder) == {"model.gguf.part", "model.gguf.part.json"}
    assert (folder / "model.gguf.part").read_bytes() == MODEL[:100_000]
    shown: list[int] = []
    assert get(chaos, folder, progress=lambda done, total: shown.append(done)).path.read_bytes() == MODEL
    assert shown[0] == 100_000
    assert ranges(chaos) == [None, "bytes=100000-"]


def test_a_stalled_server_is_left_and_asked_again(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[100_000], stalls=True))
    assert get(chaos, folder).path.read_bytes() == MODEL
    assert ranges(chaos) == [None, "bytes=100000-"]


def test_a_file_that_changed_starts_over(chaos: ChaosServer, folder: Path) -> None:
    other = model_bytes(200_000, seed=2)
    served = ServedFile(MODEL, cuts=[100_000])
    chaos.add("file", served)
    with pytest.raises(errors.TruncatedStream):
        get(chaos, folder, patience=ONCE)
    served.content, served.etag = other, '"v2"'
    assert get(chaos, folder).path.read_bytes() == other
    assert ranges(chaos) == [None, "bytes=100000-"]  # and the answer was the whole


@pytest.mark.parametrize("lie", ["etag", "size", "start"])
def test_a_part_that_does_not_fit_starts_over(chaos: ChaosServer, folder: Path, lie: str) -> None:
    other = model_bytes(300_000 if lie == "etag" else 250_000, seed=2)
    first, second = ServedFile(MODEL, cuts=[100_000]), ServedFile(other, etag='"v2"' if lie == "etag" else '"v1"')

    async def mode(connection: Any, seen: Any) -> None:
        if len(chaos.requests) == 1:
            await first(connection, seen)
            return
        if lie == "start" and "range" in seen.headers:
            seen.headers["range"] = "bytes=5-"
        seen.headers.pop("if-range", None)  # a server that does not know it
        await second(connection, seen)

    chaos.add("file", mode)
    assert get(chaos, folder).path.read_bytes() == other
    assert ranges(chaos) == [None, "bytes=5-" if lie == "start" else "bytes=100000-", None]


def test_a_server_without_ranges_sends_all_again(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, ranges=False, cuts=[100_000]))
    assert get(chaos, folder).path.read_bytes() == MODEL
    assert ranges(chaos) == [None, "bytes=100000-"]


def test_without_a_version_there_is_no_going_on(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, etag="", cuts=[100_000]))
    assert get(chaos, folder).path.read_bytes() == MODEL
    assert ranges(chaos) == [None, None]


def test_the_checksum_is_version_enough(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, etag="", cuts=[100_000]))
    assert get(chaos, folder, sha256=SUM).path.read_bytes() == MODEL
    assert ranges(chaos) == [None, "bytes=100000-"]


def test_a_part_that_was_damaged_is_fetched_again(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[100_000]))
    with pytest.raises(errors.TruncatedStream):
        get(chaos, folder, patience=ONCE, sha256=SUM)
    part = folder / "model.gguf.part"
    part.write_bytes(b"GGUF" + bytes(99_996))
    assert get(chaos, folder, sha256=SUM).path.read_bytes() == MODEL
    assert ranges(chaos) == [None, "bytes=100000-", None]


def test_a_part_of_something_else_is_not_used(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[100_000]))
    with pytest.raises(errors.TruncatedStream):
        get(chaos, folder, patience=ONCE)
    chaos.add("file2", ServedFile(MODEL))
    get(chaos, folder, "file2")
    assert ranges(chaos) == [None, None]


def test_a_whole_part_needs_no_more_bytes(chaos: ChaosServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chaos.add("file", ServedFile(MODEL))

    def fails(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", fails)
        with pytest.raises(errors.StorageError):
            get(chaos, folder)
    assert get(chaos, folder).path.read_bytes() == MODEL
    assert len(chaos.requests) == 1


def test_a_wrong_checksum_leaves_nothing(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    with pytest.raises(errors.ProtocolError, match=SUM):
        get(chaos, folder, sha256="0" * 64)
    assert files(folder) == set()
    assert len(chaos.requests) == 1


def test_a_wrong_size_is_not_even_begun(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    with pytest.raises(errors.ProtocolError, match="300,000 bytes"):
        get(chaos, folder, size=299_999)
    assert files(folder) == set()


def test_more_than_was_announced_is_not_taken(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, told=None))
    with pytest.raises(errors.ProtocolError, match="more than"):
        get(chaos, folder, size=200_000)
    assert files(folder) == set()


def test_less_than_was_announced_is_not_whole(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, told=None, etag=""))
    with pytest.raises(errors.TruncatedStream):
        get(chaos, folder, size=400_000)
    assert "model.gguf" not in files(folder)


def test_a_length_that_nobody_tells_is_no_hindrance(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, told=None))
    shown: list[int | None] = []
    assert get(chaos, folder, progress=lambda done, total: shown.append(total)).path.read_bytes() == MODEL
    assert set(shown) == {None}


def test_a_packed_answer_is_unpacked(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, packed=True))
    assert get(chaos, folder, sha256=SUM).path.read_bytes() == MODEL


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>Log in</html>", b"GG", b"", b"PK\x03\x04" * 1000])
def test_what_is_no_model_is_not_kept(chaos: ChaosServer, folder: Path, content: bytes) -> None:
    chaos.add("file", ServedFile(content, kind="text/html"))
    with pytest.raises(errors.ProtocolError) as caught:
        get(chaos, folder)
    assert "text/html" in caught.value.message or not content
    assert files(folder) == set()
    assert len(chaos.requests) == 1


def test_what_only_begins_like_one_is_not_kept(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(b"GGUF" + (77).to_bytes(4, "little") + bytes(100)))
    with pytest.raises(errors.ProtocolError, match="version 77"):
        get(chaos, folder)
    assert files(folder) == set()


@pytest.mark.parametrize(
    ("failures", "tries"),
    [
        ([(503, {})], 2),
        ([(429, {"retry-after": "0"})], 2),
        ([(500, {}), (502, {})], 3),
        ([(401, {})], 0),
        ([(404, {})], 0),
    ],
)
def test_what_passes_is_tried_again(
    chaos: ChaosServer, folder: Path, failures: list[tuple[int, dict[str, str]]], tries: int
) -> None:
    chaos.add("file", ServedFile(MODEL, failures=failures))
    if tries:
        assert get(chaos, folder).path.read_bytes() == MODEL
        assert len(chaos.requests) == tries
    else:
        with pytest.raises((errors.AuthFailed, errors.NotFound)):
            get(chaos, folder)
        assert len(chaos.requests) == 1
        assert files(folder) == set()


def test_the_tries_end(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[1000] + [0] * 50))
    with pytest.raises(errors.TruncatedStream):
        get(chaos, folder)
    assert len(chaos.requests) == SOON.again + 1
    assert (folder / "model.gguf.part").stat().st_size == 1000


def test_a_long_wait_is_the_users_business(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, failures=[(429, {"retry-after": "1000000000"})]))
    with pytest.raises(errors.RateLimited) as caught:
        get(chaos, folder)
    assert caught.value.retry_after == 1_000_000_000
    assert len(chaos.requests) == 1


def test_nobody_there_is_said_soon(folder: Path) -> None:
    url = parse_url(refused_url())
    said: list[str] = []
    with pytest.raises(errors.Refused):
        download(Wanted(url, folder / "a.gguf", "", allow_private=True), patience=SOON, waits=said.append)
    assert len(said) == SOON.first
    assert files(folder) == set()


def test_an_address_inside_is_not_asked(chaos: ChaosServer, folder: Path) -> None:
    with pytest.raises(errors.InvalidRequest):
        get(chaos, folder, allow_private=False)
    assert not chaos.connections
    assert files(folder) == set()


def test_another_file_of_that_name_stays(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"precious")
    for sha256 in ("", SUM):
        with pytest.raises(errors.InvalidRequest, match="--force"):
            get(chaos, folder, sha256=sha256)
    assert (folder / "model.gguf").read_bytes() == b"precious"
    assert not chaos.requests
    assert get(chaos, folder, force=True).path.read_bytes() == MODEL


def test_a_name_that_is_taken_meanwhile_is_not_replaced(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL))

    def taken(done: int, total: int | None) -> None:
        (folder / "model.gguf").write_bytes(b"precious")

    with pytest.raises(errors.StorageError, match="there already"):
        get(chaos, folder, progress=taken)
    assert (folder / "model.gguf").read_bytes() == b"precious"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_not_followed(chaos: ChaosServer, folder: Path, tmp_path: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    folder.mkdir()
    (tmp_path / "victim").write_bytes(b"precious")
    (folder / "model.gguf.part").symlink_to(tmp_path / "victim")
    with pytest.raises(errors.StorageError):
        get(chaos, folder)
    (folder / "model.gguf.part").unlink()
    (folder / "model.gguf").symlink_to(tmp_path / "victim")
    get(chaos, folder, force=True)
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (folder / "model.gguf").is_symlink()


def test_two_at_once_are_one_and_a_word(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[100_000], stalls=True))
    cancel, ended, came = Cancel(), list[str](), threading.Event()

    def shown(done: int, total: int | None) -> None:
        if done == 100_000:
            came.set()

    def first() -> None:
        try:
            get(chaos, folder, cancel=cancel, timeouts=Timeouts(idle=20), progress=shown)
        except errors.Cancelled:
            ended.append("cancelled")

    thread = threading.Thread(target=first)
    thread.start()
    assert came.wait(5)
    with pytest.raises(errors.StorageError, match="another process"):
        get(chaos, folder)
    cancel.set()
    thread.join(5)
    assert ended == ["cancelled"]
    assert (folder / "model.gguf.part").exists()
    assert get(chaos, folder).path.read_bytes() == MODEL


def test_a_disk_that_has_no_room_is_noticed_before(
    chaos: ChaosServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    chaos.add("file", ServedFile(MODEL))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20_000_000 + 16_000))
    assert get(chaos, folder).fetched
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=50_000))
    with pytest.raises(errors.StorageError, match=r"no room for model\.gguf: 300 kB"):
        get(chaos, folder, force=True)
    assert (folder / "model.gguf").read_bytes() == MODEL


LIMITED = """
import resource, signal, sys
from pathlib import Path
from lollms_core.errors import StorageError
from lollms_core.safety.urls import parse_url
from lollms_runtime.models.download import Wanted, download
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
url = parse_url(sys.argv[1])
try:
    download(Wanted(url, Path(sys.argv[2]), "", allow_private=True))
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
def test_a_disk_that_fills_up_keeps_what_came(chaos: ChaosServer, folder: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    target = str(folder / "model.gguf")
    command = [sys.executable, "-c", LIMITED, chaos.url("file/model.gguf"), target]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=30)
    assert "There is no room left for model.gguf" in done.stdout
    assert "100 kB are kept" in done.stdout
    assert files(folder) == {"model.gguf.part", "model.gguf.part.json"}
    assert get(chaos, folder).path.read_bytes() == MODEL
    assert ranges(chaos) == [None, "bytes=100000-"]


@pytest.mark.parametrize("step", ["open", "write", "fsync", "close", "replace", "link", "unlink", "ftruncate"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("force", [False, True])
def test_any_failing_step_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, nth: int, force: bool
) -> None:
    from lollms_runtime.models.part_file import Note

    target, calls, real = tmp_path / "model.gguf", [0], getattr(os, step)
    if force:
        target.write_bytes(b"old")

    def shim(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == nth:
            if step == "close":
                real(*given, **named)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*given, **named)

    failed = False
    with monkeypatch.context() as patch:
        patch.setattr(os, step, shim)
        try:
            part = PartFile(target)
            try:
                part.begin(Note())
                part.write(MODEL[:1000])
                part.write(MODEL[1000:])
                part.finish(Note(), replace=force)
            finally:
                part.close()
        except (errors.StorageError, OSError):
            failed = True
    content = target.read_bytes() if target.exists() else None
    assert content in ((b"old" if force else None), MODEL)
    assert failed or content == MODEL
    again = PartFile(target)  # nothing keeps the next one from it
    again.close()
