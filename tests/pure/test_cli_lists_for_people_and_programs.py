"""Lists are tables on a terminal, tab-separated rows in a pipe, and what a server says can do no harm in either."""

from __future__ import annotations

import io
import json

import click
import pytest

from lollms_cli.commands import cli, with_command
from lollms_cli.main import main
from lollms_cli.output import Output
from lollms_cli.tables import as_json, as_table, say_problems

ROWS = [("nano", True, None), ("a longer name", False, ["ttt", "vlm"])]
HEADINGS = ("name", "loaded", "default for")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*, terminal: bool, rows: list[tuple[object, ...]]) -> tuple[str, str]:
    out, err = Terminal() if terminal else io.StringIO(), io.StringIO()
    as_table(Output(out, err), HEADINGS, rows, "There is nothing.")
    return out.getvalue(), err.getvalue()


def test_in_a_pipe_every_row_is_a_line_without_headings() -> None:
    assert shown(terminal=False, rows=ROWS) == ("nano\tyes\t-\na longer name\tno\tttt, vlm\n", "")


def test_on_a_terminal_the_columns_are_aligned_under_headings() -> None:
    lines = shown(terminal=True, rows=ROWS)[0].splitlines()
    assert lines[0].split() == ["NAME", "LOADED", "DEFAULT", "FOR"]
    assert len(lines) == 3
    assert {line.index(word) for line, word in zip(lines, ("LOADED", "yes", "no"), strict=True)} == {
        lines[0].index("LOADED")
    }
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_a_sentence_on_standard_error(terminal: bool) -> None:
    assert shown(terminal=terminal, rows=[]) == ("", "There is nothing.\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_no_field_breaks_a_row_or_commands_the_terminal(terminal: bool) -> None:
    evil = "a\tb\nc\x1b]52;c;eA==\x07\x1b[2J[bold red]x[/]:smile:\u202e\u2028"
    out = shown(terminal=terminal, rows=[(evil, evil, [evil])])[0]
    assert not set(out) & set("\x1b\x07\u202e\u2028")
    if not terminal:
        assert out.count("\n") == 1 and out.count("\t") == 2
        assert "[bold red]x[/]:smile:" in out


def test_a_narrow_terminal_folds_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "41")
    out = shown(terminal=True, rows=[("name", "x", "0123456789" * 8)])[0]
    assert max(map(len, out.splitlines())) <= 41
    assert "".join(line.split()[-1] for line in out.splitlines()[1:]) == "0123456789" * 8


def test_json_is_ascii_and_whole() -> None:
    out = io.StringIO()
    said = {"name": "Zoë\x1b[2J", "list": [1, None, True]}
    as_json(Output(out, io.StringIO()), said)
    assert json.loads(out.getvalue()) == said
    assert out.getvalue().isascii() and "\x1b" not in out.getvalue()


def test_problems_are_lines_with_their_place() -> None:
    err = io.StringIO()
    found = [
        {"name": "mine", "file": "mine.yaml", "line": 3, "reason": "api_key:\nmust be text"},
        {"name": "tools", "file": "tools.py", "line": None, "reason": "it ended\x1b[2J"},
        {"name": "other", "reason": "no card"},
        "not a problem",
    ]
    say_problems(Output(io.StringIO(), err), found)
    assert err.getvalue().splitlines() == [
        "lollms: problem: mine: mine.yaml:3: api_key: must be text",
        "lollms: problem: tools: tools.py: it ended\\x1b[2J",
        "lollms: problem: other: no card",
    ]
    say_problems(Output(io.StringIO(), err), None)


@pytest.mark.parametrize("subject", ["bindings", "personalities", "functions"])
def test_words_behind_a_subject_are_a_prompt_without_quotes(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([subject, "of", "the", "liver"]) == 2
    error = capsys.readouterr().err
    assert f"`lollms {subject} list`" in error and f"lollms prompt {subject}" in error
    assert main([subject, "list", "too", "much"]) == 2
    assert with_command([f"{subject} of the liver"], has_input=False)[0] == "prompt"


@pytest.mark.parametrize("subject", ["bindings", "personalities", "functions"])
def test_a_subject_alone_shows_its_help(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([subject]) == 0
    assert "\n  list " in capsys.readouterr().out


@pytest.mark.parametrize("subject", ["bindings", "personalities", "functions"])
def test_every_option_of_the_lists_has_words(subject: str) -> None:
    group = cli.get_command(click.Context(cli), subject)
    assert isinstance(group, click.Group)
    for command in group.commands.values():
        assert command.help
        assert all(option.help for option in command.params if isinstance(option, click.Option))
        assert "--json" in {name for option in command.params for name in option.opts}
    assert "--host" in {name for option in group.commands["list"].params for name in option.opts}
