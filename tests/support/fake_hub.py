"""A stand-in for Hugging Face's hub, as its own library asks it for a snapshot: one repository, at two revisions.

Written from what `huggingface_hub.snapshot_download` asks: the files of a revision from `/api/models/...` (`revision`,
then `tree`), and each file from `/.../resolve/COMMIT/FILE`, with its commit and etag in the headers. `main` goes to
the next commit when it has been asked for, so that a reader who asks for `main` twice would mix two revisions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typing_extensions import override

NAME = "somebody/hosted"


class FakeHub:
    """`revisions` are folders by commit, in the order in which `main` goes through them."""

    def __init__(self, revisions: dict[str, Path], token: str = "") -> None:
        self.revisions = revisions
        self.token = token
        self.asked: list[str] = []
        self.url = ""
        self.commits = list(revisions)


def files_of(folder: Path) -> dict[str, int]:
    """The files of a folder with their sizes."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}


@contextlib.contextmanager
def fake_hub(revisions: dict[str, Path], token: str = "") -> Iterator[FakeHub]:
    """A hub on a free port of this machine."""
    hub = FakeHub(revisions, token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(path)
            if hub.token and self.headers.get("authorization") != f"Bearer {hub.token}":
                self._send(401, b"{}", {"x-error-code": "GatedRepo"}, with_body)
                return
            api = f"/api/models/{NAME}/"
            if path.startswith(f"{api}revision/"):
                commit = hub.commits[0]
                if len(hub.commits) > 1:
                    hub.commits.pop(0)
                siblings = [{"rfilename": name} for name in files_of(hub.revisions[commit])]
                listed = {"id": NAME, "sha": commit, "siblings": siblings}
                self._send(200, json.dumps(listed).encode(), {}, with_body)
                return
            if path.startswith(f"{api}tree/") and (commit := path.removeprefix(f"{api}tree/")) in hub.revisions:
                tree = [
                    {"type": "file", "path": name, "size": size, "oid": hashlib.sha1(name.encode()).hexdigest()}
                    for name, size in files_of(hub.revisions[commit]).items()
                ]
                self._send(200, json.dumps(tree).encode(), {}, with_body)
                return
            _, _, rest = path.partition(f"/{NAME}/resolve/")
            asked, _, name = rest.partition("/")
            commit = asked if asked in hub.revisions else hub.commits[0]
            file = hub.revisions[commit] / name
            if not rest or not file.is_file():
                self._send(404, b"{}", {"x-error-code": "EntryNotFound"}, with_body)
                return
            data = file.read_bytes()
            etag = hashlib.sha256(data).hexdigest()
            self._send(200, data, {"x-repo-commit": commit, "etag": f'"{etag}"'}, with_body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(data)

        @override
        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
