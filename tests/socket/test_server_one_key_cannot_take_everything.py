"""How much may run at once is bounded, for all and for each key; health and stopping stay possible."""

from __future__ import annotations

import asyncio
import contextlib

from lollms_runtime.scripted import AsyncScriptedPorts
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import KEY, PortsBinding, Served, running_server

OTHER = "another-key-0123456789abcdef"
CONFIG = {
    "defaults": {"ttt_binding": "main"},
    "security": {"allowed_api_keys": [KEY, OTHER]},
    "limits": {"max_active_requests": 8},
}


def hold(server: Served, key: str, number: int) -> RawRequest:
    headers = {"X-API-Key": key, "X-Request-ID": f"request-number-{number:04}"}
    return RawRequest(server.port, "POST", "/api/v1/generate", body=prompt("x", stream=True), headers=headers)


def check_refused(answer: Answer) -> None:
    assert (answer.status, answer.json()["code"]) == (429, "too_many_requests"), answer
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_one_key_gets_half_of_the_places_and_the_rest_stays_for_others() -> None:
    ports = AsyncScriptedPorts(lambda call: "one", gates={0: asyncio.Event()})
    with (
        running_server({"main": PortsBinding(ports)}, CONFIG, check_idle=False) as server,
        contextlib.ExitStack() as on,
    ):
        for number in range(4):
            on.enter_context(hold(server, KEY, number))
        server.wait_until(lambda: len(server.services.registry) == 4)
        with hold(server, KEY, 4) as fifth:
            check_refused(fifth.whole())
        for number in range(5, 9):
            on.enter_context(hold(server, OTHER, number))
        server.wait_until(lambda: len(server.services.registry) == 8)
        with hold(server, KEY, 9) as ninth:
            check_refused(ninth.whole())
        assert ask(server.port, "GET", "/health").status == 200
        gone = ask(server.port, "DELETE", "/api/v1/requests/request-number-0000", None, {"X-API-Key": OTHER})
        assert gone.status == 204
        server.wait_until(lambda: len(server.services.registry) == 7)


def test_the_queue_is_bounded() -> None:
    ports = AsyncScriptedPorts(lambda call: "one", gates={0: asyncio.Event()})
    binding = PortsBinding(ports, places=1)
    with running_server({"main": binding}, CONFIG, check_idle=False) as server, contextlib.ExitStack() as on:
        for number in range(3):
            on.enter_context(hold(server, (KEY, OTHER)[number % 2], number))
            server.wait_until(lambda n=number + 1: len(server.services.registry) == n)
        assert len(server.on_loop(server.services.scheduler.status).waiting) == 2
        with hold(server, OTHER, 3) as fourth:
            check_refused(fourth.whole())
