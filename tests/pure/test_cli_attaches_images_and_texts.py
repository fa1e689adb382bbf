"""`-a`: images by their content, texts before the prompt, everything else refused in words."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lollms_cli.attachments import read_attachments
from lollms_core.errors import InvalidRequest
from tests.support.ollama_server import png


def test_an_image_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(png())
    found = read_attachments([str(file)])
    assert [image.mime for image in found.images] == ["image/png"]
    assert found.texts == ()


def test_a_text_stands_in_a_fence_that_it_cannot_end(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("one\n````\ntwo", encoding="utf-8")
    assert read_attachments([str(file)]).texts == ("a.md:\n`````\none\n````\ntwo\n`````",)


@pytest.mark.parametrize("data", [png(), b"hello"])
def test_a_hyphen_is_what_is_piped_in(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    found = read_attachments(["-"])
    assert len(found.images) == (data == png())
    assert found.texts == (() if found.images else ("standard input:\n```\nhello\n```",))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\nabc", "application/pdf"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/"),
        (b"\xff\xfe\x00a", "only images and UTF-8 text"),
        (b"a\0b", "only images and UTF-8 text"),
        (b"", "is empty"),
        (png()[:20], "cannot be used"),
        (b"a" * (2 * 2**20 + 1), "larger than 2 MiB"),
    ],
)
def test_other_kinds_are_refused_in_words(data: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    with pytest.raises(InvalidRequest, match=words):
        read_attachments([str(file)])


@pytest.mark.parametrize(
    ("name", "words"),
    [("https://example.com/a.png", "not fetched"), ("nowhere.txt", "No such file"), ("/", "director")],
)
def test_what_is_no_file_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_attachments([name])
