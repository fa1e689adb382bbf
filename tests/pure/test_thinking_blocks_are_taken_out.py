"""The documented helpers for texts with thoughts in them: closed ones are found and removed, the rest stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lollms_client import LollmsClient
from lollms_core.text.thinking import extract_thinking_blocks, remove_thinking_blocks


@pytest.mark.parametrize(
    ("text", "blocks", "rest"),
    [
        ("plain", [], "plain"),
        ("", [], ""),
        ("<think>a</think>b", ["a"], "b"),
        (" <THINK>\na\n</Think>\n\n\n\nb <thinking> c </THINKING> ", ["a", "c"], "b"),
        ("a\n\n\n\n<think>x</think>\n\nb\n\n\nc", ["x"], "a\n\nb\n\nc"),
        ("<think></think>b", [""], "b"),
        ("b<think>never closed", [], "b<think>never closed"),
        ("a</think>b", [], "a</think>b"),
        ("<think>a</thinking>b", [], "<think>a</thinking>b"),
        ("<think>a<thinking>b</thinking>c</think>d", ["a<thinking>b</thinking>c"], "d"),
        ("<think>a<think>b</think>c</think>d", ["a<think>b</think>c"], "d"),
        ("<think>the <think> tag</think>d<think>e</think>f", ["the <think> tag", "e"], "df"),
        ("<think>a <thinking>b</thinking>c", ["b"], "<think>a c"),
        ("<think x>a</think>", [], "<think x>a</think>"),
        ("<thinker>a</thinker>", [], "<thinker>a</thinker>"),
    ],
)
def test_closed_thoughts_are_found_and_removed(text: str, blocks: list[str], rest: str) -> None:
    assert extract_thinking_blocks(text) == blocks
    assert remove_thinking_blocks(text) == rest
    client = LollmsClient(binding_name=None)
    assert client.extract_thinking_blocks(text) == blocks
    assert client.remove_thinking_blocks(text) == rest


TAGS = st.sampled_from(["<think>", "</think>", "<thinking>", "</Thinking>", "a", "\n", "<", " "])


@given(st.lists(TAGS, max_size=30).map("".join))
def test_what_is_left_holds_no_closed_thought(text: str) -> None:
    blocks = extract_thinking_blocks(text)
    rest = remove_thinking_blocks(text)
    assert len(rest) + sum(map(len, blocks)) <= len(text)
    if not blocks:
        assert rest == remove_thinking_blocks(rest)
    assert "\n\n\n" not in rest


@pytest.mark.parametrize(
    "piece", ["<think>", "</think>", "<think><think></think>", "<think>a</think>", "<thinking>", "<"]
)
def test_the_cost_is_linear(piece: str) -> None:
    """Four times the text takes about four times as long, not sixteen times."""

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            remove_thinking_blocks(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(200_000) < 9 * seconds(50_000) + 0.01
