"""A real server for the examples of documents: `python lollms_server/main.py` in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Live(NamedTuple):
    """A running server: its address, its key, and the environment of programs that use it."""

    url: str
    key: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment whose user has nothing yet; the packages come from this checkout."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{keep.get('PATH', '')}"
    own = {"HOME": str(folder), "LOLLMS_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "PATH": path}
    return {**keep, **own, **more}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def live_server(folder: Path, *, instances: Mapping[str, str] | None = None, seconds: float = 40) -> Iterator[Live]:
    """Start the server as a first start with the embedded model, and wait until the model is ready.

    `instances` are further lines of `bindings_map`, written after a first configuration was made.
    """
    port = free_port()
    own = environment(folder)
    if instances:
        _add_instances(folder, own, instances)
    command = [sys.executable, str(ROOT / "lollms_server" / "main.py")]
    command += ["--config-dir", str(folder / "lollms_configs"), "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=own, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _until_ready(url, process, log, seconds)
        key = (folder / "home" / "api_key").read_text(encoding="utf-8").strip()
        yield Live(url, key, own, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _add_instances(folder: Path, own: dict[str, str], instances: Mapping[str, str]) -> None:
    """Make a first configuration, and add lines to its `bindings_map`."""
    configs = folder / "lollms_configs"
    make = (
        "import pathlib, sys; from lollms_server.core.first_start import ensure_config; "
        "ensure_config(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", make, str(configs)], env=own, check=True)
    main = configs / "main_config.yaml"
    lines = "".join(f"  {name}: {kind}\n" for name, kind in instances.items())
    text = main.read_text(encoding="utf-8")
    assert text.count("bindings_map:\n") == 1
    main.write_text(text.replace("bindings_map:\n", f"bindings_map:\n{lines}"), encoding="utf-8")


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    said = ""
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text(encoding='utf-8')[-3000:]}"
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
                said = json.load(reply)["models"]
            if said == "ready":
                return
        time.sleep(0.05)
    raise AssertionError(
        f"the server is not ready after {seconds} s (models: {said}):\n{log.read_text(encoding='utf-8')[-3000:]}"
    )
