"""`docs/safety.md` says which test proves what: every test and file that it names exists, and its gaps are gaps."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MAP = ROOT / "docs" / "safety.md"
GAP = "(not yet) "
MARK = "NOT_YET"


class Row(NamedTuple):
    what: str
    where: list[str]
    tests: list[str]


def rows() -> list[Row]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in MAP.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| what must hold")
    ]
    return [Row(what, quoted(where), quoted(tests)) for what, where, tests in cells]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@functools.cache
def in_file(file: Path) -> dict[str, list[str]]:
    """The test functions of a file, each with its decorators."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name: [ast.unparse(decorator) for decorator in node.decorator_list]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def decorators(test: str) -> list[str]:
    file, _, name = test.partition("::")
    return in_file(ROOT / "tests" / file)[name]


def test_there_is_a_row_for_each_kind_of_promise() -> None:
    assert len(rows()) > 50
    assert all(row.where and row.tests for row in rows())
    assert len({row.what for row in rows()}) == len(rows())


def test_every_test_named_exists() -> None:
    missing = []
    for row in rows():
        for test in row.tests:
            file, _, name = test.partition("::")
            path = ROOT / "tests" / file
            if not path.is_file() or name not in in_file(path):
                missing.append(test)
    assert not missing


def test_every_file_named_exists() -> None:
    assert not [where for row in rows() for where in row.where if not (ROOT / where).is_file()]


def test_a_gap_is_marked_in_both_places() -> None:
    for row in rows():
        for test in row.tests:
            assert (MARK in decorators(test)) == row.what.startswith(GAP), (row.what, test)
    named = {test for row in rows() for test in row.tests}
    for file in (ROOT / "tests").rglob("test_safety_*.py"):
        for name, marks in in_file(file).items():
            test = f"{file.relative_to(ROOT / 'tests').as_posix()}::{name}"
            assert MARK not in marks or test in named, f"{test} is a gap that the map does not name"
