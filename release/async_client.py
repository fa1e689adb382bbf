"""Make the client for coroutines from the one for threads: `python -m release.async_client [--check]`.

`lollms_client/async_client.py` is made from `client.py`, and the operations for coroutines in the same way.

The functions of `lollms_client.async_generation` that are coroutines are awaited wherever the client calls them, every
method that awaits something is a coroutine, and every call of such a method on `self` is awaited as well. Nothing else
is changed but names.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CLIENT = Path(__file__).resolve().parent.parent / "lollms_client"
SHARED = (("from lollms_client.generation import", "from lollms_client.async_generation import"),)


class Made(NamedTuple):
    """A module that is made from another: what is exchanged in its text, and how it begins."""

    source: str
    target: str
    renamed: tuple[tuple[str, str], ...]
    docstring: str


MODULES = (
    Made(
        "client.py",
        "async_client.py",
        (
            *SHARED,
            (
                "from lollms_client.operations import Operations",
                "from lollms_client.async_operations import AsyncOperations",
            ),
            ("from lollms_client.stream import Stream", "from lollms_client.async_stream import AsyncStream"),
            ("class LollmsClient(Operations)", "class AsyncLollmsClient(AsyncOperations)"),
            ('__all__ = ["LollmsClient"]', '__all__ = ["AsyncLollmsClient"]'),
            ("-> LollmsClient:", "-> AsyncLollmsClient:"),
            ("-> Stream[Reply]:", "-> AsyncStream:"),
            (
                "the returned `Stream`; use it in a `with` block",
                "the returned `AsyncStream`; use it in an `async with` block",
            ),
            ("for threads; see", "for coroutines; see"),
            ("__enter__", "__aenter__"),
            ("__exit__", "__aexit__"),
        ),
        '''"""`AsyncLollmsClient`: `LollmsClient` for coroutines. Callbacks may be `def` or `async def`.

Made from `client.py` by `python -m release.async_client`; changes belong there.
"""''',
    ),
    Made(
        "operations.py",
        "async_operations.py",
        (
            *SHARED,
            ("text_operations import TextOperations", "async_text_operations import AsyncTextOperations"),
            ("class Operations(TextOperations)", "class AsyncOperations(AsyncTextOperations)"),
            ('__all__ = ["Operations"]', '__all__ = ["AsyncOperations"]'),
            ("of `LollmsClient`", "of `AsyncLollmsClient`"),
        ),
        '''"""What `AsyncLollmsClient` does with several calls of a model.

Made from `operations.py` by `python -m release.async_client`; changes belong there.
"""''',
    ),
    Made(
        "text_operations.py",
        "async_text_operations.py",
        (
            *SHARED,
            ("class TextOperations(", "class AsyncTextOperations("),
            ('__all__ = ["TextOperations"]', '__all__ = ["AsyncTextOperations"]'),
            ("of `LollmsClient`", "of `AsyncLollmsClient`"),
        ),
        '''"""What `AsyncLollmsClient` does with long texts and documents.

Made from `text_operations.py` by `python -m release.async_client`; changes belong there.
"""''',
    ),
)


def made(module: Made) -> str:
    """The text of a module for coroutines."""
    source = (CLIENT / module.source).read_text("utf-8")
    words = _coroutines((CLIENT / "async_generation.py").read_text("utf-8"))
    tree = ast.parse(source)
    (client,) = (each for each in tree.body if isinstance(each, ast.ClassDef))
    methods = {each.name: each for each in client.body if isinstance(each, ast.FunctionDef)}
    waiting = {"__enter__", "__exit__"}
    while more := {name for name, method in methods.items() if _awaited(method, words, waiting)} - waiting:
        waiting |= more
    places = [each.lineno for each in methods.values() if each.name in waiting]
    inserted = [(line, _column(source, line, "def "), "async ") for line in places]
    for method in methods.values():
        inserted += [(each.lineno, each.col_offset, "await ") for each in _awaited(method, words, waiting)]
    text = _with(source, inserted).replace(str(ast.get_docstring(tree, clean=False)), module.docstring.strip('"'), 1)
    for old, new in module.renamed:
        if old not in text:
            raise SystemExit(f"{module.source} has no {old!r} any more; correct MODULES")
        text = text.replace(old, new)
    return _formatted(text)


def _coroutines(source: str) -> set[str]:
    """The names of the public functions of a module that have to be awaited."""
    return {each.name for each in ast.parse(source).body if isinstance(each, ast.AsyncFunctionDef)}


def _awaited(method: ast.FunctionDef, words: set[str], waiting: set[str]) -> list[ast.Call]:
    """The calls in a method that have to be awaited."""
    calls = [each for each in ast.walk(method) if isinstance(each, ast.Call)]
    return [each for each in calls if _name(each.func, words, waiting)]


def _name(called: ast.expr, words: set[str], waiting: set[str]) -> bool:
    if isinstance(called, ast.Name):
        return called.id in words
    on_self = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "self"
    return on_self and isinstance(called, ast.Attribute) and called.attr in waiting


def _column(source: str, line: int, text: str) -> int:
    return source.splitlines()[line - 1].index(text)


def _with(source: str, inserted: list[tuple[int, int, str]]) -> str:
    """The source with texts inserted at (line, column in bytes of UTF-8)."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for line, column, text in sorted(inserted, reverse=True):
        old = lines[line - 1]
        lines[line - 1] = old[:column] + text.encode() + old[column:]
    return b"".join(lines).decode()


def _formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", str(CLIENT / "async_client.py")]
    for command in ([*ruff, "check", "--quiet", "--select", "I", "--fix", *name, "-"], [*ruff, "format", *name, "-"]):
        text = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=True).stdout
    return text


def main() -> int:
    """Write the files; with `--check` only say whether they are as they should be."""
    wrong = 0
    for module in MODULES:
        path, text = CLIENT / module.target, made(module)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            print(f"{module.target} is not what {module.source} makes: run python -m release.async_client")
            wrong = 1
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
