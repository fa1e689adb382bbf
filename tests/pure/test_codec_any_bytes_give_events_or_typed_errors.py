"""Whatever a backend sends, a reader gives events or raises an error of ours, and the same ones however it was cut."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.protocols.base import Limits
from tests.support.feeding import TRANSCRIPTS, Outcome, cut, each_byte, merged, outcome, reader_for

LIMITS = Limits(reply_bytes=200_000, event_bytes=20_000)
TYPES = ("text/event-stream", "application/json", "text/html", "text/plain", "", "audio/mpeg; x=\xff")
READERS = ("openai", "lollms_", "ollama_", "webui_")
CORPUS = [path.read_bytes() for path in sorted(TRANSCRIPTS.glob("*.sse")) + sorted(TRANSCRIPTS.glob("*.json"))]
FUZZ = settings(max_examples=80, derandomize=True, database=None, deadline=None)

PLACES = st.lists(st.integers(0, 4000), max_size=8)


def agrees(name: str, content_type: str, data: bytes, places: list[int]) -> None:
    whole = read(name, content_type, [data])
    assert read(name, content_type, cut(data, places)) == whole
    assert read(name, content_type, each_byte(data)) == whole


def read(name: str, content_type: str, chunks: Iterable[bytes]) -> Outcome:
    """The outcome; of plain text, which has no events of its own, with neighbouring deltas joined."""
    events, error, message = outcome(reader_for(name, content_type, LIMITS), chunks)
    return merged(events) if name == "webui_" else events, error, message


@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(st.sampled_from(TYPES), st.binary(max_size=300), PLACES)
def test_noise(name: str, content_type: str, data: bytes, places: list[int]) -> None:
    agrees(name, content_type, data, places)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A transcript, shortened, with a few bytes overwritten, put in or taken out, perhaps followed by another."""
    data = bytearray(draw(st.sampled_from(CORPUS)))
    begin = draw(st.integers(0, len(data)))
    data = data[begin : begin + draw(st.integers(0, 2000))] if draw(st.booleans()) else data[:2500]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(
            st.sampled_from(
                [b"", b"\n", b"\n\n", b"\r", b"\xff", b"\xc3", b'"', b"{", b"[", b"]", b"null", b"-1", b"\\ud800"]
            )
            | st.binary(max_size=2)
        )
    return bytes(data)


@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(st.sampled_from(TYPES[:3]), damaged(), PLACES)
def test_damaged_transcripts(name: str, content_type: str, data: bytes, places: list[int]) -> None:
    agrees(name, content_type, data, places)


NAMES = """
choices delta message content reasoning tool_calls index id function name arguments finish_reason usage error model type
thoughts metadata output data mime_type kind code status receipt prompt_tokens position text thinking images done
done_reason prompt_eval_count detail
"""
FIELDS = st.sampled_from(NAMES.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", READERS)
@FUZZ
@given(st.data())
def test_json_of_odd_types(name: str, data: st.DataObject) -> None:
    """Every known field may hold anything."""
    events = []
    for _ in range(data.draw(st.integers(1, 3))):
        top = data.draw(st.dictionaries(FIELDS, VALUES, max_size=4))
        if data.draw(st.booleans()):
            part = {"content": "x", **data.draw(st.dictionaries(FIELDS, VALUES, max_size=2))}
            top["choices"] = [
                {"delta": part, "message": part, **data.draw(st.dictionaries(FIELDS, VALUES, max_size=1))}
            ]
        if data.draw(st.booleans()):
            top["type"] = data.draw(st.sampled_from(["chunk", "info", "error", "final", "function_call", "other"]))
        if data.draw(st.booleans()):
            item = {"type": "json", "data": "x", "metadata": {"kind": "tool_call"}}
            kinds = st.sampled_from(["text", "json", "image", "audio", "error", "info"])
            top["content"] = top["output"] = [
                {**item, "type": data.draw(kinds), **data.draw(st.dictionaries(FIELDS, VALUES, max_size=1))}
            ]
        events.append(json.dumps(top).encode())
    stream = b"".join(b"data: " + event + b"\n\n" for event in events)
    agrees(name, "text/event-stream", stream, data.draw(PLACES))
    agrees(name, "application/json", events[0], [])
