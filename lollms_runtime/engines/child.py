"""One child process: started with a line on its standard input, watched, and ended for certain.

Two threads belong to a child. One reads its only line on standard output and then waits for its end, so that a death is
known at once and leaves no zombie; the other drains its log, so that the child never blocks, and keeps the last lines
for messages. Both end with the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any

import msgspec

from lollms_core.protocols.http_errors import scrub

__all__ = ["Child", "Command"]

_LINE = 1000  # characters that are kept of a log line
_KEPT = 200  # lines
_ANSWER = 65_536
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


class Command(msgspec.Struct, frozen=True):
    """How to start a child: its arguments, the JSON line it is given, and what else to know of it.

    `port` is the port it was told to listen on, None if it says so itself. `secrets` never appear in messages.
    """

    argv: tuple[str, ...]
    line: dict[str, Any]
    port: int | None = None
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Command({self.argv})"


def environment() -> dict[str, str]:
    """Our environment for an engine: without secrets, and with threads that sleep while they wait.

    The OpenMP of llama.cpp lets waiting threads spin. As soon as another program wants the same cores, each token then
    costs a time slice: 400 ms were measured where 0.4 ms are enough. Set OMP_WAIT_POLICY=ACTIVE to have it back.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith(_SECRET_ENDINGS)}
    kept.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return kept


class Child:
    """A running child. `notify` is called, from another thread, when it has answered and when it has ended.

    Attributes: `pid`; `answer`, its line as a JSON object, once it has come; `ended`, set when the process is gone and
    its log complete. Raises OSError if the process cannot be started.
    """

    def __init__(self, command: Command, notify: Callable[[], None]) -> None:
        self.command = command
        self.answer: dict[str, Any] | None = None
        self.ended = threading.Event()
        self._notify = notify
        self._log: deque[str] = deque(maxlen=_KEPT)
        self._process = subprocess.Popen(
            command.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,  # Ctrl-C in the terminal is for us; we decide what becomes of the child
        )
        self.pid = self._process.pid
        self._threads = [
            threading.Thread(target=work, daemon=True, name=f"engine-{name}-{self.pid}")
            for name, work in (("wait", self._wait), ("log", self._drain))
        ]
        for thread in reversed(self._threads):  # the first joins the second, which must have been started by then
            thread.start()
        with contextlib.suppress(OSError, ValueError):  # it died already: that is seen elsewhere
            _pipe(self._process.stdin).write(json.dumps(command.line).encode() + b"\n")
            _pipe(self._process.stdin).flush()

    @property
    def exit_code(self) -> int | None:
        """Negative for the signal that ended it, None while it runs."""
        return self._process.returncode if self.ended.is_set() else None

    @property
    def died_of(self) -> str:
        """How it ended, in words."""
        code = self.exit_code
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {-code}, {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"

    def log(self) -> list[str]:
        """The last lines of its log, without secrets and control characters."""
        return [scrub(line, self.command.secrets) for line in tuple(self._log)]

    def kill(self) -> None:
        """End it at once; `notify` is called when that has happened."""
        self._signal(_KILL)

    def _signal(self, number: int) -> None:
        """To the child and to what it has started: a program the user names is often a script around another one."""
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.terminate()
            else:
                os.killpg(self.pid, number)  # it leads a session of its own

    def end(self, grace: float = 2.0) -> None:
        """End it: by closing its input, after `grace` seconds by asking, then by force. Afterwards nothing is left."""
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        if self.command.port is not None or self.answer is None:
            self._signal(signal.SIGTERM)  # it does not watch its input, or not yet
        if not self._ended_within(grace):
            self._signal(signal.SIGTERM)
            if not self._ended_within(grace / 2):
                self._signal(_KILL)
                self._process.wait()
        for thread in self._threads:
            thread.join(1.0)

    def _ended_within(self, seconds: float) -> bool:
        return self.ended.wait(seconds)

    def _wait(self) -> None:
        with _pipe(self._process.stdout) as stdout:
            line = stdout.readline(_ANSWER)
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                self.answer = answer if isinstance(answer, dict) else None
            if self.answer is not None:
                self._notify()
            self._process.wait()
        self._signal(_KILL)  # whatever it has left behind
        self._threads[1].join(0.5)  # so that the last lines of the log are there when the end is known
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        self.ended.set()
        self._notify()

    def _drain(self) -> None:
        with _pipe(self._process.stderr) as stderr:
            while line := stderr.readline(_LINE):
                self._log.append(line.decode("utf-8", "replace").rstrip())


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the child was started without this pipe")
    return pipe
