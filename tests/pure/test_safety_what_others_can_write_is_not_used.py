"""Files that everybody can write could make us run anything, so they are not used: instances, and code of bindings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lollms_core.errors import InstanceUnavailable
from lollms_server.core.bindings import Surroundings
from lollms_server.core.bindings.manager import BindingManager
from lollms_server.core.config import load_config
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.scheduler import Scheduler
from tests.support.server import write_config

CARD = """
type_name: own_binding
supported_output_modalities: [text]
supported_input_modalities: [text]
instance_schema: {default_model: {type: str, default: tiny}}
"""
CODE = """
from pathlib import Path
from lollms_server.core.bindings import Binding
from . import helper

Path(__file__).with_name("ran").touch()

class Own(Binding):
    binding_type_name = "own_binding"

    async def list_available_models(self):
        return []

    def get_supported_input_modalities(self):
        return ["text"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        return True

    async def unload_model(self):
        return True

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        return "fine"

    async def get_model_info(self, model_name=None):
        return {}
"""
PLACES = [
    "instance file",
    "instances folder",
    "a module",
    "the folder of all bindings",
    "what Python has compiled",
    "a library in C",
]


def made(tmp_path: Path) -> dict[str, Path]:
    own = tmp_path / "own"
    (own / "mine").mkdir(parents=True)
    (own / "mine" / "binding_card.yaml").write_text(CARD, encoding="utf-8")
    (own / "mine" / "__init__.py").write_text(CODE, encoding="utf-8")
    (own / "mine" / "helper.py").write_text("", encoding="utf-8")
    (own / "mine" / "__pycache__").mkdir()
    (own / "mine" / "library.so").touch()
    config = {"paths": {"bindings_folder": str(own)}, "bindings_map": {"mine": "own_binding"}}
    bindings = write_config(tmp_path, config, {"mine": {}}) / "bindings"
    mine = own / "mine"
    places = (bindings / "mine.yaml", bindings, mine / "helper.py", own, mine / "__pycache__", mine / "library.so")
    return dict(zip(PLACES, places, strict=True))


def tried(tmp_path: Path) -> None:
    loaded = load_config(tmp_path / "lollms_configs", environ={})
    scheduler = Scheduler()

    async def main() -> None:
        manager = BindingManager(loaded, scheduler, ResourceManager({}, scheduler))
        await manager.start(Surroundings(tmp_path))
        try:
            await manager.get("mine")
        finally:
            await manager.stop()

    asyncio.run(main())


@pytest.mark.parametrize("place", PLACES)
def test_the_instance_fails_and_the_log_says_what_to_type(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = made(tmp_path)[place]
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(InstanceUnavailable):
        tried(tmp_path)
    assert not (tmp_path / "own" / "mine" / "ran").exists()
    assert f"chmod o-w '{path}'" in caplog.text


def test_what_only_the_owner_can_write_is_used(tmp_path: Path) -> None:
    made(tmp_path)
    tried(tmp_path)
    assert (tmp_path / "own" / "mine" / "ran").exists()
