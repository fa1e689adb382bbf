"""The run without the quick route takes place: its servers have none, and it misses no test that asks a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lollms_server.core.quick_route import QuickRoute
from tests.support.both_routes import ONCE, TWICE, by_quick_route, create_app, generate_requests
from tests.support.raw_http import ask, prompt
from tests.support.server import PortsBinding, running_server
from tests.support.server_process import server_process

TESTS = Path(__file__).resolve().parents[1]
ROUTE = "LOLLMS_TEST_ROUTE"


@pytest.mark.parametrize("route", ["quick", "documented"])
def test_servers_have_the_route_that_the_run_wants(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROUTE, route)
    with running_server({"main": PortsBinding(["fine"])}) as server:
        made = create_app(server.services.loaded)
        for app in (server.app, made.app):
            assert isinstance(app._guarded._app, QuickRoute) == (route == "quick")


def test_only_requests_that_the_runs_route_concerns_are_noted() -> None:
    before = generate_requests()
    with running_server({"main": PortsBinding(lambda call: "fine")}, quick=True) as server:
        assert ask(server.port, "POST", "/api/v1/generate", prompt("x"), server.headers).status == 200
    assert generate_requests() == before


def test_a_word_that_is_no_route_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROUTE, "slow")
    with pytest.raises(AssertionError, match="LOLLMS_TEST_ROUTE"):
        by_quick_route()


def test_a_server_process_starts_and_stops_without_the_quick_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROUTE, "documented")
    with server_process(tmp_path) as server:
        assert ask(server.port, "GET", "/health").status == 200
        assert "documented_server.py" in " ".join(server.process.args)


def test_every_named_file_is_there() -> None:
    there = {path.stem for lane in ("pure", "socket", "process", "heavy") for path in (TESTS / lane).glob("test_*.py")}
    assert there >= TWICE | ONCE.keys() and not TWICE & ONCE.keys()


def test_server_processes_that_are_asked_are_run_twice() -> None:
    """What is asked of a process of its own is not seen by the run; these files are found by what they hold."""
    asking = {
        path.stem
        for path in (TESTS / "process").glob("test_*.py")
        if re.search(r"\bserver_process\(", text := path.read_text(encoding="utf-8")) and "/api/v1/generate" in text
    }
    assert asking and not asking - TWICE - ONCE.keys()


INNER = """
from tests.support.raw_http import ask, prompt
from tests.support.server import PortsBinding, running_server

def test_it():
    with running_server({"main": PortsBinding(["fine"])}) as server:
        ask(server.port, "POST", "/api/v1/generate", prompt("x"), server.headers)
"""


@pytest.mark.parametrize("route", ["quick", "documented"])
def test_a_file_that_asks_and_is_not_named_fails(route: str, tmp_path: Path) -> None:
    (tmp_path / "test_nobody_named_this_file.py").write_text(INNER, encoding="utf-8")
    root = str(TESTS.parent)
    options = ["-q", "-p", "tests.conftest", "-c", os.devnull, "--rootdir", root]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=root,
        env={**os.environ, ROUTE: route, "PYTHONPATH": root},
        capture_output=True,
        encoding="utf-8",
    )
    if route == "quick":
        assert done.returncode == 1 and "add test_nobody_named_this_file to TWICE" in done.stdout, done.stdout
    else:
        assert done.returncode == 5 and "1 deselected" in done.stdout, done.stdout
