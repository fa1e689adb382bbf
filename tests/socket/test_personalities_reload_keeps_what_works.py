"""A reload takes up what is new and works; a broken new version never replaces one that works."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import InstanceUnavailable, NotFound, WorkflowFailed
from lollms_runtime.scripted import Script
from lollms_server.core.config import MainConfig
from lollms_server.core.personalities import PersonalityManager
from tests.support.personalities import answer_of, loaded_config, serving, write_personality
from tests.support.raw_http import ask
from tests.support.server import PortsBinding

OWN = "personal_personalities"


def script(words: str) -> str:
    return f"from .helper import end\nasync def run_workflow(prompt, params, context):\n    return {words!r} + end\n"


def write(folder: Path, name: str, words: str, end: str = "!") -> Path:
    place = write_personality(folder / OWN, name, script(words))
    (place / "scripts" / "helper.py").write_text(f"end = {end!r}\n", encoding="utf-8")
    return place


def managed(folder: Path, work: Callable[[PersonalityManager, MainConfig], Awaitable[None]], **config: Any) -> None:
    async def run() -> None:
        loaded = loaded_config(folder, **config)
        manager = PersonalityManager(loaded)
        await manager.start()
        await manager.settled()
        try:
            await work(manager, loaded.config)
        finally:
            await manager.stop()

    asyncio.run(asyncio.wait_for(run(), 30))


async def said(manager: PersonalityManager, name: str) -> str:
    return str(await (await manager.workflow_of(manager.get(name)))("", {}, {}))


def test_new_changed_and_deleted_ones_are_taken_up(tmp_path: Path) -> None:
    for name in ("changed", "deleted", "same"):
        write(tmp_path, name, "old")
    write_personality(tmp_path / OWN, "simple", personality_conditioning="old")

    async def work(manager: PersonalityManager, config: MainConfig) -> None:
        same = manager.get("same")
        write(tmp_path, "changed", "new")
        write(tmp_path, "added", "new")
        write_personality(tmp_path / OWN, "simple", personality_conditioning="new")
        shutil.rmtree(tmp_path / OWN / "deleted")
        report = await manager.reload(config)
        assert sorted(report.loaded) == ["added", "changed", "simple"]
        assert sorted(report.kept) == ["lollms", "same", "scripted_example", "summarizer", "translator"]
        assert report.failed == []
        assert [await said(manager, name) for name in ("added", "changed", "same")] == ["new!", "new!", "old!"]
        assert manager.get("simple").conditioning == "new"
        assert manager.get("same") is same
        with pytest.raises(NotFound):
            manager.get("deleted")

    managed(tmp_path, work)


def test_a_change_in_a_file_beside_the_script_is_a_new_version(tmp_path: Path) -> None:
    write(tmp_path, "mine", "old")

    async def work(manager: PersonalityManager, config: MainConfig) -> None:
        assert await said(manager, "mine") == "old!"
        write(tmp_path, "mine", "old", end="?")
        assert (await manager.reload(config)).loaded == ["mine"]
        assert await said(manager, "mine") == "old?"

    managed(tmp_path, work)


@pytest.mark.parametrize("fault", ["script", "helper", "config", "open"])
def test_a_broken_version_leaves_the_old_one_at_work(tmp_path: Path, fault: str) -> None:
    place = write(tmp_path, "mine", "old")
    broken = {
        "script": ("scripts/workflow.py", "raise ValueError('not today')", "not today"),
        "helper": ("scripts/helper.py", "end = ", "SyntaxError"),
        "config": ("config.yaml", "name: mine\nversion: [", "config.yaml"),
        "open": ("scripts/other.py", "", "everybody can write"),
    }
    file, text, words = broken[fault]

    async def work(manager: PersonalityManager, config: MainConfig) -> None:
        (place / file).write_text(text, encoding="utf-8")
        if fault == "open":
            (place / file).chmod(0o666)
        for _ in range(2):
            report = await manager.reload(config)
            assert "mine" in report.kept and "mine" not in report.loaded
            (problem,) = report.failed
            assert problem.name == "mine" and words in str(problem)
            assert list(manager.problems) == [problem]
            assert await said(manager, "mine") == "old!"
        shutil.rmtree(place)
        write(tmp_path, "mine", "new")
        report = await manager.reload(config)
        assert (report.loaded, report.failed, list(manager.problems)) == (["mine"], [], [])
        assert await said(manager, "mine") == "new!"

    managed(tmp_path, work)


def test_one_that_never_worked_is_unavailable_until_it_does(tmp_path: Path) -> None:
    place = write(tmp_path, "mine", "old")
    (place / "scripts" / "helper.py").write_text("raise SystemExit", encoding="utf-8")

    async def work(manager: PersonalityManager, config: MainConfig) -> None:
        with pytest.raises(InstanceUnavailable):
            manager.get("mine")
        assert [problem.name for problem in manager.problems] == ["mine"]
        assert "mine" not in (await manager.reload(config)).kept
        write(tmp_path, "mine", "new")
        await manager.reload(config)
        assert await said(manager, "mine") == "new!"

    managed(tmp_path, work)


def test_switches_and_overrides_are_read_again(tmp_path: Path) -> None:
    write(tmp_path, "mine", "old")

    async def work(manager: PersonalityManager, config: MainConfig) -> None:
        off = config.model_copy(update={"personalities_config": {"mine": {"enabled": False}}})
        assert "mine" not in (await manager.reload(off)).kept
        with pytest.raises(NotFound):
            manager.get("mine")
        warm = config.model_copy(update={"personalities_config": {"mine": {"model_temperature": 1.5}}})
        assert (await manager.reload(warm)).loaded == ["mine"]
        assert manager.get("mine").config.model_temperature == 1.5
        wrong = config.model_copy(update={"personalities_config": {"mine": {"model_temperature": 15}}})
        report = await manager.reload(wrong)
        assert "mine" in report.kept and "main_config.yaml" in str(report.failed[0])
        assert manager.get("mine").config.model_temperature == 1.5

    managed(tmp_path, work)


def test_who_has_a_personality_keeps_its_version(tmp_path: Path) -> None:
    write(tmp_path, "mine", "old")

    async def work(manager: PersonalityManager, config: MainConfig) -> None:
        mine = manager.get("mine")
        write(tmp_path, "mine", "new")
        await manager.reload(config)
        assert await (await manager.workflow_of(mine))("", {}, {}) == "old!"
        assert await said(manager, "mine") == "new!"

    managed(tmp_path, work)


def test_a_script_that_was_never_asked_for_runs_nowhere_here(tmp_path: Path) -> None:
    """Shipped scripts are imported when the first request wants them."""

    async def work(manager: PersonalityManager, config: MainConfig) -> None:
        assert manager.get("scripted_example").workflow is None
        assert callable(await manager.workflow_of(manager.get("scripted_example")))
        assert manager.get("scripted_example").workflow is not None
        with pytest.raises(WorkflowFailed):
            await manager.workflow_of(manager.get("lollms"))

    managed(tmp_path, work)


def test_the_reload_route_takes_up_a_changed_script() -> None:
    with serving(
        {"mine": script("old")}, {"main": PortsBinding(Script([]))}, beside={"scripts/helper.py": "end = ''"}
    ) as server:
        folder = server.services.loaded.folders.personalities
        assert answer_of(server, "mine").json()["output"][0]["data"] == "old"
        write(folder.parent, "mine", "new", end="")
        report = ask(server.port, "POST", "/api/v1/reload", None, server.headers)
        assert report.status == 200, report
        assert "mine" in report.json()["loaded"]
        assert answer_of(server, "mine").json()["output"][0]["data"] == "new"
