"""Ctrl-C, a reader that leaves, a full disk, a hostile model, no home, no locale: words and an exit code."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos import ChaosServer, refused_url
from tests.support.command_line import (
    COMMAND,
    ended,
    half_an_answer,
    home,
    lollms,
    on_a_terminal,
    read_until,
    saying,
    start,
)

KEY = "sk-0123456789abcdef"
HOSTILE = "\x1b]0;title\x07\x1b]52;c;cm0=\x07\x1b]8;;http://evil.example\x1b\\bank\x9b2J\x1b[2J ok"


@pytest.fixture
def service() -> Iterator[ChaosServer]:
    with ChaosServer() as chaos:
        yield chaos


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return home(tmp_path, LOLLMS_API_KEY=KEY)


def test_ctrl_c_stops_the_server_and_keeps_what_came(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("half", half_an_answer("Half an answer"))
    with ended(start("--host", address, "hi", env=env)) as process:
        shown = read_until(process.stdout, b"Half an answer")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert shown + process.stdout.read() == b"Half an answer\n"
        said = process.stderr.read().decode()
    assert said.splitlines()[-1] == "lollms: stopped"
    assert "Traceback" not in said
    assert service.wait_request().connection.closed_after() < 2


def test_sigterm_ends_it_quietly(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("half", half_an_answer("Half"))
    with ended(start("-q", "--host", address, "hi", env=env)) as process:
        read_until(process.stdout, b"Half")
        process.terminate()
        assert process.wait(10) == 143
        assert process.stderr.read() == b""
    assert service.wait_request().connection.closed_after() < 2


def test_a_reader_that_leaves_is_no_error(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("half", half_an_answer("line\n" * 1000, times=100))
    with ended(start("-q", "--host", address, "hi", env=env)) as process:
        read_until(process.stdout, b"line")
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""


def test_a_full_disk_is_told_in_a_line(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("hello"))
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, "-q", "--host", address, "hi"]
        done = subprocess.run(
            command, env=env, stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "lollms: error: The output cannot be written: No space left on device.\n"


def test_nothing_of_a_hostile_model_is_obeyed_by_a_terminal(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying(HOSTILE))
    code, shown = on_a_terminal("--host", address, "hi", env={**env, "TERM": "xterm"})
    assert code == 0
    assert b"\\x1b]52;c;cm0=\\x07" in shown
    assert b"\x1b" not in shown
    assert b"\x07" not in shown
    assert "\x9b".encode() not in shown


def test_a_pipe_gets_exactly_what_the_model_said(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying(HOSTILE))
    assert lollms("-q", "--host", address, "hi", env=env).stdout == HOSTILE + "\n"


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_no_locale_makes_text_fail(locale: dict[str, str], service: ChaosServer, env: dict[str, str]) -> None:
    text = "Grüße, 世界 🦙"
    address = service.add("say", saying(text))
    done = lollms("--host", address, "schön 🙂", env={**env, **locale})
    assert (done.returncode, done.stdout) == (0, text + "\n")
    asked = service.wait_request().json()["input_data"]
    assert [item["data"] for item in asked if item["role"] == "user_prompt"] == ["schön 🙂"]


def test_no_home_is_no_problem(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("hello"))
    bare = {name: value for name, value in env.items() if name not in ("HOME", "LOLLMS_HOME")}
    assert lollms("-q", "--host", address, "hi", env=bare).stdout == "hello\n"
    told = lollms("serve", env=bare, cwd=Path("/"))
    assert told.returncode == 78
    assert "LOLLMS_CONFIG_DIR" in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_named_server_without_a_key_is_exit_4_in_words(env: dict[str, str]) -> None:
    bare = {name: value for name, value in env.items() if name != "LOLLMS_API_KEY"}
    done = lollms("--host", refused_url(), "hi", env=bare)
    assert done.returncode == 4
    assert "export LOLLMS_API_KEY=" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_there_names_the_address_and_how_to_start(env: dict[str, str]) -> None:
    address = refused_url()
    done = lollms("-q", "--host", address, "hi", env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("lollms: error: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in (address.rstrip("/"), "--host", "lollms serve"))
    assert "host_address" not in done.stderr


@pytest.mark.parametrize("mode", ["html", "rst", "no_terminator", "not_http", "broken_sse", "bad_utf8"])
def test_a_broken_server_is_one_line(mode: str, service: ChaosServer, env: dict[str, str]) -> None:
    done = lollms("-q", "--host", service.url(mode), "hi", env=env)
    assert done.returncode == 1
    assert done.stderr.startswith("lollms: error: ")
    assert done.stderr.count("\n") == 1
    assert "Something that should not happen" not in done.stderr


def test_a_refused_key_is_exit_4(service: ChaosServer, env: dict[str, str]) -> None:
    done = lollms("-q", "--host", service.url("status-401"), "hi", env=env)
    assert done.returncode == 4
    assert KEY not in done.stderr
    assert "refuses the key of LOLLMS_API_KEY" in done.stderr
    assert "service_key" not in done.stderr


def test_stop_tells_what_happened(service: ChaosServer, env: dict[str, str]) -> None:
    stopped = lollms("stop", "abcdef0123456789", "--host", service.url("status-204"), env=env)
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert service.wait_request().method == "DELETE"
    assert service.wait_request().path.endswith("/api/v1/requests/abcdef0123456789")
    assert service.wait_request().headers["x-api-key"] == KEY
    gone = lollms("stop", "abcdef0123456789", "--host", service.url("status-404"), env=env)
    assert gone.returncode == 1
    assert "runs no request abcdef0123456789" in gone.stderr
    assert lollms("stop", "../x", "--host", service.url("status-204"), env=env).returncode == 1
    assert lollms("stop", "abc", "--host", service.url("status-403"), env=env).returncode == 4


def test_closed_streams_are_no_problem(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("hello"))
    command = f"{COMMAND[0]} -m lollms_cli -q --host {address} hi <&- 2>&-"
    done = subprocess.run(["sh", "-c", command], env=env, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    done = subprocess.run(["sh", "-c", f"{command} >&-"], env=env, check=False)
    assert done.returncode == 0


def test_help_loads_nothing_heavy(env: dict[str, str]) -> None:
    code = (
        "import sys; from lollms_cli.main import main; main(['--help']); "
        "heavy = {'httpx2', 'asyncio', 'ssl', 'socket', 'rich', 'pydantic', 'msgspec', 'subprocess', 'ruamel', "
        "'importlib.metadata', 'lollms_client', 'lollms_server'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([COMMAND[0], "-c", code], env=env, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, f"`lollms --help` loads {done.stderr}"
    assert "Examples:" in done.stdout


def test_everything_runs_with_warnings_as_errors(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("hello"))
    strict = {**env, "PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}
    done = lollms("-q", "--host", address, "hi", env=strict)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_the_environment_names_the_server(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("hello"))
    done = lollms("hi", env={**env, "LOLLMS_HOST": address})
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert done.stderr == f"lollms: using the server at {address}\n"


def test_a_bad_address_is_one_line(env: dict[str, str]) -> None:
    done = lollms("--host", "http://user:hunter2@example.org", "hi", env=env)
    assert done.returncode == 1
    assert "hunter2" not in done.stderr
    assert os.linesep not in done.stderr.rstrip("\n")


@pytest.mark.parametrize("package", ["click", "typing_extensions", "msgspec", "httptools"])
def test_a_package_that_is_gone_is_told_in_a_line_with_the_repair(package: str, env: dict[str, str]) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; "
        "from lollms_cli.main import main; sys.exit(main(['-q', '--host', '127.0.0.1:1', 'hi']))"
    )
    done = subprocess.run([COMMAND[0], "-c", code], env=env, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"The installation is damaged: the Python package {package!r}" in done.stderr
    assert "run.sh" in done.stderr
