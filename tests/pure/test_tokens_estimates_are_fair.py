"""The estimate of tokens is as good as it says, in every script and for code, and takes time in proportion."""

from __future__ import annotations

import base64
import random
import time

import pytest

from lollms_core.text.tokens import estimate
from lollms_runtime.tokenizers import OfflineTokenizers
from tests.support.texts import SAMPLES

WELL_KNOWN = ("english", "french", "spanish", "python", "c", "json")


@pytest.fixture(scope="module")
def exact() -> dict[str, tuple[int, int]]:
    """The counts of the large and of the small vocabulary for each sample."""
    pytest.importorskip("bpe_openai")
    tokenizers = OfflineTokenizers()
    large, small = tokenizers.for_model("gpt-4o"), tokenizers.for_model("gpt-4")
    assert large is not None and small is not None
    return {name: (large.count(text), small.count(text)) for name, text in SAMPLES.items()}


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_english_its_neighbours_and_code_within_a_fifth(exact: dict[str, tuple[int, int]], name: str) -> None:
    for count in exact[name]:
        assert 0.8 * count <= estimate(SAMPLES[name]) <= 1.2 * count


@pytest.mark.parametrize("name", SAMPLES)
def test_every_script_between_the_vocabularies(exact: dict[str, tuple[int, int]], name: str) -> None:
    assert 0.75 * min(exact[name]) <= estimate(SAMPLES[name]) <= 1.25 * max(exact[name])


def test_a_long_text_is_as_many_tokens_as_its_parts() -> None:
    for text in SAMPLES.values():
        many = 70_000 // len(text) + 1
        assert estimate((text + "\n") * many) == pytest.approx(many * estimate(text + "\n"), rel=0.05)


def test_nothing_is_none_and_anything_is_one() -> None:
    assert estimate("") == 0
    for text in ("a", " ", "\n", "7", "é", "中", "\x00", "\u0301", "\ud800", "\U0001f600"):
        assert 1 <= estimate(text) <= 2


def test_never_more_than_the_bytes() -> None:
    for text in ("a", "ab ", " 1", "\n", "!", "é", "ж", "あ", "中", "ก", "\U0001f600", "\u1780", "x" * 20, "\t "):
        whole = text * 1000
        assert estimate(whole) <= len(whole.encode())


def test_what_is_no_language_is_off_by_two_at_most() -> None:
    pytest.importorskip("bpe_openai")
    large = OfflineTokenizers().for_model("gpt-4o")
    assert large is not None
    chance = random.Random(3)
    letters = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=5000))
    noise = chance.randbytes(3000)
    for text in (letters, letters.upper(), base64.b64encode(noise).decode(), noise.hex()):
        assert 0.5 <= estimate(text) / large.count(text) <= 2


@pytest.mark.parametrize("unit", ["a", " ", "\n", "1", "!", "a b", "é", "中", "\t \n", "\u202e", "\U0001f600"])
def test_time_grows_with_length_alone(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    before = time.process_time()
    assert estimate(text) > 0
    assert time.process_time() - before < 2.0
