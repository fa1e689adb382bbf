"""`lollms summarize` as people use it: files and pipes, a bar on a terminal, Ctrl-C, and a real small model."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import reply
from tests.support.command_line import HEAD, ended, home, lollms, read_until, saying, sse, start
from tests.support.terminal_talk import talking

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX terminals and signals"),
    pytest.mark.group("engine"),
]

LONG = "\n\n".join(f"# Section {number}\n\n" + "Some words of it. " * 20 for number in range(8))
SMALL_PARTS = ["--chunk-size", "120", "--overlap", "0"]
SMALL_ANSWERS = ["-o", "max_tokens", "16", "-o", "temperature", "0"]


@pytest.fixture
def service() -> Iterator[ChaosServer]:
    with ChaosServer() as chaos:
        yield chaos


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return home(tmp_path, LOLLMS_API_KEY="sk-0123456789abcdef", TERM="xterm", LC_ALL="C.UTF-8")


@pytest.fixture
def long(tmp_path: Path) -> str:
    (tmp_path / "a long report.md").write_text(LONG, encoding="utf-8")
    return str(tmp_path / "a long report.md")


def summarizing(stalls: str = "", final: str = "All of it."):  # type: ignore[no-untyped-def]
    """A chaos mode that says which part it was given; it begins its answer to part `stalls` ("all": the last) only."""

    async def mode(connection: Connection, seen: Seen) -> None:
        if seen.path.endswith("/get_default_bindings"):
            return await reply(connection, b'{"defaults": {"ttt_binding": "mine"}}')
        if "/get_model_info/" in seen.path:
            return await reply(connection, b'{"context_size": 8192}')
        if seen.path.endswith("/count_tokens"):
            return await reply(connection, b'{"count": %d}' % len(seen.json()["text"].split()))
        found = re.search(rb"This is part (\d+) of", seen.body)
        part = found[1].decode() if found else "all"
        text = f"Summary {part}." if found else final
        if part == stalls:
            await connection.send(HEAD + sse("chunk", text[: len(text) // 2]))
            await connection.forever()
        else:
            await saying(text)(connection, seen)

    return mode


def test_a_small_model_summarises_a_file_and_a_pipe(env: dict[str, str], long: str) -> None:
    done = lollms("summarize", "-u", *SMALL_ANSWERS, "--chunk-size", "500", long, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    said = done.stderr.splitlines()
    assert "using the embedded engine" in said[0]
    assert any(line.startswith("lollms: a long report.md: ") for line in said)
    calls = re.fullmatch(r"lollms: (\d+) calls, \d+ tokens in, \d+ out, [\d.]+ s, model lollms-nano", said[-1])
    assert calls is not None, said[-1]
    assert int(calls[1]) > 2
    piped = lollms("summarise", "-q", "--json", *SMALL_ANSWERS, env=env, piped=b"What is the capital of France?")
    assert (piped.returncode, piped.stderr) == (0, "")
    answer = json.loads(piped.stdout)
    assert (answer["calls"], answer["files"]) == (1, [])
    assert answer["usage"]["completion_tokens"] > 0


def test_the_summary_alone_is_on_standard_output(service: ChaosServer, env: dict[str, str], long: str) -> None:
    address = service.add("say", summarizing(final="All \x1b[2Jof it: größer."))
    done = lollms("summarize", "-q", "--host", address, *SMALL_PARTS, long, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "All \x1b[2Jof it: größer.\n", "")


@pytest.mark.parametrize(("columns", "more"), [(80, {}), (40, {"NO_COLOR": "1"})])
def test_a_terminal_has_a_bar_that_goes_when_the_summary_comes(
    columns: int, more: dict[str, str], service: ChaosServer, env: dict[str, str], long: str
) -> None:
    address = service.add("say", summarizing(final="All \x1b[2Jof it."))
    with talking("summarize", "--host", address, *SMALL_PARTS, long, env=env | more, columns=columns) as talk:
        assert talk.end() == 0
        shown = talk.shown.decode()
    assert "━" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert shown.endswith("\x1b[2KAll \\x1b[2Jof it.\r\n")  # where the bar was
    bars = [re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+", shown) if "━" in line]
    assert all(len(bar) <= columns for bar in bars)
    assert ("\x1b[35m" in shown) == (not more)


def test_a_dumb_terminal_gets_lines(service: ChaosServer, env: dict[str, str], long: str) -> None:
    address = service.add("say", summarizing())
    with talking("summarize", "--host", address, *SMALL_PARTS, long, env={**env, "TERM": "dumb"}) as talk:
        assert talk.end() == 0
        shown = talk.shown.decode()
    assert re.search(r"^lollms: a long report\.md: \d+ %\r$", shown, re.MULTILINE)
    assert "\x1b" not in shown


def test_ctrl_c_in_a_part_prints_the_summaries_that_are_done(
    service: ChaosServer, env: dict[str, str], long: str
) -> None:
    Path(long).write_text(f"{LONG}\n\n{LONG[:400]}", encoding="utf-8")
    address = service.add("half", summarizing(stalls="5"))
    with ended(start("summarize", "--host", address, *SMALL_PARTS, long, env=env)) as process:
        read_until(process.stderr, b"75 %")  # six of seven parts are done, and the summary of all is left
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        came = process.stdout.read().decode()
        said = process.stderr.read().decode()
    assert came == "\n\n".join(f"Summary {part}." for part in (1, 2, 3, 4, 6, 7)) + "\n"
    assert said.splitlines()[-1] == "lollms: stopped after 6 of 7 parts"
    assert "Traceback" not in said
    assert all(seen.connection.closed_after() < 2 for seen in service.requests)


def test_ctrl_c_in_the_summary_keeps_what_came(service: ChaosServer, env: dict[str, str], long: str) -> None:
    address = service.add("half", summarizing(stalls="all"))
    with talking("summarize", "--host", address, *SMALL_PARTS, long, env=env) as talk:
        talk.see("All o")
        talk.type("\x03")
        assert talk.end() == 130
        shown = talk.shown
    assert b"Summary 1." not in shown
    assert b"lollms: stopped" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_cursor_comes_back_when_it_is_ended(
    number: signal.Signals, service: ChaosServer, env: dict[str, str], long: str
) -> None:
    address = service.add("half", summarizing(stalls="6"))
    with talking("summarize", "--host", address, *SMALL_PARTS, long, env=env) as talk:
        talk.see("Summarizing part")
        os.kill(talk.process, number)
        assert talk.end() == 128 + number
        shown = talk.shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def test_a_reader_that_leaves_is_no_error(service: ChaosServer, env: dict[str, str], long: str) -> None:
    address = service.add("say", summarizing(final="word " * 100_000))
    with ended(start("summarize", "-q", "--host", address, *SMALL_PARTS, long, env=env)) as process:
        read_until(process.stdout, b"word")
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""


def test_nobody_there_is_told_in_words_of_the_command(env: dict[str, str], long: str) -> None:
    done = lollms("summarize", "-q", "--host", "http://127.0.0.1:1", long, env=env)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "lollms serve" in done.stderr
