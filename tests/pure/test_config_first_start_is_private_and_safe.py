"""A first start writes a private, complete and safe configuration, once, whatever happens on the way."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from lollms_core.errors import ConfigError, StorageError
from lollms_runtime.files import write_atomic
from lollms_runtime.keys import key_for
from lollms_runtime.yaml_file import load_yaml
from lollms_server.core.config import END_LINE, load_config
from lollms_server.core.first_start import FirstStart, ensure_config
from lollms_server.core.settings import MainConfig


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    for name in ("XDG_CONFIG_HOME", "LOLLMS_HOME", "LOLLMS_API_KEY", "APPDATA", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(path))
    return path


def start(folder: Path) -> FirstStart:
    made = ensure_config(folder)
    assert made is not None
    return made


def test_what_is_written_starts_with_its_key_and_for_this_machine(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "lollms_configs"
    made = start(folder)
    loaded = load_config(folder, {})
    assert re.fullmatch(r"[0-9a-f]{64}", made.key)
    assert loaded.config.server.host == "127.0.0.1"
    assert loaded.config.server.port == 9601
    assert loaded.config.defaults.ttt_binding == "lollms_nano"
    assert loaded.config.bindings_map == {"lollms_nano": "llamacpp_binding"}
    assert loaded.notices == ()
    assert loaded.keys.check(made.key.encode())
    assert key_for("http://localhost:9601") == made.key
    assert load_yaml(made.instance_file).values == {
        "type": "llamacpp_binding",
        "binding_instance_name": "lollms_nano",
        "default_model": "lollms-nano",
    }


def test_the_key_is_stored_hashed_and_shown_by_nothing(tmp_path: Path, home: Path) -> None:
    made = start(tmp_path / "configs")
    for path in (tmp_path / "configs").rglob("*"):
        assert path.is_dir() or made.key not in path.read_text(encoding="utf-8")
    assert "sha256:" in made.file.read_text(encoding="utf-8")
    assert made.key not in repr(made)


def test_every_file_is_private_with_umask_zero(tmp_path: Path, home: Path) -> None:
    before = os.umask(0)
    try:
        made = start(tmp_path / "deep" / "configs")
    finally:
        os.umask(before)
    assert made.key_file is not None
    for path in [tmp_path / "deep", *(tmp_path / "deep").rglob("*"), made.key_file, made.key_file.parent]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_every_documented_section_is_in_the_file(tmp_path: Path, home: Path) -> None:
    text = start(tmp_path / "configs").file.read_text(encoding="utf-8")
    for name, info in MainConfig.model_fields.items():
        if name != "version":
            assert re.search(rf"^{name}:", text, re.MULTILINE), name
            for setting in getattr(info.annotation, "model_fields", {}):
                shown = setting not in ("config_base_dir", "encryption_key", "level")
                assert bool(re.search(rf"^ +(# )?.*\b{setting}\b.*:", text, re.MULTILINE)) == shown, f"{name}.{setting}"
    assert text.endswith(f"{END_LINE}\n")


@pytest.mark.parametrize("name", MainConfig.FILE_NAMES)
def test_an_existing_configuration_is_never_touched(tmp_path: Path, home: Path, name: str) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / name).write_text("", encoding="utf-8")
    assert ensure_config(folder) is None
    assert [path.name for path in folder.iterdir()] == [name]
    assert not any(home.iterdir())


def test_an_instance_file_that_is_there_is_kept(tmp_path: Path, home: Path) -> None:
    own = tmp_path / "configs" / "bindings" / "lollms_nano.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("mine", encoding="utf-8")
    start(tmp_path / "configs")
    assert own.read_text(encoding="utf-8") == "mine"


def test_a_second_configuration_uses_the_key_the_user_has(tmp_path: Path, home: Path) -> None:
    first, second = start(tmp_path / "one"), start(tmp_path / "two")
    assert (first.key_is_new, second.key_is_new) == (True, False)
    assert first.key == second.key
    assert load_config(tmp_path / "two", {}).keys.check(first.key.encode())
    assert ensure_config(tmp_path / "one") is None


def test_many_at_once_agree_on_one_configuration_and_one_key(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "configs"
    results: list[FirstStart | None] = []
    barrier = threading.Barrier(8)

    def one() -> None:
        barrier.wait(10)
        results.append(ensure_config(folder))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    made = [result for result in results if result is not None]
    assert len(results) == 8 and len(made) == 1
    assert key_for("localhost") == made[0].key
    assert load_config(folder, {}).keys.check(made[0].key.encode())
    assert sorted(path.name for path in folder.rglob("*")) == ["bindings", "lollms_nano.yaml", "main_config.yaml"]


@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_a_crash_at_any_write_is_finished_by_the_next_start(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    folder = tmp_path / "configs"
    done: list[str] = []

    def dying(path: Path, text: str, *, exclusive: bool) -> None:
        if len(done) == dies_at:
            raise KeyboardInterrupt
        done.append(path.name)
        write_atomic(path, text, exclusive=exclusive)

    with monkeypatch.context() as patch:
        patch.setattr("lollms_runtime.keys.write_atomic", dying)
        patch.setattr("lollms_server.core.first_start.write_atomic", dying)
        with pytest.raises(KeyboardInterrupt):
            ensure_config(folder)
    assert done == ["api_key", "lollms_nano.yaml", "main_config.yaml"][:dies_at]
    kept = key_for("localhost")
    made = start(folder)
    assert made.key == key_for("localhost")
    assert kept in ("", made.key)
    assert load_config(folder, {}).keys.check(made.key.encode())


@pytest.mark.parametrize("home_is", ["", "/proc/nowhere"])
def test_without_a_usable_home_it_starts_and_says_why_the_key_is_not_kept(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, home_is: str
) -> None:
    monkeypatch.setenv("HOME", home_is)
    made = start(tmp_path / "configs")
    assert made.key_file is None
    assert made.reason
    assert load_config(tmp_path / "configs", {}).keys.check(made.key.encode())


def test_a_key_file_open_to_others_stops_the_start(tmp_path: Path, home: Path) -> None:
    made = start(tmp_path / "one")
    assert made.key_file is not None
    made.key_file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        ensure_config(tmp_path / "two")
    assert not (tmp_path / "two" / "main_config.yaml").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, home: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StorageError, match="file"):
        ensure_config(tmp_path / "file" / "configs")


@pytest.mark.parametrize("name", ["n" * 300, "nul\0inside"])
def test_a_path_that_cannot_exist_is_an_error_in_words(tmp_path: Path, home: Path, name: str) -> None:
    with pytest.raises(StorageError, match="could not be created"):
        ensure_config(tmp_path / name)
    with pytest.raises(ConfigError, match="There is no main_config"):
        load_config(tmp_path / name, {})


def test_a_broken_link_counts_as_a_configuration(tmp_path: Path, home: Path) -> None:
    (tmp_path / "main_config.yaml").symlink_to(tmp_path / "elsewhere")
    assert ensure_config(tmp_path) is None
    with pytest.raises(ConfigError):
        load_config(tmp_path, {})
