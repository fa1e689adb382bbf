"""Passages: what can mean one thing is taken for that, all else is refused in words; nothing is sent twice or cut."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import CallbackFailed
from lollms_core.flows.passages import Passage, fitting, merged, passages_in


def read(value: Any) -> list[tuple[str, str, float | None]]:
    found = passages_in(json.dumps(value))
    return [(each.text, each.source, each.similarity) for each in found.passages]


DOCUMENTED = {"chunk_text": "Parrots talk.", "file_path": "birds.txt", "similarity_percent": 91.5}


def test_the_documented_form() -> None:
    assert read([DOCUMENTED]) == [("Parrots talk.", "birds.txt", 91.5)]
    (passage,) = passages_in(json.dumps([DOCUMENTED])).passages
    assert passage.documented() == DOCUMENTED


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ([], []),
        ({}, []),
        ("", []),
        (" \n", []),
        ("All I know.", [("All I know.", "", None)]),
        (["a", "b"], [("a", "", None), ("b", "", None)]),
        (DOCUMENTED, [("Parrots talk.", "birds.txt", 91.5)]),
        ({"results": [DOCUMENTED], "took": 3}, [("Parrots talk.", "birds.txt", 91.5)]),
        ({"matches": []}, []),
        ([{"text": "a", "source": "f", "score": 0.25}], [("a", "f", 25.0)]),
        ([{"content": "a", "path": "f", "similarity": "0.5"}], [("a", "f", 50.0)]),
        ([{"page_content": "a", "metadata": {"source": "f", "page": 3}}], [("a", "f", None)]),
        ([{"chunk_text": "a", "similarity_percent": " 87.5 % "}], [("a", "", 87.5)]),
        ([{"chunk_text": "a", "similarity_percent": 0.9}], [("a", "", 0.9)]),
        ([{"chunk_text": "a", "score": "1%"}], [("a", "", 1.0)]),
        ([{"chunk_text": "a", "similarity_percent": True}], [("a", "", None)]),
        ([{"chunk_text": "a", "similarity_percent": float("nan")}], [("a", "", None)]),
        ([{"chunk_text": "a", "similarity_percent": 10**400}], [("a", "", None)]),
        ([{"chunk_text": "a", "similarity_percent": "high"}], [("a", "", None)]),
        ([{"chunk_text": "a", "file_path": 7}], [("a", "7", None)]),
        ([{"chunk_text": "a", "file_path": None, "title": "T"}], [("a", "T", None)]),
        ([{"chunk_text": "  kept  "}], [("  kept  ", "", None)]),
    ],
)
def test_other_manners_are_understood(value: Any, expected: list[Any]) -> None:
    assert read(value) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "a number"),
        (0.5, "a number"),
        (True, "a truth value"),
        ({"answer": "x"}, "an object with 'answer'"),
        ([1, 2], "2 entries, none of which has a text"),
        ([{"chunk_text": ""}], "1 entries, none"),
        ([[DOCUMENTED]], "1 entries, none"),
        ({"results": 5}, "an object with 'results'"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_is_expected(value: Any, said: str) -> None:
    with pytest.raises(CallbackFailed) as refused:
        passages_in(json.dumps(value))
    assert said in str(refused.value)
    assert '"chunk_text"' in str(refused.value)


def test_what_is_no_json_is_refused() -> None:
    for text in ("", "{", "[" * 100_000):
        with pytest.raises(CallbackFailed, match="not JSON"):
            passages_in(text)


def test_entries_without_text_are_counted() -> None:
    found = passages_in(json.dumps([DOCUMENTED, {"file_path": "x"}, 5, None]))
    assert (len(found.passages), found.ignored) == (1, 3)


def test_the_best_come_first_and_equals_keep_their_order() -> None:
    given = [("a", None), ("b", 10), ("c", 90), ("d", 10), ("e", None)]
    assert [text for text, *_ in read([{"text": t, "similarity_percent": s} for t, s in given])] == list("cbdae")


def test_what_else_a_search_said_is_kept() -> None:
    (passage,) = passages_in(json.dumps([{"text": "a", "path": "f", "score": 0.5, "page": 3}])).passages
    assert passage.documented() == {
        "chunk_text": "a",
        "file_path": "f",
        "similarity_percent": 50.0,
        "score": 0.5,
        "page": 3,
    }


def test_halves_of_characters_are_replaced() -> None:
    (passage,) = passages_in('[{"chunk_text": "a\\ud83d", "file_path": "\\udcff.txt"}]').passages
    assert (passage.text, passage.source) == ("a\ufffd", "\ufffd.txt")
    (passage,) = passages_in('[{"chunk_text": "\\ud83e\\udd9c"}]').passages
    assert passage.text == "\N{PARROT}"


def test_a_passage_is_known_by_its_file_and_text() -> None:
    first = [Passage("a", "f", 50.0), Passage("a", "g", 40.0)]
    known, new = merged((), first)
    assert (known, new) == (tuple(first), 2)
    known, new = merged(known, [Passage("a", "g", 90.0), Passage("a", "f", None), Passage("b", "f", 60.0)])
    assert new == 1
    assert known == (Passage("a", "g", 90.0), Passage("b", "f", 60.0), Passage("a", "f", 50.0))


def test_passages_go_as_a_whole_or_not_at_all() -> None:
    passages = [Passage("x" * 50, "long", 90.0), Passage("short", "s", 80.0), Passage("y" * 500, "huge", 70.0)]
    text, left_out = fitting(passages, 160)
    assert [each["text"] for each in json.loads(text)] == ["x" * 50, "short"]
    assert left_out == 1
    text, left_out = fitting(passages, 60)  # what fits goes, also where a better one does not
    assert [each["text"] for each in json.loads(text)] == ["short"]
    assert left_out == 2
    whole, _ = fitting(passages, 10_000)
    assert fitting(passages, len(whole)) == (whole, 0)
    assert fitting(passages, len(whole) - 1)[1] == 1
    assert fitting(passages, 0) == ("", 3)
    assert fitting((), 100) == ("", 0)


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8)
)
KEYS = st.sampled_from(["chunk_text", "text", "file_path", "source", "similarity_percent", "score", "results", "x"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.integers(0, 200))
def test_any_value_gives_passages_that_can_be_sent_or_a_refusal(value: Any, characters: int) -> None:
    try:
        found = passages_in(json.dumps(value))
    except CallbackFailed:
        return
    assert all(each.text.strip() for each in found.passages)
    known, new = merged((), found.passages)
    assert len(known) == new <= len(found.passages)
    text, left_out = fitting(known, characters)
    assert len(text) <= characters
    assert len(json.loads(text or "[]")) + left_out == len(known)
    text.encode()
    assert all(each.similarity is None or math.isfinite(each.similarity) for each in known)
