"""A small HTTP client on a bare socket, for tests that must see bytes, leave in the middle, or not read at all."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any


class Answer:
    """A whole answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The JSON of the `data:` events of a stream."""
        return [json.loads(line[6:]) for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:200]!r}>"


class RawRequest:
    """One request on a connection of its own. Usable step by step: headers, then chunks."""

    def __init__(
        self,
        port: int,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 10.0,
        receive_buffer: int | None = None,
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"host": f"127.0.0.1:{port}", "connection": "close"}
        if body is not None:
            given |= {"content-type": "application/json", "content-length": str(len(data))}
        given |= {name.lower(): value for name, value in (headers or {}).items()}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.sock.sendall(head.encode() + b"\r\n" + data)
        self.buffer = b""
        self.status = 0
        self.headers: dict[str, str] = {}

    def __enter__(self) -> RawRequest:
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()

    def leave(self) -> float:
        """Close the connection; the moment, for measuring."""
        self.sock.close()
        return time.monotonic()

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def read_head(self) -> RawRequest:
        """Wait for the status line and headers."""
        while b"\r\n\r\n" not in self.buffer:
            assert self._more(), f"the connection ended after {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return self

    def pieces(self) -> Iterator[bytes]:
        """The body: its chunks as they come, or all of it where it is not chunked."""
        if self.headers.get("transfer-encoding") != "chunked":
            while self._more():
                pass
            yield self.buffer
            return
        while True:
            while b"\r\n" not in self.buffer:
                assert self._more(), "the connection ended before the last chunk"
            size, _, rest = self.buffer.partition(b"\r\n")
            length = int(size, 16)
            while len(rest) < length + 2:
                self.buffer = size + b"\r\n" + rest
                assert self._more(), "the connection ended inside of a chunk"
                rest = self.buffer.partition(b"\r\n")[2]
            self.buffer = rest[length + 2 :]
            if not length:
                return
            yield rest[:length]

    def whole(self) -> Answer:
        """The rest of the answer."""
        if not self.status:
            self.read_head()
        return Answer(self.status, self.headers, b"".join(self.pieces()))


def ask(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """One request and its whole answer."""
    with RawRequest(port, method, path, body=body, headers=headers) as request:
        return request.whole()


def prompt(text: str, **more: Any) -> dict[str, Any]:
    """The body of a generate request."""
    return {"input_data": [{"type": "text", "role": "user_prompt", "data": text}], **more}
