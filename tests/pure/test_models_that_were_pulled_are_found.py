"""A pulled model is found by each name that says which one is meant; half of a model is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_core.errors import ModelNotFound
from lollms_runtime.models import find_model, models_folder, pulled_models
from tests.support.path_payloads import PATH_PAYLOADS

HEADER = b"GGUF" + (3).to_bytes(4, "little") + bytes(17)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv("LOLLMS_MODELS", str(folder))
    for name in (
        "mine.gguf",
        "org/repo/Tiny-Q4_K_M.gguf",
        "org/repo/Tiny-Q8_0.gguf",
        "org/repo/mmproj-F16.gguf",
        "org/single/Small-Q4_K_M.gguf",
        "org/split/Q4_K_M/Big-00001-of-00002.gguf",
        "org/split/Q4_K_M/Big-00002-of-00002.gguf",
        "org/half/Half-00001-of-00002.gguf",
        "unfinished.gguf.part",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(HEADER)
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mine", "mine.gguf"),
        ("mine.gguf", "mine.gguf"),
        ("Tiny-Q8_0", "org/repo/Tiny-Q8_0.gguf"),
        ("tiny-q8_0.gguf", "org/repo/Tiny-Q8_0.gguf"),
        ("org/repo/Tiny-Q8_0", "org/repo/Tiny-Q8_0.gguf"),
        ("org/repo/Tiny-Q8_0.gguf", "org/repo/Tiny-Q8_0.gguf"),
        ("org/repo:Q4_K_M", "org/repo/Tiny-Q4_K_M.gguf"),
        ("ORG/repo:q4_k_m", "org/repo/Tiny-Q4_K_M.gguf"),
        ("org/single", "org/single/Small-Q4_K_M.gguf"),
        ("org/single:Q4_K_M", "org/single/Small-Q4_K_M.gguf"),
        ("org/split", "org/split/Q4_K_M/Big-00001-of-00002.gguf"),
        ("org/split:Q4_K_M", "org/split/Q4_K_M/Big-00001-of-00002.gguf"),
        ("Big", "org/split/Q4_K_M/Big-00001-of-00002.gguf"),
    ],
)
def test_each_of_its_names_finds_it(models: Path, name: str, file: str) -> None:
    assert find_model(name) == models / file


@pytest.mark.parametrize("name", ["org/repo", "org", "Half", "org/half", "mmproj-F16", "unfinished", *PATH_PAYLOADS])
def test_anything_else_is_refused_and_the_models_are_listed(models: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="pulled were mine, org/repo/Tiny-Q4_K_M"):
        find_model(name)


def test_what_lies_in_a_given_folder_comes_first(models: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.gguf").write_bytes(HEADER)
    assert find_model("mine", tmp_path / "other") == tmp_path / "other" / "mine.gguf"
    assert find_model("Tiny-Q8_0", tmp_path / "other") == models / "org/repo/Tiny-Q8_0.gguf"


def test_the_list(models: Path) -> None:
    found = pulled_models()
    assert [model.name for model in found] == [
        "mine",
        "org/repo/Tiny-Q4_K_M",
        "org/repo/Tiny-Q8_0",
        "org/single/Small-Q4_K_M",
        "org/split/Q4_K_M/Big",
    ]
    assert [model.size for model in found] == [len(HEADER)] * 4 + [2 * len(HEADER)]
    assert pulled_models(models / "org") != found
    assert pulled_models(models / "nowhere") == []


def test_the_folder() -> None:
    assert models_folder({"LOLLMS_MODELS": "/srv/models", "HOME": "/home/u"}) == Path("/srv/models")
    assert models_folder({"LOLLMS_HOME": "/srv/lollms"}) == Path("/srv/lollms/models")
    assert models_folder({"HOME": "/home/u"}) == Path("/home/u/.config/lollms/models")
    assert models_folder({}) is None
