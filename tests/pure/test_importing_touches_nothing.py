"""Importing any module of ours opens no socket, starts no program, writes no file and sets up no logging."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("lollms_core", "lollms_runtime", "lollms_client", "lollms_server", "lollms_cli")

PROGRAM = """
import importlib, logging, pkgutil, sys

attempts = []

def watch(event, details):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec",
                 "os.posix_spawn", "os.fork", "os.mkdir", "os.rename", "os.remove"):
        attempts.append((event, str(details)[:200]))
    if event == "open" and isinstance(details[1], str) and set(details[1]) & set("wax+"):
        attempts.append((event, str(details)[:200]))

sys.addaudithook(watch)
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if found.name.rsplit(".", 1)[1] not in ("__main__", "main"):
        importlib.import_module(found.name)
assert "pipmaster" not in sys.modules, "pipmaster was imported"
assert not logging.getLogger().handlers, logging.getLogger().handlers
assert not attempts, attempts
print(len(sys.modules))
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_everything_touches_nothing(package: str, tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-c", PROGRAM, package]
    root = Path(__file__).resolve().parents[2]
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(root), "PATH": ""}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
    assert list(tmp_path.iterdir()) == []
