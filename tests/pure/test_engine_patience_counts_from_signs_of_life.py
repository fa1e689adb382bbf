"""After a cancelled request an engine may be slow, but neither deaf nor silent."""

from __future__ import annotations

import pytest

from lollms_core.protocols.base import Target
from lollms_runtime.engines import watches
from lollms_runtime.engines.supervisor import Policy
from lollms_runtime.engines.watches import Watches

LETS_NOT_GO = "did not let go of a cancelled request within 10 seconds"
SILENT = "gave no sign of life for 300 seconds after a request was cancelled"


class Engine:
    """An engine that works on slots, and the clock it is looked at by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.busy: set[int] | None = set()
        self.idle: list[int] = []
        monkeypatch.setattr(watches, "_busy_slots", lambda target: self.busy)
        policy = Policy()
        self.watches = Watches(
            Target("http://127.0.0.1:1"), cancel=policy.cancel, silence=policy.silence, clock=lambda: self.now
        )

    def cancelled(self, slot: int) -> None:
        assert self.watches.add(slot, lambda: self.idle.append(slot))

    def looks(self, every: float, times: int) -> list[str]:
        """What is said of it, when it is looked at so many times."""
        said = []
        for _ in range(times):
            self.now += every
            said.append(self.watches.look())
        return said


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


def test_slots_are_given_back_as_they_become_idle(engine: Engine) -> None:
    engine.cancelled(0)
    engine.cancelled(1)
    engine.busy = {1, 2}
    assert engine.looks(0.1, 1) == [""]
    assert engine.idle == [0]
    assert engine.watches
    engine.busy = {2}
    engine.looks(0.1, 1)
    assert engine.idle == [0, 1]
    assert not engine.watches


def test_one_that_answers_but_does_not_let_go_has_ten_seconds(engine: Engine) -> None:
    engine.cancelled(0)
    engine.busy = {0}
    said = engine.looks(0.125, 80)
    assert said == [""] * 79 + [LETS_NOT_GO]


def test_one_that_answers_between_long_stages_has_ten_answers(engine: Engine) -> None:
    engine.cancelled(0)
    engine.busy = {0}
    assert engine.looks(60, 10) == [""] * 9 + [LETS_NOT_GO]


def test_silence_between_answers_is_not_counted(engine: Engine) -> None:
    engine.cancelled(0)
    for _ in range(9):
        engine.busy = None
        assert engine.looks(1.1, 50) == [""] * 50
        engine.busy = {0}
        assert engine.looks(1.1, 1) == [""]
    engine.busy = set()
    engine.looks(1.1, 1)
    assert engine.idle == [0]


def test_one_that_gives_no_sign_of_life_has_five_minutes(engine: Engine) -> None:
    engine.now += 10_000  # nobody had a question in this time
    engine.cancelled(0)
    engine.busy = None
    assert engine.looks(1, 300) == [""] * 299 + [SILENT]


def test_what_other_streams_hear_is_a_sign_of_life(engine: Engine) -> None:
    engine.cancelled(0)
    engine.busy = None
    for _ in range(5):
        assert engine.looks(1, 299) == [""] * 299
        engine.watches.hear()
    assert engine.looks(1, 300)[-1] == SILENT


def test_each_slot_has_its_own_patience(engine: Engine) -> None:
    engine.cancelled(0)
    engine.busy = {0, 1}
    assert engine.looks(0.5, 19) == [""] * 19
    engine.cancelled(1)
    engine.busy = {1}
    assert engine.looks(0.5, 19) == [""] * 19
    assert engine.looks(0.5, 1) == [LETS_NOT_GO]


def test_answers_that_make_no_sense_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "asked", lambda port, key, path: (501, b"{}"))
    now = [0.0]
    it = Watches(Target("http://127.0.0.1:1"), cancel=10, silence=300, clock=lambda: now[0])
    it.add(0, lambda: None)
    for _ in range(9):
        now[0] += 1
        assert not it.look()
    now[0] += 1
    assert it.look() == LETS_NOT_GO


def test_an_engine_that_is_gone_has_left_every_slot(engine: Engine) -> None:
    engine.cancelled(0)
    engine.watches.close()
    assert engine.idle == [0]
    assert not engine.watches.add(1, lambda: engine.idle.append(1))
