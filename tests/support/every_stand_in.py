"""The stand-ins of `every_provider`, by the names of its rows, and what a test must know of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

from tests.support.anthropic_server import AnthropicServer
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import Mode, reply
from tests.support.gates import Form, gate, openai_form
from tests.support.gemini_server import KEY as GEMINI_KEY
from tests.support.gemini_server import GeminiServer
from tests.support.huggingface_server import HuggingFaceServer
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import answering
from tests.support.responses_server import responding
from tests.support.server import KEY as LOLLMS_KEY
from tests.support.server import running_server
from tests.support.strict_chat_rules import RULES
from tests.support.strict_chat_server import strict
from tests.support.webui_server import WebuiServer

__all__ = ["KEY", "STAND_INS", "WRONG_KEY", "StandIn"]

KEY = "canary-right-key-0123456789"
WRONG_KEY = "canary-wrong-key-0123456789"


class StandIn(NamedTuple):
    """Who answers at `address`.

    `model` is the usual one, `seeing` one that takes images, `embedder` one that embeds ("": none is named), `breaking`
    one that fails in the middle of a stream.
    """

    server: ChaosServer
    refused: list[Seen]
    address: str
    key: str = KEY
    model: str = "one"
    seeing: str = ""
    embedder: str = ""
    breaking: str = ""

    def asked(self, words: str, *, refused: bool = False) -> list[Seen]:
        """The requests so far whose body holds the words; with `refused` also those that were answered with 400."""
        found = [seen for seen in list(self.server.requests) if words.encode() in seen.body]
        return found if refused else [seen for seen in found if seen not in self.refused]

    def wait(self, words: str, number: int = 1, timeout: float = 5.0) -> Seen:
        """Wait until that many requests with the words are there; the last of them."""
        deadline = time.monotonic() + timeout
        while len(found := self.asked(words)) < number:
            assert time.monotonic() < deadline, f"no request with {words!r} arrived"
            time.sleep(0.002)
        return found[number - 1]


Made = Callable[[], AbstractContextManager[StandIn]]


# ---- who they are --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _strict(name: str) -> Iterator[StandIn]:
    with ChaosServer() as server:
        address = strict(server, name, KEY)
        refused = gate(server)
        embedder = "one" if RULES[name].embeddings else ""
        yield StandIn(server, refused, address, seeing="one", embedder=embedder, breaking="breaks")


@contextlib.contextmanager
def _openai(mode: Mode, breaking: str = "") -> Iterator[StandIn]:
    async def with_key(connection: Connection, seen: Seen) -> None:
        if seen.headers.get("authorization") == f"Bearer {KEY}":
            return await mode(connection, seen)
        error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"}
        await reply(connection, json.dumps({"error": error}).encode(), 401, "No")

    with ChaosServer() as server:
        address = server.add("v1", with_key)
        refused = gate(server)
        yield StandIn(server, refused, address, seeing="one", embedder="one", breaking=breaking)


@contextlib.contextmanager
def _anthropic() -> Iterator[StandIn]:
    with AnthropicServer(key=KEY) as server:
        refused = gate(server, _anthropic_form)
        model = "claude-sonnet-4-5-20250929"
        yield StandIn(server, refused, server.origin, model=model, seeing=model, breaking="claude-broken")


def _anthropic_form(status: int, message: str, param: str) -> dict[str, Any]:
    kinds = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
    said = f"{param}: Extra inputs are not permitted" if param else message
    return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": said}, "request_id": "req_1"}


@contextlib.contextmanager
def _gemini() -> Iterator[StandIn]:
    gemini = GeminiServer()
    with gemini as server:
        refused = gate(server, _gemini_form)
        model = "gemini-2.5-flash"
        yield StandIn(server, refused, gemini.base, GEMINI_KEY, model, model, "gemini-embedding-001", "broken")


def _gemini_form(status: int, message: str, param: str) -> dict[str, Any]:
    names = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}
    said = f"{param} is not supported for this model." if param else message
    return {"error": {"code": status, "message": said, "status": names.get(status, "UNAVAILABLE")}}


@contextlib.contextmanager
def _huggingface(form: Form) -> Iterator[StandIn]:
    with HuggingFaceServer(key=KEY) as server:
        refused = gate(server, form)
        yield StandIn(server, refused, server.origin, model="org/teller", seeing="org/teller", embedder="org/teller")


def _huggingface_form(status: int, message: str, param: str) -> dict[str, Any]:
    said = f"The following `model_kwargs` are not used by the model: ['{param}'] (note: typos)" if param else message
    return {"error": said, "error_type": "validation"} if param else {"error": said}


@contextlib.contextmanager
def _ollama() -> Iterator[StandIn]:
    with OllamaServer(key=KEY) as server:
        refused = gate(server, lambda status, message, param: {"error": message})
        yield StandIn(server, refused, server.origin, KEY, "llama3.2", "llava", "embed", "broken")


@contextlib.contextmanager
def _webui() -> Iterator[StandIn]:
    with WebuiServer(key=KEY) as server:
        refused = gate(server, lambda status, message, param: {"detail": message})
        yield StandIn(server, refused, server.origin, model="llava", seeing="llava")


@contextlib.contextmanager
def _lollms() -> Iterator[StandIn]:
    """A real server with Ollama behind it, and a relay before it."""
    with contextlib.ExitStack() as stack:
        ollama = stack.enter_context(OllamaServer())
        instances = {"box": {"type": "ollama_binding", "host": ollama.origin, "default_model": "llama3.2"}}
        config = {
            "bindings_map": {"box": "ollama_binding"},
            "defaults": {"ttt_binding": "box"},
            "limits": {"failed_keys_per_minute": 1000},
        }
        far = stack.enter_context(running_server(None, config, instances))
        far.wait_until(lambda: far.services.manager.models != "loading", 20)
        server = stack.enter_context(ChaosServer())
        for route in ("api", "health"):
            server.add(route, _relay_to(far.port))
        refused = gate(server, _lollms_form)
        yield StandIn(server, refused, server.origin, LOLLMS_KEY, "llama3.2", "llava", "embed", "broken")


def _lollms_form(status: int, message: str, param: str) -> dict[str, Any]:
    codes = {400: "invalid_request", 429: "too_many_requests"}
    return {"detail": message, "code": codes.get(status, "instance_unavailable")}


def _relay_to(port: int) -> Mode:
    """Hand a request on as it is, and its answer back, an event at a time."""

    async def answer(connection: Connection, seen: Seen) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            kept = [(name, value) for name, value in seen.raw_headers if name not in ("connection", "host")]
            head = [f"{seen.method} {seen.path} HTTP/1.1", f"host: 127.0.0.1:{port}", "connection: close"]
            writer.write("\r\n".join([*head, *(f"{n}: {v}" for n, v in kept), "", ""]).encode("latin-1") + seen.body)
            came = await reader.readuntil(b"\r\n\r\n")
            lines = [line for line in came.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            await connection.packet(b"\r\n".join(lines))
            while data := await reader.read(65536):
                events = data.split(b"\n\n")
                for event in [*(each + b"\n\n" for each in events[:-1]), events[-1]]:
                    await connection.packet(event)
        finally:
            writer.close()

    return answer


STAND_INS: dict[str, Made] = {
    **{name: partial(_strict, name) for name in RULES},
    "openai-compatible": partial(_openai, answering),
    "openai": partial(_openai, answering),
    "llamacpp": partial(_openai, answering),
    "openai over Responses": partial(_openai, responding, "erring"),
    "claude": _anthropic,
    "gemini": _gemini,
    "hugging_face_inference_api": partial(_huggingface, openai_form),
    "hugging_face as text": partial(_huggingface, _huggingface_form),
    "ollama": _ollama,
    "lollms": _lollms,
    "lollms_webui": _webui,
}
