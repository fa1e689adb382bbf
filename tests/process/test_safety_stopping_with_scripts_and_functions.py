"""Stopping a server while scripts and functions of others run, and while their files are still being tried.

The first signal lets them finish or ends them when their time is up; a second one ends them at once. Whatever they do,
the process ends with its exit code, every stream with an error and its end, and no child is left.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.support.full_house import write_house
from tests.support.personalities import write_personality
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY
from tests.support.server_process import ServerProcess, server_process

HEADERS = {"X-API-Key": KEY}

FUNCTIONS = """
    import asyncio
    import pathlib
    import threading
    import time

    HERE = pathlib.Path(__file__).parent

    async def blocks() -> str:
        (HERE / "blocks").touch()
        await asyncio.to_thread(time.sleep, 300)
        return "never"

    async def leaves() -> str:
        threading.Thread(target=time.sleep, args=(300,)).start()
        await asyncio.Event().wait()
        return "never"

    async def stubborn() -> str:
        while True:
            (HERE / "stubborn").touch()
            try:
                await asyncio.sleep(300)
            except asyncio.CancelledError:
                pass
"""

ENDLESS = """\
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
time.sleep(300)
"""

SCRIPTS = {
    "waits for a function": """
        async def run_workflow(prompt, params, context):
            yield "begun"
            await context["function_manager"].execute_function("own_tools.waits", {})
        """,
    "function on a thread": """
        async def run_workflow(prompt, params, context):
            yield "begun"
            await context["function_manager"].execute_function("slow_tools.blocks", {})
        """,
    "function that will not stop": """
        async def run_workflow(prompt, params, context):
            yield "begun"
            await context["function_manager"].execute_function("slow_tools.stubborn", {})
        """,
    "function that leaves a thread": """
        async def run_workflow(prompt, params, context):
            yield "begun"
            await context["function_manager"].execute_function("slow_tools.leaves", {})
        """,
    "blocks its thread": """
        import time
        def run_workflow(prompt, params, context):
            yield "begun"
            time.sleep(300)
        """,
    "model": """
        async def run_workflow(prompt, params, context):
            yield "begun"
            async for chunk in context["binding"].generate_stream("wait", params):
                pass
        """,
    "stubborn": """
        import asyncio
        async def run_workflow(prompt, params, context):
            yield "begun"
            while True:
                try:
                    await asyncio.sleep(300)
                except BaseException:
                    pass
        """,
    "thread of its own": """
        import asyncio, time
        async def run_workflow(prompt, params, context):
            yield "begun"
            await asyncio.to_thread(time.sleep, 300)
        """,
}


@contextlib.contextmanager
def started(folder: Path, *, trials: bool = False, **config: Any) -> Iterator[ServerProcess]:
    """A server with these scripts and functions; with `trials`, also files whose import never ends."""
    write_house(folder, "http://127.0.0.1:9", "http://127.0.0.1:9", config, secrets={}, main="own")
    (folder / "personal_functions" / "slow_tools.py").write_text(textwrap.dedent(FUNCTIONS), encoding="utf-8")
    for name, script in SCRIPTS.items():
        write_personality(folder / "personal_personalities", name.replace(" ", "_"), script, name=name)
    if trials:
        (folder / "personal_functions" / "endless.py").write_text(ENDLESS, encoding="utf-8")
        write_personality(folder / "personal_personalities", "aaa_endless", ENDLESS, name="Endless")
    with server_process(folder) as server:
        server.wait_for(lambda: names(server) >= {"own_tools.waits", "slow_tools.blocks"}, 30)
        yield server


def names(server: ServerProcess) -> set[str]:
    return set(ask(server.port, "GET", "/api/v1/list_functions", None, HEADERS).json()["functions"])


@contextlib.contextmanager
def all_scripts(server: ServerProcess) -> Iterator[dict[str, RawRequest]]:
    """A stream of each, begun."""
    with contextlib.ExitStack() as stack:
        requests = {}
        for name in SCRIPTS:
            body = prompt("x", stream=True, personality=name)
            request = RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=HEADERS, timeout=30)
            requests[name] = stack.enter_context(request)
            request.read_head()
            assert request.status == 200, (name, request.whole())
        functions = Path(psutil.Process(server.process.pid).cwd()) / "personal_functions"
        server.wait_for(lambda: all((functions / name).exists() for name in ("blocks", "stubborn")))
        yield requests


def check_ends(requests: dict[str, RawRequest]) -> None:
    for name, request in requests.items():
        events = request.whole().events()
        assert events[-1]["type"] == "final", (name, events)
        assert events[-1]["metadata"]["status"] == "failed", (name, events)
        assert events[-1]["content"][0]["data"] == "begun", (name, events)
        assert events[-2]["metadata"]["code"] == "instance_unavailable", (name, events)


def accepts(port: int) -> bool:
    with socket.socket() as late:
        return late.connect_ex(("127.0.0.1", port)) == 0


def all_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=10)[1]


def test_two_signals_end_everything_at_once(tmp_path: Path) -> None:
    """Also the trials of imports: neither the child that imports nor what it has started is left."""
    with started(tmp_path, trials=True, limits={"import_timeout": 60}) as server, all_scripts(server) as requests:
        server.wait_for(lambda: len(server.children()) >= 4)
        children = server.children()
        server.signal(signal.SIGTERM)
        server.wait_line("Stopping: 8 running requests have up to 30 s")
        assert server.process.poll() is None
        since = time.monotonic()
        server.signal(signal.SIGTERM)
        check_ends(requests)
        assert server.wait_end() == 128 + signal.SIGTERM
        assert time.monotonic() - since < 8
        assert all_gone(children)
    assert not [line for line in server.err if "Task was destroyed" in line or "never retrieved" in line]


def test_one_signal_lets_those_finish_that_can(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        body = prompt("wait a moment", stream=True, personality="Plain")
        with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=HEADERS) as request:
            request.read_head()
            server.signal(signal.SIGTERM)
            events = request.whole().events()
        assert server.wait_end() == 0
    assert events[-1]["content"][0]["data"] == "wait a moment"
    assert "status" not in events[-1]["metadata"]


def test_imports_that_are_being_tried_end_with_the_server(tmp_path: Path) -> None:
    with started(tmp_path, trials=True, limits={"import_timeout": 60}) as server:
        server.wait_for(lambda: len(server.children()) >= 4)
        children = server.children()
        since = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait_end() == 0
        assert time.monotonic() - since < 8
        assert all_gone(children)


def test_a_reload_that_waits_for_one_ends_with_the_server(tmp_path: Path) -> None:
    with started(tmp_path, limits={"import_timeout": 60}) as server:
        (tmp_path / "personal_functions" / "endless.py").write_text(ENDLESS, encoding="utf-8")
        with RawRequest(server.port, "POST", "/api/v1/reload", body={}, headers=HEADERS):
            server.wait_for(lambda: len(server.children()) >= 2)
            children = server.children()
            since = time.monotonic()
            server.signal(signal.SIGTERM)
            server.wait_for(lambda: not accepts(server.port))
            server.signal(signal.SIGTERM)
            assert server.wait_end() == 128 + signal.SIGTERM
        assert time.monotonic() - since < 8
        assert all_gone(children)
