"""`lollms summarize`: the summary alone on standard output; on the way, and when it is stopped, what there is."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from lollms_cli import backend, summarize
from lollms_cli.main import main
from lollms_client.client import LollmsClient
from lollms_client.testing import ScriptedBinding, scripted_client
from lollms_core.errors import AuthFailed, Cancelled, TruncatedStream, UpstreamFailed
from lollms_core.testing.scripted import Scripted
from lollms_core.types import Batch, GenerationCall, ReceiptItem, Reply, TextDelta, ThoughtDelta, Usage

LONG = "\n\n".join(f"# Section {number}\n\n" + "Some words of it. " * 20 for number in range(8))
SMALL_PARTS = ["--chunk-size", "120"]


class Bench:
    """The command with a scripted model in the place of the backend, and files to read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder
        self.client: LollmsClient | None = None
        self.at_once = 1

    def file(self, name: str, text: str) -> str:
        (self._folder / name).write_text(text, encoding="utf-8")
        return str(self._folder / name)

    def summarize(self, replies: Sequence[Scripted] | Callable[[GenerationCall], Scripted], *arguments: str) -> int:
        self.client = scripted_client(replies)  # type: ignore[arg-type]
        assert self.client.binding is not None
        self.client.binding.parallel_calls = self.at_once
        self._monkeypatch.setattr(summarize, "open_client", lambda arguments: self.client)
        chosen = backend.Backend("using a script", {})
        self._monkeypatch.setattr(backend, "choose_backend", lambda host, model, binding: chosen)
        return main(["summarize", *arguments])

    @property
    def calls(self) -> list[GenerationCall]:
        assert self.client is not None
        assert isinstance(self.client.binding, ScriptedBinding)
        return self.client.binding.calls


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def part_of(call: GenerationCall) -> str:
    """Which part is asked about: "1", "2", ..., "" for the last call."""
    _, found, after = call.messages[-1].text.partition("This is part ")
    return after.split()[0] if found else ""


def parts(call: GenerationCall) -> Scripted:
    """A model that says which part it was given."""
    number = part_of(call)
    return f"Summary {number}." if number else "All of it."


def test_a_short_text_is_one_call(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("a.txt", "A {short} text.")
    reply = Reply("In short.", thoughts="Hm.", usage=Usage(7, 3, 10), model="tiny")
    assert bench.summarize([reply], "-u", "-p", "Focus on {it}.", "-s", "Be brief.", file) == 0
    shown = capsys.readouterr()
    assert shown.out == "In short.\n"
    said = shown.err.splitlines()
    assert said[0] == "lollms: using a script"
    assert said[-2] == "Hm."
    assert said[-1].startswith("lollms: 1 call, 7 tokens in, 3 out, ")
    (call,) = bench.calls
    assert call.messages[0].text == "Be brief."
    assert "Focus on {it}." in call.messages[-1].text
    assert "A {short} text." in call.messages[-1].text


def test_a_long_text_is_summarised_in_parts_and_progress_is_lines(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.file("long.md", LONG)
    assert bench.summarize(parts, "-u", *SMALL_PARTS, file) == 0
    shown = capsys.readouterr()
    assert shown.out == "All of it.\n"
    where, *lines, cost = shown.err.splitlines()
    assert where == "lollms: using a script"
    percents = [int(line.removeprefix("lollms: long.md: ").removesuffix(" %")) for line in lines]
    assert percents == sorted(set(percents))
    assert percents == [25, 50, 75]  # then the summary comes
    assert cost.startswith(f"lollms: {len(bench.calls)} calls, ")
    assert len(bench.calls) > 4


def test_quiet_says_only_the_summary(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.summarize(parts, "-q", *SMALL_PARTS, bench.file("long.md", LONG)) == 0
    assert tuple(capsys.readouterr()) == ("All of it.\n", "")


def test_several_files_are_one_text_with_their_names(bench: Bench) -> None:
    files = [bench.file("one.txt", "First text.\n"), bench.file("two.txt", "Second text.")]
    assert bench.summarize(["Both."], "-q", *files) == 0
    (call,) = bench.calls
    assert "# one.txt\n\nFirst text.\n\n# two.txt\n\nSecond text." in call.messages[-1].text


def test_json_has_what_it_cost(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("long.md", LONG)
    receipt = (ReceiptItem("top_k", "dropped", "the backend has no top_k"),)

    def answer(call: GenerationCall) -> Scripted:
        return Reply(str(parts(call)), usage=Usage(10, 2, 12), model="tiny", receipt=receipt)

    assert bench.summarize(answer, "-q", "--json", *SMALL_PARTS, file) == 0
    shown = capsys.readouterr()
    said = json.loads(shown.out)
    calls = len(bench.calls)
    assert (said["text"], said["files"], said["calls"]) == ("All of it.", [file], calls)
    assert said["usage"] == {"prompt_tokens": 10 * calls, "completion_tokens": 2 * calls, "total_tokens": 12 * calls}
    assert [item["name"] for item in said["receipt"]] == ["top_k"]
    assert said["parts"] == said["parts_done"] == calls - 1
    assert (said["model"], said["finish_reason"], shown.err) == ("tiny", "stop", "")


def test_thoughts_are_those_of_the_summary_alone(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("long.md", LONG)

    def answer(call: GenerationCall) -> Scripted:
        return Reply(str(parts(call)), thoughts=f"Thinking of {part_of(call) or 'all'}.")

    assert bench.summarize(answer, *SMALL_PARTS, file) == 0
    assert "Thinking of all." in (said := capsys.readouterr().err)
    assert "Thinking of 1." not in said
    assert bench.summarize(answer, "-R", *SMALL_PARTS, file) == 0
    assert "Thinking" not in capsys.readouterr().err


def test_a_part_that_fails_is_said(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(call: GenerationCall) -> Scripted:
        return UpstreamFailed("It broke.") if part_of(call) == "2" else parts(call)

    assert bench.summarize(answer, *SMALL_PARTS, bench.file("long.md", LONG)) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("All of it.")
    assert "part 2" in shown.out and "It broke." in shown.out
    assert any("Part 2" in line and "It broke." in line for line in shown.err.splitlines()), shown.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], []),
        (["--chunk-size", "5000"], ["--chunk-size 5000 is more than fits the context: the text is read in parts of "]),
        (["--overlap", "1000"], ["--overlap 1000 is more than half of a part: it is 750 tokens"]),
    ],
)
def test_sizes_that_do_not_fit_are_told_to_who_gave_them(
    given: list[str], said: list[str], bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    context = "16000" if "--overlap" in given else "1100"
    file = bench.file("long.md", LONG * 6)
    assert bench.summarize(parts, "-o", "ctx_size", context, *given, file) == 0
    remarks = [line for line in capsys.readouterr().err.splitlines() if not line.endswith("%")][1:]
    assert len(bench.calls) > 2
    assert len(remarks) == len(said)
    assert all(line.startswith(f"lollms: long.md: {words}") for line, words in zip(remarks, said, strict=True))


def test_a_summary_that_was_cut_off_is_told_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    cut = Reply("In sho", finish_reason="length", usage=Usage(9, 5, 14))
    assert bench.summarize([cut], "-o", "max_tokens", "5", bench.file("a.txt", "Text.")) == 0
    shown = capsys.readouterr()
    assert shown.out == "In sho\n"
    assert len(shown.err.splitlines()) == 2
    assert "the answer stopped at its limit of 5 tokens (-o max_tokens NUMBER raises it)" in shown.err

    def answer(call: GenerationCall) -> Scripted:  # each has fewer tokens than the limit, and all together more
        reply = Reply(str(parts(call)), usage=Usage(9, 5, 14))
        return reply if part_of(call) else msgspec.structs.replace(reply, finish_reason="length")

    assert bench.summarize(answer, "-o", "max_tokens", "20", *SMALL_PARTS, bench.file("long.md", LONG)) == 0
    assert "the answer stopped after 5 tokens, before max_tokens" in capsys.readouterr().err
    held = Reply("In sho", finish_reason="content_filter")
    assert bench.summarize([held], bench.file("a.txt", "Text.")) == 0
    assert "cut off by the content filter" in capsys.readouterr().err


def test_an_error_in_the_summary_keeps_what_came(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    batches: list[Batch | Exception] = [(TextDelta("Half an"),), TruncatedStream("The answer ended too early.")]
    assert bench.summarize([batches], "-q", bench.file("a.txt", "Text.")) == 1
    assert tuple(capsys.readouterr()) == ("Half an\n", "lollms: error: The answer ended too early.\n")


def test_an_error_after_some_parts_gives_their_summaries(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(call: GenerationCall) -> Scripted:
        return AuthFailed("The key was taken away.") if part_of(call) == "3" else parts(call)

    assert bench.summarize(answer, "-q", *SMALL_PARTS, bench.file("long.md", LONG)) == 4
    shown = capsys.readouterr()
    assert shown.out == "Summary 1.\n\nSummary 2.\n"
    assert shown.err.startswith("lollms: error: The key was taken away.")
    assert shown.err.count("\n") == 1


# ---- Ctrl-C


def pressed_after(*batches: Batch) -> Scripted:
    """A reply in which Ctrl-C is pressed while the next piece of it is waited for."""

    class Pressing(list[Batch]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield from super().__iter__()
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):  # the other threads hear of it by and by
                yield (TextDelta("never shown"),)
                threading.Event().wait(0.01)

    return Pressing(batches)


def test_ctrl_c_gives_the_summaries_of_the_parts(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("long.md", LONG)

    def answer(call: GenerationCall) -> Scripted:
        return pressed_after((TextDelta("Half"),)) if part_of(call) == "3" else parts(call)

    assert bench.summarize(answer, "-q", *SMALL_PARTS, file) == 130
    shown = capsys.readouterr()
    assert shown.out.startswith("Summary 1.\n\nSummary 2.")
    assert "never shown" not in shown.out
    assert shown.err == "lollms: stopped after 2 of 7 parts\n"
    assert bench.summarize(answer, "-q", "--json", *SMALL_PARTS, file) == 130
    said = json.loads(capsys.readouterr().out)
    assert said["text"].startswith("Summary 1.")
    assert (said["finish_reason"], said["parts"], said["parts_done"]) == ("cancelled", 7, 2)


def test_ctrl_c_in_the_first_part_prints_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(call: GenerationCall) -> Scripted:
        return pressed_after((TextDelta("Half"),))

    assert bench.summarize(answer, "-q", *SMALL_PARTS, bench.file("long.md", LONG)) == 130
    assert tuple(capsys.readouterr()) == ("", "lollms: stopped after 0 of 7 parts\n")
    blank = pressed_after((TextDelta("\n"),))
    assert bench.summarize([blank], "-q", bench.file("a.txt", "Text.")) == 130
    assert tuple(capsys.readouterr()) == ("", "lollms: stopped\n")
    begins_blank: list[Batch] = [(TextDelta("\n"),), (TextDelta(" Al"),), (TextDelta("l."),)]
    assert bench.summarize([begins_blank], "-q", bench.file("a.txt", "Text.")) == 0
    assert capsys.readouterr().out == "\n All.\n"


def test_ctrl_c_ends_all_the_calls_that_run_at_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.at_once = 4

    def answer(call: GenerationCall) -> Scripted:
        return pressed_after((TextDelta("Half"),)) if part_of(call) == "6" else parts(call)

    assert bench.summarize(answer, "-q", *SMALL_PARTS, bench.file("long.md", LONG)) == 130
    shown = capsys.readouterr()
    assert shown.out.startswith("Summary ")
    assert "All of it." not in shown.out and "never shown" not in shown.out
    assert shown.err == f"lollms: stopped after {shown.out.count('Summary ')} of 7 parts\n"


def test_ctrl_c_in_the_summary_keeps_what_was_shown_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    reply = pressed_after((ThoughtDelta("Hm."),), (TextDelta("Half a summary"),))
    assert bench.summarize([reply], "-q", bench.file("a.txt", "Text.")) == 130
    assert capsys.readouterr().out == "Half a summary\n"


def test_ctrl_c_while_something_is_shown_stops_it_too(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def show(self: object, chunk: str, kind: object, params: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(summarize._Summarizing, "__call__", show)
    assert bench.summarize(parts, "-q", *SMALL_PARTS, bench.file("long.md", LONG)) == 130
    assert capsys.readouterr().err == "lollms: stopped\n"


def test_a_backend_that_stops_on_its_own_is_told(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.summarize([Cancelled("The server stopped it.")], "-q", bench.file("a.txt", "Text.")) == 130
    assert capsys.readouterr().err == "lollms: error: The server stopped it.\n"


# ---- wrong use


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--chunk-size", "0", __file__], 2, "--chunk-size"),
        (["--chunk-size", "10", "--overlap", "10", __file__], 2, "must be less"),
        (["-o", "contextual_prompt", "x", __file__], 2, "no parameter"),
        (["the", "plot", "of", "Hamlet"], 1, "lollms prompt summarize"),
    ],
)
def test_wrong_use_is_told_before_anything_is_asked(
    arguments: list[str], code: int, words: str, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.summarize([], "-q", *arguments) == code
    shown = capsys.readouterr()
    assert (shown.out, words in " ".join(shown.err.split())) == ("", True)
    assert bench.calls == []


def test_the_other_spelling_is_the_same_command(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.summarize(["x"], "-q", bench.file("a.txt", "Text.")) == 0
    assert main(["summarise", "nowhere.txt"]) == 1
    assert "There is no file nowhere.txt." in capsys.readouterr().err
