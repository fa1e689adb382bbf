"""The files of `summarize` and `extract`: UTF-8 text by name or piped in; all else is refused in words."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
import pytest

from lollms_cli.text_files import TextFile, read_texts
from lollms_core.errors import InvalidRequest
from tests.support.ollama_server import png


def piped(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def test_files_come_in_their_order_with_their_names(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_bytes("\ufeffGrüße\r\n".encode())
    two.write_bytes(b"two")
    found = read_texts([str(two), str(one)], "x")
    assert found == [TextFile(str(two), "two", "two.txt"), TextFile(str(one), "Grüße\r\n", "one.txt")]
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "one.txt"
    other.write_bytes(b"other")
    labels = [each.label for each in read_texts([str(one), str(two), str(other)], "x")]
    assert labels == [str(one), "two.txt", str(other)]


@pytest.mark.parametrize("names", [[], ["-"]])
def test_nothing_and_a_hyphen_are_what_is_piped_in(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    piped("un café".encode(), monkeypatch)
    (found,) = read_texts(names, "x")
    assert (found.name, found.text, found.label) == ("", "un café", "standard input")


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(b"text", monkeypatch)
    with pytest.raises(click.UsageError, match="only once"):
        read_texts(["-", "-"], "x")


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_nothing_piped_in_is_wrong_use_with_an_example(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    if stream is not None:
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(click.UsageError, match=r"lollms summarize report\.md"):
        read_texts([], "summarize report.md")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"ab\xff", r"not UTF-8 text \(byte 2\)"),
        ("text".encode("utf-16"), "is UTF-16, and only UTF-8 is read"),
        ("text".encode("utf-32"), "is UTF-32, and only UTF-8 is read"),
        (b"a\0b", "zero bytes"),
        (b"%PDF-1.7\nall of it is ASCII", "application/pdf"),
        (png(), "image/png"),
        (b"a" * (16 * 2**20 + 1), "larger than 16 MiB"),
    ],
)
def test_what_is_no_text_is_refused_in_words(
    data: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(data)
    with pytest.raises(InvalidRequest, match=words) as refused:
        read_texts([str(file)], "x")
    assert str(file) in str(refused.value)
    piped(data, monkeypatch)
    with pytest.raises(InvalidRequest, match=words) as refused:
        read_texts(["-"], "x")
    assert "What is piped in" in str(refused.value)


def test_each_of_several_files_may_stand_for_itself(tmp_path: Path) -> None:
    one, bad, nowhere = tmp_path / "one.txt", tmp_path / "bad.txt", str(tmp_path / "nowhere.txt")
    one.write_bytes(b"one")
    bad.write_bytes(b"ab\xff")
    found = read_texts([nowhere, str(one), str(bad), "/"], "x", apart=True)
    assert [each.text for each in found] == ["", "one", "", ""]
    assert [each.label for each in found] == ["nowhere.txt", "one.txt", "bad.txt", "/"]
    words = [str(each.problem or "") for each in found]
    assert words[0] == f"There is no file {nowhere}."
    assert words[1] == ""
    assert words[2] == f"{bad} is not UTF-8 text (byte 2)."
    assert "is a folder" in words[3]
    with pytest.raises(InvalidRequest, match="There is no file"):
        read_texts([nowhere], "x", apart=True)


def test_a_text_that_begins_as_a_picture_would_is_a_text(tmp_path: Path) -> None:
    file = tmp_path / "cars.txt"
    file.write_bytes(b"BMW is a maker of cars.")
    assert read_texts([str(file)], "x")[0].text == "BMW is a maker of cars."


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.txt", "There is no file nowhere.txt.$"),
        ("the", "There is no file the. To send the words as a prompt: lollms prompt summarize"),
        ("/", "is a folder"),
        ("https://example.com/a.txt", "not fetched"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_is_no_file_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_texts([name], "summarize report.md")
