"""A `server_path` is often a script around the real program; both end with the engine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import stand_in_llama_server
from tests.support.engines import ask, asking, running, until


def script(folder: Path) -> Path:
    """A script that does not become the program but runs it, as most do."""
    program = folder / "wrapper"
    program.write_text(
        f'#!/bin/sh\n"{sys.executable}" "{stand_in_llama_server.__file__}" "$@"\nexit $?\n', encoding="utf-8"
    )
    program.chmod(0o755)
    return program


def programs(folder: Path) -> list[psutil.Process]:
    """What runs with this folder among its arguments, and is no script."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if f"{folder}/mark" in line and line[0] == sys.executable and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose programs are ended with the test, whatever becomes of it."""
    yield tmp_path
    for process in programs(tmp_path):
        process.kill()


def test_stopping_the_engine_ends_the_program_too(folder: Path) -> None:
    with running(server_path=script(folder), server_args=("--mark", f"{folder}/mark")) as engine:
        assert ask(engine, asking("Hello?")).text
        assert len(programs(folder)) == 1
    until(lambda: not programs(folder), 3)


def test_so_does_the_end_of_the_script_itself(folder: Path) -> None:
    with running(server_path=script(folder), server_args=("--mark", f"{folder}/mark")) as engine:
        assert ask(engine, asking("Hello?")).text
        (before,) = programs(folder)
        killed = engine.pid
        psutil.Process(killed).send_signal(signal.SIGKILL)
        until(lambda: before not in programs(folder), 3)
        until(lambda: engine.state == "ready" and engine.pid != killed, 5)
        assert ask(engine, asking("Hello?")).text == "Hello from the stand-in."
        assert len(programs(folder)) == 1
