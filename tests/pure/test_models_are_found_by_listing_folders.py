"""A model's name is compared with what the folders hold; a file that is no model is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_core.errors import ModelLoadFailed, ModelNotFound
from lollms_runtime.models import EMBEDDED, check_gguf, find_model
from tests.support.path_payloads import PATH_PAYLOADS

HEADER = b"GGUF" + (3).to_bytes(4, "little") + bytes(17)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "gguf").mkdir(parents=True)
    (folder / "one.gguf").write_bytes(HEADER)
    (folder / "gguf" / "Two.Q4.gguf").write_bytes(HEADER)
    (folder / "notes.txt").write_text("no model", encoding="utf-8")
    return folder


def test_the_embedded_model_is_a_model() -> None:
    check_gguf(find_model(EMBEDDED))


@pytest.mark.parametrize(
    ("name", "file"),
    [("one", "one.gguf"), ("one.gguf", "one.gguf"), ("two.q4", "Two.Q4.gguf"), ("Two.Q4.gguf", "Two.Q4.gguf")],
)
def test_a_name_is_found_with_or_without_its_ending(models: Path, name: str, file: str) -> None:
    assert find_model(name, models).name == file


def test_a_path_is_taken_as_it_is(models: Path) -> None:
    assert find_model(str(models / "one.gguf")) == models / "one.gguf"


@pytest.mark.parametrize("name", ["", "notes.txt", "three", *PATH_PAYLOADS])
def test_anything_else_is_refused_and_the_folder_is_listed(models: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"one\.gguf"):
        find_model(name, models)


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "begin"), (b"MZ" + bytes(40), "begin"), (HEADER[:10], "cut short"), (b"GGUF" + bytes(40), "version 0")],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, word: str) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=word):
        check_gguf(file)
