"""Every error ends a command with one line on standard error, the exit code of the table, and no traceback."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest

from lollms_cli import commands
from lollms_cli.commands import cli
from lollms_cli.main import main
from lollms_cli.output import OutputClosed
from lollms_core.errors import MEANINGS, ConfigError, LollmsError, meaning

Run = Callable[[BaseException], int]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("LOLLMS_DEBUG", raising=False)

    def run(error: BaseException) -> int:
        def fail() -> None:
            raise error

        monkeypatch.setitem(commands.COMMANDS, "fail", ("unused", "unused"))
        monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: click.Command(name, callback=fail))
        return main(["fail"])

    return run


@pytest.mark.parametrize("kind", sorted(MEANINGS, key=lambda kind: kind.__name__))
def test_each_class_has_the_exit_code_of_the_table(
    kind: type[LollmsError], failing: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(kind("It did not work.\nDo this.")) == meaning(kind).exit_code
    shown = capsys.readouterr()
    assert shown.out == ""
    if kind is ConfigError:
        assert shown.err == "lollms: error: It did not work.\nlollms: error: Do this.\n"
    else:
        assert shown.err == "lollms: error: It did not work. Do this.\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (OutputClosed(), 141),
        (click.UsageError("No."), 2),
        (ZeroDivisionError("a defect"), 1),
        (FileNotFoundError(2, "No such file or directory", "/x"), 1),
    ],
)
def test_other_ends_have_theirs(
    error: BaseException, code: int, failing: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_defect_shows_where_only_when_asked(
    failing: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(ZeroDivisionError("a defect"))
    plain = capsys.readouterr().err
    assert "LOLLMS_DEBUG=1" in plain
    assert "Traceback" not in plain
    monkeypatch.setenv("LOLLMS_DEBUG", "1")
    failing(ZeroDivisionError("a defect"))
    assert "Traceback" in capsys.readouterr().err


def test_control_characters_of_a_message_do_not_reach_the_terminal(
    failing: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(LollmsError("the backend said \x1b]52;c;aGk=\x07 and \x9b2J"))
    shown = capsys.readouterr().err
    assert shown == "lollms: error: the backend said \\x1b]52;c;aGk=\\x07 and \\x9b2J\n"
