"""The block at the end of a binding's file, which its guide asks for, runs without a client."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.outside_bindings import FOLDER

ROOT = Path(__file__).resolve().parents[2]


def run(file: Path, home: Path) -> str:
    env = {"PYTHONPATH": str(ROOT), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(file)], cwd=home, env=env, capture_output=True, encoding="utf-8", timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_file_of_a_binding_runs_as_a_program(tmp_path: Path) -> None:
    shown = run(FOLDER / "tiny_oracle" / "__init__.py", tmp_path)
    assert "['delphi', 'dodona']" in shown
    assert "delphi (calm) to user: What time is it?" in shown


def test_the_binding_of_the_tutorial_runs_as_a_program(tmp_path: Path) -> None:
    text = (ROOT / "DOC_DEV.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(# my_bindings/poet/.*?)^```", text, re.M | re.S)
    (tmp_path / "poet.py").write_text(code, encoding="utf-8")
    assert run(tmp_path / "poet.py", tmp_path).endswith("[{'model_name': 'rhymer'}, {'model_name': 'dreamer'}]\n")
