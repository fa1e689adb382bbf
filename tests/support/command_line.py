"""Running `lollms` as people do: a process of its own, a home of its own, pipes or a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.chaos import Connection

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "lollms_cli"]


def home(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has nothing yet."""
    keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    own = {"HOME": str(folder), "LOLLMS_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "LOLLMS_PORT": "1"}
    return {**keep, **own, **more}  # nothing listens on port 1, so no server of this machine is found by chance


def lollms(
    *arguments: str, env: dict[str, str], piped: bytes | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with pipes; `piped` is its standard input."""
    given = {"stdin": subprocess.DEVNULL} if piped is None else {"input": piped}
    done = subprocess.run(
        [*COMMAND, *arguments], env=env, cwd=cwd, capture_output=True, timeout=50, check=False, **given
    )  # type: ignore[call-overload]
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def start(*arguments: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start it with pipes; it has a process group of its own, so that a signal reaches it alone."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def on_a_terminal(*arguments: str, env: dict[str, str], typed: bytes = b"", after: bytes = b"") -> tuple[int, bytes]:
    """Run it on a terminal of its own; gives the exit code and all that reached the terminal.

    `typed` is typed when `after` has been shown.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.execve(COMMAND[0], [*COMMAND, *arguments], env)
    shown = b""
    deadline = time.monotonic() + 50
    try:
        while time.monotonic() < deadline:
            if typed and after in shown:
                os.write(terminal, typed)
                typed = b""
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    data = os.read(terminal, 65536)
                except OSError:  # the other side has closed
                    data = b""
                if not data:
                    break
                shown += data
    finally:
        os.close(terminal)
        _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), shown


# ---- a lollms server that answers what it is told to


def sse(kind: str, content: object, **metadata: object) -> bytes:
    """One event of the native protocol."""
    event = {"type": kind, "content": content, "thoughts": None, "metadata": metadata}
    return f"data: {json.dumps(event)}\n\n".encode()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def saying(text: str):  # type: ignore[no-untyped-def]
    """A chaos mode that streams one text, over the native protocol."""

    async def mode(connection: Connection, seen: object) -> None:
        item = {"type": "text", "data": text, "mime_type": None, "thoughts": None, "metadata": {}}
        await connection.send(HEAD + sse("chunk", text) + sse("final", [item], request_id="a" * 16))
        connection.fin()

    return mode


def half_an_answer(text: str, times: int = 1):  # type: ignore[no-untyped-def]
    """A chaos mode that begins an answer and then says nothing more."""

    async def mode(connection: Connection, seen: object) -> None:
        await connection.send(HEAD + sse("chunk", text) * times)
        await connection.forever()

    return mode


def read_until(stream: object, wanted: bytes, seconds: float = 20) -> bytes:
    """Read a pipe until some bytes have come."""
    shown = b""
    deadline = time.monotonic() + seconds
    number: int = stream.fileno()  # type: ignore[attr-defined]
    while wanted not in shown:
        left = deadline - time.monotonic()
        assert left > 0, f"{wanted!r} did not come: {shown!r}"
        if select.select([number], [], [], left)[0]:
            data = os.read(number, 65536)
            assert data, f"it ended before {wanted!r}: {shown!r}"
            shown += data
    return shown


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]):  # type: ignore[no-untyped-def]
    """Whatever happens in the block, the process is gone after it and its pipes are closed."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
