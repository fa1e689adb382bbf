"""Prompts are read in turns: short ones together, a long one alone and only stage by stage while others ask."""

from __future__ import annotations

from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from lollms_core.types import Progress, TextDelta
from lollms_runtime.engines.turns import ReadingGate, Turn

STAGE = 256
TOTAL = 5_000  # tokens of a long prompt
TEXT = (TextDelta("a"),)


class Reader:
    """A request and its connection."""

    def __init__(self, gate: ReadingGate, *, long: bool) -> None:
        self.turn = Turn(gate, long=long, stage=STAGE)
        self.closed = 0
        self.read = 0

    def begin(self) -> None:
        self.turn.begin(self.close)

    def close(self) -> None:
        self.closed += 1

    def report(self, read: int, total: int = TOTAL) -> bool:
        return self.turn.report(read, total)


def begun(gate: ReadingGate, *, long: bool) -> Reader:
    reader = Reader(gate, long=long)
    assert reader.turn.ask().done()
    reader.begin()
    return reader


def asks(gate: ReadingGate, *, long: bool) -> tuple[Reader, Future[None]]:
    reader = Reader(gate, long=long)
    return reader, reader.turn.ask()


def test_short_prompts_are_read_together() -> None:
    gate = ReadingGate()
    for _ in range(3):
        begun(gate, long=False).report(0, 10)


def test_a_long_prompt_waits_until_the_short_ones_are_read() -> None:
    gate = ReadingGate()
    first, second = begun(gate, long=False), begun(gate, long=False)
    _, asked = asks(gate, long=True)
    assert first.turn.keeps(TEXT)
    assert not asked.done()
    second.report(10, 10)
    assert asked.done()


def test_a_long_prompt_goes_on_while_nobody_asks() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    for read in range(0, TOTAL, STAGE):
        assert not long.report(read)
        assert long.turn.keeps((Progress("prefill", "", 0.1),))
    assert long.turn.keeps(TEXT)
    assert not long.closed


def test_a_long_prompt_makes_way_in_the_middle_of_a_stage() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    long.report(0)
    short, asked = asks(gate, long=False)
    assert asked.done()
    assert long.closed == 1
    assert long.turn.interrupted
    again = long.turn.ask()
    short.begin()
    short.report(0, 10)
    assert not again.done()
    assert short.turn.keeps(TEXT)
    assert again.done()
    long.begin()
    assert long.report(STAGE), "the reader is told of the stage that was finished after the connection was closed"
    assert long.closed == 1


def test_it_does_not_make_way_before_it_has_begun_a_stage() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    _, asked = asks(gate, long=False)
    assert not asked.done()
    assert not long.closed
    long.report(0)
    assert asked.done()
    assert long.closed == 1


def test_nor_in_its_last_stage_for_the_next_one_is_read_with_the_answer() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    long.report(0)
    long.report(TOTAL - STAGE)
    assert long.turn.over
    _, asked = asks(gate, long=True)
    assert asked.done()
    assert not long.closed


def test_two_long_prompts_alternate_after_each_stage() -> None:
    gate = ReadingGate()
    reading, (waiting, asked) = begun(gate, long=True), asks(gate, long=True)
    for _ in range(9):
        assert not asked.done()
        reading.report(reading.read)
        reading.read += STAGE
        assert asked.done()
        waiting.begin()
        reading, waiting, asked = waiting, reading, reading.turn.ask()


def test_what_was_begun_when_the_turn_was_lost_is_not_shown_since_it_comes_again() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    long.report(0)
    asks(gate, long=False)
    assert long.turn.keeps((Progress("prefill", "", 0.1),))
    assert not long.turn.keeps(TEXT)
    assert not long.turn.over


def test_a_connection_is_closed_once_and_never_the_next_one() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    long.report(0)
    short, _ = asks(gate, long=False)
    long.turn.report(STAGE, TOTAL)
    again = long.turn.ask()
    short.turn.end()
    assert again.done()
    long.begin()
    assert long.closed == 1
    assert not long.turn.interrupted


def test_a_prompt_that_turns_out_long_is_read_alone_from_then_on() -> None:
    gate = ReadingGate()
    alone = begun(gate, long=False)
    alone.report(0)
    assert not alone.closed
    _, asked = asks(gate, long=False)
    assert asked.done()
    assert alone.closed == 1
    gate = ReadingGate()
    beside = begun(gate, long=False)
    begun(gate, long=False)
    beside.report(0)
    assert beside.closed == 1
    assert not beside.turn.ask().done()


def test_a_prompt_that_turns_out_short_lets_others_in() -> None:
    gate = ReadingGate()
    known = begun(gate, long=True)
    _, asked = asks(gate, long=True)
    known.report(TOTAL - 10)
    assert asked.done()
    assert not known.closed


def test_a_slot_that_forgets_keeps_its_turn_or_it_would_never_end() -> None:
    gate = ReadingGate()
    long = begun(gate, long=True)
    long.report(0)
    long.report(STAGE)
    short, _ = asks(gate, long=False)
    again = long.turn.ask()
    short.turn.end()
    assert again.done()
    long.begin()
    _, asked = asks(gate, long=False)
    for read in (0, STAGE, 2 * STAGE):
        long.report(read)
        assert not asked.done()
    assert long.closed == 1
    long.turn.end()
    assert asked.done()


def test_ending_without_a_turn_does_nothing_and_leaves_the_line() -> None:
    gate = ReadingGate()
    first = begun(gate, long=True)
    second, _ = asks(gate, long=True)
    _, third = asks(gate, long=False)
    for _ in range(2):
        second.turn.end()
    assert not third.done()
    for _ in range(2):
        first.turn.end()
    assert third.done()


def test_the_line_moves_on_when_its_head_leaves() -> None:
    gate = ReadingGate()
    begun(gate, long=False)
    head, _ = asks(gate, long=True)
    _, behind = asks(gate, long=False)
    assert not behind.done()
    head.turn.end()
    assert behind.done()


def test_a_turn_given_to_one_who_has_just_left_goes_on_to_the_next() -> None:
    gate = ReadingGate()
    first, (second, asked), (_, third) = begun(gate, long=True), asks(gate, long=True), asks(gate, long=True)
    first.turn.end()
    assert asked.done()
    second.turn.end()  # it has not begun
    assert third.done()


STEPS = ["ask", "begin", "report", "text", "end"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=80))
def test_never_a_long_one_beside_another_and_nobody_is_forgotten(steps: list[tuple[str, int]]) -> None:
    gate = ReadingGate()
    readers = [Reader(gate, long=index % 2 == 0) for index in range(5)]
    asked: dict[int, Future[None]] = {}
    held: set[int] = set()
    for step, index in steps:
        reader = readers[index]
        turn = reader.turn
        if step == "ask" and not turn.over and index not in {*asked, *held}:
            asked[index] = turn.ask()
        elif step == "begin" and index in asked and asked[index].done():
            del asked[index]
            reader.begin()
            held.add(index)
        elif step == "report" and index in held:
            reader.report(reader.read)
            reader.read += STAGE
        elif step == "text" and index in held:
            turn.keeps(TEXT)
        elif step == "end":
            turn.end()
            asked.pop(index, None)
            held.discard(index)
        held = {index for index in held if not (readers[index].turn.over or readers[index].turn.interrupted)}
        inside = {*held, *(index for index, future in asked.items() if future.done())}
        assert len(inside) < 2 or not any(readers[index].turn.long for index in inside)
        assert inside or not asked
    for reader in readers:
        reader.turn.end()
    assert Reader(gate, long=True).turn.ask().done()
