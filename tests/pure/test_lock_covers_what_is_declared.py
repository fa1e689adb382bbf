"""The release lock has a hash for every package, and satisfies what pyproject.toml declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"([a-z0-9._-]+)==([0-9][^ ]*) --hash=sha256:[0-9a-f]{64}")
LOCKED_EXTRAS = ("server", "llamacpp", "ecosystem")


def test_every_line_is_pinned_and_hashed_and_every_declared_package_is_there() -> None:
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    locked = {canonicalize_name(match[1]): match[2] for match in matches if match}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + [each for extra in LOCKED_EXTRAS for each in extras[extra]]
    for text in declared:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"sys_platform": "linux"}):
            continue  # the lock is for Linux
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{text} is not locked; run release/lock.py"
        assert requirement.specifier.contains(version), f"{text} is locked at {version}; run release/lock.py"
