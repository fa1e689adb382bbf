"""No public name, parameter or field changes by accident: what VERSIONING.md promises is recorded and compared."""

from __future__ import annotations

from pathlib import Path

from tests.support.public_surface import MODULES, surface

RECORDED = Path(__file__).with_name("public_surface.txt")


def test_the_public_surface_is_the_recorded_one() -> None:
    recorded, there = set(RECORDED.read_text(encoding="utf-8").splitlines()), set(surface())
    how = f"If that is meant, say so in CHANGELOG.md and run: python -m tests.support.public_surface > {RECORDED.name}"
    assert there == recorded, f"gone: {sorted(recorded - there)}; new: {sorted(there - recorded)}. {how}"


def test_every_public_module_is_named_in_the_promise() -> None:
    text = (RECORDED.parents[2] / "VERSIONING.md").read_text(encoding="utf-8")
    assert not [name for name in MODULES if f"`{name}`" not in text]
