"""One server in front of every kind of backend, which all know the same (see `tests.support.knowing`).

    with every_backend() as all_of_them:
        all_of_them.server                  # see tests.support.server
        all_of_them.backends["ollama"]      # what a test must know of each

The instances: `scripted` answers in this process, `nano` is the engine with the embedded model, `ollama` and `openai`
are servers on sockets that speak those protocols, `lollms` is another lollms server with an Ollama server behind it.

There are personalities `Bob`, a simple one, `Helper`, whose model may call a function, and the scripts `Steps` and
`Stream`; and the function `own_tools.get_weather`.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lollms_runtime.engines.llamacpp import LlamaCppEngine
from lollms_server.core.bindings.engine import EngineBinding
from lollms_server.core.config import load_config
from tests.support.chaos import ChaosServer
from tests.support.engines import busy, get
from tests.support.knowing import Mind
from tests.support.knowing_servers import KnowingOllama, KnowingOpenAI, ScriptedBinding
from tests.support.personalities import write_personality
from tests.support.server import Served, running_server, write_config

__all__ = ["NAMES", "Backend", "EveryBackend", "every_backend"]

NAMES = ("scripted", "nano", "ollama", "openai", "lollms")

FUNCTIONS = '''
    async def get_weather(city: str) -> str:
        """Get the weather for a city"""
        return "sunny, 21 C" if city == "Madrid" else "unknown"

    async def count_words(text: str) -> int:
        return len(text.split())
'''

STEPS = """
    async def run_workflow(prompt, params, context):
        draft = await context["binding"].generate(prompt=f"Repeat: {prompt}", params=params)
        text = draft[0]["data"]
        ran, words = await context["function_manager"].execute_function("own_tools.count_words", {"text": text})
        return [{"type": "text", "data": text}, {"type": "info", "data": f"{words} words" if ran else words}]
"""

STREAM = """
    async def run_workflow(prompt, params, context):
        async for piece in context["binding"].generate_stream(f"Repeat: {prompt}", params):
            if piece["type"] == "chunk":
                yield piece
"""


@dataclass(frozen=True)
class Backend:
    """What a test must know of one instance.

    `models` are names it answers to, the default one first; `seeing` is one that takes images. `sent` are the
    parameters that reached it with the last call. `at_work` says whether it works on an answer now. `mind` is who
    answers at the end, None for the engine, of which only its own report can be read.
    """

    name: str
    models: tuple[str, ...]
    at_work: Callable[[], bool]
    sent: Callable[[], Mapping[str, Any]]
    mind: Mind | None = None
    seeing: str | None = None


@dataclass(frozen=True)
class EveryBackend:
    """The server, and what stands behind its instances; `addresses` are those of the servers among them."""

    server: Served
    backends: Mapping[str, Backend]
    root: Path
    addresses: Mapping[str, str]
    far_key: str


def _write(root: Path, ollama: str, openai: str, far: Served) -> Path:
    """Configuration, personalities and functions below `root`; returns the configuration folder."""
    (root / "personal_functions").mkdir()
    (root / "personal_functions" / "own_tools.py").write_text(textwrap.dedent(FUNCTIONS), encoding="utf-8")
    people = root / "personal_personalities"
    called = "You are called Bob."
    write_personality(
        people, "bob", name="Bob", personality_conditioning=called, model_temperature=0.5, model_n_predicts=3
    )
    write_personality(people, "helper", name="Helper", functions=["own_tools.get_weather"], personality_conditioning="")
    write_personality(people, "steps", STEPS, name="Steps")
    write_personality(people, "stream", STREAM, name="Stream")
    instances: dict[str, dict[str, Any]] = {
        "nano": {"type": "llamacpp_binding", "n_parallel": 1},
        "ollama": {"type": "ollama_binding", "host": ollama, "default_model": "llama3.2"},
        "openai": {"type": "openai_binding", "base_url": openai, "api_key": "k", "default_model": "one"},
        "lollms": {"type": "lollms_binding", "base_url": far.url, "service_key": far.key},
    }
    config = {
        "defaults": {"ttt_binding": "scripted"},
        "bindings_map": {name: each["type"] for name, each in instances.items()},
    }
    return write_config(root, config, instances)


@contextlib.contextmanager
def _far(ollama: str) -> Iterator[Served]:
    """Another lollms server, in front of an Ollama server."""
    instances = {"box": {"type": "ollama_binding", "host": ollama, "default_model": "llama3.2"}}
    config = {"bindings_map": {"box": "ollama_binding"}, "defaults": {"ttt_binding": "box"}}
    with running_server(None, config, instances) as server:
        server.wait_until(lambda: server.services.manager.models != "loading", 20)
        yield server


@contextlib.contextmanager
def every_backend() -> Iterator[EveryBackend]:
    """Serve until the block ends. The engine has loaded its model before it begins."""
    scripted = ScriptedBinding(Mind())
    speaking = KnowingOpenAI(Mind())
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lollms-test-")))
        ollama, beyond = KnowingOllama(Mind()), KnowingOllama(Mind())
        stack.enter_context(ollama)
        stack.enter_context(beyond)
        chaos = stack.enter_context(ChaosServer())
        far = stack.enter_context(_far(beyond.origin))
        folder = _write(root, ollama.origin, chaos.add("v1", speaking), far)
        loaded = load_config(folder, environ={}, further=("scripted",))
        server = stack.enter_context(running_server({"scripted": scripted}, loaded=loaded))
        for manager in (server.services.personalities, server.services.functions):
            asyncio.run_coroutine_threadsafe(manager.settled(), server.loop).result(30)
        server.wait_until(lambda: server.services.manager.models == "ready", 40)
        engine = _engine(server)

        def of_mind(name: str, models: str, at_work: Callable[[], bool], mind: Mind, seeing: str | None) -> Backend:
            return Backend(name, tuple(models.split()), at_work, lambda: mind.asked[-1].params, mind, seeing)

        found = (
            of_mind("scripted", "m", lambda: scripted.at_work, scripted.mind, None),
            Backend("nano", ("lollms-nano",), lambda: bool(busy(engine)), lambda: _last_task(engine)),
            of_mind("ollama", "llama3.2 llama3.2:latest qwen3", ollama.waiting.any, ollama.mind, "llava"),
            of_mind("openai", "one two", speaking.waiting.any, speaking.mind, "one"),
            of_mind("lollms", "llama3.2 qwen3", beyond.waiting.any, beyond.mind, "llava"),
        )
        addresses = {"ollama": ollama.origin, "openai": chaos.url("v1"), "lollms": far.url}
        yield EveryBackend(server, {each.name: each for each in found}, root, addresses, far.key)


def _last_task(engine: LlamaCppEngine) -> dict[str, Any]:
    """The parameters of the engine's last task, its own defaults among them, and `read`: the tokens in its context."""
    (slot,) = get(engine, "/slots")
    return {**slot["params"], "read": slot["n_prompt_tokens"]}


def _engine(server: Served) -> LlamaCppEngine:
    binding = asyncio.run_coroutine_threadsafe(server.services.manager.get("nano"), server.loop).result(10)
    assert isinstance(binding, EngineBinding) and isinstance(binding.engine, LlamaCppEngine)
    return binding.engine
