"""The functions of the server: found in folders, called by scripts of personalities and, as tools, by models.

A function's fault is never ours: what it raises, returns or fails to end is an answer in words to whoever called it.
Models see a function under a name without dots, `my_tools__do` for `my_tools.do`, and get its result as a JSON object
that says whose result it is: it is data, and nothing in it is obeyed here.

Files are loaded while the server already answers. Each reload puts a whole new list in the place of the old one; a file
whose new version cannot be loaded stays in it as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from pydantic import BaseModel

from lollms_core.config.schema import suggestion
from lollms_core.errors import InvalidRequest, WorkflowFailed
from lollms_core.types import Tool, ToolCall
from lollms_runtime.import_probe import Prober
from lollms_runtime.third_party import forget
from lollms_server.core.config import LoadedConfig, MainConfig
from lollms_server.core.functions.files import Function, LoadedFile, Probe, file_problem, find_files, load_file
from lollms_server.core.functions.runs import OutOfTime, Runs
from lollms_server.core.functions.schema import ArgumentError
from lollms_server.core.problems import Problem, ReloadReport
from lollms_server.core.responses import let_go, public_message

__all__ = ["ALL", "MAX_RESULT_BYTES", "FunctionManager"]

ALL = "*"
"""In a list of names: every function there is."""
MAX_RESULT_BYTES = 1_000_000
"""Of a result, as JSON."""

_MAX_WORDS = 500
_MAX_NAMED = 50
_MAX_TOOL_NAME = 64
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")

_log = logging.getLogger("lollms_server.functions")


@dataclass(frozen=True)
class _Snapshot:
    """The functions at one time, by their names and by those that models know."""

    files: Mapping[str, LoadedFile] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    tool_names: Mapping[str, str] = field(default_factory=dict)
    by_tool_name: Mapping[str, Function] = field(default_factory=dict)


class FunctionManager:
    """All functions. Used on the event loop only.

    `problems` are the files that could not be loaded. `probe` tries an import before it is done here; `patience` is
    how many seconds a start waits for slow files.
    """

    def __init__(self, loaded: LoadedConfig, *, probe: Probe | None = None, patience: float = 1.0) -> None:
        self._loaded = loaded
        self._limits = loaded.config.limits
        self._installs = loaded.config.security.allow_runtime_installs
        self._probe: Probe = probe or Prober(self._limits.import_timeout, allow_installs=self._installs).probe
        self._patience = patience
        self._runs = Runs()
        self._now = _Snapshot()
        self._loading = asyncio.Lock()
        self._first: asyncio.Task[ReloadReport] | None = None
        self.problems: Sequence[Problem] = ()

    # ---- what there is

    async def start(self) -> None:
        """Begin to load all files. Returns when they are loaded, or before: a slow one must not hold up the server.
        Each file serves from the moment it is loaded."""
        self._first = asyncio.get_running_loop().create_task(self._load(at_once=False))
        await asyncio.wait({self._first}, timeout=self._patience)

    async def settled(self) -> None:
        """Wait until the files that `start` found are loaded or have failed."""
        if self._first is not None:
            await asyncio.wait({self._first})

    async def stop(self) -> None:
        """End the loading, if it still goes on."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.wait({self._first})

    async def reload(self, config: MainConfig) -> ReloadReport:
        """Load what is new or changed, and drop what is gone. The report names files, without `.py`.

        Folders and limits are those of the start: they are not read again while the server runs.
        """
        await self.settled()
        return await self._load(at_once=True)

    def names(self) -> list[str]:
        """The names of all functions, sorted."""
        return sorted(self._now.functions)

    # ---- for models

    def tools(self, names: Sequence[str]) -> tuple[Tool, ...]:
        """Functions as tools for a model, in the order of the names; `["*"]` is all of them.

        Raises `InvalidRequest` naming the first that does not exist and those that do.
        """
        now = self._now
        return tuple(
            Tool(
                now.tool_names[each.name],
                each.signature.description or f"The function {each.name}.",
                each.signature.schema,
            )
            for each in self._named(names)
        )

    def tool_names(self, names: Sequence[str]) -> dict[str, str]:
        """The names by which models know functions, each with the function's own. Raises as `tools` does."""
        return {self._now.tool_names[each.name]: each.name for each in self._named(names)}

    async def run_tool(self, call: ToolCall) -> str:
        """Run what a model asked for; the answer is a JSON object with `function` and `result` or `error`."""
        function = self._now.by_tool_name.get(call.name)
        if function is None:
            return _text({"function": call.name, "error": f"There is no function {call.name}."})
        good, value = await self._execute(function, call.arguments)
        return _text({"function": function.name, "result" if good else "error": value})

    # ---- for scripts

    async def execute_function(self, name: str, args: Mapping[str, Any] | None = None) -> tuple[bool, Any]:
        """Call a function: (True, what it returned), or (False, a sentence that says what was wrong).

        Arguments that it does not know are ignored; missing and wrong ones are named. It has
        `limits.function_timeout` seconds, and its result, as JSON, at most `MAX_RESULT_BYTES`. Only cancelling the
        caller and `KeyboardInterrupt` leave as exceptions.
        """
        function = self._now.functions.get(name)
        if function is None:
            return False, f"There is no function {name!r}.{suggestion(str(name), self.names())}"
        return await self._execute(function, args or {})

    async def _execute(self, function: Function, args: Mapping[str, Any]) -> tuple[bool, Any]:
        name, seconds = function.name, self._limits.function_timeout
        try:
            positional, keywords = function.signature.bind(args)
        except ArgumentError as error:
            return False, f"{name} was not run. {error}"
        except Exception as error:  # a type of the function's file, with code of its own
            return False, self._failure(name, error)
        outcome = await self._runs.run(partial(function.code, *positional, **keywords), name, seconds)
        if isinstance(outcome.error, OutOfTime):
            _log.warning("Function %s had not ended after %g s and was stopped.", name, seconds)
            return False, f"{name} had not ended after {seconds:g} seconds and was stopped."
        if outcome.error is not None:
            return False, self._failure(name, outcome.error)
        try:
            size = len(_json(outcome.value))
        except Exception as error:  # what an object of the function does when it is looked at
            _log.warning("Function %s gave a result that cannot be written as JSON.", name, exc_info=error)
            return False, f"{name} gave a result that cannot be written as JSON."
        if size > MAX_RESULT_BYTES:
            return False, f"{name} gave a result of {size} bytes; the limit is {MAX_RESULT_BYTES}."
        return True, outcome.value

    def _failure(self, name: str, error: BaseException) -> str:
        """One line for the caller, without paths and secrets; the log has everything."""
        _log.error("Function %s failed.", name, exc_info=error)
        try:
            said = str(error).strip().partition("\n")[0]
        except Exception:
            said = ""
        let_go(error)
        words = f"{name} failed: {type(error).__name__}{': ' if said else ''}{said}"
        return self._loaded.scrubber.clean(public_message(WorkflowFailed(words)))[:_MAX_WORDS]

    def _named(self, names: Sequence[str]) -> list[Function]:
        functions = self._now.functions
        if ALL in names:
            return [functions[name] for name in self.names()]
        for name in names:
            if name not in functions:
                raise InvalidRequest(self._unknown(name), param="functions")
        return [functions[name] for name in dict.fromkeys(names)]

    def _unknown(self, name: str) -> str:
        known = self.names()
        listed = ", ".join(known[:_MAX_NAMED]) + (" and others" if len(known) > _MAX_NAMED else "")
        words = f"There is no function {name!r}.{suggestion(name, known)} There are: {listed or 'none'}."
        if self._first is not None and not self._first.done():
            words += " Some are still being loaded; try again later."
        return words

    # ---- loading

    async def _load(self, *, at_once: bool) -> ReloadReport:
        """Load what changed. With `at_once` the new list serves when it is complete, else it grows file by file."""
        async with self._loading:
            folders = self._loaded.folders
            places = [each for each in (folders.example_functions, folders.functions) if each is not None]
            found, problems = await asyncio.to_thread(find_files, places)
            before = self._now.files
            files = {stem: before[stem] for stem in found if stem in before}
            report = ReloadReport([], [], problems)

            async def one(stem: str) -> None:
                file = found[stem]
                try:
                    loaded = await load_file(
                        file, self._probe, seconds=self._limits.import_timeout, allow_installs=self._installs
                    )
                except (Exception, SystemExit) as error:
                    problem = file_problem(file, error)
                    let_go(error)
                    _log.warning("Functions that cannot be loaded: %s", problem)
                    report.failed.append(problem)
                    return
                report.loaded.append(stem)
                files[stem] = loaded
                for each in loaded.functions:
                    for doubt in each.signature.doubts:
                        _log.warning("Function %s takes anything for %s", each.name, doubt)
                if not at_once:
                    self._now = _snapshot(files)

            changed = [stem for stem in sorted(found) if stem not in files or files[stem].file != found[stem]]
            await asyncio.gather(*(one(stem) for stem in changed))
            self._now = _snapshot(files)
            report.loaded.sort()
            report.kept.extend(sorted(set(files) - set(report.loaded)))
            report.failed.sort(key=lambda problem: problem.name)
            self.problems = tuple(report.failed)
            for stem, old in before.items():
                if files.get(stem) is not old:
                    forget(old.module)
            return report


def _snapshot(files: Mapping[str, LoadedFile]) -> _Snapshot:
    functions = {each.name: each for file in files.values() for each in file.functions}
    names = _tool_names(functions)
    return _Snapshot(dict(files), functions, names, {names[name]: each for name, each in functions.items()})


def _tool_names(names: Iterable[str]) -> dict[str, str]:
    """A name for models for each function: of letters, digits, `_` and `-`, at most 64 of them, no two alike."""
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in sorted(names):
        short = _NOT_IN_NAMES.sub("_", name.replace(".", "__"))
        if len(short) > _MAX_TOOL_NAME or short in used:
            short = f"{short[: _MAX_TOOL_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        found[name] = short
        used.add(short)
    return found


# ---- results -------------------------------------------------------------------------------------------------------


def _json(value: Any) -> bytes:
    """A result as JSON; what JSON has no form for is what it says of itself."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 cannot carry
        return json.dumps(msgspec.to_builtins(value, enc_hook=_plain, str_keys=True)).encode()


def _text(value: Mapping[str, Any]) -> str:
    return _json(value).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if callable(listed := getattr(value, "tolist", None)):
        return listed()
    return str(value)
