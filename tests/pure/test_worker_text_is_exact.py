"""What a worker shows of tokens: whole characters, and never a part of a stop string, however the text was cut."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from lollms_runtime.engines.worker_text import Pieces, StopStrings


def byte_decode(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode("utf-8", "replace")


def word_decode(tokens: Sequence[int]) -> str:
    """As tokenizers do that keep a space in front of each word and show none in front of a text."""
    words = ["", "▁Hello", "▁world", "s", "!", "▁", "ä"]
    return "".join(words[token] for token in tokens).replace("▁", " ").removeprefix(" ")


def shown(decode: object, tokens: Sequence[int]) -> tuple[str, list[str]]:
    pieces = Pieces(decode)  # type: ignore[arg-type]
    parts = [pieces.add(token) for token in tokens]
    return "".join([*parts, pieces.close()]), parts


@pytest.mark.parametrize("text", ["plain", "äöü", "日本語🙂 and on", "🙂" * 200, "e\u0301", "", "a\ufffdb", "👩‍👩‍👧"])
def test_characters_come_whole(text: str) -> None:
    whole, parts = shown(byte_decode, text.encode())
    assert whole == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in part for part in parts)


def test_what_is_no_character_is_shown_in_the_end() -> None:
    assert shown(byte_decode, "ä".encode()[:1])[0] == "\ufffd"
    data = b"ab\xff\xfe\xfd\xfc\xfb\xfacd"
    assert shown(byte_decode, data)[0] == byte_decode(data)


@pytest.mark.parametrize("tokens", [t for n in range(5) for t in itertools.product(range(1, 7), repeat=n)][::7])
def test_spaces_between_words_are_those_of_the_whole(tokens: tuple[int, ...]) -> None:
    assert shown(word_decode, tokens)[0] == word_decode(tokens)


def test_a_token_without_a_text_changes_nothing() -> None:
    assert shown(word_decode, [1, 0, 0, 2, 0])[0] == "Hello world"


def cut_by(stops: Sequence[str], parts: Sequence[str]) -> tuple[str, bool]:
    strings = StopStrings(stops)
    out = "".join([*map(strings.feed, parts), strings.close()])
    return out, strings.stopped


def by_hand(stops: Sequence[str], text: str) -> tuple[str, bool]:
    """Letter by letter: the text ends where a stop string is complete for the first time."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


def test_a_text_ends_at_the_same_place_however_it_was_cut() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        stops = ["".join(chance.choices("ab\n", k=chance.randint(1, 4))) for _ in range(chance.randint(1, 3))]
        text = "".join(chance.choices("abc\n", k=chance.randint(0, 14)))
        cuts = sorted(chance.choices(range(len(text) + 1), k=3))
        parts = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        assert cut_by(stops, parts) == cut_by(stops, list(text)) == by_hand(stops, text), (stops, parts)


def test_what_may_become_a_stop_string_is_held_back() -> None:
    strings = StopStrings(["<end>"])
    assert [strings.feed(each) for each in ("a<", "en", "x<e", "nd>b", "c")] == ["a", "", "<enx", "", ""]
    assert strings.stopped and strings.close() == ""


def test_without_stop_strings_nothing_is_held_back() -> None:
    strings = StopStrings(["", ""])
    assert strings.feed("a<") == "a<" and strings.close() == "" and not strings.stopped
