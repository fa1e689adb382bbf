"""What scripts take they give back: the graphics card from any thread, their generators, their modules."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from lollms_core.types import Reply
from lollms_runtime.scripted import Script
from lollms_runtime.third_party import import_script
from lollms_server.core.bindings import Binding, slots
from lollms_server.core.personalities import PersonalityManager
from tests.support.personalities import answer_of, loaded_config, serving, write_personality
from tests.support.server import PortsBinding

SCRIPTS = {
    "thread": """
        import asyncio
        async def work(card):
            async with card.acquire_gpu_resource():
                inside = card.get_status()["active_gpu_tasks"]
            return f"{inside} inside"
        def run_workflow(prompt, params, context):
            return asyncio.run(work(context["resource_manager"]))
        """,
    "loop": """
        async def run_workflow(prompt, params, context):
            async with context["resource_manager"].acquire_gpu_resource():
                if prompt == "ask":
                    await context["binding"].generate("A")
                return f"{context['resource_manager'].get_status()['active_gpu_tasks']} inside"
        """,
    "pieces": """
        import asyncio
        from pathlib import Path
        def run_workflow(prompt, params, context):
            try:
                yield "a"
                yield 5
            finally:
                try:
                    asyncio.get_running_loop()
                except RuntimeError:
                    Path(prompt).write_text("on a thread", encoding="utf-8")
                else:
                    Path(prompt).write_text("on the loop", encoding="utf-8")
        """,
    "sick": """
        async def run_workflow(prompt, params, context):
            return str(await context["binding_manager"].get_binding("sick").generate("A"))
        """,
}


class Card(PortsBinding):
    def get_resource_requirements(self, model_name: str | None = None) -> dict[str, object]:
        return {"gpu_required": True, "estimated_vram_mb": 0}


class Sick(PortsBinding):
    async def health_check(self) -> tuple[bool, str]:
        return False, "its backend is away."


def test_the_card_is_held_inside_the_block_from_any_thread_and_given_back() -> None:
    model = Script([Reply(text="fine")] * 3)
    bindings: dict[str, Binding] = {"main": Card(model), "sick": Sick(model)}
    with serving(SCRIPTS, bindings) as server:
        for name in ("thread", "loop"):
            answer = answer_of(server, name)
            assert answer.json()["output"][0]["data"] == "1 inside", (name, answer)
        refused = answer_of(server, "loop", "ask")
        assert refused.status == 500 and "holds the card" in str(refused.json())
        assert answer_of(server, "sick").json()["output"][0]["data"] == "fine"
        server.wait_idle()


def test_the_end_of_a_plain_generator_cannot_hold_up_the_server(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with serving({"pieces": SCRIPTS["pieces"]}, {"main": PortsBinding(Script([]))}) as server:
        assert answer_of(server, "pieces", str(said)).status == 500
        until = time.monotonic() + 5
        while not (said.exists() and said.read_text(encoding="utf-8")) and time.monotonic() < until:
            server.wait_idle()
    assert said.read_text(encoding="utf-8") == "on a thread"


def test_a_binding_that_does_not_hear_of_its_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(PortsBinding):
        async def stop(self) -> None:
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    continue

    monkeypatch.setattr(slots, "_STOP_SECONDS", 0.05)
    monkeypatch.setattr(slots, "_STOP_GRACE", 0.05)
    slot = slots.Slot("deaf", "deaf", binding=Deaf(Script([])))
    asyncio.run(asyncio.wait_for(slots.stop_binding(slot), 5))
    assert slot.binding is None


def test_modules_of_a_replaced_script_go_when_nobody_runs_it(tmp_path: Path) -> None:
    root = tmp_path / "personal_personalities"
    source = "async def run_workflow(prompt, params, context):\n    return {!r}\n"
    write_personality(root, "mine", source.format("old"))

    async def run() -> None:
        loaded = loaded_config(tmp_path)
        manager = PersonalityManager(loaded)
        await manager.start()
        await manager.settled()
        old = manager.get("mine")
        name = (await manager.workflow_of(old)).__module__
        try:
            with manager.using(old):
                write_personality(root, "mine", source.format("new"))
                assert (await manager.reload(loaded.config)).loaded == ["mine"]
                assert name in sys.modules
            assert name not in sys.modules
            new = (await manager.workflow_of(manager.get("mine"))).__module__
            write_personality(root, "mine", source.format("new"), version="2.0")  # the code stays
            assert (await manager.reload(loaded.config)).loaded == ["mine"]
            assert new in sys.modules
        finally:
            await manager.stop()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_two_scripts_of_one_folder_are_two_modules(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(f"name = {name!r}\n", encoding="utf-8")
    assert [import_script(tmp_path / f"{name}.py").name for name in ("one", "two")] == ["one", "two"]
