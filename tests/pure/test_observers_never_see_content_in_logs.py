"""One log line per model call: its outcome and its counts, never a word of the prompt or the answer."""

from __future__ import annotations

import logging

import pytest

from lollms_core.errors import Cancelled, EngineCrashed, IdleTimeout
from lollms_core.types import GenerationCall, Message, Reply, TextDelta, Usage
from lollms_runtime.observe import LogObserver, Observer, Observers

SECRET = "canary-3f1c"
CALL = GenerationCall((Message.user(SECRET),), model="m1")


def test_the_log_line_has_the_facts_and_no_content(caplog: pytest.LogCaptureFixture) -> None:
    observer = LogObserver(logging.getLogger("test"))
    with caplog.at_level(logging.INFO):
        observer.started(CALL)
        observer.delivered(CALL, [TextDelta(SECRET)])
        observer.finished(CALL, Reply(text=SECRET, model="m2", usage=Usage(3, 4, 7)))
        observer.failed(CALL, IdleTimeout(SECRET))
    done, failed = caplog.messages
    assert "model=m2 finish=stop prompt_tokens=3 completion_tokens=4" in done
    assert "model=m1 failed=idle_timeout" in failed
    assert SECRET not in caplog.text


def test_calls_that_run_at_once_have_their_own_seconds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((0.0, 10.0, 11.0, 12.0))
    monkeypatch.setattr("lollms_runtime.observe.time.monotonic", lambda: next(clock))
    observer, other = LogObserver(logging.getLogger("test")), GenerationCall((Message.user("x"),), model="m1")
    with caplog.at_level(logging.INFO):
        observer.started(CALL)
        observer.started(other)
        observer.finished(CALL, Reply())
        observer.finished(other, Reply())
    assert [message.rpartition("seconds=")[2] for message in caplog.messages] == ["11.000", "2.000"]


def test_an_engine_that_died_is_a_warning_and_a_stop_is_not(caplog: pytest.LogCaptureFixture) -> None:
    observer = LogObserver(logging.getLogger("test"))
    with caplog.at_level(logging.INFO):
        observer.failed(CALL, EngineCrashed(SECRET))
        observer.failed(CALL, Cancelled(SECRET))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_several_observers_are_told_the_same() -> None:
    told: list[str] = []

    class Note(Observer):
        def __init__(self, name: str) -> None:
            self.name = name

        def started(self, call: GenerationCall) -> None:
            told.append(f"{self.name} started")

        def failed(self, call: GenerationCall, error: BaseException) -> None:
            told.append(f"{self.name} failed")

    both = Observers([Note("a"), Note("b")])
    both.started(CALL)
    both.failed(CALL, ValueError())
    assert told == ["a started", "b started", "a failed", "b failed"]
