"""Setting up says in one line what stopped it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import install_core


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(sys, "argv", ["install_core.py", "--venv", str(tmp_path / "venv")])
    return tmp_path / "venv"


def test_ctrl_c_is_one_line_and_130(
    started: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(folder: Path) -> Path:
        assert folder == started
        raise KeyboardInterrupt

    monkeypatch.setattr(install_core, "ensure_environment", interrupted)
    assert install_core.main() == 130
    assert capsys.readouterr().err == "Stopped; run it again to go on.\n"
