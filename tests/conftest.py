"""Shared rules of all lanes.

Groups that need something special; no test leaves a thread behind; what makes generate requests is run with both routes
(see `tests.support.both_routes`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
import time
from collections.abc import Iterator

import pytest

from tests.spec.blocks import FOLDER as SPECIFICATION
from tests.support.both_routes import ONCE, TWICE, by_quick_route, generate_requests


def _is_there(name: str) -> bool:
    """Whether a module can be imported, also one of a package that may itself be absent."""
    package = name.rpartition(".")[0]
    return (not package or _is_there(package)) and importlib.util.find_spec(name) is not None


SDKS = ("anthropic", "google.genai", "groq", "huggingface_hub", "mistralai", "ollama", "openai")

# name of the group -> (is it there?, how to get it)
GROUPS: dict[str, tuple[bool, str]] = {
    "engine": (importlib.util.find_spec("xllamacpp") is not None, "pip install -e .[llamacpp]"),
    "gguf": (importlib.util.find_spec("gguf") is not None, "pip install -e .[dev]"),
    "torch": (
        all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
        "pip install -r tests/heavy/requirements.txt",
    ),
    "sdks": (
        all(_is_there(name) for name in SDKS),
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
_REQUESTS = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "group(name): needs one of the groups of tests/conftest.py")


def pytest_report_header() -> str | None:
    return None if by_quick_route() else "the servers have no quick route; only what makes generate requests is run"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not by_quick_route():
        config.hook.pytest_deselected(items=[item for item in items if item.path.stem not in TWICE])
        items[:] = [item for item in items if item.path.stem in TWICE]
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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_REQUESTS] = generate_requests()


@pytest.fixture(autouse=True)
def what_asks_is_run_twice(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that makes generate requests, be it in a fixture, is run with both routes."""
    yield
    name = request.path.stem
    if generate_requests() > request.node.stash[_REQUESTS]:
        named = name in TWICE or name in ONCE
        assert named, f"add {name} to TWICE in tests/support/both_routes.py: it makes generate requests"


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
