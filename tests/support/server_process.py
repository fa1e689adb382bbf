"""The server as a user starts it: `python lollms_server/main.py` in a process of its own, with a home of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from lollms_server.core.listen import listen_on
from tests.support.both_routes import server_program
from tests.support.raw_http import ask

ROOT = Path(__file__).resolve().parents[2]


class ServerProcess:
    """A started server; `out` and `err` are its lines so far, `key` what it printed at its first start."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=(process.stdout, self.out)),
            threading.Thread(target=self._read, args=(process.stderr, self.err)),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, pipe: Any, lines: list[str]) -> None:
        for line in pipe:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_line(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Wait for a line of standard output."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.out if (match := re.search(pattern, line))), None)

        with self._changed:
            assert self._changed.wait_for(found, timeout), (self.out, self.err)
            match = found()
            assert match is not None
            return match

    @property
    def port(self) -> int:
        return int(self.wait_line(r"is at http://127\.0\.0\.1:(\d+) ").group(1))

    @property
    def key(self) -> str:
        return self.wait_line(r"^export LOLLMS_API_KEY=(\S+)$").group(1)

    def wait_models(self, wanted: str = "ready", timeout: float = 30.0) -> None:
        """Wait until `/health` says so."""
        self.wait_for(lambda: ask(self.port, "GET", "/health").json()["models"] == wanted, timeout)

    def wait_for(self, condition: Callable[[], Any], timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, (self.out, self.err)
            time.sleep(0.02)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_end(self, timeout: float = 30.0) -> int:
        """Its exit code."""
        return self.process.wait(timeout)


@contextlib.contextmanager
def server_process(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    port: int | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[ServerProcess]:
    """Start the server with the configuration `folder/lollms_configs`; it and its children end with the block."""
    if port is None:
        with listen_on("127.0.0.1", 0) as probe:
            port = probe.getsockname()[1]
    home = folder / "home"
    home.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOLLMS_", "XDG_"))}
    process = subprocess.Popen(
        [
            sys.executable,
            str(server_program()),
            "--config-dir",
            str(folder / "lollms_configs"),
            "--port",
            str(port),
            *arguments,
        ],
        cwd=folder,
        env={**inherited, "HOME": str(home), **(env or {})},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    started = ServerProcess(process)
    known: list[psutil.Process] = []
    try:
        yield started
        if process.poll() is None:
            known = started.children()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for thread in started._threads:
            thread.join(10)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    psutil.wait_procs(known, timeout=5)
    assert not [child for child in known if child.is_running()], "the server left children behind"
