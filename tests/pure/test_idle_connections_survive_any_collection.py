"""A forgotten stream is collected at any moment, also while the list of idle connections is being changed."""

from __future__ import annotations

import threading

from lollms_runtime.transport.idle import Idle


class Line:
    is_readable = False
    closed = False

    def close(self) -> None:
        self.closed = True


class Place:
    """A key that is looked at while the lock is held; at its first look something else is given back."""

    def __init__(self, idle: Idle[Line], other: Line) -> None:
        self.idle, self.others = idle, [other]

    def __hash__(self) -> int:
        while self.others:
            self.idle.give(self, self.others.pop())
        return 1


def test_what_is_given_back_in_between_is_neither_waited_for_nor_lost() -> None:
    idle: Idle[Line] = Idle()
    first, second = Line(), Line()
    place = Place(idle, first)
    thread = threading.Thread(target=idle.give, args=(place, second), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert {idle.take(place), idle.take(place)} == {first, second}
    assert idle.take(place) is None
    assert not first.closed and not second.closed


def test_what_has_waited_too_long_is_closed_at_the_next_gift() -> None:
    idle: Idle[Line] = Idle()
    old, new = Line(), Line()
    idle.give("here", old)
    idle._kept["here"][0] = (old, -1e9)
    idle.give("here", new)
    assert old.closed
    assert idle.take("here") is new
    assert idle.take("here") is None
