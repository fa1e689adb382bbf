"""One model file from a URL onto the disk: resumed, checked, and given its name only when it is whole.

A part that is there is gone on with only if it is of the same version: the request says so (`If-Range`), and the answer
must fit (its range, its size, its ETag). Without a version that can be named, the SHA-256 of the whole file decides
afterwards; without that either, it starts over. A server that ignores ranges sends everything again, and then
everything counts again.

Broken connections and servers that are busy are tried again with growing waits, as long as tries bring something. What
does not change by waiting ends at once: a refused key, a wrong file, a full disk.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from lollms_core.errors import (
    InvalidRequest,
    LollmsError,
    ModelLoadFailed,
    ProtocolError,
    StorageError,
    TruncatedStream,
    meaning,
)
from lollms_core.protocols.base import Timeouts
from lollms_core.safety.urls import Url
from lollms_runtime.cancel import Cancel, current_cancel
from lollms_runtime.fetcher import Fetched, fetch, status_error
from lollms_runtime.models import check_gguf
from lollms_runtime.models.hub import sha256_of_hop
from lollms_runtime.models.part_file import Note, PartFile, in_bytes, read_note

if TYPE_CHECKING:
    from lollms_runtime.transport.sockets import LookUp

__all__ = ["Downloaded", "Patience", "Wanted", "download"]

Progress = Callable[[int, int | None], None]
"""Bytes that are here, and bytes of the whole file if that is known."""

_MAGIC = b"GGUF"
_MOST_BYTES = 4_000_000_000_000
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_TRANSFER = Timeouts(connect=15, first_byte=60, idle=60, total=None)
_WORTH = 1 << 20  # bytes after which a try has brought something


class Wanted(NamedTuple):
    """What to fetch. `source` is what the user asked for; `sha256` and `size` (bytes) are checked where known.

    `credentials` are header lines for the URL's own origin.
    """

    url: Url
    target: Path
    source: str
    sha256: str = ""
    size: int | None = None
    commit: str = ""
    credentials: Mapping[str, str] = {}
    allow_private: bool = False
    trusts_hop: bool = False
    """Whether the URL's own server is a hub that tells the SHA-256 when it redirects to its storage."""


class Patience(msgspec.Struct, frozen=True):
    """How often a transfer that brings nothing is tried again, and the waits between in seconds."""

    first: int = 1
    """Repetitions while the server has never answered."""

    again: int = 6
    base: float = 1.0
    longest: float = 30.0
    obey: float = 60.0

    def wait(self, error: LollmsError, failures: int, answered: bool) -> float | None:
        """Seconds until the next try; None if there is none. `failures` in a row brought nothing, this one included."""
        final = not meaning(error).retryable or error.upstream_code == "tls"
        if final or failures > (self.again if answered else self.first):
            return None
        wait = min(self.base * 2.0 ** (failures - 1), self.longest) * (0.5 + random.random())  # noqa: S311
        if error.retry_after is not None:
            return None if error.retry_after > self.obey else max(wait, error.retry_after)
        return wait


class Downloaded(NamedTuple):
    """The file, its size in bytes, and whether it had to be fetched."""

    path: Path
    size: int
    fetched: bool


def download(
    wanted: Wanted,
    *,
    force: bool = False,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    waits: Callable[[str], None] | None = None,
    timeouts: Timeouts = _TRANSFER,
    patience: Patience = Patience(),  # noqa: B008 - a frozen value
    resolve: LookUp | None = None,
) -> Downloaded:
    """Fetch a GGUF file, unless it is there already.

    Without `force` another file of that name is never replaced. `progress` is called often; `waits` gets a sentence
    before each further try. When this raises, what has come stays as NAME.part and the next call goes on with it.
    Raises `StorageError`, `InvalidRequest` when the name is taken, `ProtocolError` for a file that is not the one that
    was announced or no GGUF file, and what `fetch` and `status_error` give.
    """
    if not force and os.path.lexists(wanted.target):
        return _already_there(wanted)
    part = PartFile(wanted.target)
    try:
        if not force and os.path.lexists(wanted.target):  # another process has just finished it
            return _already_there(wanted)
        transfer = _Transfer(wanted, part, progress or (lambda done, total: None), cancel or current_cancel())
        transfer.run(timeouts, patience, waits or (lambda sentence: None), resolve)
        part.finish(transfer.note, replace=force)
        return Downloaded(wanted.target, part.length, True)
    finally:
        part.close()


def _already_there(wanted: Wanted) -> Downloaded:
    """The file that has the name, if it is the one. Raises `InvalidRequest` otherwise."""
    path = wanted.target
    note = read_note(path.with_name(path.name + ".json"))
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}. Remove it, or use --force.") from error
    if note is not None and note.size in (None, size):
        if wanted.sha256 and note.sha256 == wanted.sha256:
            return Downloaded(path, size, False)
        if not wanted.sha256 and note.url == str(wanted.url):
            return Downloaded(path, size, False)
    if wanted.sha256 and wanted.size in (None, size) and _sha256(path) == wanted.sha256:
        return Downloaded(path, size, False)
    raise InvalidRequest(
        f"There is another {path.name} in {path.parent}. Use --force to replace it, or --name to keep both.",
        param="name",
    )


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error


class _StartOver(Exception):
    """The part is of another version."""


class _Transfer:
    """The tries for one file. `note` says what is known of it so far."""

    def __init__(self, wanted: Wanted, part: PartFile, progress: Progress, cancel: Cancel) -> None:
        self._wanted = wanted
        self._part = part
        self._progress = progress
        self._cancel = cancel
        self._fresh = Note(str(wanted.url), wanted.source, "", wanted.size, wanted.sha256, wanted.commit)
        self._answered = False
        self._digest = hashlib.sha256()
        self.note = self._fresh
        self._resumed = self._take_up()

    def run(
        self,
        timeouts: Timeouts,
        patience: Patience,
        waits: Callable[[str], None],
        resolve: LookUp | None,
    ) -> None:
        """Fetch until the file is whole and checked. Raises as `download` does."""
        failures, mark, overs = 0, self._part.length, 0
        while True:
            try:
                if not self._is_whole():
                    self._try(timeouts, resolve)
                self._check()
                return
            except _StartOver:
                overs += 1
                if overs > 2:
                    raise ProtocolError(
                        f"{self._wanted.url.origin} sends another file with each answer. Try again later."
                    ) from None
                self._begin(self._fresh)
                mark = 0
            except LollmsError as error:
                if self._part.length - mark >= _WORTH:
                    failures, mark = 0, self._part.length
                failures += 1
                wait = patience.wait(error, failures, self._answered)
                if wait is None:
                    raise
                said = str(error).removesuffix(" Try again.").removesuffix(" Try again later.")
                waits(f"{said} Trying again in {wait:.0f} s, from {in_bytes(self._part.length)} on.")
                _sleep(wait, self._cancel)

    # ---- what is there

    def _take_up(self) -> bool:
        """Whether the part that is there is gone on with."""
        part, old, new = self._part, self._part.note, self._fresh
        same = old is not None and (old.sha256 == new.sha256 if new.sha256 else old.url == new.url)
        if not part.length or old is None or not same or not (old.validator or old.sha256):
            self._begin(new)
            return False
        part.read_into(self._digest)
        validator = old.validator if old.url == new.url else ""  # another address may name versions otherwise
        self.note = msgspec.structs.replace(
            new, validator=validator, size=new.size or old.size, sha256=new.sha256 or old.sha256
        )
        return True

    def _begin(self, note: Note) -> None:
        self._part.begin(note)
        self._digest = hashlib.sha256()
        self._resumed = False
        self.note = note

    def _is_whole(self) -> bool:
        known = self.note.sha256 or self.note.validator
        return bool(known) and self.note.size is not None and self._part.length == self.note.size

    # ---- one try

    def _try(self, timeouts: Timeouts, resolve: LookUp | None) -> None:
        wanted, part = self._wanted, self._part
        if part.length and not (self.note.validator or self.note.sha256):
            self._begin(self._fresh)
        offset = part.length
        headers = {"accept": "*/*"}
        if offset:
            headers["range"] = f"bytes={offset}-"
            if self.note.validator:
                headers["if-range"] = self.note.validator
        with fetch(
            wanted.url,
            cancel=self._cancel,
            headers=headers,
            credentials=wanted.credentials,
            allow_private=wanted.allow_private,
            max_bytes=_MOST_BYTES,
            timeouts=timeouts,
            resolve=resolve,
        ) as response:
            self._answered = True
            total = self._accept(response, offset)
            if total is not None:
                part.check_room(total)
            self._progress(part.length, total)
            head = b""
            for data in response.chunks():
                if part.length < len(_MAGIC):
                    head += data
                    if len(head) < len(_MAGIC):
                        continue
                    self._check_magic(head, response)
                    data, head = head, b""
                part.write(data)
                self._digest.update(data)
                if total is not None and part.length > total:
                    part.discard()
                    raise ProtocolError(
                        f"{response.url.origin} sends more than the {total:,} bytes that were announced."
                    )
                self._progress(part.length, total)
            if head:
                self._check_magic(head, response)
        if total is not None and part.length != total:
            raise TruncatedStream(f"The answer of {response.url.origin} ended before its end.")

    def _accept(self, response: Fetched, offset: int) -> int | None:
        """Look at the headers, make the part fit, and give the size of the whole file if it is known."""
        status, headers = response.status, response.headers
        packed = headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
        validator = _validator(headers)
        if offset and status == 206:
            start, total = _content_range(headers)
            changed = self.note.validator and validator and validator != self.note.validator
            resized = total is not None and self.note.size is not None and total != self.note.size
            if start != offset or packed or changed or resized:
                raise _StartOver
            self._resumed = True
            if total is not None and self.note.size is None:
                self.note = msgspec.structs.replace(self.note, size=total)
            return self.note.size
        if offset and status == 416:
            raise _StartOver
        if status != 200:
            raise status_error(response)
        length = headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 18 and not packed else None
        told, told_size = sha256_of_hop(response.hops[0].headers) if self._wanted.trusts_hop else ("", None)
        sha256 = self._fresh.sha256 or told
        expected = self._fresh.size if self._fresh.size is not None else told_size
        if expected is not None and size is not None and size != expected:
            raise ProtocolError(
                f"{response.url.origin} sends {size:,} bytes, and the file should have {expected:,}. None was taken."
            )
        whole = expected if expected is not None else size
        self._begin(
            msgspec.structs.replace(self._fresh, validator="" if packed else validator, size=whole, sha256=sha256)
        )
        return whole

    def _check_magic(self, head: bytes, response: Fetched) -> None:
        if head.startswith(_MAGIC):
            return
        kind = "".join(c if c.isprintable() else "?" for c in response.headers.get("content-type", "nothing said"))
        self._part.discard()
        raise ProtocolError(
            f"What {response.url.origin} sends is not a GGUF model ({kind[:80]}). Check the address: it must be that "
            "of the file, not of a page about it."
        )

    # ---- the whole file

    def _check(self) -> None:
        """Raises `ProtocolError` and throws the part away, unless the file is the one that was announced."""
        digest = self._digest.hexdigest()
        if self.note.sha256 and digest != self.note.sha256:
            if self._resumed:
                raise _StartOver  # the beginning was damaged, or of another version
            self._part.discard()
            raise ProtocolError(
                f"The checksum of {self._wanted.target.name} is wrong: it is {digest}, and should be "
                f"{self.note.sha256}. The file was thrown away."
            )
        try:
            check_gguf(self._part.path)
        except ModelLoadFailed as error:
            self._part.discard()
            raise ProtocolError(
                f"What came is no model that can be used: {str(error).replace('.part', '')} It was thrown away."
            ) from error
        self.note = msgspec.structs.replace(self.note, size=self._part.length, sha256=digest)


def _validator(headers: Mapping[str, str]) -> str:
    """What names this version in `If-Range`: a strong ETag, else the date of the last change."""
    etag = headers.get("etag", "").strip()
    if etag.startswith('"') and etag.endswith('"') and len(etag) > 2:
        return etag[:500] if etag.isascii() and etag.isprintable() else ""
    return "" if etag else headers.get("last-modified", "").strip()[:100]


def _content_range(headers: Mapping[str, str]) -> tuple[int, int | None]:
    """First byte and size of the whole, from the headers of a part. Raises `_StartOver` for nonsense."""
    found = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None:
        raise _StartOver
    total = None if found[3] == "*" else int(found[3])
    if total is not None and int(found[2]) != total - 1:
        raise _StartOver
    return int(found[1]), total


def _sleep(seconds: float, cancel: Cancel) -> None:
    woken = threading.Event()
    with cancel.undoing(woken.set):
        woken.wait(seconds)
