"""A binding as its documentation describes it, in a folder, for tests that change it while a server runs.

Its answer to any prompt is the word of its instance and the word of its code, so that a test sees which version of
which file is at work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CODE", "OwnFolder"]

CARD = """\
type_name: own_binding
display_name: Own
version: "1"
author: somebody
description: A test.
supports_streaming: true
supported_output_modalities: [text]
supported_input_modalities: [text]
instance_schema:
  __version__: "0.1.0"
  type: {type: str, default: own_binding}
  binding_instance_name: {type: str, nullable: true, default: null}
  default_model: {type: str, nullable: true, default: tiny}
  word: {type: str, default: plain}
  folder: {type: str, default: ""}
  key: {type: str, nullable: true, default: null, secret: true}
"""

CODE = """\
import asyncio
from pathlib import Path

from lollms_server.core.bindings import Binding

WORD = "first"


class Own(Binding):
    binding_type_name = "own_binding"

    def __init__(self, config, resource_manager):
        super().__init__(config, resource_manager)
        self.folder = Path(config["folder"])
        self.streams = 0

    def note(self, what):
        with open(self.folder / "notes", "a", encoding="utf-8") as notes:
            notes.write(f"{what} {self.config['word']}-{WORD}\\n")

    async def start(self):
        self.note("start")

    async def stop(self):
        self.note(f"stop with {self.streams} streams,")

    async def list_available_models(self):
        return [{"name": "tiny"}]

    def get_supported_input_modalities(self):
        return ["text"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        self._model_loaded = True
        return True

    async def unload_model(self):
        return True

    async def get_model_info(self, model_name=None):
        return {"name": model_name}

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        return f"{self.config['word']}-{WORD}"

    async def generate_stream(self, prompt, params, request_info, multimodal_data=None):
        self.streams += 1
        try:
            yield {"type": "chunk", "content": f"{self.config['word']}-{WORD}"}
            while prompt == "wait" and not (self.folder / "go").exists():
                await asyncio.sleep(0.002)
            yield {"type": "chunk", "content": "!"}
        finally:
            self.streams -= 1
"""


class OwnFolder:
    """The folder of a server with own bindings: `root` holds the configuration folder and `personal_bindings`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.code = root / "personal_bindings" / "own_binding" / "__init__.py"
        self.card = self.code.with_name("binding_card.yaml")
        self.config = root / "lollms_configs" / "main_config.yaml"
        self.code.parent.mkdir(parents=True)
        self.code.write_text(CODE, encoding="utf-8")
        self.card.write_text(CARD, encoding="utf-8")

    @property
    def notes(self) -> list[str]:
        """What the bindings noted of their starts and stops."""
        file = self.root / "notes"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def settings(self, word: str = "plain", **more: Any) -> dict[str, Any]:
        """The settings of an instance."""
        return {"type": "own_binding", "word": word, "folder": str(self.root), **more}

    def write_instance(self, name: str, settings: Mapping[str, Any] | str) -> None:
        """Write the file of an instance."""
        file = self.root / "lollms_configs" / "bindings" / f"{name}.yaml"
        file.write_text(settings if isinstance(settings, str) else json.dumps(settings), encoding="utf-8")
        file.chmod(0o600)

    def change_config(self, **sections: Any) -> None:
        """Replace sections of the main configuration."""
        whole = json.loads(self.config.read_text(encoding="utf-8"))
        self.config.write_text(json.dumps({**whole, **sections}, indent=1), encoding="utf-8")

    def change_code(self, old: str, new: str) -> None:
        """Replace a part of the binding's code."""
        text = self.code.read_text(encoding="utf-8")
        assert old in text
        self.code.write_text(text.replace(old, new), encoding="utf-8")
