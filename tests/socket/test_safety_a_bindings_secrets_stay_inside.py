"""The secrets of an instance reach its binding and nobody else, whatever the binding says when it fails."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

from lollms_server.core.config import load_config
from lollms_server.core.log import SafeFormatter
from tests.support.raw_http import ask, prompt
from tests.support.server import running_server, write_config

SECRET = "canary-2f8c-of-the-instance"
CARD = """
type_name: talkative_binding
supported_output_modalities: [text]
supported_input_modalities: [text]
instance_schema:
  default_model: {type: str, default: tiny}
  secret_word: {type: str, nullable: true, default: null, secret: true}
"""
CODE = """
import base64, logging
from lollms_server.core.bindings import Binding

class Talkative(Binding):
    binding_type_name = "talkative_binding"

    def _fail(self, how):
        word = self.config["secret_word"]
        logging.getLogger(__name__).error("I use %s", word)
        kind = {"value": ValueError, "runtime": RuntimeError, "connection": ConnectionError, "os": OSError}[how]
        raise kind(f"{word} {word!r} {base64.b64encode(word.encode()).decode()} {word.encode().hex()}")

    async def list_available_models(self):
        self._fail("runtime")

    def get_supported_input_modalities(self):
        return ["text"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        return True

    async def unload_model(self):
        return True

    async def get_model_info(self, model_name=None):
        return {}

    async def health_check(self):
        return False, f"bad with {self.config['secret_word']}"

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        self._fail(prompt)

    async def generate_stream(self, prompt, params, request_info, multimodal_data=None):
        yield {"type": "chunk", "content": "so far"}
        self._fail(prompt)
"""


def test_nothing_that_leaves_holds_the_secret(tmp_path: Path) -> None:
    log = io.StringIO()
    folder = tmp_path / "own" / "talkative"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text(CARD, encoding="utf-8")
    (folder / "__init__.py").write_text(CODE, encoding="utf-8")
    config = {
        "paths": {"bindings_folder": str(tmp_path / "own")},
        "bindings_map": {"mine": "talkative_binding"},
        "defaults": {"ttt_binding": "mine"},
    }
    loaded = load_config(write_config(tmp_path, config, {"mine": {"secret_word": SECRET}}), environ={})
    handler = logging.StreamHandler(log)
    handler.setFormatter(SafeFormatter(loaded.scrubber))
    root = logging.getLogger()
    root.addHandler(handler)
    level, root.level = root.level, logging.DEBUG
    try:
        with running_server(loaded=loaded) as server:
            answers = [
                ask(server.port, "POST", "/api/v1/generate", prompt(how, stream=stream), server.headers)
                for how in ("value", "runtime", "connection", "os")
                for stream in (False, True)
            ]
            statuses = [answer.status for answer in answers]
            assert statuses == [400, 200, 500, 200, 503, 200, 500, 200]
            paths = ("list_available_models/mine", "list_bindings", "list_active_bindings", "get_default_bindings")
            answers += [ask(server.port, "GET", f"/api/v1/{path}", None, server.headers) for path in paths]
            answers.append(ask(server.port, "GET", "/openapi.json", None, server.headers))
            binding = server.services.manager._slots["mine"].binding
            assert binding is not None and binding.config["secret_word"] == SECRET
    finally:
        root.removeHandler(handler)
        root.level = level
    everything = b"\n".join(answer.body for answer in answers).decode() + log.getvalue()
    assert "I use •••" in log.getvalue()
    assert "mine" in json.loads(answers[9].body)["binding_instances"]
    for spelling in (SECRET, SECRET.encode().hex(), "Y2FuYXJ5"):
        assert spelling not in everything
