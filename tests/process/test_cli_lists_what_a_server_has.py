"""`lollms bindings|personalities|functions list`, `ps`, `stop` and `reload` against a running server, as people and
scripts use them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_server.core.config import load_config
from tests.support.chaos import ChaosServer, refused_url
from tests.support.command_line import home, lollms, on_a_terminal
from tests.support.raw_http import RawRequest, prompt
from tests.support.server import KEY, PortsBinding, Served, running_server, write_config
from tests.support.settled import settle

PERSONALITY = """\
name: writer
version: 2.0
author: me
personality_description: "Writes \\e[2J."
personality_conditioning: Write.
"""


def answer(call: Any) -> str:
    return "fine"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "server"
    folder.mkdir(mode=0o700)
    config_dir = write_config(
        folder,
        {"bindings_map": {"broken": "openai_binding"}, "defaults": {"ttt_binding": "main"}},
        {"broken": "type: openai_binding\ncontext_size: many\n"},
    )
    writer = folder / "personal_personalities" / "writer"
    writer.mkdir(parents=True, mode=0o700)
    (writer / "config.yaml").write_text(PERSONALITY, encoding="utf-8")
    functions = folder / "personal_functions"
    functions.mkdir(mode=0o700)
    (functions / "tools.py").write_text(
        'async def double(n: int) -> int:\n    """Twice."""\n    return 2 * n\n', encoding="utf-8"
    )
    loaded = load_config(config_dir, environ={}, further=("main",))
    with running_server({"main": PortsBinding(answer, places=1)}, loaded=loaded) as served:
        served.wait_until(lambda: served.services.manager.models != "loading", 20)
        yield settle(served)


@pytest.fixture
def env(tmp_path: Path, server: Served) -> dict[str, str]:
    return home(tmp_path, LOLLMS_API_KEY=KEY, LOLLMS_HOST=server.url)


def test_lists_in_a_pipe_are_rows_of_fields(env: dict[str, str]) -> None:
    done = lollms("bindings", "list", env=env)
    assert done.returncode == 0
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["main", "ports_binding", "loaded", "-", "ttt"] in rows
    assert all(len(row) == 5 for row in rows)
    (problem,) = [line for line in done.stderr.splitlines() if "broken" in line]
    assert problem.startswith("lollms: problem: broken: broken.yaml:2: context_size")
    done = lollms("bindings", "list", "--types", env=env)
    assert "openai_binding" in {line.split("\t")[0] for line in done.stdout.splitlines()}
    done = lollms("personalities", "list", env=env)
    assert ["writer", "generic", "2.0", "no", "Writes \\x1b[2J."] in [
        line.split("\t") for line in done.stdout.splitlines()
    ]
    done = lollms("functions", "list", env=env)
    assert "tools.double" in done.stdout.splitlines()


def test_lists_as_json_are_what_the_server_says(env: dict[str, str]) -> None:
    said = json.loads(lollms("bindings", "list", "--json", env=env).stdout)
    assert set(said) == {"binding_types", "binding_instances", "problems", "active"}
    assert said["active"] == ["main"]
    assert [each["name"] for each in said["problems"]] == ["broken"]
    assert "writer" in json.loads(lollms("personalities", "list", "--json", env=env).stdout)["personalities"]
    assert "tools.double" in json.loads(lollms("functions", "list", "--json", env=env).stdout)["functions"]
    assert json.loads(lollms("ps", "--json", env=env).stdout) == {"running": [], "waiting": []}


def test_on_a_terminal_there_are_headings(env: dict[str, str]) -> None:
    code, shown = on_a_terminal("bindings", "list", env={**env, "TERM": "xterm"})
    assert code == 0
    assert b"INSTANCE" in shown and b"DEFAULT FOR" in shown and b"\x1b" not in shown
    assert b"lollms: problem: broken" in shown


def test_a_server_that_is_idle_says_so(env: dict[str, str]) -> None:
    assert lollms("ps", env=env).stderr == "lollms: no request runs or waits.\n"


def test_requests_under_way_are_listed_and_can_be_stopped(tmp_path: Path) -> None:
    class Holding(PortsBinding):
        def open(self, call: Any) -> Any:
            @contextlib.asynccontextmanager
            async def block() -> Any:
                await asyncio.Event().wait()
                yield

            return block()

    first, second = "a" * 20, "b" * 20
    with running_server({"main": Holding(answer, places=1)}) as served, contextlib.ExitStack() as stack:
        env = home(tmp_path, LOLLMS_API_KEY=KEY, LOLLMS_HOST=served.url)
        requests = []
        for count, own in enumerate((first, second), 1):
            headers = {**served.headers, "X-Request-ID": own}
            request = RawRequest(served.port, "POST", "/api/v1/generate", body=prompt("x"), headers=headers, timeout=30)
            requests.append(stack.enter_context(request))
            served.wait_until(lambda wanted=count: len(served.services.registry) == wanted)  # type: ignore[misc]
        served.wait_until(lambda: len(served.services.scheduler.status().waiting) == 1)
        rows = [line.split("\t") for line in lollms("ps", env=env).stdout.splitlines()]
        assert rows[0][:4] == [first, "running", "main", "m"] and float(rows[0][4]) >= 0
        assert rows[1] == [second, "waiting", "-", "-", "-", "0"]
        for own in (second, first):
            assert lollms("stop", own, env=env).returncode == 0
        for request in requests:
            assert request.whole().json()["code"] == "cancelled"
        assert lollms("ps", env=env).stdout == ""


def test_reload_says_what_it_did_and_fails_if_anything_did(server: Served, env: dict[str, str]) -> None:
    done = lollms("reload", env=env)
    assert done.returncode == 1
    assert "kept\tmain" in done.stdout.splitlines()
    assert any(line.startswith("lollms: problem: broken: ") for line in done.stderr.splitlines())
    instance = server.services.loaded.folders.instances / "broken.yaml"
    instance.write_text('type: openai_binding\nbase_url: "http://127.0.0.1:9/v1"\ndefault_model: x\n', encoding="utf-8")
    done = lollms("reload", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "loaded\tbroken" in done.stdout.splitlines()
    assert json.loads(lollms("reload", "--json", env=env).stdout)["failed"] == []


COMMANDS = [
    ("bindings", "list"),
    ("personalities", "list"),
    ("functions", "list"),
    ("ps",),
    ("reload",),
    ("stop", "0123456789abcdef"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_goes_wrong_is_one_line_and_an_exit_code(command: tuple[str, ...], tmp_path: Path) -> None:
    env = home(tmp_path, LOLLMS_API_KEY="sk-0123456789abcdef")
    with ChaosServer() as service:
        for mode, code in (("status-401", 4), ("status-403", 4), ("status-500", 1), ("status-200", 1)):
            if command[0] == "stop" and mode == "status-200":
                continue
            done = lollms(*command, "--host", service.url(mode), env=env)
            assert (done.returncode, done.stdout) == (code, ""), (mode, done)
            assert done.stderr.count("\n") == 1 and done.stderr.startswith("lollms: error: "), (mode, done)
    done = lollms(*command, "--host", refused_url(), env=env)
    assert done.returncode == 1 and "No lollms server answers" in done.stderr and done.stderr.count("\n") == 1
    done = lollms(*command, "--host", "http://[", env=env)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
