"""Secrets in any spelling, control characters and forged lines never reach a log or a terminal."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest

from lollms_runtime.secrets import HIDDEN, Scrubber, escape_controls
from lollms_server.core.log import REQUEST_ID, SafeFormatter, setup_logging

SECRET = 'canary/7d+3f "ü"=&\\key'
PLAIN = "canary-0123456789abcdef"


def spellings(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        repr(secret),
        raw.hex(),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "Basic " + base64.b64encode(b"user:" + raw).decode(),
        "Basic " + base64.b64encode(b"me:" + raw + b"more").decode(),
        base64.b64encode(b"x" + raw + b"yz").decode(),
        f"https://host/path?key={quote(secret)}&x=1",
        f"Authorization: Bearer {secret}",
    ]


@pytest.mark.parametrize("secret", [SECRET, PLAIN])
def test_a_secret_is_hidden_in_every_spelling(secret: str) -> None:
    scrubber = Scrubber()
    scrubber.add(secret)
    for text in spellings(secret):
        cleaned = scrubber.clean(f"before {text} after")
        assert HIDDEN in cleaned
        assert text not in cleaned
        assert cleaned.startswith("before ") and cleaned.endswith(" after")


def test_a_short_secret_does_not_blacken_other_words() -> None:
    scrubber = Scrubber()
    scrubber.add("abc", "", "  ")
    assert scrubber.clean("key=abc; abcdef, xabc") == f"key={HIDDEN}; abcdef, xabc"
    assert scrubber.clean("nothing here") == "nothing here"
    assert repr(scrubber) == "Scrubber(1 secrets)"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    scrubber = Scrubber()
    scrubber.add("secret-prefix", "secret-prefix-and-more")
    assert scrubber.clean("secret-prefix-and-more secret-prefix") == f"{HIDDEN} {HIDDEN}"


TERMINAL_TRICKS = [
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x9d52;c;x\x9c",
    "over\rwritten",
    "back\x08space",
    "del\x7f",
    "nul\x00",
    "line\u2028break\u2029",
    "\u202egnirts\u202c",
    "\u2066isolate\u2069",
    "new\nline",
    "vertical\x0btab\x0cfeed\x85",
]


@pytest.mark.parametrize("trick", TERMINAL_TRICKS)
def test_control_characters_are_written_not_obeyed(trick: str) -> None:
    safe = escape_controls(trick)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\u202e\u202c\u2066\u2069" for c in safe)
    assert safe.encode("utf-8")
    assert escape_controls(safe) == safe


def test_text_of_people_stays_as_it_is() -> None:
    for text in ("plain", "grüße 日本語 عربى 👩‍👩‍👧", "tab\tand\nline"):
        assert escape_controls(text, keep="\n\t") == text
    assert escape_controls("\ud800") == "\\ud800"


@pytest.fixture
def log() -> Iterator[tuple[io.StringIO, Scrubber]]:
    """The server's log into a string, and everything as before afterwards."""
    root = logging.getLogger()
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "fastapi", "aiohttp", "asyncio")
    loggers = [root, *(logging.getLogger(name) for name in names)]
    before = [(each, list(each.handlers), each.level, each.propagate, each.disabled) for each in loggers]
    stream, scrubber = io.StringIO(), Scrubber()
    setup_logging("DEBUG", scrubber, stream)
    yield stream, scrubber
    for each, handlers, level, propagate, disabled in before:
        each.handlers[:] = handlers
        each.setLevel(level)
        each.propagate, each.disabled = propagate, disabled


def test_no_spelling_of_a_secret_is_logged(log: tuple[io.StringIO, Scrubber]) -> None:
    stream, scrubber = log
    scrubber.add(SECRET, PLAIN)
    logger = logging.getLogger("third.party")
    for secret in (SECRET, PLAIN):
        for text in spellings(secret):
            logger.warning("said %s", text)
            logger.warning("dict %s", {"key": text})
            try:
                raise RuntimeError(f"failed with {text}")
            except RuntimeError:
                logger.exception("traceback")
        for text in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), secret.encode().hex()):
            assert text not in stream.getvalue()
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize("trick", TERMINAL_TRICKS)
def test_no_text_makes_a_second_line_or_a_raw_escape(log: tuple[io.StringIO, Scrubber], trick: str) -> None:
    stream, _ = log
    forged = f"{trick}\n2026-01-01T00:00:00 CRITICAL lollms_server forged"
    logging.getLogger("x").error("model said: %s", forged)
    assert len(stream.getvalue().split("\n")) == 2
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("x").exception("failed")
    lines = stream.getvalue().rstrip("\n").split("\n")
    assert [line for line in lines if not line.startswith("    | ")] == lines[:2]
    assert all(line.isprintable() for line in lines)


def test_a_record_carries_the_request_it_belongs_to(log: tuple[io.StringIO, Scrubber]) -> None:
    stream, _ = log
    token = REQUEST_ID.set("0123456789abcdef")
    logging.getLogger("uvicorn.error").info("inside")
    REQUEST_ID.reset(token)
    logging.getLogger("lollms_server").info("outside")
    logging.getLogger("uvicorn.access").info("GET /?key=secret")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" INFO uvicorn.error [0123456789abcdef] inside")
    assert second.endswith(" INFO lollms_server outside")


def test_a_huge_message_is_cut() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "y" * 100_000, (), None)
    assert len(SafeFormatter(Scrubber()).format(record)) < 9000
