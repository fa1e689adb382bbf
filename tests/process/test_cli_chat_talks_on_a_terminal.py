"""`lollms chat` on a real terminal: editing, pasting, stopping, leaving, whatever the size and the locale."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.chaos import ChaosServer, refused_url
from tests.support.command_line import half_an_answer, home, lollms, saying
from tests.support.terminal_talk import Talk, talking

KEY = "sk-0123456789abcdef"


@pytest.fixture
def service() -> Iterator[ChaosServer]:
    with ChaosServer() as chaos:
        yield chaos


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return home(tmp_path, LOLLMS_API_KEY=KEY, TERM="xterm", LC_ALL="C.UTF-8")


def asked(service: ChaosServer, number: int = -1) -> list[tuple[str, Any]]:
    """The texts of a request, by role."""
    return [(item["role"], item["data"]) for item in service.requests[number].json()["input_data"]]


def leave(talk: Talk) -> None:
    talk.type("\x04")
    assert talk.end() == 0


def test_a_greeting_an_answer_and_a_way_out(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("Hello, you."))
    with talking("chat", "--host", address, "-m", "tiny", env=env) as talk:
        assert "tiny answers. /? for help" in talk.see(">>> ")
        talk.type("hi\r")
        talk.see("Hello, you.\r\n")
        talk.see(">>> ")
        talk.type("and now?\r")
        talk.see("Hello, you.\r\n")
        talk.see(">>> ")
        leave(talk)
    assert asked(service) == [
        ("user_message", "hi"),
        ("assistant_message", "Hello, you."),
        ("user_prompt", "and now?"),
    ]


def test_ctrl_c_stops_the_answer_and_keeps_what_came(service: ChaosServer, env: dict[str, str]) -> None:
    service.add("half", half_an_answer("Half an answer"))
    service.add("say", saying("Whole."))
    address = service.sequence("both", "half", "say")
    with talking("chat", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.type("go\r")
        talk.see("Half an answer")
        talk.type("\x03")
        talk.see("What came is kept")
        talk.see(">>> ")
        assert service.requests[0].connection.closed_after() < 2
        talk.type("on\r")
        talk.see("Whole.")
        talk.see(">>> ")
        talk.type("/show messages\r")
        talk.see("Half an answer [cut]")
        talk.see("Whole.\r\n")
        talk.see(">>> ")
        leave(talk)
    assert asked(service) == [("user_message", "go"), ("assistant_message", "Half an answer"), ("user_prompt", "on")]


def test_ctrl_c_clears_the_line_and_twice_leaves(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("ok"))
    with talking("chat", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.type("never sent")
        talk.see("never sent")
        talk.type("\x03")
        talk.see("Ctrl-C again")
        talk.see(">>> ")
        talk.type("sent\r")
        talk.see("ok\r\n")
        talk.see(">>> ")
        talk.type("\x03")
        talk.see(">>> ")
        talk.type("\x03")
        assert talk.end() == 130
    assert asked(service) == [("user_prompt", "sent")]


@pytest.mark.parametrize("columns", [40, 200])
def test_several_pasted_lines_are_one_message(columns: int, service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("ok"))
    with talking("chat", "--host", address, env=env, columns=columns) as talk:
        talk.see(">>> ")
        talk.paste("def f():\n    return '世界'\n\n/bye")
        talk.type("\r")
        talk.see("ok\r\n")
        talk.see(">>> ")
        talk.type("/?\r")
        talk.see("begin a message with a slash")
        talk.see(">>> ")
        leave(talk)
    assert asked(service) == [("user_prompt", "def f():\n    return '世界'\n\n/bye")]
    help_lines = talk.plain().partition("/retry")[2].partition(">>>")[0].splitlines()
    assert max(map(len, help_lines)) < max(columns, 100)
    if columns == 40:
        assert max(map(len, help_lines)) <= columns


def test_a_block_and_its_missing_end(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("ok"))
    with talking("chat", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.type('"""one\r')
        talk.see("... ")
        talk.type("\x04")
        talk.see('""" is missing')
        talk.see(">>> ")
        talk.type('"""two\r')
        talk.see("... ")
        talk.type('/bye"""\r')
        talk.see("ok\r\n")
        talk.see(">>> ")
        leave(talk)
    assert asked(service) == [("user_prompt", "two\n/bye")]


@pytest.mark.parametrize(
    "more",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb"},
        {"NO_COLOR": "1"},
    ],
)
def test_any_locale_and_terminal_takes_any_text(
    more: dict[str, str], service: ChaosServer, env: dict[str, str]
) -> None:
    address = service.add("say", saying("ok"))
    with talking("chat", "--host", address, env={**env, **more}) as talk:
        talk.see(">>> ")
        talk.type("Grüße, 世界 🦙\r")
        talk.see("ok\r\n")
        talk.see(">>> ")
        leave(talk)
    assert asked(service) == [("user_prompt", "Grüße, 世界 🦙")]
    assert b"Traceback" not in talk.shown
    if "TERM" in more:
        assert b"\x1b" not in talk.shown


def test_a_megabyte_can_be_pasted_and_piped(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("ok"))
    text = "word " * 200_000 + "end"
    with talking("chat", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.paste(text)
        talk.type("\r")
        talk.see("ok\r\n")
        talk.see(">>> ")
        leave(talk)
    assert asked(service) == [("user_prompt", text)]
    done = lollms("chat", "-q", "--host", address, env=env, piped=text.encode() + b"\n")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert asked(service) == [("user_prompt", text)]


def test_an_error_is_a_line_and_the_message_can_be_sent_again(service: ChaosServer, env: dict[str, str]) -> None:
    service.add("say", saying("There you are."))
    address = service.sequence("mixed", "status-401", "say")
    with talking("chat", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.type("hello\r")
        talk.see("refuses the key of LOLLMS_API_KEY")
        talk.see("/retry asks again")
        talk.see(">>> ")
        talk.type("/retry\r")
        talk.see("There you are.")
        talk.see(">>> ")
        leave(talk)
    assert KEY.encode() not in talk.shown
    assert asked(service) == [("user_prompt", "hello")]


def test_nobody_there_is_a_line_and_the_chat_goes_on(env: dict[str, str]) -> None:
    with talking("chat", "--host", refused_url(), env=env) as talk:
        talk.see(">>> ")
        talk.type("hello\r")
        talk.see("lollms serve")
        talk.see(">>> ")
        leave(talk)


def test_the_arrow_keys_find_what_was_typed_but_no_keys(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("ok"))
    with talking("chat", "--host", address, env=env) as talk:
        for line in ("remember me", " not me", f"my key is {KEY}"):
            talk.see(">>> ")
            talk.type(f"{line}\r")
            talk.see("ok\r\n")
        talk.see(">>> ")
        leave(talk)
    kept = Path(env["LOLLMS_HOME"]) / "chat_history"
    assert kept.read_text(encoding="utf-8") == '"remember me"\n'
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with talking("chat", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.type("\x1b[A")
        talk.see("remember me")
        talk.type("\r")
        talk.see("ok\r\n")
        talk.see(">>> ")
        leave(talk)
    with talking("chat", "--no-history", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.type("gone\r")
        talk.see("ok\r\n")
        talk.see(">>> ")
        leave(talk)
    assert "gone" not in kept.read_text(encoding="utf-8")


def test_tab_completes_commands_and_files(service: ChaosServer, env: dict[str, str], tmp_path: Path) -> None:
    address = service.add("say", saying("ok"))
    (tmp_path / "some notes.txt").write_text("the notes", encoding="utf-8")
    with talking("chat", "--host", address, env=env, cwd=str(tmp_path)) as talk:
        talk.see(">>> ")
        talk.type("/att\tsome\t\r")
        talk.see("goes with the next message")
        talk.see(">>> ")
        talk.type("read\r")
        talk.see("ok\r\n")
        talk.see(">>> ")
        leave(talk)
    assert asked(service) == [("user_prompt", "some notes.txt:\n```\nthe notes\n```\n\nread")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.group("engine")
def test_a_signal_ends_it_and_the_engine(number: signal.Signals, tmp_path: Path) -> None:
    with talking("chat", "-o", "max_tokens", "20", env=home(tmp_path, TERM="xterm")) as talk:
        talk.see(">>> ")
        talk.type("What is the capital of France?\r")
        talk.see("Paris")
        talk.see(">>> ")
        children = psutil.Process(talk.process).children(recursive=True)
        assert children
        os.kill(talk.process, number)
        assert talk.end() == 128 + number
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.group("engine")
def test_ctrl_c_leaves_the_embedded_engine_alive(tmp_path: Path) -> None:
    with talking("chat", env=home(tmp_path, TERM="xterm")) as talk:
        talk.see(">>> ")
        talk.type("hello\r")
        talk.see(">>> ")
        children = {each.pid for each in psutil.Process(talk.process).children(recursive=True)}
        talk.type("\x03")
        talk.see(">>> ")
        talk.type("What is the capital of France?\r")
        talk.see("Paris")
        talk.see(">>> ")
        assert {each.pid for each in psutil.Process(talk.process).children(recursive=True)} == children
        leave(talk)


def test_from_a_pipe_each_line_is_a_turn(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("\x1b[2Jok"))
    done = lollms("chat", "-s", "Be brief.", "--host", address, env=env, piped=b'a\n"""b\nc"""\n//d\n')
    assert (done.returncode, done.stdout, done.stderr) == (0, "\x1b[2Jok\n" * 3, "")
    assert [text for role, text in asked(service) if role == "user_message"] == ["a", "b\nc"]
    assert asked(service)[-1] == ("user_prompt", "/d")
    assert asked(service)[0] == ("system_context", "Be brief.") or asked(service)[0][1] == "Be brief."


def test_from_a_pipe_failures_are_in_the_exit_code(service: ChaosServer, env: dict[str, str]) -> None:
    service.add("say", saying("ok"))
    address = service.sequence("mixed", "status-401", "say")
    done = lollms("chat", "--host", address, env=env, piped=b"a\nb\n")
    assert (done.returncode, done.stdout) == (4, "ok\n")
    assert lollms("chat", "--host", service.url("say"), env=env, piped=b'a\n"""b\n').returncode == 2
    assert lollms("chat", "--host", service.url("say"), env=env, piped=b"a\xff\n").returncode == 2
    assert lollms("chat", "--host", service.url("say"), env=env, piped=b"").returncode == 0


def test_warnings_as_errors(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("ok"))
    strict = {**env, "PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}
    done: subprocess.CompletedProcess[str] = lollms("chat", "--host", address, env=strict, piped=b"a\n/show\n/bye\n")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert "Warning" not in done.stderr
