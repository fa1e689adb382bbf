"""The benchmark programs are carried byte for byte, so that numbers of different days can be compared."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks import processes

LIST = Path(processes.ROOT) / "benchmarks" / "programs.sha256"


def test_every_program_is_the_one_of_the_list() -> None:
    listed = dict(reversed(line.split("  ", 1)) for line in LIST.read_text(encoding="utf-8").splitlines())
    built = {"mock", "load", "relay"}
    found = {
        str(path.relative_to(processes.PROGRAMS)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in processes.PROGRAMS.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in built
    }
    assert found == listed


def test_the_patch_of_the_load_generator_fits() -> None:
    source = (processes.PROGRAMS / "load.c").read_text(encoding="utf-8")
    assert source.count(processes.COUNT_ONCE[0]) == 1
