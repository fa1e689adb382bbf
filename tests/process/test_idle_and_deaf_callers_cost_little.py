"""A real server beside thousands of idle sockets, and beside callers who never read the streams that they asked for."""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
from pathlib import Path

import pytest

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import MODES
from tests.support.openai_server import answering
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY, write_config
from tests.support.server_process import ServerProcess, server_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads what the kernel says of a process")

CROWD = 2_000
DEAF = 20
HEADERS = {"X-API-Key": KEY}


def memory_mb(server: ServerProcess) -> float:
    """Pages that belong to the process alone and to no file."""
    for line in Path(f"/proc/{server.process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def configure(folder: Path, url: str) -> None:
    main = {"defaults": {"ttt_binding": "chaos"}, "bindings_map": {"chaos": "openai_binding"}}
    write_config(folder, main, {"chaos": {"type": "openai_binding", "base_url": url, "default_model": "m"}})


async def flood(connection: Connection, seen: Seen) -> None:
    """Every answer is an endless stream; the list of models is not."""
    await (answering if seen.method == "GET" else MODES["endless_stream"])(connection, seen)


def test_more_idle_sockets_than_a_shell_allows_descriptors_do_not_stop_health(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CROWD:
        pytest.skip("this system does not allow so many descriptors")
    configure(tmp_path, "http://127.0.0.1:9")
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as a shell has it; the server inherits it
        server = stack.enter_context(server_process(tmp_path))
        assert ask(server.port, "GET", "/health").status == 200
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * CROWD, hard))
        for _ in range(CROWD):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
        for _ in range(5):
            assert ask(server.port, "GET", "/health").status == 200


def test_one_who_never_reads_costs_less_than_a_megabyte(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        chaos = stack.enter_context(ChaosServer())
        configure(tmp_path, chaos.add("flood", flood))
        server = stack.enter_context(server_process(tmp_path))

        def stream() -> RawRequest:
            body = prompt("x", stream=True)
            request = RawRequest(
                server.port, "POST", "/api/v1/generate", body=body, headers=HEADERS, receive_buffer=4096
            )
            return stack.enter_context(request).read_head()

        server.wait_models()
        assert stream().status == 200  # what the first request of all costs is no part of it
        before = memory_mb(server)
        for _ in range(DEAF):
            assert stream().status == 200
        held = [0.0]

        def is_full() -> bool:
            """Whether the backend has been held up: nothing that it could send was taken for some looks."""
            held.append(memory_mb(server))
            return len(held) > 20 and max(held[-20:]) - min(held[-20:]) < 0.1

        server.wait_for(is_full, 20)
        assert (memory_mb(server) - before) / DEAF < 1
        assert ask(server.port, "GET", "/health").status == 200
