"""Prompts are read in turns: short ones together, a long one alone and only stage by stage while others wait."""

from __future__ import annotations

from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from lollms_core.types import Batch, Progress, TextDelta
from lollms_runtime.engines.turns import ReadingGate, Turn


def stage(fraction: float) -> tuple[Progress]:
    return (Progress("prefill", "", fraction),)


def makes_way(turn: Turn, batch: Batch) -> bool:
    """The batch comes, and its reader goes on at once."""
    turn.pause(batch)
    return turn.makes_way()


def begun(gate: ReadingGate, *, long: bool) -> Turn:
    turn = Turn(gate, long=long)
    assert turn.ask().done()
    turn.begin()
    return turn


def test_short_prompts_are_read_together() -> None:
    gate = ReadingGate()
    for _ in range(3):
        begun(gate, long=False)
    assert not gate.wanted


def test_a_long_prompt_is_read_alone() -> None:
    gate = ReadingGate()
    first = begun(gate, long=True)
    second, third = gate.enter(long=False), gate.enter(long=True)
    assert gate.wanted and not second.done() and not third.done()
    first.end()
    assert second.done() and not third.done()
    gate.leave(long=False)
    assert third.done() and not gate.wanted


def test_a_long_prompt_goes_on_while_nobody_waits_and_makes_way_after_the_stage_when_somebody_does() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    assert not makes_way(long, stage(0.1))
    assert not makes_way(long, ())
    newcomer = Turn(gate, long=False)
    asked = newcomer.ask()
    assert makes_way(long, stage(0.2))
    assert asked.done()
    newcomer.begin()
    again = long.ask()
    assert not again.done()
    assert not makes_way(newcomer, (TextDelta("a"),))  # its prompt is read
    assert again.done()
    long.begin()
    assert not makes_way(long, stage(0.3))
    assert not makes_way(long, (TextDelta("b"),))
    begun(gate, long=True)


def test_two_long_prompts_alternate() -> None:
    gate = ReadingGate()
    reading, waiting = begun(gate, long=True), Turn(gate, long=True)
    asked = waiting.ask()
    for step in range(1, 9):
        assert makes_way(reading, stage(step / 20))
        assert asked.done()
        waiting.begin()
        reading, waiting, asked = waiting, reading, reading.ask()
        assert not asked.done()


def test_a_prompt_that_turns_out_long_is_read_alone_from_then_on() -> None:
    gate = ReadingGate()
    turn = begun(gate, long=False)
    assert not makes_way(turn, stage(0.1))
    assert not gate.enter(long=False).done()
    gate = ReadingGate()
    turn = begun(gate, long=False)
    begun(gate, long=False)
    assert makes_way(turn, stage(0.1))
    assert not turn.ask().done()


def test_a_slot_that_forgets_keeps_its_turn_or_it_would_never_end() -> None:
    gate = ReadingGate()
    turn = begun(gate, long=True)
    gate.enter(long=False)
    assert makes_way(turn, stage(0.5))
    gate.leave(long=False)
    asked = turn.ask()
    assert asked.done()
    turn.begin()
    gate.enter(long=False)
    assert not makes_way(turn, stage(0.1))
    assert not makes_way(turn, stage(0.7))


def test_the_turn_of_a_reader_that_stalls_is_taken() -> None:
    gate = ReadingGate()
    stalled, next_one = begun(gate, long=True), Turn(gate, long=True)
    stalled.pause(stage(0.1))
    assert next_one.ask().done()
    next_one.begin()
    next_one.pause(stage(0.1))
    assert stalled.makes_way()  # it is back, and has to ask again
    assert not next_one.makes_way()
    stalled.end()
    assert not gate.enter(long=True).done()


def test_a_stalled_reader_that_leaves_ends_no_turn_but_its_own() -> None:
    gate = ReadingGate()
    first, second = begun(gate, long=True), Turn(gate, long=True)
    first.pause(stage(0.1))
    second.ask()
    second.begin()
    first.end()
    third = gate.enter(long=True)
    assert not third.done()
    second.pause((TextDelta("x"),))
    assert third.done()
    alone = ReadingGate()
    turn = begun(alone, long=True)
    turn.pause(stage(0.1))
    turn.end()
    assert alone.enter(long=True).done()


def test_ending_without_a_turn_does_nothing_and_leaves_the_line() -> None:
    gate = ReadingGate()
    first = begun(gate, long=True)
    second = Turn(gate, long=True)
    second.ask()
    third = gate.enter(long=False)
    for _ in range(2):
        second.end()
    assert not third.done()
    for _ in range(2):
        first.end()
    assert third.done()


def test_the_line_moves_on_when_its_head_leaves() -> None:
    gate = ReadingGate()
    begun(gate, long=False)
    head = Turn(gate, long=True)
    head.ask()
    behind = gate.enter(long=False)
    assert not behind.done()
    head.end()
    assert behind.done()


STEPS = ["ask", "begin", "pause", "resume", "text", "end"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=80))
def test_never_a_long_one_beside_another_and_nobody_is_forgotten(steps: list[tuple[str, int]]) -> None:
    gate = ReadingGate()
    turns = [Turn(gate, long=index % 2 == 0) for index in range(5)]
    asked: dict[int, Future[None]] = {}
    held: set[int] = set()
    stalled: set[int] = set()
    for step, index in steps:
        turn = turns[index]
        if step == "ask" and not turn.over and index not in {*asked, *held, *stalled}:
            asked[index] = turn.ask()
        elif step == "begin" and index in asked and asked[index].done():
            del asked[index]
            turn.begin()
            held.add(index)
        elif step == "pause" and index in held:
            turn.pause(stage(0.5))
            held.discard(index)
            stalled.add(index)
        elif step == "resume" and index in stalled:
            stalled.discard(index)
            if not turn.makes_way():
                held.add(index)
        elif step == "text" and index in held:
            turn.pause((TextDelta("x"),))
            held.discard(index)
        elif step == "end":
            turn.end()
            asked.pop(index, None)
            held.discard(index)
            stalled.discard(index)
        inside = {*held, *(index for index, future in asked.items() if future.done())}
        assert len(inside) < 2 or not any(turns[index]._long for index in inside)
        assert inside or not asked  # one who waits, waits for somebody who is not stalled
    for turn in turns:
        turn.end()
    assert gate.enter(long=True).done()
