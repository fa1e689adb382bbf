"""The child of `import_probe`: reads one line, imports one plug-in, and answers with one line of JSON.

It is run as a file and not as a module: until the line has come, it does not know where our packages lie.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any

_MAX_SAID = 1000


def main() -> None:
    """Do what the line says. Nothing of the plug-in goes on after the answer: no thread of it, no `atexit`."""
    given = json.loads(sys.stdin.buffer.readline())
    # What the plug-in prints belongs to the log; standard output, under a number of its own, is for the answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path[:] = given["sys_path"]
    path = Path(given["path"])
    try:
        _import(path, given)
    except BaseException as error:  # whatever it raises is the answer
        _answer(answers, _described(error, path))
    else:
        _answer(answers, {"ok": True})
    os._exit(0)


def _import(path: Path, given: dict[str, Any]) -> None:
    import importlib

    from lollms_runtime.third_party import import_file, import_folder

    load = import_folder if path.is_dir() else import_file
    module = load(path, allow_installs=bool(given["allow_installs"]))
    if given["check"]:
        place, _, name = given["check"].partition(":")
        getattr(importlib.import_module(place), name)(module, given["about"])


def _answer(answers: IO[bytes], said: dict[str, Any]) -> None:
    answers.write(json.dumps(said).encode() + b"\n")
    answers.flush()


def _described(error: BaseException, path: Path) -> dict[str, Any]:
    """What was raised, and the innermost place of it inside the plug-in."""
    from lollms_core.errors import LollmsError

    kind = type(error).__name__
    file, line = _place(error.__traceback__, path)
    if isinstance(error, SyntaxError):
        file, line = error.filename or file, error.lineno
        message = f"{kind}: {error.msg}"
    elif isinstance(error, SystemExit):
        message = f"SystemExit: the import called sys.exit({error.code!r})"
    elif isinstance(error, LollmsError):
        message = error.message
    else:
        message = f"{kind}: {error}" if str(error) else kind
    return {"kind": kind, "message": message[:_MAX_SAID], "file": file, "line": line}


def _place(trace: TracebackType | None, path: Path) -> tuple[str, int | None]:
    root = path.resolve()
    file, line = "", None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if Path(name).resolve().is_relative_to(root):
            file, line = name, trace.tb_lineno
        trace = trace.tb_next
    return file, line


if __name__ == "__main__":
    main()
