"""Building the C programs, and starting and stopping the processes that are measured."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benchmarks" / "programs"
BUILD = ROOT / "benchmarks" / "build"
KEY = "sk-benchmark-0123456789abcdef"
GATEWAY_CORE, LOAD_CORE = "0", "1"


COUNT_ONCE = (
    "c->md=0; c->marks++; allmarks++;",
    "c->md=0; if(expect>=0&&c->marks>=expect) continue; c->marks++; allmarks++;",
)
"""Our `final` event repeats the whole text. Without this, `load` would count those marks as tokens that came very late;
it is applied to the copy that is built, for every target alike."""


def build() -> None:
    """Copy the programs to the build folder (`bench.py` wants `load` beside it) and compile the C ones."""
    BUILD.mkdir(exist_ok=True)
    for source in PROGRAMS.iterdir():
        if source.suffix in (".py", ".c"):
            shutil.copy2(source, BUILD / source.name)
    load = BUILD / "load.c"
    before = load.read_text(encoding="utf-8")
    after = before.replace(*COUNT_ONCE)
    if after == before:
        raise SystemExit("load.c has changed: the patch of benchmarks/processes.py does not fit it")
    load.write_text(after, encoding="utf-8")
    for name in ("mock", "load", "relay"):
        subprocess.run(["gcc", "-O2", "-o", name, f"{name}.c"], cwd=BUILD, check=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(name: str, command: list[str | Path], port: int, *, core: str | None, **environment: str) -> Iterator[int]:
    """A process that listens on `port`; gives its id. Its output goes to a log in the build folder."""
    pinned = ["taskset", "-c", core] if core is not None else []
    log = BUILD / f"{name}.log"
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [*pinned, *map(str, command)],
            cwd=BUILD,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            wait_for_port(port, process, log)
            yield process.pid
        finally:
            stop(process)


def wait_for_port(port: int, process: subprocess.Popen[Any], log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{log.stem} ended at once:\n{log.read_text(encoding='utf-8')[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise SystemExit(f"{log.stem} does not listen on port {port} after {seconds} s")


def stop(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def mock() -> Iterator[int]:
    """The mock upstream; gives its port."""
    port = free_port()
    with running("mock", [BUILD / "mock", str(port)], port, core=LOAD_CORE):
        yield port


@contextlib.contextmanager
def floor(upstream: int) -> Iterator[int]:
    """The C relay: passes bytes on, parses nothing."""
    port = free_port()
    with running("relay", [BUILD / "relay", str(port), str(upstream)], port, core=GATEWAY_CORE):
        yield port


@contextlib.contextmanager
def bare_relay(upstream: int) -> Iterator[int]:
    """`asgi-aio-msg-co` of gateways.sh: bare ASGI, aiohttp, msgspec, one send per upstream read."""
    port = free_port()
    options = "--no-access-log --log-level warning --loop uvloop --http httptools --backlog 4096 --host 127.0.0.1"
    command: list[str | Path] = [sys.executable, "-m", "uvicorn", *options.split(), "--port", str(port), "gw:asgi_app"]
    knobs = {"UP": "aiohttp", "TR": "msgspec", "CO": "1", "MOCK": f"http://127.0.0.1:{upstream}"}
    with running("bare", command, port, core=GATEWAY_CORE, **knobs):
        yield port


MAIN_CONFIG = """\
server: {{host: 127.0.0.1, port: {port}}}
security: {{allowed_api_keys: ["{key}"]}}
defaults: {{ttt_binding: {instance}}}
bindings_map: {{{instance}: {binding}}}
resource_manager: {{gpu_strategy: none}}
logging: {{log_level: WARNING}}
"""


def configuration(folder: Path, port: int, instance: str, binding: str, settings: str) -> Path:
    """A configuration folder with one instance."""
    place = folder / "lollms_configs"
    (place / "bindings").mkdir(parents=True, mode=0o700)
    main = place / "main_config.yaml"
    main.write_text(MAIN_CONFIG.format(port=port, key=KEY, instance=instance, binding=binding), encoding="utf-8")
    card = place / "bindings" / f"{instance}.yaml"
    card.write_text(f"type: {binding}\nbinding_instance_name: {instance}\n{settings}", encoding="utf-8")
    for path in (place, place / "bindings"):
        path.chmod(0o700)
    for path in (main, card):
        path.chmod(0o600)
    return place


def serve_command(configs: Path) -> list[str | Path]:
    return [sys.executable, "-m", "lollms_cli", "serve", "--config-dir", configs]


@contextlib.contextmanager
def ours(
    folder: Path, settings: str, *, binding: str = "openai_binding", name: str = "ours", core: str | None = GATEWAY_CORE
) -> Iterator[tuple[int, int]]:
    """Our server with one instance; gives its port and its process."""
    port = free_port()
    configs = configuration(folder / name, port, name, binding, settings)
    own = {"PYTHONPATH": str(ROOT), "LOLLMS_HOME": str(folder / "home")}
    with running(name, serve_command(configs), port, core=core, **own) as pid:
        yield port, pid


def get(url: str, timeout: float = 5) -> bytes | None:
    """The body of a 200 answer; None while there is none."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply:
            body: bytes = reply.read()
            return body
    except (OSError, urllib.error.URLError):
        return None
