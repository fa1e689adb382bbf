"""A server with one of everything: every kind of instance, personality and function, and backends on real sockets.

    with full_house() as house:
        house.server                # see tests.support.server
        house.root                  # the folder with configuration and code

Instances: `main` answers in this process, `own` is a folder of code as the documentation describes one, `ollama` and
`openai` are bindings to servers that speak those protocols, `broken` cannot be loaded. Personalities: `Simple`,
`Caller` (its model may call `own_tools.echo`), `Script` (streams what `main` says, after a function), `Plain` (a script
on a thread) and `Broken`. Every model says what it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lollms_core.types import Embeddings, GenerationCall
from lollms_server.core.bindings import Binding
from lollms_server.core.config import load_config
from lollms_server.core.services import Patience
from tests.support.chaos import ChaosServer
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import answering
from tests.support.personalities import write_personality
from tests.support.server import PortsBinding, Served, running_server, write_config

__all__ = ["INSTANCES", "PERSONALITIES", "EchoBinding", "House", "full_house"]

INSTANCES = ("main", "own", "ollama", "openai")
PERSONALITIES = ("Simple", "Caller", "Script", "Plain")

CARD = """\
type_name: own_binding
display_name: Own
version: "1"
author: somebody
description: A test.
supports_streaming: true
supported_output_modalities: [text]
supported_input_modalities: [text, image]
instance_schema:
  __version__: "0.1.0"
  type: {type: str, default: own_binding}
  binding_instance_name: {type: str, nullable: true, default: null}
  default_model: {type: str, nullable: true, default: tiny}
  secret: {type: str, nullable: true, default: null, secret: true}
"""

CODE = """\
import asyncio

from lollms_server.core.bindings import Binding


class Own(Binding):
    binding_type_name = "own_binding"

    def __init__(self, config, resource_manager):
        super().__init__(config, resource_manager)
        self.default_model_name = config.get("default_model")
        self.inside = 0

    async def list_available_models(self):
        return [{"name": "tiny"}]

    def get_supported_input_modalities(self):
        return ["text", "image"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        while model_name == "slow":
            await asyncio.sleep(0.01)
        self._model_loaded = True
        return True

    async def unload_model(self):
        return True

    async def get_model_info(self, model_name=None):
        return {"name": model_name}

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        await asyncio.sleep(0)
        return f"{prompt}"

    async def generate_stream(self, prompt, params, request_info, multimodal_data=None):
        self.inside += 1
        try:
            for at in range(0, len(prompt), 5):
                yield {"type": "chunk", "content": prompt[at : at + 5]}
                await asyncio.sleep(0)
            while "wait" in prompt:
                await asyncio.sleep(0.01)
        finally:
            self.inside -= 1
"""

SCRIPT = """
    async def run_workflow(prompt, params, context):
        ran, said = await context["function_manager"].execute_function("own_tools.echo", {"text": prompt})
        if "wait" in prompt:
            await context["function_manager"].execute_function("own_tools.waits", {})
        async for chunk in context["binding"].generate_stream(said if ran else "no", params):
            if chunk.get("type") == "chunk":
                yield {"type": "chunk", "content": chunk.get("content") or ""}
"""

PLAIN = """
    import time

    def run_workflow(prompt, params, context):
        yield prompt[:7]
        time.sleep(0.2 if "wait" in prompt else 0.001)
        yield prompt[7:]
"""

FUNCTIONS = """
    import asyncio

    async def echo(text: str) -> str:
        await asyncio.sleep(0)
        return text

    async def waits() -> str:
        await asyncio.Event().wait()
        return "never"
"""


class EchoBinding(PortsBinding):
    """Says the last message; a prompt with `wait` in it never ends. It can do everything that text needs."""

    def __init__(self, *, places: int | None = None) -> None:
        super().__init__(echo, places=places)

    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        return bytes(token % 256 for token in tokens).decode("utf-8", "replace")

    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        return Embeddings(tuple((float(len(text)),) for text in texts), model_name or "m")


def echo(call: GenerationCall) -> Any:
    return call.messages[-1].text


@dataclass(frozen=True)
class House:
    """A running server with everything, and what stands behind it."""

    server: Served
    root: Path
    ollama: OllamaServer
    openai: ChaosServer


def write_house(
    root: Path, ollama: str, openai: str, config: Mapping[str, Any], *, secrets: Mapping[str, str], main: str = "main"
) -> Path:
    """Write everything but `main` below `root`; returns the configuration folder."""
    own = root / "personal_bindings" / "own_binding"
    own.mkdir(parents=True)
    (own / "binding_card.yaml").write_text(CARD, encoding="utf-8")
    (own / "__init__.py").write_text(CODE, encoding="utf-8")
    functions = root / "personal_functions"
    functions.mkdir()
    (functions / "own_tools.py").write_text(textwrap.dedent(FUNCTIONS), encoding="utf-8")
    (functions / "broken_tools.py").write_text(
        f"import os\n# {secrets.get('function', '')}\nthis is no Python\n", encoding="utf-8"
    )
    personalities = root / "personal_personalities"
    write_personality(personalities, "simple", None, name="Simple")
    write_personality(personalities, "caller", None, name="Caller", functions=["own_tools.echo"])
    write_personality(personalities, "script", SCRIPT, name="Script")
    write_personality(personalities, "plain", PLAIN, name="Plain")
    write_personality(personalities, "broken", "1 / 0\n", name="Broken")
    instances: dict[str, dict[str, Any]] = {
        "own": {"type": "own_binding", "secret": secrets.get("own")},
        "ollama": {"type": "ollama_binding", "host": ollama, "default_model": "llama3.2"},
        "openai": {
            "type": "openai_binding",
            "base_url": openai,
            "api_key": secrets.get("openai", "k"),
            "default_model": "one",
        },
        "broken": {"type": "openai_binding", "base_url": "no address"},
    }
    whole = {
        "defaults": {"ttt_binding": main},
        "bindings_map": {name: str(each["type"]) for name, each in instances.items()},
        **config,
    }
    return write_config(root, whole, {name: json.dumps(each) for name, each in instances.items()})


@contextlib.contextmanager
def full_house(
    main: Binding | None = None,
    *,
    secrets: Mapping[str, str] | None = None,
    patience: Patience | None = None,
    check_idle: bool = True,
    **config: Any,
) -> Iterator[House]:
    """Serve everything until the block ends; `config` are sections of the main configuration."""
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lollms-test-")))
        ollama = OllamaServer()
        stack.enter_context(ollama)
        openai = stack.enter_context(ChaosServer())
        folder = write_house(root, ollama.origin, openai.add("openai", answering), config, secrets=secrets or {})
        loaded = load_config(folder, environ={}, further=("main",))
        bindings = {"main": main or EchoBinding()}
        server = stack.enter_context(running_server(bindings, loaded=loaded, patience=patience, check_idle=check_idle))
        for manager in (server.services.personalities, server.services.functions):
            asyncio.run_coroutine_threadsafe(manager.settled(), server.loop).result(30)
        server.wait_until(lambda: server.services.manager.models != "loading", 30)
        yield House(server, root, ollama, openai)
