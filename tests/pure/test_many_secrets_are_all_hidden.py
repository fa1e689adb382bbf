"""With hundreds of secrets each is hidden, whatever it shares with others, and the pattern does not grow with them."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from lollms_runtime.secrets import HIDDEN, Scrubber


def keys(count: int, begin: str = "sk-proj-") -> list[str]:
    return [begin + hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(count)]


def test_each_of_many_secrets_that_begin_alike_is_hidden_in_every_spelling() -> None:
    scrubber = Scrubber()
    secrets = keys(300) + keys(300, "")
    for secret in secrets:
        scrubber.add(secret)
    for secret in secrets:
        raw = secret.encode()
        for spelling in (secret, raw.hex(), base64.b64encode(raw).decode().rstrip("="), f"Bearer {secret}"):
            cleaned = scrubber.clean(f"it said {spelling}, twice {spelling}{spelling}")
            assert cleaned.count(HIDDEN) == 3
            assert secret[-8:] not in cleaned and raw.hex()[-8:] not in cleaned


def test_what_only_begins_like_a_secret_stays() -> None:
    scrubber = Scrubber()
    scrubber.add(*keys(100))
    text = f"sk-proj- sk-proj-0 {keys(1)[0][:-1]} {keys(101)[100]}"
    assert scrubber.clean(text) == text


def test_of_secrets_that_contain_each_other_the_longest_is_hidden_whole() -> None:
    scrubber = Scrubber()
    scrubber.add("abc", "abcdefghij", "abcdefghijklmnop", "abcdefgh")
    assert scrubber.clean("[abcdefghijklmnop][abcdefghijkl][abc][abcd]") == f"[{HIDDEN}][{HIDDEN}kl][{HIDDEN}][abcd]"


def test_short_secrets_stand_alone_also_at_the_ends_of_a_text_and_beside_long_ones() -> None:
    scrubber = Scrubber()
    scrubber.add("a-b", "x", "longer-than-eight")
    assert scrubber.clean("a-b") == HIDDEN
    assert scrubber.clean("x longer-than-eight x") == f"{HIDDEN} {HIDDEN} {HIDDEN}"
    assert scrubber.clean("xa-b a-bx _x x_ éx") == "xa-b a-bx _x x_ éx"


def test_the_pattern_is_made_anew_only_for_characters_that_were_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    scrubber = Scrubber()
    scrubber.add(*keys(200))
    made: list[str] = []
    before = re.compile

    def compile_and_count(pattern: str) -> re.Pattern[str]:
        made.append(pattern)
        return before(pattern)

    monkeypatch.setattr(re, "compile", compile_and_count)
    for secret in keys(600)[200:]:
        scrubber.add(secret)
    assert len(made) < 20
    assert all(len(pattern) < 2000 for pattern in made)
