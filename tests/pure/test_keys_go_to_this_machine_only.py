"""The key of the user's key file is sent to loopback addresses and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lollms_core.errors import ConfigError
from lollms_runtime.keys import forget, key_file, key_for, remember_key, stored_key
from tests.support.path_payloads import PATH_PAYLOADS

HERE = [
    "localhost",
    "LOCALHOST",
    "localhost:9600",
    "http://localhost",
    "http://localhost:9600",
    "https://localhost:9600/api/v1",
    "HTTP://Localhost:1/",
    "127.0.0.1",
    "127.0.0.1:9601",
    "127.9.8.7:1",
    "http://127.0.0.1:9601/?x=http://evil.example",
    "::1",
    "[::1]",
    "[::1]:9601",
    "http://[::1]:9601/",
    "http://[0:0:0:0:0:0:0:1]",
]
ELSEWHERE = [
    "",
    "example.org",
    "http://example.org:9601",
    "0.0.0.0",
    "::",
    "192.168.1.5",
    "10.0.0.1:9601",
    "[fe80::1]:9601",
    "[fe80::1%25lo]",
    "localhost.example.org",
    "localhost.",
    "evil-localhost",
    "x.localhost",
    "127.0.0.1.example.org",
    "127.0.0.1.nip.io",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.1 ",
    "127.0.0.1\t",
    "127.0.0.1\r\nHost: evil.example",
    "http://127.0.0.1@evil.example",
    "http://localhost:pw@evil.example/",
    "http://evil.example@127.0.0.1",
    "http://evil.example#@localhost",
    "http://evil.example?@localhost",
    "http://evil.example\\@localhost",
    "http://localhost\\.evil.example",
    "http:\\\\localhost",
    "http:/localhost",
    "http:///localhost",
    "//localhost",
    "ftp://localhost",
    "javascript://localhost",
    "file://localhost/etc",
    "http://http://localhost",
    "localhost:99999",
    "localhost:0",
    "localhost:",
    "localhost:80:80",
    "[localhost]",
    "[127.0.0.1]",
    "[::1",
    "[::1]x",
    "[::1]:",
    "::1]:80",
    "ⓛocalhost",
    "１２７.0.0.1",
    "127。0。0。1",
    "loca\u00adlhost",
    "localhost%00.evil.example",
]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    env = {"HOME": str(tmp_path)}
    assert remember_key("the-users-own-key", env)
    return env


@pytest.mark.parametrize("address", HERE)
def test_this_machine_gets_the_key(home: dict[str, str], address: str) -> None:
    assert key_for(address, None, home) == "the-users-own-key"


@pytest.mark.parametrize("address", ELSEWHERE)
def test_everything_else_does_not(home: dict[str, str], address: str) -> None:
    assert key_for(address, None, home) == ""


def test_no_twisted_path_is_this_machine(home: dict[str, str]) -> None:
    assert {key_for(text, None, home) for text in PATH_PAYLOADS} == {""}


def test_what_is_said_wins_over_the_environment_and_that_over_the_file(home: dict[str, str]) -> None:
    env = {**home, "LOLLMS_API_KEY": "from-environment"}
    assert key_for("localhost", "explicit", env) == "explicit"
    assert key_for("localhost", "", env) == "from-environment"
    assert key_for("http://example.org", None, env) == "from-environment"
    assert key_for("localhost", None, home) == "the-users-own-key"


def test_the_place_of_the_file() -> None:
    assert key_file({"HOME": "/h"}) == Path("/h/.config/lollms/api_key")
    assert key_file({"HOME": "/h", "XDG_CONFIG_HOME": "/x y"}) == Path("/x y/lollms/api_key")
    assert key_file({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path("/h/.config/lollms/api_key")
    assert key_file({"HOME": "/h", "XDG_CONFIG_HOME": "/x", "LOLLMS_HOME": "/own"}) == Path("/own/api_key")
    assert key_file({}) is None


@pytest.mark.parametrize("env", [{}, {"HOME": ""}, {"HOME": "/nowhere/at/all"}, {"LOLLMS_HOME": "/x" * 3000}])
def test_without_a_home_there_is_no_key_and_no_error(env: dict[str, str]) -> None:
    assert key_for("localhost", None, env) == ""
    assert env or remember_key("k", env) is None
    assert env or forget(env) is False


def test_the_file_and_its_folder_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = remember_key("secret", {"HOME": str(tmp_path / "new home")})
    finally:
        os.umask(before)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o666, 0o644])
def test_a_file_open_to_others_is_refused_with_the_reason(home: dict[str, str], bits: int) -> None:
    path = key_file(home)
    assert path is not None
    path.chmod(bits)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        key_for("localhost", None, home)
    assert "the-users-own-key" not in str(caught.value)
    assert key_for("http://example.org", None, home) == ""


@pytest.mark.parametrize("content", ["two words", "two\nlines", "umläut", "esc\x1b[0m"])
def test_a_file_that_holds_no_key_is_refused(home: dict[str, str], content: str) -> None:
    remember_key(content, home)
    with pytest.raises(ConfigError, match="one API key on one line"):
        stored_key(home)


def test_a_key_can_be_replaced_kept_and_forgotten(home: dict[str, str]) -> None:
    with pytest.raises(FileExistsError):
        remember_key("second", home, replace=False)
    assert stored_key(home) == "the-users-own-key"
    remember_key("second", home)
    assert stored_key(home) == "second"
    assert forget(home) is True
    assert forget(home) is False
    assert stored_key(home) == ""
