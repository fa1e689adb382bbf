"""Keys for providers: one private file, never shown, never in an error, only from standard input or unseen."""

from __future__ import annotations

import io
import os
import stat
import threading
from pathlib import Path

import pytest

from lollms_cli.main import main
from lollms_core.errors import ConfigError, InvalidRequest
from lollms_runtime.provider_keys import (
    provider_key,
    provider_key_names,
    provider_keys_file,
    remove_provider_key,
    save_provider_key,
)

SECRET = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def test_a_key_is_kept_for_its_owner_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        assert save_provider_key("OpenAI", f" {SECRET}\n") == home / "provider_keys.json"
    finally:
        os.umask(before)
    assert stat.S_IMODE(provider_keys_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert provider_key("openai") == SECRET
    assert provider_key("ollama") == ""
    assert provider_key_names() == ["openai"]
    assert remove_provider_key("openai")
    assert not remove_provider_key("openai")
    assert provider_key("openai") == ""


def test_keys_saved_at_once_are_all_kept() -> None:
    threads = [threading.Thread(target=save_provider_key, args=(f"p{n}", SECRET)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert provider_key_names() == [f"p{n}" for n in range(8)]


def test_a_file_that_others_can_read_is_not_used() -> None:
    save_provider_key("openai", SECRET).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600") as refused:
        provider_key("openai")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("text", ["{", f'["{SECRET}"]', f'{{"a": "{SECRET}\\n"}}', f'{{"a": 1, "b": "{SECRET}"}}'])
def test_a_damaged_file_is_told_without_its_content(text: str) -> None:
    save_provider_key("openai", SECRET).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="keys set") as refused:
        provider_key("openai")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(("name", "key"), [("../x", SECRET), ("", SECRET), ("a", ""), ("a", "x\ny"), ("a", "ü")])
def test_what_cannot_be_a_name_or_a_key_is_refused(name: str, key: str) -> None:
    with pytest.raises(InvalidRequest):
        save_provider_key(name, key)
    assert provider_key_names() == []


def test_no_home_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("LOLLMS_HOME", "HOME", "USERPROFILE", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert provider_key("openai") == ""
    assert main(["keys", "set", "openai"]) == 78
    assert "LOLLMS_HOME" in capsys.readouterr().err
    assert main(["keys", "list"]) == 0


def test_a_key_is_piped_in_and_never_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pipe(monkeypatch, f"{SECRET}\n".encode())
    assert main(["keys", "set", "openai"]) == 0
    assert provider_key("openai") == SECRET
    assert main(["keys", "list"]) == 0
    assert main(["keys", "path"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["openai", str(provider_keys_file())]
    assert SECRET not in shown.out + shown.err
    assert main(["keys", "remove", "openai"]) == 0
    assert main(["keys", "remove", "openai"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["openai", SECRET],
        [SECRET],
        ["openai", f"--key={SECRET}"],
        ["openai", "--api-key", SECRET],
        ["openai", "-k" + SECRET],
    ],
)
def test_a_key_on_the_command_line_is_refused_unrepeated(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, b"x")
    monkeypatch.setenv("LOLLMS_DEBUG", "1")
    assert main(["keys", "set", *arguments]) == 2
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
    assert provider_key_names() == []


def test_a_bad_key_is_not_repeated_in_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, f"{SECRET} {SECRET}\xff".encode("latin-1"))
    monkeypatch.setenv("LOLLMS_DEBUG", "1")
    assert main(["keys", "set", "openai"]) == 1
    assert SECRET not in capsys.readouterr().err


def test_a_misspelt_provider_is_remarked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pipe(monkeypatch, SECRET.encode())
    assert main(["keys", "set", "opnai"]) == 0
    assert "did you mean openai?" in capsys.readouterr().err
