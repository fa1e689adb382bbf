"""A key that is taken away ends all that runs with it: scripts, functions, embeddings, those that wait and those that
load a model; and a reload alone ends nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.types import Embeddings, GenerationCall, Reply, ToolCall
from lollms_runtime.scripted import AsyncScriptedPorts
from tests.support.full_house import EchoBinding, House, full_house
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY

OTHER = "another-key-0123456789abcdef"


class Waiting(EchoBinding):
    """Has one place, calls what it is offered, and embeds for ever."""

    def __init__(self) -> None:
        super().__init__(places=None)
        self.ports = AsyncScriptedPorts(self.answer)

    def answer(self, call: GenerationCall) -> Any:
        if call.tools:
            return Reply("", tool_calls=(ToolCall("c1", call.tools[0].name, {}),), model=call.model)
        return call.messages[-1].text

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        await asyncio.Event().wait()
        raise AssertionError


OPEN: dict[str, tuple[str, dict[str, Any]]] = {
    "script": ("generate", prompt("wait", personality="Script", stream=True)),
    "function": ("generate", prompt("wait", functions=["own_tools.waits"], stream=True)),
    "whole": ("generate", prompt("wait", functions=["own_tools.waits"])),
    "binding": ("generate", prompt("wait", binding_name="own", stream=True)),
    "loading": ("generate", prompt("wait", binding_name="own", model_name="slow")),
    "embedding": ("embed", {"input": "wait"}),
}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with full_house(Waiting(), security={"allowed_api_keys": [KEY, OTHER]}) as running:
        yield running


@contextlib.contextmanager
def all_open(house: House, key: str) -> Iterator[dict[str, RawRequest]]:
    server = house.server
    before = len(server.services.registry)
    with contextlib.ExitStack() as stack:
        requests = {}
        for name, (path, body) in OPEN.items():
            request = RawRequest(server.port, "POST", f"/api/v1/{path}", body=body, headers={"X-API-Key": key})
            requests[name] = stack.enter_context(request)
        server.wait_until(lambda: len(server.services.registry) == before + len(OPEN))
        server.wait_until(lambda: sum(t.get_name() == "function own_tools.waits" for t in asyncio.all_tasks()) >= 3)
        yield requests


def hang_up(house: House) -> None:
    asyncio.run_coroutine_threadsafe(house.server.services.reloader.hangup(), house.server.loop).result(20)


def test_everything_of_the_key_ends_and_nothing_of_another(house: House) -> None:
    server = house.server
    file = house.root / "lollms_configs" / "main_config.yaml"
    whole = json.loads(file.read_text(encoding="utf-8"))
    with all_open(house, OTHER) as others:
        with all_open(house, KEY) as mine:
            hang_up(house)
            assert len(server.running()) == 2 * len(OPEN)  # a reload alone ends nothing
            file.write_text(
                json.dumps({**whole, "security": {"allowed_api_keys": [OTHER]}}, indent=1), encoding="utf-8"
            )
            try:
                hang_up(house)
            finally:
                file.write_text(json.dumps(whole, indent=1), encoding="utf-8")
            for name, request in mine.items():
                answer = request.whole()
                if answer.headers.get("content-type", "").startswith("text/event-stream"):
                    *_, error, final = answer.events()
                    assert (error["metadata"]["code"], final["metadata"]["status"]) == ("cancelled", "failed"), name
                else:
                    assert (answer.status, answer.json()["code"]) == (499, "cancelled"), (name, answer)
        assert len(server.running()) == len(OPEN)
        assert ask(server.port, "GET", "/api/v1/queue", None, {"X-API-Key": KEY}).status == 401
        assert ask(server.port, "GET", "/api/v1/queue", None, {"X-API-Key": OTHER}).status == 200
        for request in others.values():
            request.leave()
        server.wait_idle()
    hang_up(house)
    assert ask(server.port, "GET", "/api/v1/queue", None, {"X-API-Key": KEY}).status == 200
