"""Make `lollms_client/async_client.py` from `lollms_client/client.py`: `python -m release.async_client [--check]`.

The functions of `lollms_client.async_generation` that are coroutines are awaited wherever the client calls them, every
method that awaits something is a coroutine, and every call of such a method on `self` is awaited as well. Nothing else
is changed but names.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "lollms_client"
RENAMED = (
    ("from lollms_client.generation import", "from lollms_client.async_generation import"),
    ("from lollms_client.stream import Stream", "from lollms_client.async_stream import AsyncStream"),
    ("class LollmsClient(", "class AsyncLollmsClient("),
    ('__all__ = ["LollmsClient"]', '__all__ = ["AsyncLollmsClient"]'),
    ("-> LollmsClient:", "-> AsyncLollmsClient:"),
    ("-> Stream:", "-> AsyncStream:"),
    ("the returned `Stream`; use it in a `with` block", "the returned `AsyncStream`; use it in an `async with` block"),
    ("for threads; see", "for coroutines; see"),
    ("__enter__", "__aenter__"),
    ("__exit__", "__aexit__"),
)
DOCSTRING = '''"""`AsyncLollmsClient`: `LollmsClient` for coroutines. Callbacks may be `def` or `async def`.

Made from `client.py` by `python -m release.async_client`; changes belong there.
"""'''


def made() -> str:
    """The text of the asynchronous client."""
    source = (CLIENT / "client.py").read_text("utf-8")
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
    text = _with(source, inserted).replace(str(ast.get_docstring(tree, clean=False)), DOCSTRING.strip('"'), 1)
    for old, new in RENAMED:
        if old not in text:
            raise SystemExit(f"client.py has no {old!r} any more; correct RENAMED")
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
    """Write the file; with `--check` only say whether it is as it should be."""
    path, text = CLIENT / "async_client.py", made()
    if "--check" not in sys.argv[1:]:
        path.write_text(text, "utf-8")
        return 0
    if path.is_file() and path.read_text("utf-8") == text:
        return 0
    print("lollms_client/async_client.py is not what client.py makes: run python -m release.async_client")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
