"""No start when other machines could use the server without a key, or other users could change its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_core.errors import ConfigError, meaning
from lollms_server.core.config import LoadedConfig, check_exposure, load_config, read_keys
from lollms_server.core.keyring import hashed

BEYOND = ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "fe80::1", "8.8.8.8"]
LOOPBACK = ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"]
GOOD = "a-long-enough-key-0123"


def write(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "main_config.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return folder


def load(tmp_path: Path, host: str, keys: str, more: str = "", override: str | None = None) -> LoadedConfig:
    folder = write(tmp_path, f"server: {{host: '{host}'}}\nsecurity: {{allowed_api_keys: {keys}{more}}}\n")
    return load_config(folder, {}, host=override)


@pytest.mark.parametrize("host", BEYOND)
def test_no_key_and_a_reachable_address_does_not_start(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, host, "[]")
    message = caught.value.message
    assert "main_config.yaml:1: server.host:" in message
    assert "security.allowed_api_keys" in message
    assert "security.allow_unauthenticated: true" in message
    assert meaning(caught.value).exit_code == 78


@pytest.mark.parametrize("host", BEYOND)
def test_nor_when_the_address_comes_from_the_command_line(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"security\.allow_unauthenticated"):
        load(tmp_path, "127.0.0.1", "[]", override=host)
    config = load(tmp_path, "127.0.0.1", "[]").config
    with pytest.raises(ConfigError, match=r"security\.allow_unauthenticated"):
        check_exposure(config, host)


@pytest.mark.parametrize("host", BEYOND)
def test_it_starts_with_a_key_or_when_the_file_says_so(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, host, f"[{GOOD}]").keys.required
    assert load(tmp_path, host, f"['{hashed('short')}']").keys.required
    opened = load(tmp_path, host, "[]", ", allow_unauthenticated: true")
    assert not opened.keys.required
    assert any("allow_unauthenticated" in notice for notice in opened.notices)
    assert load(tmp_path, host, f"[{GOOD}]", ", allow_unauthenticated: true").keys.required


@pytest.mark.parametrize("host", LOOPBACK)
def test_without_a_key_it_starts_for_this_machine_only_and_says_so(tmp_path: Path, host: str) -> None:
    loaded = load(tmp_path, host, "[]")
    assert loaded.config.server.host in ("127.0.0.1", "127.1.2.3", "::1")
    assert any("allowed_api_keys is empty" in notice for notice in loaded.notices)


def test_the_address_that_counts_is_the_one_listened_on(tmp_path: Path) -> None:
    assert load(tmp_path, "0.0.0.0", "[]", override="localhost").config.server.host == "127.0.0.1"


def test_a_key_that_can_be_guessed_is_for_this_machine_only(tmp_path: Path) -> None:
    assert load(tmp_path, "127.0.0.1", "[short-key]").keys.required
    with pytest.raises(ConfigError, match="can be guessed") as caught:
        load(tmp_path, "0.0.0.0", f"[{GOOD}, short-key]")
    assert "short-key" not in caught.value.message


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1:80", "http://127.0.0.1", "", "127.0.0.01", "0", "[::1]", "*"]
)
def test_a_host_that_is_no_address_does_not_start(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"main_config.yaml:1: server.host: must be an IP address"):
        load(tmp_path, host, f"[{GOOD}]")


def test_a_missing_key_list_is_not_an_empty_one(tmp_path: Path) -> None:
    for text in (
        "",
        "# only a comment\n",
        "server: {}\n",
        "security: {}\n",
        "security:\n",
        "security: {allowed_api_keys: }",
    ):
        with pytest.raises(ConfigError, match="security"):
            load_config(write(tmp_path, text), {})


def test_what_everybody_can_write_does_not_start(tmp_path: Path) -> None:
    text = f"security: {{allowed_api_keys: [{GOOD}]}}\n"
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_config(write(tmp_path, text, 0o606), {})
    folder = write(tmp_path, text)
    folder.chmod(0o707)
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_config(folder, {})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_what_others_can_read_is_said(tmp_path: Path, mode: int) -> None:
    loaded = load_config(write(tmp_path, f"security: {{allowed_api_keys: [{GOOD}]}}\n", mode), {})
    assert [notice for notice in loaded.notices if "chmod 0600" in notice]
    assert GOOD not in repr(loaded)


def test_keys_can_be_read_again_and_damage_does_not_pass(tmp_path: Path) -> None:
    folder = write(tmp_path, f"security: {{allowed_api_keys: [{GOOD}]}}\n")
    assert read_keys(folder, {}) == [GOOD]
    write(tmp_path, "security:\n")
    with pytest.raises(ConfigError):
        read_keys(folder, {})
