"""Reading a stream over a plain socket, and when each of its tokens came: cheap, and the same for every server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks import processes


@dataclass(frozen=True)
class Place:
    """Where to ask, how to prove who asks, and by which bytes a token is known in the answer."""

    port: int
    path: str
    header: str
    mark: bytes
    body: Callable[[str, int], dict[str, Any]]


def ours(port: int) -> Place:
    """`POST /api/v1/generate` of a server of ours."""
    return Place(port, "/api/v1/generate", f"x-api-key: {processes.KEY}", b'"type":"chunk"', _generate)


def llama_server(port: int, key: str, **options: Any) -> Place:
    """The chat endpoint of llama.cpp's own server; `options` go into the body."""

    def body(text: str, tokens: int) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}], "stream": True, **_parameters(tokens), **options}

    return Place(port, "/v1/chat/completions", f"authorization: Bearer {key}", b'"delta":{"content":"', body)


def _generate(text: str, tokens: int) -> dict[str, Any]:
    asked = [{"type": "text", "role": "user_prompt", "data": text}]
    return {"input_data": asked, "parameters": _parameters(tokens), "stream": True}


def _parameters(tokens: int) -> dict[str, Any]:
    return {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}  # else the model may stop after a few


@dataclass
class Answer:
    """What came, and when: `pieces` are the reads, as seconds since the request was sent and bytes."""

    mark: bytes
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def text(self) -> bytes:
        """Everything that came."""
        return b"".join([piece for _, piece in self.pieces])

    @property
    def seconds(self) -> float:
        """From the request to the end of the answer."""
        return self.pieces[-1][0]

    def times(self, mark: bytes | None = None) -> list[float]:
        """When each token, or each other mark, had come; seconds since the request."""
        mark, found, seen, start = mark or self.mark, [], b"", 0
        for at, piece in self.pieces:
            seen += piece
            while (place := seen.find(mark, start)) >= 0:
                found.append(at)
                start = place + len(mark)
            seen, start = seen[start:], 0
        return found


class Stream:
    """One request, read by a thread of its own. `answer` grows while it is read; `close` gives it up."""

    def __init__(self, place: Place, text: str, tokens: int) -> None:
        self.answer = Answer(place.mark)
        self._tokens = tokens
        self._socket = socket.create_connection(("127.0.0.1", place.port), timeout=120)
        self._began = time.monotonic()
        self._socket.sendall(_request(place, text, tokens))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except OSError:  # given up, or nothing came for too long
                return
            if not data:
                return
            self.answer.pieces.append((time.monotonic() - self._began, data))

    def until(self, met: Callable[[Answer], bool], seconds: float = 120) -> None:
        """Wait until the answer has what is looked for. Raises `SystemExit` when it ends, or takes too long."""
        deadline = time.monotonic() + seconds
        while not met(self.answer):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise SystemExit(f"a stream did not get as far as it must: {self.answer.text[-500:]!r}")
            time.sleep(0.001)

    def whole(self) -> Answer:
        """The complete answer. Raises `SystemExit` if less than half of its tokens came.

        A server may put several tokens into one event, and a token that is part of a character has none of its own.
        """
        self._thread.join()
        self._socket.close()
        if len(self.answer.times()) < self._tokens // 2:
            raise SystemExit(f"too few of {self._tokens} tokens came: {self.answer.text[-500:]!r}")
        return self.answer

    def close(self) -> None:
        """Leave without waiting for the rest."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


def _request(place: Place, text: str, tokens: int) -> bytes:
    body = json.dumps(place.body(text, tokens)).encode()
    head = [
        f"POST {place.path} HTTP/1.1",
        f"host: 127.0.0.1:{place.port}",
        place.header,
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
