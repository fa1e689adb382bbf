"""Try the import of a plug-in in a child process, before it is let into ours.

Code of others can do anything when it is imported: it may be no Python at all, raise, call `sys.exit()` or
`os._exit()`, crash the interpreter, or never come back. In a child of its own all of that is an answer: `ImportFailed`
with a reason and, where there is one, the file and the line. The child imports by the rules of `third_party`, sees our
`sys.path` and an environment in which every secret is a placeholder, and is killed with all that it has started, when
it has answered and at the latest when its time is up. What it prints is only kept as far as it explains an end without
a word.

A trial is no sandbox: the plug-in runs with our rights, here and later in our own process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lollms_core.errors import ConfigError
from lollms_core.protocols.http_errors import scrub
from lollms_runtime.third_party import content_digest, is_imported

__all__ = ["ImportFailed", "Prober", "clean_environment", "probe_import"]

PLACEHOLDER = "not-shown-to-a-trial-import"
"""What a secret of the environment is replaced with, so that code that only looks for its name does not stumble."""

_CHILD = Path(__file__).with_name("import_probe_child.py")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s@]*:[^/\s@]*@")
_MAX_ANSWER = 64 * 1024
_KEPT = 2000  # bytes of what the child prints
_LAST_WORDS = 0.5  # seconds for the rest of what it printed, once it is dead
_REMEMBERED = 1000
_INSTALLING = 600.0  # seconds for an import that may run pip
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


class ImportFailed(ConfigError):
    """A plug-in that cannot be imported. `kind` is the name of what it raised, or `exit`, `signal` or `timeout`;
    `file` a path, and `line` a number from 1, where they are known. The message begins with them."""

    def __init__(self, sentence: str, *, kind: str, file: str = "", line: int | None = None) -> None:
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(place + sentence)
        self.kind = kind
        self.file = file
        self.line = line


async def probe_import(
    path: Path, *, seconds: float, allow_installs: bool = False, check: str = "", about: str = ""
) -> None:
    """Import a folder or a `.py` file in a child process, once. Raises `ImportFailed`.

    `check` names a function, as `package.module:function`, that the child calls with the module and the text `about`
    when the import went well; what it raises is a failure, too. With `allow_installs` the plug-in may run pip.
    """
    given = {
        "path": str(path.absolute()),
        "sys_path": [place for place in sys.path if os.path.isabs(place)],
        "allow_installs": allow_installs,
        "check": check,
        "about": about,
    }
    # -I: nothing of the current folder or the environment decides what is imported; the child gets our own sys.path.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-B", str(_CHILD)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(os.environ, keep="PIP_" if allow_installs else None),
        start_new_session=True,
        limit=_MAX_ANSWER,
    )
    printed = bytearray()
    drain = asyncio.ensure_future(_drain(process, printed))
    try:
        line = await asyncio.wait_for(_exchange(process, given), seconds)
    except TimeoutError:
        words = f"the import did not end within {seconds:g} seconds and was stopped."
        raise ImportFailed(words, kind="timeout", file=_source(path)) from None
    finally:
        await _end(process, drain)
    _judge(path, process, line, bytes(printed))


class Prober:
    """Tries imports, at most `places` at once. What went well is not tried again until its source changes; what failed
    is, since the package that it missed may be there now. Used on one event loop.

    `seconds` is how long one import may take; one that may install packages gets ten minutes.
    """

    def __init__(self, seconds: float, *, allow_installs: bool = False, places: int = 4) -> None:
        self.seconds = max(seconds, _INSTALLING) if allow_installs else seconds
        self.allow_installs = allow_installs
        self._places = asyncio.Semaphore(places)
        self._good: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def probe(self, path: Path, *, check: str = "", about: str = "") -> None:
        """As `probe_import`, unless this version is known to be good."""
        try:
            digest = await asyncio.to_thread(content_digest, path)
            if not check and is_imported(path):
                return
        except OSError as error:
            raise ImportFailed(f"it cannot be read: {error.strerror}.", kind="unreadable", file=str(path)) from error
        known = (digest, check, about)
        async with self._places:
            if known in self._good:
                self._good.move_to_end(known)
                return
            await probe_import(path, seconds=self.seconds, allow_installs=self.allow_installs, check=check, about=about)
        self._good[known] = None
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)


def clean_environment(environ: Mapping[str, str], *, keep: str | None = None) -> dict[str, str]:
    """An environment with every name, and a placeholder for each value that looks like a secret.

    Names that begin with `keep` keep their values: pip may need a password for its index.
    """
    return {
        name: PLACEHOLDER if _is_secret(name, value) and not (keep and name.startswith(keep)) else value
        for name, value in environ.items()
    }


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))


async def _exchange(process: asyncio.subprocess.Process, given: dict[str, Any]) -> bytes:
    """Say what to do and read the line of the answer; nothing when the child ends without one."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child was started without its pipes")
    with contextlib.suppress(OSError):  # it is dead already: that is seen in its answer
        process.stdin.write(json.dumps(given).encode() + b"\n")
        await process.stdin.drain()
        process.stdin.close()  # a plug-in that asks a question meets the end of its input
    with contextlib.suppress(ValueError):  # a line over the limit is no answer
        if line := await process.stdout.readline():
            return line
    await process.wait()
    return b""


async def _drain(process: asyncio.subprocess.Process, printed: bytearray) -> None:
    """Read what the child prints, so that it never blocks, and keep the end of it."""
    while process.stderr is not None and (data := await process.stderr.read(4096)):
        printed += data
        del printed[:-_KEPT]


async def _end(process: asyncio.subprocess.Process, drain: asyncio.Future[None]) -> None:
    """Kill the child with its group; afterwards nothing of it is left but what has left its group on purpose."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, _KILL)
    try:
        await process.wait()
        await asyncio.wait([drain], timeout=_LAST_WORDS)
    finally:
        drain.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await drain
        # The pipes of asyncio's processes close at their end; one that a stray grandchild holds is closed here.
        process._transport.close()  # type: ignore[attr-defined]


def _judge(path: Path, process: asyncio.subprocess.Process, line: bytes, printed: bytes) -> None:
    """Raise what the child's answer says."""
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("ok") is True:
        return
    if isinstance(answer, dict) and isinstance(answer.get("message"), str):
        number = answer.get("line")
        raise ImportFailed(
            _clean(answer["message"]),
            kind=str(answer.get("kind")),
            file=str(answer.get("file") or _source(path)),
            line=number if isinstance(number, int) else None,
        )
    code = process.returncode or 0
    lines = printed.decode("utf-8", "replace").strip().splitlines()
    last = f" Its last words: {_clean(lines[-1])}" if lines else ""
    if code < 0:
        raise ImportFailed(
            f"the import crashed the interpreter ({_signal(-code)}).{last}", kind="signal", file=_source(path)
        )
    raise ImportFailed(f"the import ended the process (exit code {code}).{last}", kind="exit", file=_source(path))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _source(path: Path) -> str:
    return str(path / "__init__.py") if path.is_dir() else str(path)


def _clean(text: str) -> str:
    return scrub(text, ())
