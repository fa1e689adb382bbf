"""Data stays data: no module of ours unpickles, evaluates or compiles a text, and YAML is read in one place alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lollms_core", "lollms_runtime", "lollms_client", "lollms_server", "lollms_cli")
MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "xmlrpc"}
CALLS = {"eval", "exec", "compile", "execfile"}
YAML = {"yaml", "ruamel"}
READERS_OF_YAML = {"lollms_runtime/yaml_file.py"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """The top names of all modules that are imported, anywhere in a file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def called(tree: ast.Module) -> set[str]:
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


@pytest.fixture(scope="module")
def files() -> list[tuple[str, ast.Module]]:
    found = list(sources())
    assert len(found) > 150
    return found


def test_no_module_can_unpickle(files: list[tuple[str, ast.Module]]) -> None:
    assert not [(name, used) for name, tree in files if (used := imported(tree) & MODULES)]


def test_no_text_is_run(files: list[tuple[str, ast.Module]]) -> None:
    assert not [(name, used) for name, tree in files if (used := called(tree) & CALLS)]


def test_yaml_is_read_in_one_place(files: list[tuple[str, ast.Module]]) -> None:
    assert {name for name, tree in files if imported(tree) & YAML} == READERS_OF_YAML
