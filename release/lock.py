"""Write `requirements.lock`: every package that `run.sh` installs, with version and SHA-256.

    python release/lock.py            writes the file
    pip install --require-hashes -r requirements.lock && pip install --no-deps -e .

The hashes are those of the files that pip chooses on the machine that runs this (the released lock: Linux x86-64,
CPython 3.11). `tests/pure/test_lock_covers_what_is_declared.py` checks the file against pyproject.toml.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "server,llamacpp,ecosystem"


def resolve() -> list[tuple[str, str, str]]:
    """(name, version, sha256) of each distribution, by pip's own resolver; nothing is installed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--report",
            report.name,
            f"{ROOT}[{EXTRAS}]",
        ]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
        found = json.loads(Path(report.name).read_text(encoding="utf-8"))["install"]
    packages = [(each["metadata"], each["download_info"].get("archive_info", {})) for each in found]
    return sorted(
        (metadata["name"].lower(), metadata["version"], archive["hashes"]["sha256"])
        for metadata, archive in packages
        if metadata["name"] != "lollms-suite"
    )


def main() -> None:
    lines = [f"{name}=={version} --hash=sha256:{digest}" for name, version, digest in resolve()]
    header = f"# Made by release/lock.py for [{EXTRAS}] on {sys.platform}, Python {sys.version.split()[0]}."
    (ROOT / "requirements.lock").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    print(f"{len(lines)} packages")


if __name__ == "__main__":
    main()
