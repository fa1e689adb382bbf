"""Importing the client library is cheap and does nothing: few modules, no network stack, no files, no log set-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
heavy = {"httptools", "asyncio", "PIL", "sqlalchemy", "pydantic", "ruamel.yaml", "xllamacpp"}
started, wrote, connected = [], [], []
def hook(event, args):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"):
        started.append(event)
    elif event.startswith("socket.") and event != "socket.__new__":
        connected.append(event)
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        wrote.append(str(args[0]))
sys.addaudithook(hook)
exec(sys.argv[1])
modules, loaded = len(sys.modules), sorted(heavy & set(sys.modules))
import json, logging
print(json.dumps({
    "modules": modules, "loaded": loaded,
    "started": started, "wrote": wrote, "connected": connected,
    "logging": logging.root.handlers == [] and logging.root.level == logging.WARNING,
}))
"""


@pytest.mark.parametrize(
    ("statement", "modules"),
    [
        ("import lollms_client", 100),
        ("from lollms_client import *", 250),
        ("from lollms_client import LollmsClient; LollmsClient(); LollmsClient(binding_name='openai')", 300),
        ("from lollms_client import LollmsClient; LollmsClient(binding_name='pythonllamacpp')", 300),
    ],
)
def test_an_import_is_cheap_and_does_nothing(statement: str, modules: int, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, statement],
        check=True,
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment,
    )
    seen = json.loads(done.stdout)
    assert seen.pop("modules") <= modules
    loaded = ["asyncio"] if statement.endswith("*") else []  # the client for coroutines
    assert seen == {"loaded": loaded, "started": [], "wrote": [], "connected": [], "logging": True}
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
