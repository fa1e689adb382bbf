"""`lollms extract`: JSON of the shape on standard output, or an error in a line; nothing else is ever printed there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lollms_cli import backend, extract
from lollms_cli.main import main
from lollms_client.client import LollmsClient
from lollms_client.testing import ScriptedBinding, scripted_client
from lollms_core.errors import ContextTooLong, Refused
from lollms_core.testing.scripted import Scripted
from lollms_core.types import GenerationCall, Reply

PERSON = "name, age int"
ANN = '{"name": "Ann", "age": 31}'


class Bench:
    """The command with a scripted model in the place of the backend, and files to read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder
        self.client: LollmsClient | None = None

    def file(self, name: str, text: str) -> str:
        (self._folder / name).write_text(text, encoding="utf-8")
        return str(self._folder / name)

    def extract(self, replies: list[Scripted] | Callable[[GenerationCall], Scripted], *arguments: str) -> int:
        self.client = scripted_client(replies)  # type: ignore[arg-type]
        self._monkeypatch.setattr(extract, "open_client", lambda arguments: self.client)
        chosen = backend.Backend("using a script", {})
        self._monkeypatch.setattr(backend, "choose_backend", lambda host, model, binding: chosen)
        return main(["extract", *arguments])

    @property
    def calls(self) -> list[GenerationCall]:
        assert self.client is not None
        assert isinstance(self.client.binding, ScriptedBinding)
        return self.client.binding.calls


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def test_a_value_is_a_line_in_a_pipe(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("a.txt", "Ann is 31.")
    assert bench.extract([ANN], "--schema", PERSON, "-p", "the writer", "-s", "Be exact.", file) == 0
    shown = capsys.readouterr()
    assert shown.out == ANN + "\n"
    assert shown.err == "lollms: using a script\n"
    (call,) = bench.calls
    assert call.messages[0].text == "Be exact."
    assert "invent nothing. the writer\n\na.txt:\n```\nAnn is 31.\n```" in call.messages[-1].text
    assert call.schema is not None and call.schema["required"] == ["name", "age"]


def test_a_template_and_a_schema_without_its_marks_are_told_apart(bench: Bench) -> None:
    file = bench.file("a.txt", "Ann is 31.")
    assert bench.extract([ANN], "-q", "--schema", '{"name": "string", "age": "integer"}', file) == 0
    assert bench.calls[0].schema == {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    assert bench.extract(["true"], "-q", "--schema", '{"anyOf": [{"type": "boolean"}, {"type": "null"}]}', file) == 0
    assert "anyOf" in json.dumps(bench.calls[0].schema)


def test_a_wrong_answer_is_asked_for_again_and_told(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("a.txt", "Ann is 31.")
    assert bench.extract(['{"name": "Ann"}', ANN], "-q", "-u", "--schema", PERSON, file) == 0
    shown = capsys.readouterr()
    assert shown.out == ANN + "\n"
    assert shown.err.startswith("lollms: 2 calls, ")


def test_no_value_is_exit_1_and_a_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("a.txt", "Ann is 31.")
    wrong: list[Scripted] = ['{"name": "Ann"}', "I \x1b[2J cannot.", '{"name": "Ann", "age": "x"}']
    assert bench.extract(wrong, "-q", "--schema", PERSON, file) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("lollms: error: The model was asked 3 times")
    assert bench.extract(wrong, "-q", "-v", "--schema", PERSON, file) == 1
    trail = capsys.readouterr().err.splitlines()
    assert [each.split(" (")[0] for each in trail[1::2]] == [f"lollms: attempt {number}" for number in (1, 2, 3)]
    assert trail[4] == "  the answer: I \\x1b[2J cannot."


def test_several_files_are_a_line_each_null_for_one_that_failed(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [bench.file(f"{name}.txt", name) for name in ("one", "two", "three")]

    def answer(call: GenerationCall) -> Scripted:
        text = call.messages[-1].text
        if "```\ntwo\n" in text:
            return ContextTooLong("The prompt does not fit.")
        return ANN if "```\none\n" in text else '{"name": "Cid", "age": 3}'

    assert bench.extract(answer, "-q", "--schema", PERSON, *files) == 1
    shown = capsys.readouterr()
    assert shown.out == f'{ANN}\nnull\n{{"name": "Cid", "age": 3}}\n'
    assert shown.err.startswith(f"lollms: error: {files[1]}: The prompt does not fit. ")
    assert "--many" in shown.err
    assert bench.extract(answer, "-q", "--json", "--schema", PERSON, *files) == 1
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["file"], each["value"] is None, each["error"], each["calls"]) for each in said] == [
        (files[0], False, None, 1),
        (files[1], True, "The prompt does not fit.", 1),
        (files[2], False, None, 1),
    ]


def test_json_has_the_trail_of_attempts(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("a.txt", "Ann is 31.")
    assert bench.extract(["{}", "[]", "{}"], "-q", "--json", "--schema", PERSON, file) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["value"], said["calls"]) == (file, None, 3)
    assert [each["text"] for each in said["attempts"]] == ["{}", "[]", "{}"]
    assert all(each["problem"] for each in said["attempts"])


def test_nobody_there_ends_it_at_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    files = [bench.file(name, name) for name in ("a.txt", "b.txt")]
    assert bench.extract([Refused("Nobody listens there.")], "-q", "--schema", PERSON, *files) == 1
    assert tuple(capsys.readouterr()) == ("", "lollms: error: Nobody listens there.\n")


def test_many_records_are_lines_and_each_comes_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("a.txt", "\n\n".join(f"Person number {number} is {number} years old." for number in range(40)))
    asked: list[str] = []

    def answer(call: GenerationCall) -> Scripted:
        asked.append(call.messages[-1].text)
        found = [{"name": f"P{n}", "age": n} for n in range(40) if f"number {n} is" in call.messages[-1].text]
        return json.dumps({"value": found})

    assert bench.extract(answer, "--many", "--chunk-size", "60", "--schema", PERSON, file) == 0
    shown = capsys.readouterr()
    assert [json.loads(line)["age"] for line in shown.out.splitlines()] == list(range(40))
    assert len(asked) > 3
    assert f"part 2 of {len(asked)}" in asked[1]
    lines = shown.err.splitlines()[1:]
    assert lines[-1] == "lollms: a.txt: 100 %"
    assert 2 <= len(lines) <= 4


def test_a_part_that_fails_is_named_and_the_others_count(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    file = bench.file("a.txt", "\n\n".join(f"Person number {number} is {number} years old." for number in range(20)))

    def answer(call: GenerationCall) -> Scripted:
        first = any("number 0 is" in message.text for message in call.messages)
        return "Never." if first else f'{{"value": [{ANN}]}}'

    assert bench.extract(answer, "-q", "--many", "--chunk-size", "60", "--schema", PERSON, file) == 1
    shown = capsys.readouterr()
    assert shown.out == ANN + "\n"
    assert f"lollms: error: {file}, part 1 of " in shown.err
    assert shown.err.count("\n") == 1
    assert bench.extract(answer, "-q", "--json", "--many", "--chunk-size", "60", "--schema", PERSON, file) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["value"] == [json.loads(ANN)]
    assert "asked 3 times" in said["error"]


def test_no_record_is_no_error(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.extract(['{"value": []}'], "--many", "--schema", PERSON, bench.file("a.txt", "Nobody.")) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()[1]) == ("", "lollms: a.txt: no such record")
    files = [bench.file("a.txt", "Nobody."), bench.file("b.txt", "Ann")]
    none_first: list[Scripted] = ['{"value": []}', f'{{"value": [{ANN}]}}']
    assert bench.extract(none_first, "--many", "--schema", PERSON, *files) == 0
    shown = capsys.readouterr()
    assert shown.out == ANN + "\n"
    assert "lollms: a.txt: no such record" in shown.err.splitlines()


def test_remarks_on_one_of_several_files_name_it(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    files = [bench.file("a.txt", "Ann is 31."), bench.file("b.txt", "Ann is 31.")]
    assert bench.extract([ANN, '{"name": "Ann"}', ANN], "--schema", PERSON, *files) == 0
    (remark,) = [line for line in capsys.readouterr().err.splitlines() if "could not be used" in line]
    assert remark.startswith("lollms: b.txt: The answer could not be used: ")


def test_a_file_that_cannot_be_read_is_null_and_the_others_count(
    bench: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bad.txt").write_bytes(b"ab\xff")
    bad, nowhere = str(tmp_path / "bad.txt"), str(tmp_path / "nowhere.txt")
    files = [nowhere, bench.file("a.txt", "Ann"), bad, bench.file("b.txt", "Ann")]
    said = [
        f"lollms: error: There is no file {nowhere}.",
        f"lollms: error: {bad} is not UTF-8 text (byte 2).",
    ]
    assert bench.extract([ANN, ANN], "-q", "--schema", PERSON, *files) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()) == (f"null\n{ANN}\nnull\n{ANN}\n", said)
    assert bench.extract([ANN, ANN], "-q", "--json", "--schema", PERSON, *files) == 1
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["file"], each["error"], each["calls"]) for each in objects] == [
        (nowhere, said[0].removeprefix("lollms: error: "), 0),
        (files[1], None, 1),
        (bad, said[1].removeprefix("lollms: error: "), 0),
        (files[3], None, 1),
    ]
    records: list[Scripted] = [f'{{"value": [{ANN}]}}'] * 2
    assert bench.extract(records, "-q", "--many", "--schema", PERSON, *files) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()) == (f"{ANN}\n{ANN}\n", said)
    assert bench.extract([], "-q", "--schema", PERSON, nowhere) == 1
    assert tuple(capsys.readouterr()) == ("", f"{said[0]}\n")


def test_an_answer_cut_off_names_the_limit(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    cut = Reply('{"name": "An', finish_reason="length")
    assert bench.extract([cut] * 3, "-q", "--schema", PERSON, bench.file("a.txt", "Ann")) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "-o max_tokens NUMBER" in shown.err
    assert "n_predict" not in shown.err  # a name for those who write Python
    assert bench.extract(["{}"] * 3, "-q", "--schema", PERSON, bench.file("a.txt", "Ann")) == 1
    assert "max_tokens" not in capsys.readouterr().err


def test_references_of_a_schema_still_lead_somewhere_with_many(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.file("a.txt", "Ann")
    schema = {"$defs": {"n": {"type": "string"}}, "type": "object", "properties": {"name": {"$ref": "#/$defs/n"}}}
    assert bench.extract(['{"value": [{"name": "Ann"}]}'], "-q", "--many", "--schema", json.dumps(schema), file) == 0
    assert capsys.readouterr().out == '{"name": "Ann"}\n'
    schema["properties"]["next"] = {"$ref": "#"}  # type: ignore[index]
    assert bench.extract([], "-q", "--many", "--schema", json.dumps(schema), file) == 1
    assert "references" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--schema"),
        (["--schema", "name", "--chunk-size", "9"], 2, "--many"),
        (["--schema", "name", "-o", "max_retries", "9"], 2, "no parameter"),
        (["--schema", "name", "-o", "streaming_callback", "9"], 2, "no parameter"),
        (["--schema", "name", "nowhere.txt"], 1, "There is no file nowhere.txt."),
        (["--schema", '{"type": "thing", "items": 3, "$schema": "x"}', __file__], 1, "schema is not right"),
        (["--schema", "{}", __file__], 1, "template is empty"),
        (["--schema", '["a"]', __file__], 1, "'[\"a\"]' is not a field"),
        (["--many", "--schema", '{"type": "array", "items": {}}', __file__], 1, "a list already"),
    ],
)
def test_wrong_use_is_told_before_anything_is_asked(
    arguments: list[str], code: int, words: str, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.extract([], "-q", *arguments) == code
    shown = capsys.readouterr()
    assert words in " ".join(shown.err.split())
    assert shown.out == ""
    assert bench.calls == []


def test_ctrl_c_keeps_the_values_that_came(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    files = [bench.file(name, name) for name in ("a.txt", "b.txt")]

    def answer(call: GenerationCall) -> Scripted:
        if "```\nb.txt\n" in call.messages[-1].text:
            raise KeyboardInterrupt
        return ANN

    assert bench.extract(answer, "-q", "--schema", PERSON, *files) == 130
    assert tuple(capsys.readouterr()) == (ANN + "\n", "lollms: stopped after 1 of 2 files\n")


def test_ctrl_c_says_how_many_parts_were_read(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    long = "\n\n".join(f"Person number {number} is {number} years old." for number in range(40))
    arguments = ["-q", "--many", "--chunk-size", "60", "--schema", PERSON]

    def answer(call: GenerationCall) -> Scripted:
        if "part 3 of" in call.messages[-1].text:
            raise KeyboardInterrupt
        return f'{{"value": [{ANN}]}}'

    assert bench.extract(answer, *arguments, bench.file("long.txt", long)) == 130
    shown = capsys.readouterr()
    assert shown.out == ANN + "\n"
    assert re.fullmatch(r"lollms: stopped after 2 of [1-9]\d* parts\n", shown.err)
    both = [bench.file("short.txt", "Ann"), bench.file("long.txt", long)]
    assert bench.extract(answer, *arguments, *both) == 130
    said = capsys.readouterr().err
    assert re.fullmatch(r"lollms: stopped after 1 of 2 files and 2 of [1-9]\d* parts of the next\n", said)
    assert bench.extract(answer, *arguments, "--json", bench.file("long.txt", long)) == 130
    found = json.loads(capsys.readouterr().out)
    assert found["value"] == [json.loads(ANN)]
    assert found["error"].startswith("stopped after 2 of ")
