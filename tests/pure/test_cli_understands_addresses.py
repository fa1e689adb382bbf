"""`--host` and `LOLLMS_HOST` take what people type; what could mislead or carry a password is refused in words."""

from __future__ import annotations

import pytest

from lollms_cli.address import base_url, default_port, listen_address
from lollms_core.errors import InvalidRequest


@pytest.fixture(autouse=True)
def no_port_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOLLMS_PORT", raising=False)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost", "http://localhost:9601"),
        ("example.org:8080", "http://example.org:8080"),
        ("http://example.org", "http://example.org:9601"),
        ("http://example.org:80/", "http://example.org:80"),
        ("https://example.org", "https://example.org:443"),
        ("https://example.org/lollms/", "https://example.org:443/lollms"),
        ("::1", "http://[::1]:9601"),
        ("[::1]:7000", "http://[::1]:7000"),
        (" 127.0.0.1 ", "http://127.0.0.1:9601"),
        ("0.0.0.0", "http://127.0.0.1:9601"),
        ("[::]:9000", "http://[::1]:9000"),
    ],
)
def test_what_people_type_is_an_address(typed: str, url: str) -> None:
    assert base_url(typed) == url


@pytest.mark.parametrize(
    "typed",
    [
        "ftp://example.org",
        "http://",
        "a b",
        "host:99999",
        "host:x",
        "http://h/?q=1",
        "http://h/#a",
        "http://user:hunter2@h",
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_password(typed: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        base_url(typed)
    assert "address" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_port_of_the_environment_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOLLMS_PORT", "9700")
    assert base_url("example.org") == "http://example.org:9700"
    assert base_url("example.org:9800") == "http://example.org:9800"
    assert listen_address("0.0.0.0:9800") == ("0.0.0.0", 9800)


@pytest.mark.parametrize("text", ["0", "70000", "http", "9601.0", "\u0663"])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LOLLMS_PORT", text)
    with pytest.raises(InvalidRequest, match="LOLLMS_PORT"):
        default_port()
