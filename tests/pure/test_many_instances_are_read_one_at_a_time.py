"""The folder of many instances is listed once for all, and their files are read one after the other."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import NotFound
from lollms_runtime.import_probe import Prober
from lollms_server.core.bindings import Surroundings, slots
from lollms_server.core.bindings.discovery import SHIPPED, Types, discover
from lollms_server.core.bindings.instances import InstanceFiles
from lollms_server.core.bindings.slots import Maker, Slot, stop_binding
from lollms_server.core.config import load_config
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.scheduler import Scheduler

COUNT = 30


def configured(folder: Path) -> Path:
    """A configuration folder with instances that nobody answers for; they load all the same."""
    configs = folder / "lollms_configs"
    (configs / "bindings").mkdir(parents=True, mode=0o700)
    names = ", ".join(f"i{number}: openai_binding" for number in range(COUNT))
    main = configs / "main_config.yaml"
    main.write_text(f"security: {{allowed_api_keys: []}}\nbindings_map: {{{names}}}\n", encoding="utf-8")
    for number in range(COUNT):
        card = configs / "bindings" / f"i{number}.yaml"
        card.write_text("type: openai_binding\nbase_url: http://127.0.0.1:9/v1\n", encoding="utf-8")
    for path in (configs, *configs.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return configs


def test_all_are_loaded_with_one_listing_and_never_two_reads_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_config(configured(tmp_path), {})
    folder, listings, threads, most = loaded.folders.instances, [0], [0], [0]
    list_folder, load, lock = os.listdir, slots.load_instance, threading.Lock()

    def listed(place: Any) -> list[str]:
        listings[0] += Path(place) == folder
        return list_folder(place)

    def read(*given: Any) -> Any:
        with lock:
            threads[0] += 1
            most[0] = max(most[0], threads[0])
        try:
            return load(*given)
        finally:
            with lock:
                threads[0] -= 1

    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(slots, "load_instance", read)

    async def bring_up() -> list[Slot]:
        types = Types(*discover([SHIPPED]), Prober(5.0))
        made = [Slot(name, kind) for name, kind in loaded.config.bindings_map.items()]
        maker, surroundings = Maker(loaded, ResourceManager({}, Scheduler())), Surroundings(tmp_path)
        await asyncio.gather(*(maker.bring_up(slot, types, surroundings) for slot in made))
        states = [slot.state for slot in made]
        assert len({slot.version for slot in made}) == COUNT
        for slot in made:
            await stop_binding(slot)
        await surroundings.close()
        assert states == ["loaded"] * COUNT
        return made

    asyncio.run(bring_up())
    assert most == [1]
    assert listings == [1]


def test_a_new_listing_sees_what_came_later(tmp_path: Path) -> None:
    files = InstanceFiles(tmp_path)
    with pytest.raises(NotFound):
        files.find("mine")
    (tmp_path / "mine.yaml").write_text("type: x\n", encoding="utf-8")
    assert InstanceFiles(tmp_path).find("mine") == tmp_path / "mine.yaml"
