"""Setting up from a folder that holds a `pip.py` of somebody else does not run it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server_process import ROOT

TRAP = "import pathlib, sys; pathlib.Path({!r}).touch(); sys.exit(3)"


def test_the_current_folder_is_not_searched(tmp_path: Path) -> None:
    hostile, ran = tmp_path / "hostile", tmp_path / "ran"
    (hostile / "pip").mkdir(parents=True)
    for file in ("__init__.py", "__main__.py"):
        (hostile / "pip" / file).write_text(TRAP.format(str(ran)), encoding="utf-8")
    environment = tmp_path / "environment" / "bin"
    environment.mkdir(parents=True)
    (environment / "python").symlink_to(sys.executable)
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import install_core; from pathlib import Path; "
        "print(install_core.has_pip(Path(sys.argv[1]) / 'bin/python'))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(ROOT), str(environment.parent)],
        cwd=hostile,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.strip() in ("True", "False"), done.stderr
    assert not ran.exists()


def test_no_step_searches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("install_core", ROOT / "install_core.py")
    assert spec is not None and spec.loader is not None
    install_core = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install_core)
    steps: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        steps.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(install_core.subprocess, "run", run)
    python = install_core.environment_python(tmp_path)
    install_core.has_pip(python)
    install_core.make_with_virtualenv(tmp_path)
    install_core.install(python, tmp_path, dev=False)
    assert len(steps) >= 4
    for step in steps:
        assert {"-P", "-I"} & set(step[1:3]), step
