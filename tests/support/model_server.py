"""Model files on a real HTTP server, as they are and as they should not be; a hub that has some; a pretended internet.

`ServedFile` is a mode of `ChaosServer`: it answers ranges, breaks off, stalls, changes, packs, lies. `hub_of(chaos,
...)` makes the server speak the hub's protocol, with a redirect to a storage on another server.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import head, reply

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model_bytes(size: int = 300_000, seed: int = 1) -> bytes:
    """What begins like a model; no two stretches of it are alike."""
    made = bytearray(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    number = seed << 32
    while len(made) < size:
        made += hashlib.sha256(number.to_bytes(8, "little")).digest()
        number += 1
    return bytes(made[:size])


class ServedFile:
    """A file. `cuts` are numbers of body bytes after which the answers break off, one for each of the first requests.

    `stalls` says nothing more instead of breaking off; `ranges` False ignores ranges; `told` is a length that is said
    instead of the true one; None says none. `failures` are statuses with which the first requests are answered.
    """

    def __init__(
        self,
        content: bytes,
        *,
        etag: str = '"v1"',
        ranges: bool = True,
        cuts: Sequence[int] = (),
        stalls: bool = False,
        packed: bool = False,
        told: int | None = -1,
        failures: Sequence[tuple[int, Mapping[str, str]]] = (),
        kind: str = "application/octet-stream",
    ) -> None:
        self.content, self.etag, self.ranges, self.kind = content, etag, ranges, kind
        self.cuts, self.failures = list(cuts), list(failures)
        self.stalls, self.packed, self.told = stalls, packed, told

    async def __call__(self, connection: Connection, seen: Seen) -> None:
        if self.failures:
            code, more = self.failures.pop(0)
            await reply(connection, b"no", code, "No", **{name.replace("-", "_"): v for name, v in more.items()})
            return
        body, start, code = self.content, 0, 200
        found = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
        if found and self.ranges and seen.headers.get("if-range", self.etag) == self.etag:
            start, code = int(found[1]), 206
            if start >= len(body):
                await reply(connection, b"", 416, "Range", content_range=f"bytes */{len(body)}")
                return
        headers = {"content_type": self.kind, "accept_ranges": "bytes", "connection": "close"}
        if self.etag:
            headers["etag"] = self.etag
        if code == 206:
            headers["content_range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        body = body[start:]
        if self.packed:
            body = gzip.compress(body)
            headers["content_encoding"] = "gzip"
        if self.told is not None:
            headers["content_length"] = str(len(body) if self.told < 0 else self.told)
        await connection.send(head(code, "OK", **headers))
        cut = self.cuts.pop(0) if self.cuts else len(body)
        await connection.send(body[:cut])
        if cut < len(body) and self.stalls:
            await connection.forever()
        connection.fin()


async def _redirect(connection: Connection, location: str, **headers: str) -> None:
    await reply(connection, b"Found", 302, "Found", location=location, **headers)


def hub_of(
    chaos: ChaosServer, repo: str, files: Mapping[str, ServedFile], *, token: str = "", wrong: Mapping[str, str] = {}
) -> dict[str, ServedFile]:
    """Make the server a hub with one repository; its storage is `chaos.elsewhere`. `wrong` are checksums it tells."""
    storage = chaos.with_elsewhere()
    org = repo.partition("/")[0]
    sums = {path: wrong.get(path, hashlib.sha256(file.content).hexdigest()) for path, file in files.items()}

    async def api(connection: Connection, seen: Seen) -> None:
        if token and seen.headers.get("authorization") != f"Bearer {token}":
            await reply(connection, b'{"error":"Invalid username or password."}', 401, "No")
        elif seen.path != f"/api/models/{repo}/revision/main?blobs=true":
            await reply(connection, b'{"error":"Repository not found"}', 404, "No")
        else:
            siblings: list[Any] = [{"rfilename": "README.md", "size": 10, "blobId": "a"}]
            for path, file in files.items():
                lfs = {"sha256": sums[path], "size": len(file.content), "pointerSize": 134}
                siblings.append({"rfilename": path, "size": len(file.content), "blobId": "b", "lfs": lfs})
            said = {"id": repo, "sha": COMMIT, "gated": bool(token), "siblings": siblings}
            await reply(connection, json.dumps(said).encode(), content_type="application/json")

    async def resolved(connection: Connection, seen: Seen) -> None:
        found = re.fullmatch(rf"/{re.escape(repo)}/resolve/({COMMIT}|main)/(.+)", unquote(seen.path))
        if found is None or found[2] not in files:
            await reply(connection, b"Entry not found", 404, "No")
        elif token and seen.headers.get("authorization") != f"Bearer {token}":
            await reply(connection, b"Access denied", 401, "No")
        else:
            number = list(files).index(found[2])
            size = str(len(files[found[2]].content))
            linked = {"x_linked_etag": f'"{sums[found[2]]}"', "x_linked_size": size, "x_repo_commit": COMMIT}
            await _redirect(connection, f"{storage.origin}/blob{number}?signature=s", **linked)

    chaos.add("api", api)
    chaos.add(org, resolved)
    for number, file in enumerate(files.values()):
        storage.add(f"blob{number}", file)
    return dict(files)


@contextmanager
def pretended_internet(patch: pytest.MonkeyPatch, places: Mapping[str, int]) -> Iterator[list[str]]:
    """Public addresses lead to ports of this machine; gives the list of addresses that were connected to."""
    from lollms_runtime.transport.sockets import Wire

    real, asked = Wire.connect, list[str]()

    def connect(self: Wire, address: Any, seconds: float) -> None:
        asked.append(address[0])
        real(self, ("127.0.0.1", places[address[0]]) if address[0] in places else address, seconds)

    with patch.context() as inside:
        inside.setattr(Wire, "connect", connect)
        yield asked


def resolver(**names: Sequence[str]) -> Any:
    """A name server: host (`_` for `.`) to answers, one for each time it is asked; a comma parts several addresses."""
    import socket

    answers = {name.replace("_", "."): list(given) for name, given in names.items()}
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[tuple[Any, ...]]:
        asked.append(host)
        left = answers.get(host, [])
        answer = left.pop(0) if len(left) > 1 else left[0] if left else ""
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in answer.split(",") if each]

    resolve.asked = asked  # type: ignore[attr-defined]
    return resolve
