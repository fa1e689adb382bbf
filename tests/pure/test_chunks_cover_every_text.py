"""Chunks: whatever the text and the tokenizer, every character is in one, none has too many tokens, and it ends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lollms_client.lollms_core import chunk_text
from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.flows.base import CountTokens, Flow
from lollms_core.flows.chunks import Chunk, Chunks, chunked
from lollms_core.text.chunking import MOST_MARKS, cut_at, is_between, next_cut, start_at
from lollms_core.text.tokens import estimate

Tokenizer: TypeAlias = Callable[[str], int]

TOKENIZERS: dict[str, Tokenizer] = {
    "a character": len,
    "three for a character": lambda text: 3 * len(text),
    "always five": lambda text: 5,
    "none at all": lambda text: 0,
    "a byte": lambda text: len(text.encode("utf-8", "surrogatepass")),
    "a word": lambda text: len(text.split()),
    "ten characters": lambda text: -(-len(text) // 10),
    "two more than the text": lambda text: len(text) + 2,
    "only spaces": lambda text: text.count(" ") * 7,
    "as estimated": estimate,
    "now so, now so": lambda text: len(text) * (1 + len(text) % 3),
}

PLAIN = ("word", " ", "\n", "\r\n", "\n\n", "\f", "# Title\n", "A sentence. ", "Is it? ", "e.g. this", "3.14", "J. S. ")
ODD = (
    "…",
    "漢字",
    "。",
    "，",
    "e\u0301",
    "👨‍👩‍👧",
    "👍🏽",
    "\ud83d",
    "\ude00",
    "\u200d",
    "\u0301" * 40,
    "x" * 50,
    "   ",
    "a\u200d",
)
PIECES = st.sampled_from((*PLAIN, *ODD))
TEXTS = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=120).map("".join))


def run(flow: Flow[Chunks], tokenizer: Tokenizer) -> tuple[Chunks, list[str]]:
    """The chunks, and every text that was counted."""
    counted: list[str] = []
    value: int | None = None
    try:
        while True:
            request = flow.send(value)
            assert isinstance(request, CountTokens)
            counted.append(request.text)
            value = tokenizer(request.text)
    except StopIteration as end:
        return end.value, counted


def refuse(flow: Flow[Chunks]) -> tuple[Chunks, int]:
    """The chunks where the backend cannot count, and how often it was asked."""
    times = 0
    try:
        request = flow.send(None)
        while True:
            assert isinstance(request, CountTokens)
            times += 1
            request = flow.throw(UnsupportedFeature("no tokenizer"))
    except StopIteration as end:
        return end.value, times


def prose(sentences: int) -> str:
    """Sentences in paragraphs of seven, a heading before every fifth of them."""
    lines = []
    for number in range(sentences):
        if number % 35 == 0:
            lines.append(f"\n\n# Part {number // 35}\n\n")
        elif number % 7 == 0:
            lines.append("\n\n")
        lines.append(f"Sentence number {number} tells of the {number}th thing that happened, and no more. ")
    return "".join(lines)


# ---- promises for every text


@settings(max_examples=400)
@given(TEXTS, st.integers(1, 40), st.integers(0, 39), st.sampled_from(sorted(TOKENIZERS)))
@example("\r\n" * 20, 1, 0, "a character")
@example("a\u200d" * 200, 7, 3, "a character")
def test_chunks_cover_the_text_in_order_and_fit(text: str, size: int, overlap: int, name: str) -> None:
    tokenizer = TOKENIZERS[name]
    flow = chunked(text, size, overlap)
    try:
        chunks, counted = run(flow, tokenizer)
    except InvalidRequest:
        marks = [text[a:b] for a, b in pairwise(_cuts(text))]
        assert overlap >= size or any(tokenizer(each) > size for each in marks)
        return
    parts = chunks.parts
    assert chunks.exact
    assert [each.start for each in parts[:1]] == [0][: len(text)]
    assert [each.end for each in parts[-1:]] == [len(text)][: len(text)]
    for part in parts:
        assert part.start < part.end
        assert part.tokens == tokenizer(part.of(text)) <= size
        assert is_between(text, part.start)
        assert is_between(text, part.end)
    for before, after in pairwise(parts):
        assert before.start < after.start <= before.end < after.end
        assert after.start == before.end or tokenizer(text[after.start : before.end]) <= overlap
    assert len(counted) <= 16 * len(parts)


def _cuts(text: str) -> list[int]:
    return [place for place in range(len(text) + 1) if is_between(text, place)]


@given(TEXTS, st.integers(1, 60), st.integers(0, 30))
def test_a_backend_that_cannot_count_is_asked_once(text: str, size: int, overlap: int) -> None:
    try:
        chunks, times = refuse(chunked(text, size, overlap))
    except InvalidRequest:
        assert overlap >= size or size < 2 * MOST_MARKS
        return
    assert times == bool(text)
    assert chunks.exact is not bool(text)
    assert all(part.tokens == estimate(part.of(text)) <= size for part in chunks.parts)
    assert "".join(text[max(a.start, b.end) : a.end] for a, b in zip(chunks.parts, _ends(chunks), strict=True)) == text


def _ends(chunks: Chunks) -> list[Chunk]:
    return [Chunk(0, 0, 0), *chunks.parts][: len(chunks.parts)]


# ---- where texts are cut


@pytest.mark.parametrize(
    ("text", "high", "place"),
    [
        ("a" * 80 + "\n\n# Next\n\nb.\nMore. And more of it", 98, 82),
        ("a b c. " * 12 + "\fd e f. g h i. " + "j " * 50, 98, 85),
        ("A sentence here.\n" * 6 + "\nNow another one begins here, quite long.", 120, 103),
        ("A line\n" * 13 + "that goes on. And on for long " * 4, 98, 91),
        ("w " * 40 + "end of it. Then it goes on and on", 100, 91),
        ("w " * 40 + "Dr. Who, J. S. Bach, e.g. this 3.14", 104, 101),
        ("w " * 40 + "wait… and on? No, it is etc. and so on", 112, 94),
        ("漢字" * 40 + "終。" + "漢字" * 20, 100, 82),
        ("漢字" * 40 + "終，" + "漢字" * 20, 100, 82),
        ("x" * 300, 100, 100),
        ("x" * 99 + "e\u0301" + "x" * 99, 100, 99),
        ("x" * 99 + "\r\n" + "x" * 99, 100, 99),
        ("x" * 99 + "👨‍👩‍👧" + "x" * 99, 102, 99),
        ("x" * 99 + "👍🏽" + "x" * 99, 100, 99),
        ("short", 100, 5),
    ],
)
def test_a_text_is_cut_at_the_best_place_behind_which_it_fits(text: str, high: int, place: int) -> None:
    assert cut_at(text, 0, high) == place


def test_a_place_far_ahead_of_the_end_is_not_worth_it() -> None:
    assert cut_at("a\n\n" + "word " * 100, 0, 200) == 198


@given(TEXTS, st.data())
def test_a_cut_is_between_two_characters_and_moves_on(text: str, data: st.DataObject) -> None:
    if not text:
        return
    low = data.draw(st.integers(0, len(text) - 1))
    high = data.draw(st.integers(low + 1, len(text) + 10))
    place = cut_at(text, low, high)
    assert low < place
    assert is_between(text, place)
    assert place <= min(high, len(text)) or place == next_cut(text, low)
    start = start_at(text, low, min(high, len(text)))
    assert low <= start <= min(high, len(text))
    assert is_between(text, start) or start == min(high, len(text))


def test_chunks_of_prose_are_nearly_full_and_overlap_by_whole_sentences() -> None:
    text = prose(600)
    chunks, counted = run(chunked(text, 400, 60), estimate)
    assert len(counted) <= 2 * len(chunks.parts)
    assert all(part.tokens > 220 for part in chunks.parts[:-1])
    for before, after in pairwise(chunks.parts):
        assert text[before.end - 1].isspace()
        shared = text[after.start : before.end]
        assert shared.lstrip("# ").startswith(("Sentence number", "Part"))
        assert 0 < estimate(shared) <= 60


def test_an_overlap_is_counted_where_the_end_of_a_chunk_has_more_tokens_than_its_beginning() -> None:
    text = ("x" * 400 + " a b c d e f g h i j k l m n o p q r s t") * 5
    chunks, _ = run(chunked(text, 30, 10), TOKENIZERS["a word"])
    shared = [len(text[after.start : before.end].split()) for before, after in pairwise(chunks.parts)]
    assert len(shared) > 3
    assert max(shared) <= 10
    assert min(shared) > 0


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_about_one_count_is_made_for_a_chunk(name: str) -> None:
    text, size = prose(400), 900
    if name == "none at all":
        size = 1
    chunks, counted = run(chunked(text, size), TOKENIZERS[name])
    assert len(counted) <= 3 * len(chunks.parts) + 3


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        " " * 100_000,
        "\n" * 100_000,
        "漢" * 100_000,
        "a\u200d" * 50_000,
        "\u0301" * 100_000,
        ". " * 50_000,
    ],
    ids=["letters", "spaces", "lines", "signs", "joiners", "marks", "dots"],
)
def test_texts_without_a_good_place_take_no_longer_than_others(text: str) -> None:
    counted = 0

    def tokens(part: str) -> int:
        nonlocal counted
        counted += len(part)
        return -(-len(part) // 4)

    chunks, _ = run(chunked(text, 1000, 100), tokens)
    assert counted < 3 * len(text)
    assert 24 < len(chunks.parts) < 40


# ---- what cannot be cut


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (5, 5), (5, 6), (5, -1), (True, 0), (5.0, 0)])
def test_sizes_that_make_no_sense_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(InvalidRequest):
        run(chunked("A text.", size, overlap), len)


def test_a_size_that_does_not_hold_one_character_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="too small"):
        run(chunked("A text.", 2), TOKENIZERS["three for a character"])


# ---- the documented function


def test_chunk_text_cuts_with_the_given_tokenizer() -> None:
    text = prose(60)
    chunks = chunk_text(text, str.split, " ".join, 100, 20)
    assert all(len(chunk.split()) <= 100 for chunk in chunks)
    assert all(chunk in text for chunk in chunks)
    assert text.startswith(chunks[0])
    assert text.endswith(chunks[-1])
    assert chunk_text("", str.split, " ".join, 100, 20) == []


@given(st.lists(st.integers(0, 9), max_size=50), st.integers(1, 12), st.integers(0, 11))
def test_chunk_text_without_separators_cuts_tokens(tokens: list[int], size: int, overlap: int) -> None:
    text = "".join(map(str, tokens))
    if overlap >= size:
        with pytest.raises(ValueError, match="overlap"):
            chunk_text(text, list, "".join, size, overlap, use_separators=False)
        return
    chunks = chunk_text(text, list, "".join, size, overlap, use_separators=False)
    assert all(len(chunk) == size for chunk in chunks[:-1])
    joined = chunks[0] if chunks else ""
    for before, after in pairwise(chunks):
        assert not overlap or before.endswith(after[:overlap])
        assert len(after) > overlap
        joined += after[overlap:]
    assert joined == text
