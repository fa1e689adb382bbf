"""Taking up changes without a restart: instances, personalities and functions, and on SIGHUP the allowed keys.

Of the main configuration only `bindings_map`, `defaults` and `personalities_config` are read again; where the server
listens, who may use it and where its folders are stays as it was at the start. A file that cannot be used changes
nothing, and neither does a new version of anything that does not load: what works goes on.

On SIGHUP the keys come first, and on their own: somebody who takes a key away wants it gone also when something else in
the folders is broken. No request can have keys read again.
"""

from __future__ import annotations

import asyncio
import logging

from lollms_core.errors import ConfigError, LollmsError
from lollms_server.core.bindings.manager import BindingManager
from lollms_server.core.config import LoadedConfig, load_config, read_keys
from lollms_server.core.functions import FunctionManager
from lollms_server.core.personalities import PersonalityManager
from lollms_server.core.problems import Problem, ReloadReport, problem_of
from lollms_server.core.requests import Registry
from lollms_server.core.settings import MainConfig

__all__ = ["Reloader", "reload_keys", "reread"]

_log = logging.getLogger(__name__)

RELOADED = ("bindings_map", "defaults", "personalities_config")
"""The sections that are read again."""


class Reloader:
    """Reloads a running server, one reload at a time. Used on the event loop.

    Whoever asks while one runs gets the report of the next, together with all others: a crowd costs two reloads.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        registry: Registry,
        functions: FunctionManager,
        personalities: PersonalityManager,
        manager: BindingManager,
    ) -> None:
        self._loaded = loaded
        self._registry = registry
        self._managers = (functions, personalities, manager)  # in this order: each may use those before it
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[ReloadReport] | None = None

    async def reload(self) -> ReloadReport:
        """Take up what has changed in the files; what it did stands in the log, too."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._in_turn(), name="reload")
            self._next.add_done_callback(_look)
        return await asyncio.shield(self._next)  # one who leaves does not take it away from the others

    async def _in_turn(self) -> ReloadReport:
        async with self._turn:
            self._next = None  # what changes from here on may come too late for this one
            report = await self._reload()
        _log.info("reloaded %d, kept %d, failed %d", len(report.loaded), len(report.kept), len(report.failed))
        return report

    async def hangup(self) -> None:
        """What SIGHUP means: the keys, then all that a reload takes up. What goes wrong is logged and not raised."""
        try:
            await reload_keys(self._loaded, self._registry)
            await self.reload()
        except LollmsError as error:
            _log.error("not reloaded: %s", error.message)

    async def _reload(self) -> ReloadReport:
        try:
            config = await asyncio.to_thread(reread, self._loaded)
        except ConfigError as error:
            problems = _problems(self._loaded, error)
            for problem in problems:
                _log.error("not reloaded: %s", problem)
            return ReloadReport(failed=problems)
        report = ReloadReport()
        for manager in self._managers:
            report += await manager.reload(config)
        return report


def _look(task: asyncio.Task[ReloadReport]) -> None:
    """Look at how it ended, in case that all who asked have left."""
    if not task.cancelled():
        task.exception()


def reread(loaded: LoadedConfig) -> MainConfig:
    """The configuration with the sections that may change as the file has them now. Raises `ConfigError`."""
    fresh = load_config(loaded.config_dir, host=loaded.config.server.host, further=loaded.further).config
    return loaded.config.model_copy(update={name: getattr(fresh, name) for name in RELOADED})


def _problems(loaded: LoadedConfig, error: ConfigError) -> list[Problem]:
    """A problem for each line of the error: a configuration may have several faults."""
    lines = error.message.splitlines() or [error.message]
    return [problem_of(loaded.file.name, ConfigError(line)) for line in lines]


async def reload_keys(loaded: LoadedConfig, registry: Registry) -> int:
    """Allow the keys that the file has now, and end what runs with a key that is gone; returns how many requests that
    were. A file that cannot be used changes nothing, and the log says why.
    """

    def read() -> list[str]:
        host = loaded.config.server.host
        return read_keys(loaded.config_dir, host=host, further=loaded.further, scrubber=loaded.scrubber)

    try:
        keys = await asyncio.to_thread(read)
        gone = loaded.keys.replace(keys)
    except LollmsError as error:
        _log.error("the keys stay as they are: %s", error.message)
        return 0
    stopped = sum(registry.cancel_all("revoked", key=key) for key in gone)
    _log.info("%d keys are allowed; %d were taken away, with %d requests", len(loaded.keys), len(gone), stopped)
    return stopped
