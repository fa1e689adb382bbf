"""Every program of the folder `examples` runs, and none is forgotten."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.spec.live import ROOT, environment

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.group("engine")


def run(folder: Path, *command: str, typed: str = "") -> str:
    env = {**environment(folder), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(folder: Path) -> None:
    assert "Paris" in run(folder, str(EXAMPLES / "ask_a_local_model.py"))


def talk(folder: Path) -> None:
    shown = run(folder, str(EXAMPLES / "talk.py"), typed="My name is Alice.\nWhat is the capital of France?\n\n")
    assert shown.count("> ") == 3
    assert "Paris" in shown


def stop(folder: Path) -> None:
    shown = run(folder, str(EXAMPLES / "stop_in_the_middle.py")).splitlines()
    assert shown[0]
    assert shown[0] in shown[-1] or shown[-1] in shown[0]


def script(folder: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    assert "2 passed" in run(folder, "-m", "pytest", *options, str(EXAMPLES / "test_my_program.py"))


PROGRAMS = {"ask_a_local_model.py": ask, "talk.py": talk, "stop_in_the_middle.py": stop, "test_my_program.py": script}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_an_example_runs(program: Callable[[Path], None], tmp_path: Path) -> None:
    program(tmp_path)


def test_every_example_is_run_and_described() -> None:
    there = {path.name for path in EXAMPLES.glob("*.py")}
    assert there == set(PROGRAMS)
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert not [name for name in there if f"]({name})" not in text]
