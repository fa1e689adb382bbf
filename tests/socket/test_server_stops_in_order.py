"""Stopping: nothing new comes in, what runs may finish, and what does not is told so."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading

import pytest

from lollms_runtime.scripted import AsyncScriptedPorts
from lollms_server.core import http_server
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served, running_server


def stream(server: Served, name: str) -> RawRequest:
    headers = {**server.headers, "X-Request-ID": f"request-number-{name}"}
    return RawRequest(server.port, "POST", "/api/v1/generate", body=prompt("x", stream=True), headers=headers)


def stop(server: Served) -> None:
    server.server.should_exit = True
    server.wait_until(lambda: server.services.registry._closed)


def accepts(port: int) -> bool:
    with socket.socket() as late:
        return late.connect_ex(("127.0.0.1", port)) == 0


def test_a_running_stream_may_finish() -> None:
    gate = asyncio.Event()
    ports = AsyncScriptedPorts(lambda call: "one two", gates={1: gate})
    with running_server({"main": PortsBinding(ports)}, grace=20, check_idle=False) as server:
        with stream(server, "a") as request:
            request.read_head()
            stop(server)
            server.wait_until(lambda: not accepts(server.port))
            server.loop.call_soon_threadsafe(gate.set)
            events = request.whole().events()
    assert events[-1]["content"][0]["data"] == "one two"
    assert "status" not in events[-1]["metadata"]


def test_after_the_time_of_grace_a_stream_ends_with_an_error_and_its_partial_output() -> None:
    ports = AsyncScriptedPorts(lambda call: "one two", gates={1: asyncio.Event()})
    with running_server({"main": PortsBinding(ports, places=1)}, grace=0.2, check_idle=False) as server:
        with stream(server, "running") as request, stream(server, "queued") as queued:
            request.read_head()
            queued.read_head()
            stop(server)
            *chunks, error, final = request.whole().events()
            *_, queued_error, queued_final = queued.whole().events()
    assert [chunk["content"] for chunk in chunks] == ["one"]
    assert error["metadata"]["code"] == queued_error["metadata"]["code"] == "instance_unavailable"
    assert "stopping" in error["content"]
    assert final["metadata"]["status"] == queued_final["metadata"]["status"] == "failed"
    assert final["content"][0]["data"] == "one"
    assert ports.script.running == 0 and ports.script.left_early == 1


def test_a_call_that_is_not_streamed_ends_with_503_and_when_to_come_back() -> None:
    ports = AsyncScriptedPorts(lambda call: "one", gates={0: asyncio.Event()})
    with running_server({"main": PortsBinding(ports)}, grace=0.2, check_idle=False) as server:
        with RawRequest(server.port, "POST", "/api/v1/generate", body=prompt("x"), headers=server.headers) as request:
            server.wait_until(lambda: ports.script.running == 1)
            stop(server)
            answer = request.whole()
    assert (answer.status, answer.json()["code"]) == (503, "instance_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_second_signal_does_not_wait() -> None:
    ports = AsyncScriptedPorts(lambda call: "one", gates={0: asyncio.Event()})
    stopped = threading.Event()

    class Stopping(PortsBinding):
        async def stop(self) -> None:
            stopped.set()

    with running_server({"main": Stopping(ports)}, grace=60, check_idle=False) as server:
        with stream(server, "a"):
            server.wait_until(lambda: ports.script.running == 1)
            stop(server)
            server.server.handle_exit(2, None)
            assert server.server.forced
            assert stopped.wait(10)


def test_a_second_signal_ends_running_and_queued_streams_and_reports_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ports = AsyncScriptedPorts(lambda call: "one two", gates={1: asyncio.Event()})
    said: list[str] = []
    with running_server({"main": PortsBinding(ports, places=1)}, grace=60, check_idle=False) as server:
        server.server._say = said.append
        with stream(server, "running") as request, stream(server, "queued") as queued:
            request.read_head()
            queued.read_head()
            stop(server)
            server.wait_until(lambda: bool(said))
            server.server.handle_exit(signal.SIGINT, None)
            *_, error, final = request.whole().events()
            *_, queued_error, queued_final = queued.whole().events()
    assert said == ["Stopping: 2 running requests have up to 60 s; a second Ctrl-C ends them at once."]
    assert error["metadata"]["code"] == queued_error["metadata"]["code"] == "instance_unavailable"
    assert final["metadata"]["status"] == queued_final["metadata"]["status"] == "failed"
    assert final["content"][0]["data"] == "one"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_request_that_does_not_want_to_end_is_cut_off_in_silence(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_LAST_WORDS", 0.1)

    class Stubborn(PortsBinding):
        async def list_available_models(self) -> list[dict[str, object]]:
            asked.set()
            await asyncio.Event().wait()
            return []

    asked = threading.Event()
    with running_server({"main": Stubborn(lambda call: "one")}, grace=60, check_idle=False) as server:
        path = "/api/v1/list_available_models/main"
        with RawRequest(server.port, "GET", path, headers=server.headers):
            assert asked.wait(10)
            stop(server)
            server.server.handle_exit(signal.SIGINT, None)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_terminal_that_closes_may_say_so_twice() -> None:
    ports = AsyncScriptedPorts(lambda call: "one two", gates={1: asyncio.Event()})
    with running_server({"main": PortsBinding(ports)}, grace=0.2, check_idle=False) as server:
        with stream(server, "a") as request:
            request.read_head()
            for _ in range(3):
                server.server.handle_exit(signal.SIGHUP, None)
            assert not server.server.forced
            assert request.whole().events()[-1]["metadata"]["status"] == "failed"
    assert server.server.received == [signal.SIGHUP]


def test_a_stopped_server_has_stopped_its_bindings() -> None:
    stopped = threading.Event()

    class Stopping(PortsBinding):
        async def stop(self) -> None:
            stopped.set()

    with running_server({"main": Stopping(lambda call: "one")}) as server:
        assert ask(server.port, "POST", "/api/v1/generate", prompt("x"), server.headers).status == 200
    assert stopped.is_set()
