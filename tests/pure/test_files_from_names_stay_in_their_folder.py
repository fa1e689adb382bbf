"""No text, however twisted, becomes a file outside the folder that its name belongs to."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from lollms_core.errors import ConfigError, InvalidRequest, NotFound
from lollms_core.safety.names import check_file_name, is_file_name
from lollms_server.core.bindings.instances import find_instance_file
from tests.support.path_payloads import PATH_PAYLOADS, SENTINEL


def test_the_corpus_is_large_enough() -> None:
    assert len(PATH_PAYLOADS) >= 200


@pytest.mark.parametrize("kind", [PurePosixPath, PureWindowsPath])
def test_a_name_that_passes_is_one_harmless_part_on_every_system(kind: type[PurePosixPath | PureWindowsPath]) -> None:
    passed = [text for text in PATH_PAYLOADS if is_file_name(text)]
    for name in passed:
        path = kind("/srv/data") / name
        assert path.parent == kind("/srv/data")
        assert path.name == name
        assert ".." not in path.parts
    assert passed == ["os.system"]


def test_ordinary_names_pass() -> None:
    for name in ("lollms_nano", "my-model.v2", "0", "a" * 64, "com10", "console"):
        assert check_file_name(name) == name


def test_a_refusal_says_what_a_name_may_look_like() -> None:
    with pytest.raises(InvalidRequest, match="a-z, 0-9"):
        check_file_name("../x")


def test_an_instance_is_found_only_by_the_name_of_a_file_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "bindings"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("type: x\n", encoding="utf-8")
    for outside in (tmp_path / "sentinel.txt", tmp_path / "configs" / "main_config.yaml", tmp_path / "x.yaml"):
        outside.write_text(SENTINEL, encoding="utf-8")
    assert find_instance_file(folder, "mine") == folder / "mine.yaml"
    for text in (*PATH_PAYLOADS, "../main_config", "../../x", "../../sentinel", "mine.yaml", "bindings/mine"):
        with pytest.raises(NotFound) as caught:
            find_instance_file(folder, text)
        assert SENTINEL not in str(caught.value)


def test_two_files_or_an_unreadable_format_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.toml.*YAML only"):
        find_instance_file(tmp_path, "a")
    (tmp_path / "b.yaml").write_text("", encoding="utf-8")
    (tmp_path / "b.yml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="described twice"):
        find_instance_file(tmp_path, "b")
