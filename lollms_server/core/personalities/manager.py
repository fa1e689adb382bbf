"""Personalities: what is found in the folders, what serves, and what does not and why.

There is one list of personalities at a time, and it is replaced as a whole. A reload reads everything anew, tries the
scripts that have changed, and swaps the list at the end; a folder whose new version is broken goes on with its old one.
Scripts run nowhere until they are wanted. The server tries those of other people one after the other in the background,
so that a broken one is reported soon, but nothing waits for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lollms_server
from lollms_core.errors import ConfigError, InstanceUnavailable, NotFound, WorkflowFailed
from lollms_runtime.import_probe import Prober
from lollms_runtime.third_party import forget
from lollms_server.core.config import LoadedConfig, MainConfig
from lollms_server.core.personalities.config import PersonalityConfig
from lollms_server.core.personalities.personality import Found, Personality, Script, scan
from lollms_server.core.personalities.script_import import load_script
from lollms_server.core.personalities.script_threads import ScriptThreads
from lollms_server.core.problems import Problem, ReloadReport, problem_of

__all__ = ["SHIPPED", "Personality", "PersonalityConfig", "PersonalityManager"]

SHIPPED = Path(lollms_server.__file__).resolve().parent / "zoos" / "personalities"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Catalog:
    """Everything at one moment. `broken` are the names that exist and cannot serve, `folders` who serves from where."""

    personalities: Mapping[str, Personality] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    broken: frozenset[str] = frozenset()
    folders: Mapping[Path, Personality] = field(default_factory=dict)


class PersonalityManager:
    """The personalities of a running server. Used on its event loop only.

    `threads` are for the scripts while they run, `left_behind` holds those that would not stop.
    """

    def __init__(self, loaded: LoadedConfig, prober: Prober | None = None) -> None:
        self._loaded = loaded
        self._catalog = _Catalog()
        limits, security = loaded.config.limits, loaded.config.security
        self._prober = prober or Prober(limits.import_timeout, allow_installs=security.allow_runtime_installs)
        self._reloading = asyncio.Lock()
        self._trials: asyncio.Task[None] | None = None
        self._imported: set[Script] = set()
        self.threads = ScriptThreads()
        self.left_behind: set[asyncio.Task[None]] = set()

    @property
    def personalities(self) -> Mapping[str, Personality]:
        """Those that serve, by name."""
        return self._catalog.personalities

    @property
    def problems(self) -> Sequence[Problem]:
        """What could not be loaded, by folder."""
        return self._catalog.problems

    def get(self, name: str) -> Personality:
        """A personality by its name.

        Raises `NotFound`, and `InstanceUnavailable` for one that is there but cannot serve.
        """
        catalog = self._catalog
        if name in catalog.personalities:
            return catalog.personalities[name]
        if name in catalog.broken:
            raise _unavailable(name)
        raise NotFound(f"Personality {name!r} not found or disabled.", param="personality")

    async def start(self) -> None:
        """Find all personalities; their scripts are tried later, in the background."""
        config = self._loaded.config
        self._catalog = _catalog_of(await self._scanned(config))
        for problem in self.problems:
            _log.warning("A personality is left out: %s", problem)
        self._try_later()

    async def settled(self) -> None:
        """Wait until every script has been tried."""
        while (trials := self._trials) is not None and not trials.done():
            await asyncio.wait([trials])

    async def stop(self) -> None:
        """End the trials in the background."""
        if self._trials is not None:
            self._trials.cancel()
            await asyncio.wait([self._trials])
            self._trials = None

    async def reload(self, config: MainConfig) -> ReloadReport:
        """Read the folders and `personalities_config` anew, and serve what is new or has changed and works."""
        async with self._reloading:
            before = self._catalog
            found = await self._scanned(config)
            for each in found:
                await self._compare(each, before.folders.get(each.folder))
            after = self._catalog = _catalog_of(found)
            old = {id(personality) for personality in before.folders.values()}
            report = ReloadReport(
                loaded=[name for name, each in after.personalities.items() if id(each) not in old],
                kept=[name for name, each in after.personalities.items() if id(each) in old],
                failed=list(after.problems),
            )
            self._forget_unused()
        for problem in report.failed:
            _log.warning("A personality is left out: %s", problem)
        self._try_later()
        return report

    async def workflow_of(self, personality: Personality) -> Callable[..., Any]:
        """The `run_workflow` of a scripted personality, imported when it is wanted for the first time.

        Raises `WorkflowFailed` when it cannot be imported; the personality is then taken out of the list.
        """
        try:
            return await self._load(personality)
        except ConfigError as error:
            self._fails(personality, error)
            raise WorkflowFailed(
                f"The script of personality {personality.name!r} cannot be loaded; the server's log says why.",
                param="personality",
            ) from error

    @contextlib.contextmanager
    def using(self, personality: Personality) -> Iterator[None]:
        """Around a run of its script: a reload does not take the script's modules away inside of the block."""
        script = personality.script
        if script is None:
            raise WorkflowFailed(f"Personality {personality.name!r} has no script.", param="personality")
        script.users += 1
        try:
            yield
        finally:
            script.users -= 1
            self._forget_unused()

    # ---- scripts

    def _forget_unused(self) -> None:
        """Drop the modules of scripts that serve no more and run no more."""
        serving = {each.script for each in self._catalog.folders.values()}
        for script in [each for each in self._imported if not each.users and each not in serving]:
            self._imported.discard(script)
            # The same code may serve on, or be about to, when only the configuration beside it has changed.
            module = script.module
            shared = any(each.module is module for each in self._imported)
            if module is not None and not shared and not any(each and each.loading.locked() for each in serving):
                forget(module)

    async def _load(self, personality: Personality) -> Callable[..., Any]:
        script = personality.script
        if script is None:
            raise WorkflowFailed(f"Personality {personality.name!r} has no script.", param="personality")
        async with script.loading:
            if script.entry is None:
                ours = personality.root == SHIPPED
                installs = self._loaded.config.security.allow_runtime_installs
                prober = None if ours else self._prober
                script.entry, script.module = await load_script(script.path, prober, allow_installs=installs)
                self._imported.add(script)
            return script.entry

    def _try_later(self) -> None:
        if self._trials is not None:
            self._trials.cancel()
        self._trials = asyncio.get_running_loop().create_task(self._try_all(), name="trial imports of scripts")

    async def _try_all(self) -> None:
        for personality in list(self.personalities.values()):
            if personality.is_scripted and personality.root != SHIPPED:
                try:
                    await self._load(personality)
                except ConfigError as error:
                    self._fails(personality, error)

    def _fails(self, personality: Personality, error: ConfigError) -> None:
        """Take a personality out of the list whose script turned out to be broken."""
        catalog = self._catalog
        if catalog.personalities.get(personality.name) is not personality:
            return
        problem = problem_of(personality.folder_name, error)
        _log.warning("A personality is left out: %s", problem)
        self._catalog = _Catalog(
            {name: each for name, each in catalog.personalities.items() if each is not personality},
            (*catalog.problems, problem),
            catalog.broken | {personality.name},
            {folder: each for folder, each in catalog.folders.items() if each is not personality},
        )

    # ---- lists

    async def _scanned(self, config: MainConfig) -> list[Found]:
        folders = self._loaded.folders
        roots = [root for root in (folders.example_personalities, folders.personalities) if root is not None]
        overrides = config.personalities_config or {}
        return await asyncio.to_thread(
            scan, tuple(dict.fromkeys(roots)), overrides, self._loaded.file.name, trusted=(SHIPPED,)
        )

    async def _compare(self, found: Found, before: Personality | None) -> None:
        """Keep what has not changed; try a script that has; go on with the old version where the new one fails."""
        personality = found.personality
        if personality is not None and before is not None and personality.digest == before.digest:
            found.personality = before
            return
        if personality is not None and personality.is_scripted:
            try:
                await self._load(personality)
            except ConfigError as error:
                found.problems.append(problem_of(found.folder.name, error))
                found.personality = None
        still_there = before is not None and (before.script is None or before.script.entry is not None)
        if found.personality is None and found.problems and still_there:
            found.personality = before


def _catalog_of(found: Iterable[Found]) -> _Catalog:
    """Who serves under which name: a later root wins over an earlier one, within a root the first folder does."""
    serving: dict[str, Personality] = {}
    problems: list[Problem] = []
    names: set[str] = set()
    for each in found:
        problems += each.problems
        names.add(each.name)
        personality = each.personality
        if personality is None:
            continue
        other = serving.get(personality.name)
        if other is not None and other.root == personality.root:
            words = f"the folder {other.folder_name} has the same name, {personality.name!r}, and is used."
            problems.append(Problem(personality.folder_name, words))
            continue
        serving[personality.name] = personality
    return _Catalog(
        dict(sorted(serving.items())),
        tuple(problems),
        frozenset(names - serving.keys() - {""}),
        {personality.folder: personality for personality in serving.values()},
    )


def _unavailable(name: str) -> InstanceUnavailable:
    return InstanceUnavailable(f"Personality {name!r} failed to load; the server's log says why.", param="personality")
