"""Answers that are made to cost much time end soon: what is read of one grows with its size, never with the square."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lollms_core.errors import TruncatedStream, UpstreamFailed
from lollms_core.protocols.base import Limits
from lollms_core.protocols.gemini_reader import GeminiReader
from lollms_core.types import ToolCallDelta
from tests.support.feeding import outcome

MOST = 5.0  # seconds of the processor; the readers of before took from ten seconds to a minute


def reader(kind: str = "text/event-stream") -> GeminiReader:
    return GeminiReader(kind, limits=Limits())


@pytest.mark.parametrize("unit", [b"\n{", b'\n{"a":', b'\n{"error":{},"a":'])
def test_what_looks_like_many_errors_behind_the_events(unit: bytes) -> None:
    junk = unit * (200_000 // len(unit))
    begin = time.process_time()
    _, error, _ = outcome(reader(), (junk[at : at + 16384] for at in range(0, len(junk), 16384)))
    assert error is TruncatedStream
    assert time.process_time() - begin < MOST


def test_an_error_behind_the_events_is_found_all_the_same() -> None:
    junk = b'data: {"candidates":[]}\r\n\r\n{"x":1}\r\n'
    told = b'{\n  "error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}\n}\r\n'
    _, error, message = outcome(reader(), [junk, told])
    assert error is not None and "overloaded" in message


def test_many_candidates_of_one_index() -> None:
    candidate = {"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}
    body = json.dumps({"candidates": [candidate] * 5000}).encode()
    for kind, data in (("text/event-stream", b"data: " + body + b"\r\n\r\n"), ("application/json", body)):
        begin = time.process_time()
        events, error, _ = outcome(reader(kind), [data])
        assert error is None and sum(isinstance(event, ToolCallDelta) for event in events) == 1
        assert time.process_time() - begin < MOST


def test_many_calls_whose_ids_are_those_that_would_be_given() -> None:
    given = [{"functionCall": {"name": "f", "id": f"call_{number}"}} for number in range(20_000)]
    none = [{"functionCall": {"name": "f"}}] * 10_000
    body = json.dumps({"candidates": [{"content": {"parts": given + none}, "finishReason": "STOP"}]}).encode()
    begin = time.process_time()
    events, _, _ = outcome(reader("application/json"), [body])
    ids = {event.id for event in events if isinstance(event, ToolCallDelta)}
    assert len(ids) == 30_000
    assert time.process_time() - begin < MOST


def test_the_text_of_a_long_answer_is_kept_in_few_pieces() -> None:
    answer = reader()
    event: dict[str, Any] = {"modelVersion": "m", "candidates": [{"content": {"parts": [{"text": "x"}]}}]}
    for _ in range(50):
        answer.feed((b"data: " + json.dumps(event).encode() + b"\r\n\r\n") * 100)
    assert "".join(answer._pending) == "x" * 5000
    assert len(answer._pending) < 2000


def test_an_answer_of_nothing_at_all_is_googles_fault_and_not_the_addresss() -> None:
    body = json.dumps({"usageMetadata": {"promptTokenCount": 3}, "modelVersion": "gemini-2.5-pro"}).encode()
    _, error, message = outcome(reader("application/json"), [body])
    assert error is UpstreamFailed and "address" not in message
