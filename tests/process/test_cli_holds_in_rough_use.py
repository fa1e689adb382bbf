"""Signals at bad moments, homes that cannot be written, readers that leave, narrow terminals, Tab in a real shell."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos import ChaosServer
from tests.support.command_line import (
    COMMAND,
    ROOT,
    ended,
    half_an_answer,
    home,
    lollms,
    read_until,
    saying,
    start,
)
from tests.support.model_server import ServedFile, model_bytes
from tests.support.openai_server import answering
from tests.support.terminal_talk import talking

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX terminals and signals")

KEY = "sk-0123456789abcdef"


@pytest.fixture
def service() -> Iterator[ChaosServer]:
    with ChaosServer() as chaos:
        yield chaos


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return home(tmp_path, LOLLMS_API_KEY=KEY, TERM="xterm", LC_ALL="C.UTF-8")


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_cursor_comes_back_when_a_pull_is_ended(
    number: signal.Signals, service: ChaosServer, env: dict[str, str]
) -> None:
    service.add("file", ServedFile(model_bytes(), cuts=[150_000], stalls=True))
    with talking("pull", "--allow-private", service.url("file/tiny.gguf"), env=env) as talk:
        talk.see("150.0/300.0 kB")
        os.kill(talk.process, number)
        assert talk.end() == 128 + number
        shown = talk.shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert (Path(env["LOLLMS_HOME"]) / "models" / "tiny.gguf.part").stat().st_size == 150_000


def test_a_second_pull_at_once_is_told_and_leaves_the_first_alone(service: ChaosServer, env: dict[str, str]) -> None:
    service.add("file", ServedFile(model_bytes(), cuts=[150_000], stalls=True))
    command = ["pull", "--allow-private", service.url("file/tiny.gguf")]
    with ended(start(*command, env=env)) as process:
        read_until(process.stderr, b"40 %")
        second = lollms(*command, env=env)
        assert process.poll() is None
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "by another process" in second.stderr


def test_a_terminal_that_goes_away_ends_a_prompt_in_order(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("half", half_an_answer("Half"))
    with ended(start("-q", "--host", address, "hi", env=env)) as process:
        read_until(process.stdout, b"Half")
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 128 + signal.SIGHUP
        assert process.stderr.read() == b""


def test_nohup_is_obeyed(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("half", half_an_answer("Half"))
    command = ["nohup", *COMMAND, "-q", "--host", address, "hi"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with ended(subprocess.Popen(command, env=env, **pipes)) as process:  # type: ignore[call-overload]
        read_until(process.stdout, b"Half")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


# ---- a home that cannot be written


def _without_roots_rights() -> None:
    """Root may write anywhere; without these two rights it is as any other user."""
    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP, for what is executed next


@pytest.mark.skipif(sys.platform != "linux", reason="gives up rights as Linux does")
def test_a_read_only_home_is_no_problem_until_something_is_to_be_kept(
    service: ChaosServer, env: dict[str, str], tmp_path: Path
) -> None:
    address = service.add("say", saying("hello"))
    tmp_path.chmod(0o500)

    def run(*arguments: str, piped: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=env,
            input=piped,
            capture_output=True,
            preexec_fn=_without_roots_rights,
            check=False,
            timeout=50,
        )

    try:
        asked = run("-q", "--host", address, "hi")
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, b"hello\n", b"")
        talked = run("chat", "-q", "--host", address, piped=b"hi\n")
        assert (talked.returncode, talked.stdout, talked.stderr) == (0, b"hello\n", b"")
        for command in (["keys", "set", "openai"], ["models", "default", "tiny"]):
            kept = run(*command, piped=KEY.encode())
            assert kept.returncode == 1
            assert (
                kept.stderr.decode() == f"lollms: error: {tmp_path / 'home'} could not be created: Permission denied.\n"
            )
    finally:
        tmp_path.chmod(0o700)


# ---- a kept key


def test_a_kept_key_goes_to_the_address_of_the_environment_only(env: dict[str, str]) -> None:
    assert lollms("keys", "set", "openai", env=env, piped=KEY.encode()).returncode == 0
    with ChaosServer() as here, ChaosServer() as elsewhere:
        address = here.add("v1", answering)
        told = {**env, "OPENAI_BASE_URL": address}
        mine = ["-q", "-b", "openai", "-m", "tiny"]
        done = lollms(*mine, "--host", address, "hello", env=told)
        assert done.returncode == 0, done.stderr
        lollms(*mine, "--host", elsewhere.add("v1", answering), "hello", env=told)
        assert here.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        assert elsewhere.requests
        assert all(KEY not in str(seen.headers) for seen in elsewhere.requests)
    assert KEY not in done.stdout + done.stderr


# ---- a reader that leaves


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["prompt", "--help"], ["install"]])
def test_a_reader_that_leaves_is_the_same_end_for_all(arguments: list[str], env: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*COMMAND, *arguments], env=env, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


# ---- how it looks


def test_a_narrow_terminal_gets_a_short_greeting(env: dict[str, str]) -> None:
    with talking("chat", env=env, columns=40) as talk:
        greeting = talk.see(">>> ")
        talk.type("\x04")
        assert talk.end() == 0
    lines = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", greeting).splitlines()
    assert lines[0] == "lollms: lollms-nano on this machine"
    assert all(len(line) <= 40 for line in lines)


def test_a_greeting_is_broken_between_words(env: dict[str, str]) -> None:
    with talking("chat", env=env, columns=80) as talk:
        lines = talk.see("/? for help").splitlines()
        talk.see(">>> ")
        talk.type("\x04")
        assert talk.end() == 0
    assert "".join(lines[:1]).startswith("lollms: no lollms server answers at")
    assert len(lines) > 2
    assert all(len(line) < 80 for line in lines)


def test_each_answer_of_a_chat_is_followed_by_an_empty_line(service: ChaosServer, env: dict[str, str]) -> None:
    address = service.add("say", saying("Whole."))
    with talking("chat", "--host", address, env=env) as talk:
        talk.see(">>> ")
        talk.type("hi\r")
        talk.see("Whole.\r\n\r\n")
        talk.see(">>> ")
        talk.type("/retry\r")
        talk.see("Whole.\r\n\r\n")
        talk.see(">>> ")
        talk.type("\x04")
        assert talk.end() == 0


# ---- Tab at the prompt of a real shell


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_tab_completes_in_an_interactive_bash(env: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "lollms"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lollms_cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    given = {**env, "PATH": f"{tmp_path}:{env['PATH']}", "PYTHONPATH": str(ROOT), "PS1": "$ "}
    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], given)
    shown = b""

    def see(wanted: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + 30
        while wanted not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536)
        shown = shown[shown.index(wanted) + len(wanted) :]

    try:
        see(b"$ ")
        os.write(terminal, b'eval "$(lollms completion bash)"; echo ready"."\r')
        see(b"ready.")
        see(b"$ ")
        os.write(terminal, b"lollms pers\t")
        see(b"lollms personalities ")
        os.write(terminal, b"\x15lollms -b olla\t")
        see(b"-b ollama ")
        os.write(terminal, b"\x15lollms --no-st\t")
        see(b"--no-stream ")
        os.write(terminal, b"\x15exit\r")
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
