"""`lollms "..."`: the answer on standard output as it comes, everything else on standard error."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence

import pytest

from lollms_cli import backend, prompt
from lollms_cli.main import main
from lollms_cli.output import Output
from lollms_cli.showing import say_remarks
from lollms_client.client import LollmsClient
from lollms_client.testing import ScriptedBinding, scripted_client
from lollms_core.errors import Refused, TruncatedStream
from lollms_core.testing.scripted import Scripted
from lollms_core.types import Batch, Notice, Progress, ReceiptItem, Reply, TextDelta, Usage

Ask = Callable[..., int]
FULL = Reply(
    text="Hello there.",
    thoughts="A greeting.",
    usage=Usage(7, 3, 10),
    model="tiny",
    receipt=(ReceiptItem("top_k", "dropped", "the backend has no top_k"),),
)


class Bench:
    """The command with a scripted model in the place of the backend."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.client: LollmsClient | None = None

    def ask(self, reply: Scripted, *arguments: str, piped: bytes = b"") -> int:
        self.client = scripted_client([reply])
        self._monkeypatch.setattr(prompt, "open_client", lambda arguments: self.client)
        chosen = backend.Backend("using a script", {})
        self._monkeypatch.setattr(backend, "choose_backend", lambda host, model, binding: chosen)
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped), encoding="utf-8"))
        return main(["prompt", *arguments])

    @property
    def asked(self) -> list[str]:
        assert self.client is not None
        assert isinstance(self.client.binding, ScriptedBinding)
        return [message.text for call in self.client.binding.calls for message in call.messages]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_the_answer_is_all_there_is_on_standard_output(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask(FULL, "hi", "there") == 0
    shown = capsys.readouterr()
    assert shown.out == "Hello there.\n"
    assert shown.err == "lollms: using a script\nA greeting.\nlollms: top_k was dropped: the backend has no top_k\n"
    assert bench.asked == ["hi there"]


def test_what_is_piped_in_stands_before_the_prompt(bench: Bench) -> None:
    assert bench.ask("ok", "-s", "Be brief.", "Summarise this.", piped="un café\n".encode()) == 0
    assert bench.asked == ["Be brief.", "un café\n\n\nSummarise this."]
    assert bench.ask("ok", piped=b"only this") == 0
    assert bench.asked == ["only this"]


def test_quiet_and_hidden_reasoning(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask(FULL, "-q", "-R", "hi") == 0
    assert tuple(capsys.readouterr()) == ("Hello there.\n", "")


def test_usage_is_a_line_on_standard_error(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask(FULL, "-q", "-R", "-u", "hi") == 0
    shown = capsys.readouterr()
    assert shown.out == "Hello there.\n"
    assert shown.err.startswith("lollms: 7 tokens in, 3 out, ")
    assert shown.err.endswith(" s, model tiny\n")


@pytest.mark.parametrize("more", [[], ["--no-stream"]])
def test_json_is_one_object(more: list[str], bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask(FULL, "-q", "--json", *more, "hi") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "text": "Hello there.",
        "thoughts": "A greeting.",
        "tool_calls": [],
        "model": "tiny",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        "receipt": [{"name": "top_k", "action": "dropped", "reason": "the backend has no top_k"}],
    }
    assert shown.err == ""


def test_without_streaming_the_answer_is_the_same(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask(FULL, "-q", "--no-stream", "hi") == 0
    assert tuple(capsys.readouterr()) == ("Hello there.\n", "A greeting.\n")


def test_an_answer_that_breaks_off_stays_and_the_error_is_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    batches: Sequence[Batch | Exception] = [(TextDelta("Half an"),), TruncatedStream("The answer ended too early.")]
    assert bench.ask(batches, "-q", "hi") == 1
    assert tuple(capsys.readouterr()) == ("Half an\n", "lollms: error: The answer ended too early.\n")


def test_nobody_there_is_told_in_words(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask(Refused("Nobody listens there."), "-q", "hi") == 1
    assert tuple(capsys.readouterr()) == ("", "lollms: error: Nobody listens there.\n")


@pytest.mark.parametrize("more", [[], ["--no-stream"]])
def test_ctrl_c_keeps_what_came(more: list[str], bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(call: object) -> Sequence[Batch | Exception]:
        return Interrupting([(TextDelta("Half"),)])

    assert bench.ask(interrupted, "-q", *more, "hi") == 130
    assert capsys.readouterr().out == "Half\n"


def test_ctrl_c_with_json_gives_the_part_that_came(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask(lambda call: Interrupting([(TextDelta("Half"),)]), "-q", "--json", "hi") == 130
    said = json.loads(capsys.readouterr().out)
    assert (said["text"], said["finish_reason"]) == ("Half", "cancelled")


class Interrupting(list[Batch]):
    """Batches after which Ctrl-C is pressed."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from super().__iter__()
        raise KeyboardInterrupt


def test_waiting_and_notices_are_remarks(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    batches = [(Progress("queue", position=2),), (Notice("warning", "cut to fit"),), (TextDelta("ok"),)]
    assert bench.ask(batches, "hi") == 0
    shown = capsys.readouterr()
    assert shown.out == "ok\n"
    assert "lollms: waiting, 2 before you\nlollms: cut to fit\n" in shown.err


@pytest.mark.parametrize("piped", [b"", b" \n"])
def test_no_prompt_is_wrong_use(piped: bytes, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask("never", piped=piped) == 2
    assert "There is no prompt" in capsys.readouterr().err


def test_bytes_that_are_no_text_are_refused_in_words(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask("never", piped=b"ab\xff") == 2
    assert "not UTF-8 text (byte 2)" in capsys.readouterr().err
    assert bench.ask("never", "ab\udcff") == 2
    assert "not valid UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "tokens", "words"),
    [
        ([], 5, ["at a limit", "context"]),
        (["-o", "max_tokens", "5"], 5, ["limit of 5 tokens", "raises it"]),
        (["-o", "n_predict", "5"], 5, ["limit of 5 tokens", "raises it"]),
        (["-o", "max_tokens", "4000"], 900, ["after 900 tokens", "context", "does not help"]),
        (["-o", "max_tokens", "4000"], None, ["at a limit", "context"]),
    ],
)
def test_which_limit_ended_an_answer_is_said_truly(
    options: list[str], tokens: int | None, words: list[str], bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = Reply("Half an", finish_reason="length", usage=Usage(124, tokens, None))
    assert bench.ask(reply, *options, "hi") == 0
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "stopped" in line)
    assert all(word in said for word in words)


def test_a_chat_says_what_raises_a_limit_there(capsys: pytest.CaptureFixture[str]) -> None:
    say_remarks(Output(), Reply("Half", finish_reason="length"), None, "/set parameter max_tokens NUMBER")
    said = capsys.readouterr().err
    assert "/set parameter max_tokens NUMBER raises" in said
    assert "-o" not in said


def test_a_chat_answers_an_equals_sign_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "-o", "temperature=1"]) == 2
    assert "-o temperature 1" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-o", "temperature=1", "hi"], ["hi", "-o", "temperature=1"]])
def test_an_equals_sign_is_answered_with_the_right_form(
    words: list[str], bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.ask("never", *words) == 2
    assert "-o temperature 1" in capsys.readouterr().err
    assert bench.asked == []


@pytest.mark.parametrize("name", ["max_tokens", "n_predict"])
def test_a_limit_below_one_is_refused_by_its_name(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.ask("never", "-q", "-o", name, "-5", "hi") == 1
    assert f"{name} is -5" in capsys.readouterr().err


def test_only_the_first_code_block_is_printed(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    text = "Here:\n```python\nprint('schön')\n```\nand\n```sh\nls\n```\n"
    assert bench.ask(text, "-x", "hi") == 0
    assert capsys.readouterr().out == "print('schön')\n"
    assert bench.ask("```\ncut", "-x", "hi") == 0
    shown = capsys.readouterr()
    assert (shown.out, "not complete" in shown.err) == ("cut\n", True)
    assert bench.ask("No code.", "-x", "hi") == 0
    shown = capsys.readouterr()
    assert (shown.out, "no code block" in shown.err) == ("No code.\n", True)
    assert bench.ask(text, "-x", "--json", "hi") == 0
    assert json.loads(capsys.readouterr().out)["code"] == "print('schön')"
