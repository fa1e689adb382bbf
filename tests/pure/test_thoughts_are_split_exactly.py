"""Thoughts are taken out of a text exactly: nothing is lost or put in, however the text was cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import TextDelta, ThoughtDelta


def split(pieces: Iterable[str], inside: bool = False) -> tuple[str, str]:
    """The text and the thoughts."""
    splitter = ThoughtSplitter(inside)
    events = [event for piece in pieces for event in splitter.feed(piece)] + splitter.close()
    assert all(event.text for event in events)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, "".join(event.text for event in events if isinstance(event, ThoughtDelta))


EXAMPLES = [
    ("plain", "plain", ""),
    ("<think>why</think>because", "because", "why"),
    ("a<think>b</think>c<thinking>d</thinking>e", "ace", "bd"),
    ("<THINK>a</Think>b", "b", "a"),
    ("<think>a</thinking>b", "b", "a"),
    ("<think></think>x", "x", ""),
    ("<think> \n </think>\n\nx ", "\n\nx ", " \n "),
    ("<think>never closed", "", "never closed"),
    ("<think>", "", ""),
    ("text<think>cut off </thi", "text", "cut off </thi"),
    ("<think>a<think>b</think>c</think>d", "d", "a<think>b</think>c"),
    ("<think>a<thinking>b</think>c", "", "a<thinking>b</think>c"),
    ("a</think>b", "a</think>b", ""),
    ("a < b <thin <think", "a < b <thin <think", ""),
    ("<think >a<thinks>b< think>c", "<think >a<thinks>b< think>c", ""),
    ("<thin\u212a>a", "<thin\u212a>a", ""),
    ("```\n<think>a</think>\n```\n<think>b</think>c", "```\n<think>a</think>\n```\nc", "b"),
    ("```html\n<think>a\n```x\n<think>\n```\n<think>b", "```html\n<think>a\n```x\n<think>\n```\n", "b"),
    ("  ~~~\n<think>\n```\n<think>\n~~~~ \n<think>b", "  ~~~\n<think>\n```\n<think>\n~~~~ \n", "b"),
    ("````\n```\n<think>\n````\n<think>b", "````\n```\n<think>\n````\n", "b"),
    ("``` <think>\n```\n<think>b", "``` <think>\n```\n", "b"),
    ("```a```\n<think>b", "```a```\n", "b"),
    ("``\n<think>b", "``\n", "b"),
    ("x ```\n<think>b", "x ```\n", "b"),
    ("1. list\n      ```\n<think>a\n      ```\n<think>b", "1. list\n      ```\n<think>a\n      ```\n", "b"),
    ("<think>```\nopen fence</think>x", "x", "```\nopen fence"),
    ("The `<think>` tag", "The `<think>` tag", ""),
    ("```\nnever closed <think>a</think>", "```\nnever closed <think>a</think>", ""),
    ("é<think>日\u2028本</think>😀", "é😀", "日\u2028本"),
]


@pytest.mark.parametrize(("whole", "text", "thoughts"), EXAMPLES)
def test_split_at_every_cut(whole: str, text: str, thoughts: str) -> None:
    assert split([whole]) == (text, thoughts)
    assert split(whole) == (text, thoughts)
    for place in range(len(whole)):
        assert split([whole[:place], "", whole[place:]]) == (text, thoughts), place


def test_a_thought_may_be_open_from_the_start() -> None:
    assert split(["why</think>because"], inside=True) == ("because", "why")


SCRAPS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<thinking>", "</THINKING>", "```", "~~~~", "`", "\n", " ", "a", "<", "</thi", "é"]
    ),
    max_size=20,
)


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(SCRAPS, st.lists(st.integers(0, 60), max_size=5))
def test_nothing_is_lost_or_put_in_however_it_was_cut(scraps: list[str], places: list[int]) -> None:
    whole = "".join(scraps)
    text, thoughts = split([whole])
    assert split(whole) == (text, thoughts)
    ends = sorted({0, len(whole), *(min(place, len(whole)) for place in places)})
    assert split(whole[a:b] for a, b in pairwise(ends)) == (text, thoughts)
    dropped = len(whole) - len(text) - len(thoughts)
    assert dropped == 0 or "think" in whole.lower()
    assert sorted(text + thoughts) <= sorted(whole) or dropped


def test_the_cost_is_linear() -> None:
    """Each piece might begin a tag or a fence; were each to cost the whole, this would take hours."""
    text, thoughts = split(
        ["<think>", *["<"] * 50_000, *["`"] * 50_000, *["</thin"] * 25_000, "</think>", *["~"] * 50_000]
    )
    assert len(thoughts) == 250_000
    assert len(text) == 50_000


def test_only_the_beginning_of_a_tag_is_held_back() -> None:
    splitter = ThoughtSplitter()
    assert splitter.feed("a b < c") == [TextDelta("a b < c")]
    assert splitter.feed("done <thin") == [TextDelta("done ")]
    assert splitter.feed("kin") == []
    assert splitter.feed("!") == [TextDelta("<thinkin!")]
