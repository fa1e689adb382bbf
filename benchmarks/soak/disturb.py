"""What happens to the server itself: its files change, it is told to reload in both ways, and its engine is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak.house import SPARE, House
from benchmarks.soak.world import World
from tests.support.server import KEY

__all__ = ["Disturber", "children"]


def children(pid: int) -> list[psutil.Process]:
    """All processes below one; none when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


class Disturber:
    """Disturbs one server, for a while at a time."""

    def __init__(self, house: House, world: World, rng: random.Random) -> None:
        self._house = house
        self._world = world
        self._rng = rng
        self._version = 0

    async def run(self, seconds: float) -> None:
        """One kill, one exchange of the engine, and reloads in between; nothing of it is left to the last seconds."""
        steps = [self._kill, self._new_engine, self._reload, self._reload, self._hang_up, self._hang_up, self._change]
        at = sorted(self._rng.uniform(0.05, 0.75) * seconds for _ in steps)
        self._rng.shuffle(steps)
        start = time.monotonic()
        for moment, step in zip(at, steps, strict=True):
            await asyncio.sleep(max(0.0, start + moment - time.monotonic()))
            self._world.tally[f"disturb.{step.__name__.strip('_')}"] += 1
            await step()

    async def _kill(self) -> None:
        """End the engine's process by force."""
        self._world.killed = time.monotonic()
        for child in children(self._house.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "llamacpp" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)

    async def _new_engine(self) -> None:
        self._world.killed = time.monotonic()
        self._rewrite("nano", n_parallel=self._rng.choice((3, 4)))
        await self._reload()

    async def _reload(self) -> None:
        answer = await self._world.ask("POST", "/api/v1/reload")
        if answer.status != 200:
            self._world.note(f"reload: status {answer.status}: {answer.body[:300]!r}")
            return
        failed = [each for each in answer.json()["failed"] if "broken" not in json.dumps(each)]
        if failed:
            self._world.note(f"reload failed: {failed}")

    async def _change(self) -> None:
        """New versions of an instance, a binding's code, a personality and functions."""
        self._rewrite("openai", context_size=self._rng.choice((4096, 8192)))
        for path in (
            "personal_bindings/own_binding/__init__.py",
            "personal_personalities/script/scripts/workflow.py",
            "personal_personalities/plain/scripts/workflow.py",
            "personal_functions/own_tools.py",
        ):
            file = self._house.folder / path
            self._version += 1
            text = file.read_text(encoding="utf-8").partition("\n# version ")[0]
            _replace(file, f"{text}\n# version {self._version}\n")
        await self._reload()

    async def _hang_up(self) -> None:
        """SIGHUP, with the spare key there or not."""
        main = self._house.folder / "lollms_configs" / "main_config.yaml"
        whole = json.loads(main.read_text(encoding="utf-8"))
        whole["security"]["allowed_api_keys"] = self._rng.choice(([KEY], [KEY, SPARE]))
        _replace(main, json.dumps(whole, indent=1) + "\n")
        self._house.process.send_signal(signal.SIGHUP)

    def _rewrite(self, instance: str, **settings: Any) -> None:
        file = self._house.folder / "lollms_configs" / "bindings" / f"{instance}.yaml"
        _replace(file, json.dumps({**json.loads(file.read_text(encoding="utf-8")), **settings}))


def _replace(file: Path, text: str) -> None:
    """Exchange a file as a whole: the server may read it at any time."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o600)
    new.replace(file)
