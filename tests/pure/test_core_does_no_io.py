"""Importing all of the core loads nothing that could do I/O."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import pkgutil, importlib, sys, lollms_core
for found in pkgutil.walk_packages(lollms_core.__path__, "lollms_core."):
    importlib.import_module(found.name)
banned = {"socket", "ssl", "subprocess", "sqlite3", "asyncio", "httpx2", "aiohttp", "pydantic"} & set(sys.modules)
print(sorted(banned))
"""


def test_importing_the_core_leaves_io_modules_out() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "[]"
