"""Shared rules of all lanes: groups that need something special, and no test leaves a thread behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
import time
from collections.abc import Iterator

import pytest

from tests.spec.blocks import FOLDER as SPECIFICATION

# name of the group -> (is it there?, how to get it)
GROUPS: dict[str, tuple[bool, str]] = {
    "engine": (importlib.util.find_spec("xllamacpp") is not None, "pip install -e .[llamacpp]"),
    "gguf": (importlib.util.find_spec("gguf") is not None, "pip install -e .[dev]"),
    "torch": (
        all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
        "pip install -r tests/heavy/requirements.txt",
    ),
    "sdks": (
        all(importlib.util.find_spec(name) for name in ("ollama", "openai")),
        "pip install -r tests/heavy/requirements.txt",
    ),
    "contract": (
        all(importlib.util.find_spec(name) for name in ("schemathesis", "openapi_python_client")),
        "pip install -e .[contract]",
    ),
    "notebook": (
        all(importlib.util.find_spec(name) for name in ("ipykernel", "jupyter_client")),
        "pip install -r tests/heavy/requirements.txt",
    ),
    "spec": (SPECIFICATION.is_dir(), "set LOLLMS_SPEC_DIR to the folder of the specification's documents"),
    "curl": (shutil.which("curl") is not None, "install curl with your system's package manager"),
    "gcc": (shutil.which("gcc") is not None, "install gcc with your system's package manager"),
}

_absent: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "group(name): needs one of the groups of tests/conftest.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("group"):
            there, how = GROUPS[mark.args[0]]
            if not there:
                _absent.add(mark.args[0])
                item.add_marker(pytest.mark.skip(reason=f"group {mark.args[0]} is absent: {how}"))
    if _absent and os.environ.get("LOLLMS_REQUIRE_ALL_GROUPS"):
        raise pytest.UsageError("every test group is required here, but these are absent: " + _list_absent())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _absent:
        terminalreporter.write_line("test groups not run: " + _list_absent(), yellow=True)


def _list_absent() -> str:
    return "; ".join(f"{name} ({GROUPS[name][1]})" for name in sorted(_absent))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every thread that a test starts has ended, within two seconds, when the test has."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        for thread in left:
            thread.join(0.02)
    assert not left, f"threads left behind: {left}"
