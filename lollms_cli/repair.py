"""What to say when a package that lollms was installed with is gone. Standard library only."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["is_of_lollms", "repair_sentence"]

_OURS = ("lollms_core", "lollms_runtime", "lollms_client", "lollms_server", "lollms_cli")


def is_of_lollms(error: ImportError) -> bool:
    """Whether the import that failed is of a module of ours: then it is a defect, not a damaged installation."""
    return (error.name or "").partition(".")[0] in _OURS


def repair_sentence(error: ImportError) -> str:
    """One line: the installation is damaged, and how to repair it."""
    package = (error.name or "").partition(".")[0] or str(error)
    root = Path(__file__).resolve().parent.parent
    own = root / "venv"
    if (root / "run.sh").is_file() and Path(sys.prefix).resolve() == own:
        how = f"Delete the folder {own} and run {root / 'run.sh'}, which installs everything again."
    else:
        how = (
            f"Install lollms again into {sys.prefix}: pip install --force-reinstall with the folder or file that it "
            "was installed from; or, in a checkout of lollms, delete the folder venv and run ./run.sh."
        )
    return f"The installation is damaged: the Python package {package!r} cannot be imported. {how}"
