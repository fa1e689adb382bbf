"""`lollms extract` as people use it: files and pipes, a bar on a terminal, Ctrl-C in the middle, a real small model."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.command_line import HEAD, ended, home, lollms, read_until, saying, sse, start
from tests.support.openai_server import answering
from tests.support.terminal_talk import talking

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX terminals and signals"),
    pytest.mark.group("engine"),
]

PERSON = "name, age int"
EXACTLY = ["-o", "temperature", "0", "-o", "max_tokens", "200"]
ANN = '{"name": "Ann", "age": 31}'


@pytest.fixture
def service() -> Iterator[ChaosServer]:
    with ChaosServer() as chaos:
        yield chaos


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return home(tmp_path, LOLLMS_API_KEY="sk-0123456789abcdef", TERM="xterm", LC_ALL="C.UTF-8")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("first.txt", "second.txt"):
        (tmp_path / name).write_text(f"This is the {name}: Ann is 31.", encoding="utf-8")
    return [str(tmp_path / name) for name in ("first.txt", "second.txt")]


def stops_at(word: str, text: str):  # type: ignore[no-untyped-def]
    """A chaos mode that answers with a text, but only begins it where a word is in the question."""
    whole = saying(text)

    async def mode(connection: Connection, seen: Seen) -> None:
        if word.encode() not in seen.body:
            await whole(connection, seen)
            return
        await connection.send(HEAD + sse("chunk", text[: len(text) // 2]))
        await connection.forever()

    return mode


def test_a_small_model_gives_the_shape_of_a_file_and_of_a_pipe(env: dict[str, str], files: list[str]) -> None:
    done = lollms("extract", "-q", "--schema", PERSON, *EXACTLY, files[0], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    said = json.loads(done.stdout)
    assert [type(said[name]) for name in ("name", "age")] == [str, int]
    template = '{"who": {"name": "string", "tall": true}}'
    piped = lollms("extract", "--schema", template, *EXACTLY, env=env, piped="Müller ist groß.".encode())
    assert piped.returncode == 0, piped.stderr
    assert isinstance(json.loads(piped.stdout)["who"]["tall"], bool)
    assert "using the embedded engine" in piped.stderr


def test_several_files_are_lines_and_progress_is_lines(
    service: ChaosServer, env: dict[str, str], files: list[str]
) -> None:
    address = service.add("say", saying(ANN))
    done = lollms("extract", "--host", address, "--schema", PERSON, *files, env=env)
    assert (done.returncode, done.stdout) == (0, f"{ANN}\n{ANN}\n")
    where, *lines = done.stderr.splitlines()
    assert where == f"lollms: using the server at {address}"
    assert lines == ["lollms: 2 files: 50 %", "lollms: 2 files: 100 %"]


@pytest.mark.parametrize(("columns", "more"), [(80, {}), (40, {"NO_COLOR": "1"})])
def test_a_terminal_has_a_bar_that_goes_and_the_value_in_lines(
    columns: int, more: dict[str, str], service: ChaosServer, env: dict[str, str], files: list[str]
) -> None:
    address = service.add("say", saying(ANN))
    with talking("extract", "--host", address, "--schema", PERSON, files[0], env=env | more, columns=columns) as talk:
        assert talk.end() == 0
        shown = talk.shown.decode()
    assert "first.txt" in shown and "━" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert shown.endswith('\x1b[2K{\r\n  "name": "Ann",\r\n  "age": 31\r\n}\r\n')  # where the bar was
    bars = [re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+", shown) if "━" in line]
    assert all(len(bar) <= columns for bar in bars)
    assert ("\x1b[35m" in shown) == (not more)


def test_a_remark_on_a_terminal_names_its_file(service: ChaosServer, env: dict[str, str], files: list[str]) -> None:
    address = service.add("say", saying('{"value": []}'))
    with talking("extract", "--host", address, "--many", "--schema", PERSON, *files, env=env) as talk:
        assert talk.end() == 0
        shown = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", talk.shown.decode())
    assert re.findall(r"(\w+\.txt: no such record)\r", shown) == [
        "first.txt: no such record",
        "second.txt: no such record",
    ]


def test_nothing_of_a_hostile_model_is_obeyed_by_a_terminal(
    service: ChaosServer, env: dict[str, str], files: list[str]
) -> None:
    hostile = {"name": "\x1b]52;c;cm0=\x07\x9b2J", "age": 1}
    address = service.add("say", saying(json.dumps(hostile)))
    with talking("extract", "-q", "--host", address, "--schema", PERSON, files[0], env=env) as talk:
        assert talk.end() == 0
        shown = talk.shown.decode()
    assert "\x1b" not in shown and "\x07" not in shown and "\x9b" not in shown
    piped = lollms("extract", "-q", "--host", address, "--schema", PERSON, files[0], env=env)
    assert json.loads(piped.stdout) == hostile


@pytest.mark.parametrize(
    ("number", "code", "last"), [(signal.SIGINT, 130, "lollms: stopped after 1 of 2 files"), (signal.SIGTERM, 143, "")]
)
def test_a_stop_keeps_the_values_that_came(
    number: signal.Signals, code: int, last: str, service: ChaosServer, env: dict[str, str], files: list[str]
) -> None:
    address = service.add("half", stops_at("second.txt", ANN))
    with ended(start("extract", "-q", "--host", address, "--schema", PERSON, *files, env=env)) as process:
        shown = read_until(process.stdout, ANN.encode())
        service.wait_request()
        second = service.wait_request()
        process.send_signal(number)
        assert process.wait(10) == code
        assert shown + process.stdout.read() == f"{ANN}\n".encode()
        assert process.stderr.read().decode().strip() == last
    assert second.connection.closed_after() < 2


def test_ctrl_c_on_a_terminal_takes_the_bar_away(service: ChaosServer, env: dict[str, str], files: list[str]) -> None:
    address = service.add("half", stops_at("first.txt", ANN))
    with talking("extract", "--host", address, "--schema", PERSON, files[0], env=env) as talk:
        talk.see("1 of 2 fields")
        talk.type("\x03")
        assert talk.end() == 130
        shown = talk.shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"Traceback" not in shown
    assert b"lollms: stopped" in shown
    assert b'"name": ' not in shown  # half a value is none


def test_a_reader_that_leaves_ends_it_without_a_word(
    service: ChaosServer, env: dict[str, str], files: list[str]
) -> None:
    address = service.add("half", stops_at("second.txt", ANN))
    many = [files[0]] * 40
    with ended(start("extract", "-q", "--host", address, "--schema", PERSON, *many, env=env)) as process:
        read_until(process.stdout, b"Ann")
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""


def test_another_provider_is_held_to_the_schema(service: ChaosServer, env: dict[str, str], files: list[str]) -> None:
    address = service.add("v1", answering)
    where = ["-b", "openai", "--host", address, "-m", "tiny"]
    done = lollms("extract", "-q", *where, "--schema", "count int, price float", files[0], env=env)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [type(said[name]) for name in ("count", "price")] == [int, int]
    asked = service.requests[-1].json()
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["count", "price"]
    assert "first.txt:\n```\nThis is the first.txt: Ann is 31.\n```" in asked["messages"][-1]["content"]


def test_a_refused_key_is_exit_4(service: ChaosServer, env: dict[str, str], files: list[str]) -> None:
    done = lollms("extract", "-q", "--host", service.url("status-401"), "--schema", PERSON, *files, env=env)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)


def test_no_locale_makes_it_fail(service: ChaosServer, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "schön.txt").write_text("世界 🦙", encoding="utf-8")
    said: dict[str, Any] = {"name": "世界 🦙", "age": 1}
    address = service.add("say", saying(json.dumps(said)))
    done = lollms(
        "extract",
        "--host",
        address,
        "--schema",
        "name: größe\nage int",
        str(tmp_path / "schön.txt"),
        env={**env, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert (done.returncode, done.stdout) == (0, '{"name": "世界 🦙", "age": 1}\n'), done.stderr
    assert "schön.txt:" in service.wait_request().body.decode()
