"""What the soak runs: a configuration with one of everything, its backends, and the server that is watched."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes
from tests.support.full_house import write_house
from tests.support.server import KEY

__all__ = ["SPARE", "House", "running_house"]

SPARE = "sk-soak-spare-0123456789"
_STOP = 45.0


@dataclass
class House:
    """A running server. `talk` asks its inside (see `watched`), `folder` is where its configuration lies."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    log: Path
    talk: Any
    exit_code: int | None = None

    def ask(self, question: str) -> Any:
        """One question to the inside of the process; None when it is dead."""
        try:
            self.talk.write(question + "\n")
            self.talk.flush()
            return json.loads(self.talk.readline())
        except (OSError, ValueError):
            return None

    def wrong_lines(self) -> list[str]:
        """Lines of the server's log that must not be there."""
        bad = ("Traceback", "unforeseen", "never retrieved", "Unclosed", "was never awaited", "Fatal", "stood still")
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line[:300] for line in lines if any(word in line for word in bad)]


@contextlib.contextmanager
def running_house(folder: Path) -> Iterator[House]:
    """Backends and server, for as long as the block; both are ended, and `exit_code` says how the server did."""
    with _backends(folder) as (openai, ollama):
        configs = _configuration(folder, openai, ollama)
        port = processes.free_port()
        ours, theirs = socket.socketpair()
        own = {"PYTHONPATH": str(processes.ROOT), "LOLLMS_HOME": str(folder / "home")}
        arguments = ["serve", "--config-dir", str(configs), "--port", str(port)]
        log = folder / "server.log"
        with ours, log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.soak.watched", str(theirs.fileno()), *arguments],
                cwd=processes.ROOT,
                env={**os.environ, **own},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            theirs.close()
            house = House(port, process, folder, log, ours.makefile("rw", encoding="utf-8"))
            try:
                processes.wait_for_port(port, process, log)
                yield house
            finally:
                house.exit_code = _stopped(process)


def _stopped(process: subprocess.Popen[bytes]) -> int | None:
    """Stop the server as a service manager does; its exit code, None if it had to be killed."""
    process.terminate()
    try:
        return process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


@contextlib.contextmanager
def _backends(folder: Path) -> Iterator[tuple[str, str]]:
    with (folder / "upstream.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.soak.upstream"],
            cwd=processes.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            try:
                said = json.loads(process.stdout.readline())
                yield said["openai"], said["ollama"]
            finally:
                process.stdin.close()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _configuration(folder: Path, openai: str, ollama: str) -> Path:
    """The house of the tests, with a local model and an address where nobody listens beside it."""
    config: dict[str, Any] = {"logging": {"log_level": "WARNING"}}
    configs = write_house(folder, ollama, openai, config, secrets={}, main="openai")
    more = {
        "nano": {"type": "llamacpp_binding", "default_model": "lollms-nano"},
        "refused": {"type": "openai_binding", "base_url": f"http://127.0.0.1:{processes.free_port()}/v1"},
    }
    main = configs / "main_config.yaml"
    whole = json.loads(main.read_text(encoding="utf-8"))
    whole["bindings_map"] |= {name: each["type"] for name, each in more.items()}
    whole["security"] = {"allowed_api_keys": [KEY, SPARE]}
    main.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    for name, each in more.items():
        file = configs / "bindings" / f"{name}.yaml"
        file.write_text(json.dumps(each), encoding="utf-8")
        file.chmod(0o600)
    (folder / "home").mkdir(mode=0o700)
    return configs
