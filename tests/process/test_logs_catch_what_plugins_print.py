"""A real server: what a binding prints while a request runs is a line of its log, and standard output stays its own.

Other things that plug-ins do to logging are done to it too: the lines of the server go on, and none holds a secret.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.raw_http import ask, prompt
from tests.support.server import KEY, write_config
from tests.support.server_process import server_process

SECRET = "canary-9c2e-of-the-binding"
CARD = """
type_name: rude_binding
supported_output_modalities: [text]
supported_input_modalities: [text]
instance_schema:
  default_model: {type: str, default: tiny}
  secret_word: {type: str, default: "", secret: true}
"""
CODE = """
import logging, sys, threading, warnings
logging.basicConfig(level=logging.CRITICAL, force=True)
from lollms_server.core.bindings import Binding

class Rude(Binding):
    binding_type_name = "rude_binding"

    async def list_available_models(self):
        return [{"name": "tiny"}]

    def get_supported_input_modalities(self):
        return ["text"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        return True

    async def unload_model(self):
        return True

    async def get_model_info(self, model_name=None):
        return {"name": "tiny"}

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        word = self.config["secret_word"]
        logging.basicConfig(level=logging.CRITICAL, force=True)
        logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
        print("out", word)
        print("err", word, file=sys.stderr)
        sys.stdout.write("\\x1b[31mcoloured\\x1b[0m \\x1b]0;title\\x07\\n")
        warnings.warn(f"warned {word}")
        thread = threading.Thread(target=self._fail)
        thread.start()
        thread.join()
        return "fine"

    def _fail(self):
        raise RuntimeError(self.config["secret_word"])
"""


def test_printed_lines_are_records_of_their_request(tmp_path: Path) -> None:
    folder = tmp_path / "own" / "rude"
    folder.mkdir(parents=True)
    (folder / "binding_card.yaml").write_text(CARD, encoding="utf-8")
    (folder / "__init__.py").write_text(CODE, encoding="utf-8")
    config = {
        "paths": {"bindings_folder": str(tmp_path / "own")},
        "bindings_map": {"rude": "rude_binding"},
        "defaults": {"ttt_binding": "rude"},
    }
    write_config(tmp_path, config, {"rude": {"secret_word": SECRET}})
    with server_process(tmp_path) as server:
        answers = [ask(server.port, "POST", "/api/v1/generate", prompt("hi"), {"X-API-Key": KEY}) for _ in range(2)]
        assert [answer.json()["output"][0]["data"] for answer in answers] == ["fine", "fine"]
        marks = [f"[{answer.headers['x-request-id']}]" for answer in answers]
        wanted = ["warned •••", "RuntimeError: •••"]
        for mark in marks:
            wanted += [f"INFO stdout {mark} out •••", f"WARNING stderr {mark} err •••", f"INFO stdout {mark} coloured"]
            wanted.append(f"INFO lollms_server.requests {mark} ")  # the server's own line, after all that
        server.wait_for(lambda: all(any(words in line for line in server.err) for words in wanted))
    everything = "\n".join([*server.out, *server.err])
    assert SECRET not in everything and "\x1b" not in everything
    assert not any(word in "\n".join(server.out) for word in ("out", "coloured", "warned"))
