"""The files of functions: which there are, and the import of one.

Every `*.py` of the configured folders whose name does not begin with `_` holds functions; a user's file takes the place
of a shipped one of the same name. What counts in it are the async functions that it defines itself and whose names do
not begin with `_`. Code that others could have written is not run, and nothing of a user is imported before it was
tried in a process of its own; what is shipped with the program is part of it and imported as such.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import lollms_server
from lollms_core.errors import ConfigError
from lollms_runtime.files import open_to_others
from lollms_runtime.third_party import import_file
from lollms_server.core.functions.schema import Signature, read_signature
from lollms_server.core.problems import Problem, problem_of

__all__ = ["SHIPPED", "Function", "FunctionFile", "LoadedFile", "Probe", "file_problem", "find_files", "load_file"]

SHIPPED = Path(lollms_server.__file__).resolve().parent / "zoos" / "functions"
_PACKAGE = "lollms_server.zoos.functions"
_MAX_FILES = 1000
_MAX_BYTES = 1_000_000

Probe = Callable[[Path], Awaitable[None]]
"""Tries the import of a file somewhere else; raises an error of the project when it fails."""


@dataclass(frozen=True)
class FunctionFile:
    """A file as it lies there; `digest` is of its content, "" when that could not be read."""

    stem: str
    path: Path
    digest: str


@dataclass(frozen=True)
class Function:
    """A function that can be called; `name` is `<stem>.<function>`."""

    name: str
    code: Callable[..., Coroutine[Any, Any, Any]]
    signature: Signature


@dataclass(frozen=True)
class LoadedFile:
    """An imported file."""

    file: FunctionFile
    module: ModuleType
    functions: tuple[Function, ...]


def find_files(folders: Iterable[Path]) -> tuple[dict[str, FunctionFile], list[Problem]]:
    """The files by stem; a later folder wins. A folder that is not there has none; one that is closed is a problem."""
    found: dict[str, FunctionFile] = {}
    problems: list[Problem] = []
    for folder in folders:
        try:
            paths = sorted(each for each in folder.iterdir() if each.suffix == ".py" and not each.is_dir())
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(Problem(folder.name, f"The folder of functions cannot be read: {error.strerror}."))
            continue
        paths = [path for path in paths if not path.name.startswith((".", "_"))]
        if len(paths) > _MAX_FILES:
            problems.append(Problem(folder.name, f"The folder has more than {_MAX_FILES} files; the rest is left out."))
        for path in paths[:_MAX_FILES]:
            found[path.stem] = FunctionFile(path.stem, path, _digest(path))
    return found, problems


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.stat().st_size <= _MAX_BYTES else ""
    except OSError:
        return ""


async def load_file(file: FunctionFile, probe: Probe, *, seconds: float, allow_installs: bool) -> LoadedFile:
    """Check, try and import a file, all in at most about twice `seconds`. Raises whatever is wrong with it."""
    if file.path.parent == SHIPPED:
        module = await asyncio.to_thread(importlib.import_module, f"{_PACKAGE}.{file.stem}")
        return LoadedFile(file, module, _functions(file, module))
    await asyncio.to_thread(_check, file)
    await probe(file.path)
    async with asyncio.timeout(seconds):
        module = await asyncio.to_thread(import_file, file.path, allow_installs=allow_installs)
    return LoadedFile(file, module, _functions(file, module))


def _check(file: FunctionFile) -> None:
    compiled = file.path.parent / "__pycache__"  # from which Python would take what is put there
    for place in (file.path.parent, *([compiled] if compiled.is_dir() else []), file.path):
        if open_to_others(place) == "everybody can write":
            what = "this file" if place is file.path else "the folder of this file"
            raise ConfigError(
                f"{file.path}: everybody can write to {what}, so its code is not run. Take that right away: chmod o-w."
            )
    if not file.path.is_file():
        raise ConfigError(f"{file.path}: it is not a file.")
    if not file.digest:
        raise ConfigError(f"{file.path}: it cannot be read, or has more than {_MAX_BYTES} bytes.")


def _functions(file: FunctionFile, module: ModuleType) -> tuple[Function, ...]:
    found = []
    for name, value in vars(module).items():
        own = inspect.iscoroutinefunction(value) and value.__module__ == module.__name__
        if own and not name.startswith("_"):
            found.append(Function(f"{file.stem}.{name}", value, read_signature(value)))
    if not found:
        raise ConfigError(f"{file.path}: it defines no function with 'async def' whose name does not begin with '_'.")
    return tuple(found)


def file_problem(file: FunctionFile, error: BaseException) -> Problem:
    """Why a file could not be loaded, with the line where that is known."""
    if isinstance(error, TimeoutError):
        return Problem(file.stem, "The import did not end in time.", file.path.name)
    found = problem_of(file.stem, error, file.path.parent)
    return found if found.file else Problem(file.stem, found.reason, file.path.name)
