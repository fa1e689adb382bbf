"""Build the wheel, install it in an empty environment, and see that it answers. Run by `make test-wheel`.

This is a program, not a pytest file: it installs packages, which tests never do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"lollms_core", "lollms_runtime", "lollms_client", "lollms_server", "lollms_cli"}
MUST_CARRY = (
    "lollms_runtime/models/lollms-nano-q8_0.gguf",
    "lollms_client/llm_bindings/lollms/description.yaml",
    "lollms_server/zoos/bindings/llamacpp_binding/binding_card.yaml",
    "lollms_core/py.typed",
)
BASE_BUDGET = 25  # distributions, ours included


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program with an empty home; returns what it wrote to standard output."""
    keep = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "PATH"}
    environment = {**keep, "HOME": str(cwd)}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(ROOT)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (wheel,) = scratch.glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        missing = [name for name in MUST_CARRY if name not in names]
        assert not missing, f"the wheel lacks {missing}"
        top = {name.split("/")[0] for name in names if ".dist-info" not in name}
        assert top == PACKAGES, f"the wheel installs {sorted(top)}"

        venv.create(scratch / "env", with_pip=True)
        python, lollms = scratch / "env/bin/python", scratch / "env/bin/lollms"
        run(python, "-m", "pip", "install", "--quiet", wheel, cwd=scratch)
        count = (
            "import importlib.metadata as m; print(len({d.name for d in m.distributions()} - {'pip', 'setuptools'}))"
        )
        distributions = int(run(python, "-c", count, cwd=scratch))
        assert distributions <= BASE_BUDGET, f"the base installs {distributions} distributions"
        print("version:", run(lollms, "--version", cwd=scratch).strip())

        run(python, "-m", "pip", "install", "--quiet", f"{wheel}[server,llamacpp]", cwd=scratch)
        answer = run(lollms, "What is the capital of France?", cwd=scratch)
        assert "Paris" in answer, f"the embedded model said {answer!r}"
        print(f"wheel: {wheel.stat().st_size / 1e6:.1f} MB, {distributions} distributions, answer: {answer.strip()}")
        print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
