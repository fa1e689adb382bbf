"""A `llama-server` that the user names is run like the built-in engine: same key, same supervision, same answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from lollms_core.errors import ConfigError
from lollms_runtime.engines import llamacpp_child
from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings, launch_of
from lollms_runtime.models import EMBEDDED, find_model
from tests.support.engines import aask, ask, asking, get, running, until
from tests.support.stand_in_llama_server import install

HELLO = asking("Hello?")


def test_it_answers_both_drivers(tmp_path: Path) -> None:
    with running(server_path=install(tmp_path), alias="mine") as engine:
        assert ask(engine, HELLO).text == "Hello from the stand-in."
        assert asyncio.run(aask(engine, HELLO)).text == "Hello from the stand-in."
        argv = get(engine, "/props")["argv"]
        assert argv[argv.index("--alias") + 1] == "mine"


def test_no_shell_reads_its_path_or_arguments(tmp_path: Path) -> None:
    folder = tmp_path / "a b; touch surprise"
    folder.mkdir()
    with running(server_path=install(folder), server_args=("$(touch surprise)", "`id`")) as engine:
        assert ask(engine, HELLO).text
        assert get(engine, "/props")["argv"][-2:] == ["$(touch surprise)", "`id`"]
    assert not (tmp_path / "surprise").exists() and not Path("surprise").exists()


def test_its_key_is_not_on_the_command_line_and_is_needed(tmp_path: Path) -> None:
    with running(server_path=install(tmp_path)) as engine:
        target = engine.ready().result(20)
        assert target.key not in " ".join(get(engine, "/props")["argv"])
        with pytest.raises(urllib.error.HTTPError, match="401") as error:
            urllib.request.urlopen(target.base_url + "/props", timeout=5)
        error.value.close()


def test_it_is_started_again_when_it_dies(tmp_path: Path) -> None:
    with running(server_path=install(tmp_path)) as engine:
        assert ask(engine, HELLO).text
        os.kill(engine.pid or 0, signal.SIGKILL)
        until(lambda: engine.state == "loading")
        assert ask(engine, HELLO).text


def test_another_port_is_taken_when_the_first_is_lost(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    arguments = ("--behave", "taken", "--mark", str(mark))
    try:
        with running(server_path=install(tmp_path), server_args=arguments) as engine:
            target = engine.ready().result(20)
            assert mark.read_text(encoding="ascii") != target.base_url.rsplit(":", 1)[1]
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(Path(f"{mark}.pid").read_text(encoding="ascii")), signal.SIGKILL)


def test_a_program_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    with running(server_path=tmp_path / "llama-server") as engine, pytest.raises(ConfigError, match="server_path"):
        ask(engine, HELLO)


@pytest.mark.group("engine")
@pytest.mark.parametrize("start", [["-P", llamacpp_child.__file__], ["-m", "lollms_runtime.engines.llamacpp_child"]])
def test_the_childs_own_protocol(start: list[str]) -> None:
    line = {**launch_of(LlamaCppSettings(model=find_model(EMBEDDED))).command().line, "parent": os.getpid()}
    process = subprocess.Popen(
        [sys.executable, *start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        with urllib.request.urlopen(f"http://127.0.0.1:{answer['port']}/health", timeout=5) as response:
            assert response.status == 200
        process.stdin.close()  # the end of its input ends it
        assert process.wait(3) == 0
        assert process.stdout.read() == b""  # one line and nothing else
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
