"""A program that looks like `llama-server` from outside and behaves as badly as a test wants (`--behave`).

good       answers "Hello from the stand-in." word by word
stubborn   its slot stays busy for ever once a client has left
unhurried  works in steps of STEP seconds, answers only between them, and lets go of a slot after two of them
mute       once a client has left, it never says anything more of its slots
endless    answers as long as the client stays
taken      the first time, another program has its port: it ends as llama-server does
slow       never has its model loaded
dies       is ended by a signal while it loads
refuses    ends with an error message
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from typing_extensions import override

STEP = 0.3  # seconds


def install(folder: Path) -> Path:
    """An executable file that runs this module; the folder's name may hold anything."""
    program = folder / "llama-server"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behave = "good"
    busy: set[int] = set()  # noqa: RUF012  one server per process
    left: set[int] = set()  # noqa: RUF012

    @override
    def log_message(self, *args: Any) -> None:
        print(self.path, file=sys.stderr)

    def _allowed(self) -> bool:
        if self.headers["authorization"] == f"Bearer {os.environ['LLAMA_API_KEY']}":
            return True
        self._json(401, {"error": {"code": 401, "type": "authentication_error", "message": "Invalid API Key"}})
        return False

    def _json(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path == "/health":
            self._json(200, {"status": "ok"})
        elif self._allowed():
            if self.path == "/slots":
                self._wait_for_the_step()
                self._json(200, [{"id": slot, "is_processing": slot in self.busy} for slot in range(8)])
            elif self.behave == "slow":
                self._json(503, {"error": {"code": 503, "type": "unavailable_error", "message": "Loading model"}})
            else:
                self._json(200, {"default_generation_settings": {"n_ctx": 64}, "argv": sys.argv})

    def _wait_for_the_step(self) -> None:
        if self.behave == "unhurried" and self.busy:
            time.sleep(STEP - time.monotonic() % STEP)
        while self.behave == "mute" and self.left:
            time.sleep(1)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._allowed():
            return
        slot = body.get("id_slot", 0)
        self.busy.add(slot)
        try:
            self._stream()
        except OSError:
            self.left.add(slot)
            if self.behave in ("stubborn", "mute"):
                return
            if self.behave == "unhurried":
                for _ in range(2):
                    time.sleep(STEP - time.monotonic() % STEP)
        self.busy.discard(slot)
        self.close_connection = True

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        words = ["Hello", " from", " the", " stand-in."]
        count = 0
        while self.behave in ("stubborn", "endless", "unhurried", "mute") or count < len(words):
            self._event({"content": words[count % len(words)]}, None)
            count += 1
            time.sleep(0.01)
        self._event({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, delta: object, finish: str | None) -> None:
        chunk = {"model": "stand-in", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def main(argv: list[str]) -> None:
    def value(name: str, default: str = "") -> str:
        return argv[argv.index(name) + 1] if name in argv else default

    Handler.behave = value("--behave", "good")
    address = (value("--host"), int(value("--port")))
    print(f"{Handler.behave}: loading {value('-m')}", file=sys.stderr)
    if Handler.behave == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if Handler.behave == "refuses":
        sys.exit(f"error: no such argument, and the key is {os.environ['LLAMA_API_KEY']}")
    if Handler.behave == "taken" and not Path(value("--mark")).exists():
        Path(value("--mark")).write_text(str(address[1]), encoding="ascii")
        _lose_the_port(address)
    ThreadingHTTPServer(address, Handler).serve_forever()


def _lose_the_port(address: tuple[str, int]) -> None:
    """Leave another process on the port, then end with the error of a server that cannot have it."""
    if os.fork() == 0:
        os.setsid()
        listener = socket.create_server(address)
        threading.Timer(20, os._exit, (0,)).start()
        Path(sys.argv[sys.argv.index("--mark") + 1] + ".pid").write_text(str(os.getpid()), encoding="ascii")
        for stream in (0, 1, 2):
            os.close(stream)
        while True:
            listener.accept()[0].close()
    while not Path(sys.argv[sys.argv.index("--mark") + 1] + ".pid").exists():
        time.sleep(0.01)
    sys.exit("error: couldn't bind HTTP server socket")


if __name__ == "__main__":
    main(sys.argv)
