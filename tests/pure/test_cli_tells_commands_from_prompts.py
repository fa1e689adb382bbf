"""`lollms "..."` is a prompt, `lollms serve` a command, and a misspelt command is neither sent nor guessed."""

from __future__ import annotations

import sys

import click
import pytest

from lollms_cli.commands import COMMANDS, cli, with_command
from lollms_cli.main import main
from lollms_cli.prompt import read_options


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["Tell me a joke."], ["prompt", "Tell me a joke."]),
        (["-m", "x", "hello there"], ["prompt", "-m", "x", "hello there"]),
        (["serve", "--port", "1"], ["serve", "--port", "1"]),
        (["--version"], ["--version"]),
        (["help"], ["--help"]),
        (["help", "install"], ["install", "--help"]),
        (["serve the tea"], ["prompt", "serve the tea"]),
        (["joke"], ["prompt", "joke"]),
        (["summarise", "a.txt"], ["summarize", "a.txt"]),
        (["summarize", "the", "plot"], ["summarize", "the", "plot"]),
        (["summarize the plot"], ["prompt", "summarize the plot"]),
    ],
)
def test_the_meant_command_stands_in_front(typed: list[str], meant: list[str]) -> None:
    assert with_command(typed, has_input=False) == meant


@pytest.mark.parametrize(
    ("typed", "near"),
    [("sevre", "serve"), ("instal", "install"), ("doctr", "doctor"), ("server", "serve"), ("sumarize", "summarize")],
)
def test_a_misspelt_command_is_a_mistake(typed: str, near: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        with_command([typed], has_input=True)
    assert f"lollms {near}" in str(refused.value)
    assert f"lollms prompt {typed}" in str(refused.value)


@pytest.mark.parametrize("word", ["run", "version", "list", "show"])
def test_a_word_that_is_a_command_elsewhere_is_a_mistake(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{word!r} is not a command" in shown.err
    assert f"lollms prompt {word}" in shown.err
    with pytest.raises(click.UsageError):
        with_command([word, "-m", "x"], has_input=False)
    assert with_command([word, "me", "a", "joke"], has_input=False) == ["prompt", word, "me", "a", "joke"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["run", "llama3.2"], "lollms chat -m llama3.2"),
        (["run", "--verbose", "llama3.2"], "lollms chat -m llama3.2"),
        (["run", "qwen3:8b", "Why is the sky blue?"], "lollms -m qwen3:8b "),
    ],
)
def test_running_a_model_as_elsewhere_is_answered_with_our_words(typed: list[str], meant: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        with_command(typed, has_input=False)
    assert meant in str(refused.value)
    assert "lollms prompt run" in str(refused.value)
    assert with_command(["run", "a", "marathon"], has_input=False)[0] == "prompt"


def test_ctrl_c_while_the_program_loads_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *more: object) -> None:
            if name == "lollms_cli.commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "lollms_cli.commands")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert main(["--help"]) == 130
    assert capsys.readouterr().err == "\nlollms: stopped\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in ([name, "--help"], ["--help"]):
        assert main(arguments) == 0
        assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_help_shows_every_command_in_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if line.split()[:1] and line.split()[0] in COMMANDS]
    assert len(rows) == len(COMMANDS)
    assert all(row.endswith(".") and not row.endswith("..") for row in rows)


@pytest.mark.parametrize("port", ["abc", "99999", "-1", "9601.0"])
def test_a_port_to_listen_on_is_refused_in_words(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", f"--port={port}"]) == 2
    shown = capsys.readouterr().err
    assert "must be a port number from 1 to 65535" in shown
    assert port in shown


def test_nothing_is_help_unless_something_is_piped_in() -> None:
    assert with_command([], has_input=False) == ["--help"]
    assert with_command([], has_input=True) == ["prompt"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_made_and_explains_itself(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_no_flag_takes_a_secret() -> None:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert not {flag for flag in flags if any(word in flag for word in ("key", "token", "password", "secret"))}


def test_option_values_are_json_where_they_can_be() -> None:
    pairs = [
        ("temperature", "0.5"),
        ("max-tokens", "12"),
        ("stop", '["a"]'),
        ("seed", "x1"),
        ("n_predict", "5"),
        ("top_p", "NaN"),
    ]
    rest = {"n_predict": 5, "stop": ["a"], "seed": "x1", "top_p": "NaN"}
    assert read_options(pairs) == {"temperature": 0.5, "max_tokens": 12, **rest}
    assert read_options([("mirostat_mode_of_a_plugin", "2")]) == {"mirostat_mode_of_a_plugin": 2}


@pytest.mark.parametrize(
    ("key", "near"), [("temprature", "temperature"), ("max_token", "max_tokens"), ("base url", "")]
)
def test_a_misspelt_option_is_a_mistake(key: str, near: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        read_options([(key, "1")])
    assert near in str(refused.value)
