"""Whatever one key floods the server with, another is served: scripts and functions, which hold no place in an
instance, callers that wait for an instance that still loads, counting, embedding, and threads that never end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.types import GenerationCall, Reply, ToolCall
from lollms_runtime.scripted import AsyncScriptedPorts
from tests.support.full_house import EchoBinding, House, full_house
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import KEY, PortsBinding, running_server

OTHER = "another-key-0123456789abcdef"
HEADERS = {"X-API-Key": KEY}
OTHERS = {"X-API-Key": OTHER}
CONFIG: dict[str, Any] = {
    "security": {"allowed_api_keys": [KEY, OTHER]},
    "limits": {"max_active_requests": 40, "function_timeout": 1},
}


class Calling(EchoBinding):
    """Asks for the function that it is offered."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = AsyncScriptedPorts(self.answer)

    def answer(self, call: GenerationCall) -> Any:
        if call.tools:
            return Reply("", tool_calls=(ToolCall("c1", call.tools[0].name, {}),), model=call.model)
        return call.messages[-1].text


BLOCKING = """
import asyncio
import pathlib
import time
import uuid

HERE = pathlib.Path(__file__).parent


def wait():
    (HERE / f"begun-{uuid.uuid4()}").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)


async def blocks() -> str:
    await asyncio.to_thread(wait)
    return "done"
"""

FLOODS: dict[str, dict[str, Any]] = {
    "scripts": prompt("wait", personality="Script", stream=True),
    "functions": prompt("wait", functions=["own_tools.waits"], stream=True),
    "a model that never ends": prompt("wait", binding_name="own", stream=True),
    "a model that never loads": prompt("wait", binding_name="own", model_name="slow", stream=True),
}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with full_house(Calling(), **CONFIG) as running:
        yield running


@contextlib.contextmanager
def flood(house: House, body: dict[str, Any], count: int = 60) -> Iterator[list[RawRequest]]:
    """More requests of one key than the server takes of all."""
    with contextlib.ExitStack() as stack:
        requests = []
        for _ in range(count):
            request = RawRequest(house.server.port, "POST", "/api/v1/generate", body=body, headers=HEADERS)
            requests.append(stack.enter_context(request))
        house.server.wait_until(lambda: len(house.server.services.registry) >= 20)
        yield requests
    house.server.wait_idle()


def asked(house: House, path: str, body: Any = None) -> Answer:
    return ask(house.server.port, "GET" if body is None else "POST", path, body, OTHERS)


@pytest.mark.parametrize("what", FLOODS)
def test_another_key_is_served_meanwhile(house: House, what: str) -> None:
    with flood(house, FLOODS[what]):
        for path, body in (
            ("/api/v1/generate", prompt("x", binding_name="openai")),
            ("/api/v1/generate", prompt("x", personality="Script", binding_name="openai")),
            ("/api/v1/generate", prompt("x", personality="Plain")),
            ("/api/v1/count_tokens", {"text": "x"}),
            ("/api/v1/list_models", None),
            ("/api/v1/queue", None),
        ):
            answer = asked(house, path, body)
            assert answer.status == 200, (what, path, answer)
            assert b'"failed"' not in answer.body, (what, path, answer)


def test_the_flood_is_told_when_to_come_back(house: House) -> None:
    with flood(house, FLOODS["scripts"]) as requests:
        refused = requests[-1].whole()
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "key" in refused.json()["detail"]


class NeverReady(PortsBinding):
    """An instance whose start does not end."""

    @override
    async def start(self) -> None:
        await asyncio.Event().wait()


def test_waiting_for_an_instance_that_loads_takes_no_more_room_than_anything_else() -> None:
    bindings = {"main": EchoBinding(), "late": NeverReady("x")}
    config = {**CONFIG, "defaults": {"ttt_binding": "main"}}
    with running_server(bindings, config) as server, contextlib.ExitStack() as stack:
        requests = []
        for _ in range(60):
            body = prompt("x", binding_name="late", stream=True)
            request = RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=HEADERS)
            requests.append(stack.enter_context(request))
        answer = requests[-1].whole()
        assert (answer.status, answer.json()["code"]) == (429, "too_many_requests")
        for path, body in (("/api/v1/generate", prompt("x")), ("/api/v1/count_tokens", {"text": "x"})):
            assert ask(server.port, "POST", path, body, OTHERS).status == 200, path


def test_threads_that_do_not_end_are_no_threads_of_others(house: House) -> None:
    """What a function of a plug-in does in `asyncio.to_thread` goes on when its time is up."""
    folder = house.root / "personal_functions"
    (folder / "blocking.py").write_text(BLOCKING, encoding="utf-8")
    try:
        report = ask(house.server.port, "POST", "/api/v1/reload", {}, HEADERS).json()
        assert "blocking" in report["loaded"], report
        with flood(house, prompt("x", functions=["blocking.blocks"], stream=True), 40) as requests:
            house.server.wait_until(lambda: len(list(folder.glob("begun-*"))) >= 6)
            large = {"text": "x" * 300_000}
            for path, body in (("/api/v1/list_models", None), ("/api/v1/count_tokens", large)):
                since = time.monotonic()
                assert asked(house, path, body).status == 200, path
                assert time.monotonic() - since < 2, path
            (folder / "go").touch()
            for request in requests:
                request.whole()
    finally:
        (folder / "go").touch()


def test_a_crowd_of_reloads_is_two_reloads(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lollms_server.core.reloading"), contextlib.ExitStack() as stack:
        requests = [
            stack.enter_context(RawRequest(house.server.port, "POST", "/api/v1/reload", body={}, headers=HEADERS))
            for _ in range(40)
        ]
        for request in requests[::4]:
            request.leave()
        for request in requests[1::4]:
            answer = request.whole()
            assert answer.status == 200
            assert "own" in answer.json()["kept"]
        assert asked(house, "/api/v1/generate", prompt("x")).status == 200
        reloads = [record for record in caplog.records if record.getMessage().startswith("reloaded ")]
        assert 1 <= len(reloads) <= 4
