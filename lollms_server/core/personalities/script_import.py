"""Importing the script of a personality, with its neighbours, under a name of its own.

The rules are those of `lollms_runtime.third_party`: a hashed name, no installs. A script is one file of a folder that
needs no `__init__.py`; it may import the files beside it relatively, and a change in any of them is a new version. It
is tried in a child process first, see `lollms_runtime.import_probe`.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from lollms_core.errors import ConfigError
from lollms_runtime.import_probe import ImportFailed, Prober
from lollms_runtime.third_party import content_digest, import_script
from lollms_server.core.problems import problem_of

__all__ = ["ENTRY", "load_script", "try_script"]

ENTRY = "run_workflow"
"""The function that a script must have."""


async def load_script(
    path: Path, prober: Prober | None, *, allow_installs: bool = False
) -> tuple[Callable[..., Any], ModuleType]:
    """The entry function of a script and its module, tried in a child first unless there is no `prober`.

    Raises ConfigError of the form `workflow.py:line: sentence`.
    """
    if prober is not None:
        await _probe(path, prober)
    module = await asyncio.to_thread(_imported, path, allow_installs)
    return _entry(module, path), module


def try_script(module: ModuleType, about: str) -> None:
    """What the child does: import the script that `about` names. Raises ConfigError; `module` is not used."""
    _, installs, place = about.split("\n", 2)
    _entry(_imported(Path(place), installs == "True"), Path(place))


async def _probe(path: Path, prober: Prober) -> None:
    digest = await asyncio.to_thread(content_digest, path.parent)
    about = f"{digest}\n{prober.allow_installs}\n{path}"
    try:
        await prober.probe(Path(__file__), check=f"{__name__}:{try_script.__name__}", about=about)
    except ImportFailed as error:
        place = f"{error.file}:{error.line}: " if error.line else f"{error.file}: "
        sentence = error.message.removeprefix(place)
        if error.kind != ConfigError.__name__:  # it did not come to our own words
            sentence = f"{path.name}:1: {sentence}"
        raise ConfigError(sentence) from error


def _imported(path: Path, allow_installs: bool) -> ModuleType:
    try:
        return import_script(path, allow_installs=allow_installs)
    except (Exception, SystemExit) as error:
        problem = problem_of(path.name, error, path.parent)
        file, line = (problem.file, problem.line) if problem.line else _place(error, path)
        raise ConfigError(f"{file}:{line}: {problem.reason}") from error


def _place(error: BaseException, path: Path) -> tuple[str, int]:
    """The innermost line of the script, or of a file beside it, that an exception went through."""
    inside = path.parent.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve().is_relative_to(inside):
            return Path(frame.filename).name, frame.lineno or 1
    return path.name, 1


def _entry(module: ModuleType, path: Path) -> Callable[..., Any]:
    entry = getattr(module, ENTRY, None)
    if not callable(entry):
        raise ConfigError(f"{path.name}:1: it has no function {ENTRY}(prompt, params, context).")
    return entry  # type: ignore[no-any-return]
