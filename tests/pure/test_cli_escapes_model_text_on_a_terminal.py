"""On a terminal a model's control characters are shown, never obeyed; in a pipe its text is exact."""

from __future__ import annotations

import io

import pytest

from lollms_cli.output import Output, OutputClosed

ATTACKS = [
    "\x1b[2J\x1b[H",
    "\x1b]0;new title\x07",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "\x1b]8;;https://evil.example\x1b\\bank.example\x1b]8;;\x1b\\",
    "\x9b31m",
    "\x9d52;c;aGk=\x9c",
    "safe\rover",
    "a\x08b\x7f\x00",
    "\x0e\x0f\x1bP+q\x1b\\",
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_control_character_reaches_a_terminal(attack: str) -> None:
    out, err = Terminal(), Terminal()
    output = Output(out, err)
    output.thought(attack)
    output.answer(attack)
    output.message(attack)
    output.end_answer()
    shown = out.getvalue() + err.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert not {c for c in shown if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_escape_cut_in_two_does_not_slip_through(attack: str) -> None:
    out = Terminal()
    output = Output(out, Terminal())
    for character in attack:
        output.answer(character)
    assert not {c for c in out.getvalue() if ord(c) < 32 or 0x7F <= ord(c) <= 0x9F}


@pytest.mark.parametrize("attack", ATTACKS)
def test_in_a_pipe_the_text_is_exact(attack: str) -> None:
    out = io.StringIO()
    output = Output(out, io.StringIO())
    output.answer(attack)
    assert out.getvalue() == attack


def test_ordinary_text_is_untouched() -> None:
    text = "Zażółć gęślą jaźń\t日本語 🙂\n"
    out = Terminal()
    Output(out, Terminal()).answer(text)
    assert out.getvalue() == text


def test_thoughts_are_dimmed_on_standard_error_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    output = Output(out, err)
    output.thought("first ")
    output.thought("this")
    output.answer("Answer")
    output.end_answer()
    assert err.getvalue() == "\x1b[2mfirst this\x1b[0m\n"
    assert out.getvalue() == "Answer\n"


def test_dimming_can_be_asked_for_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    shown = []
    for refused in ("", "1"):
        monkeypatch.setenv("NO_COLOR", refused)
        out, err = io.StringIO(), io.StringIO()
        output = Output(out, err)
        output.thought("hm")
        output.answer("Answer")
        output.end_answer()
        assert out.getvalue() == "Answer\n"  # the answer never has marks of ours
        shown.append(err.getvalue())
    assert shown == ["\x1b[2mhm\x1b[0m\n", "hm\n"]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_means_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    err = Terminal()
    output = Output(Terminal(), err)
    output.thought("hm")
    output.end_answer()
    assert err.getvalue() == "hm\n"


def test_a_reader_who_left_ends_the_answer_but_not_the_remarks() -> None:
    with pytest.raises(OutputClosed):
        Output(Gone(), io.StringIO()).answer("hello")
    out = io.StringIO()
    output = Output(out, Gone())
    output.message("a remark")
    output.answer("hello")
    assert out.getvalue() == "hello"
