"""`Cancel`: set from any thread, it undoes every blocking step that is registered, once, and turns its error around."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from lollms_core.errors import Cancelled, TruncatedStream
from lollms_runtime.cancel import Cancel


def test_a_blocked_thread_is_freed_from_another() -> None:
    cancel, entered, wake, ended = Cancel(), threading.Event(), threading.Event(), []

    def work() -> None:
        try:
            with cancel.undoing(wake.set):
                entered.set()
                assert wake.wait(10)
        except Cancelled:
            ended.append("cancelled")

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(5)
    assert not cancel.is_set
    cancel.set()
    thread.join(5)
    assert ended == ["cancelled"]
    assert cancel.is_set


def set_within(cancel: Cancel, *undo: Callable[[], object], error: BaseException | None = None) -> None:
    """Set the token inside of nested steps that are undone so; then raise the error."""
    with contextlib.ExitStack() as stack:
        for each in undo:
            stack.enter_context(cancel.undoing(lambda each=each: each() and None))  # type: ignore[misc]
        cancel.set()
        cancel.set()
        if error is not None:
            raise error


def test_each_step_is_undone_once_and_only_while_it_runs() -> None:
    cancel, undone = Cancel(), []
    with cancel.undoing(lambda: undone.append("early")):
        pass
    with pytest.raises(Cancelled):
        set_within(cancel, lambda: undone.append("outer"), lambda: undone.append("inner"))
    assert sorted(undone) == ["inner", "outer"]


def test_a_step_that_begins_too_late_is_undone_at_once() -> None:
    cancel, undone = Cancel(), []
    cancel.set()
    with pytest.raises(Cancelled), cancel.undoing(lambda: undone.append("late")):
        assert undone == ["late"]
    with pytest.raises(Cancelled):
        cancel.check()


def test_the_error_of_an_undone_step_is_a_cancellation() -> None:
    with pytest.raises(Cancelled) as caught:
        set_within(Cancel(), lambda: None, error=OSError("bad file descriptor"))
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(KeyboardInterrupt):
        set_within(Cancel(), lambda: None, error=KeyboardInterrupt())


def test_any_other_error_stays_what_it_is() -> None:
    cancel = Cancel()
    cancel.check()
    with pytest.raises(TruncatedStream), cancel.undoing(lambda: None):
        raise TruncatedStream("broke")


def test_all_are_undone_also_when_one_of_them_fails() -> None:
    undone: list[int] = []

    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(Cancelled) as caught:
        set_within(Cancel(), lambda: undone.append(1), fails, lambda: undone.append(2))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert sorted(undone) == [1, 2]


def test_a_child_follows_its_parent_and_not_the_other_way_round() -> None:
    parent = Cancel()
    child, other = Cancel(parent), Cancel(parent)
    child.set()
    assert (parent.is_set, child.is_set, other.is_set) == (False, True, False)
    parent.set()
    assert other.is_set
    assert Cancel(parent).is_set, "a child of a set token is set"


def test_a_detached_child_lives_on_and_is_forgotten() -> None:
    parent = Cancel()
    for _ in range(1000):
        Cancel(parent).detach()
    child = Cancel(parent)
    child.detach()
    child.detach()
    parent.set()
    assert not child.is_set
    assert parent._undo == []
    Cancel().detach()


def test_many_threads_at_once_lose_no_undo() -> None:
    cancel, woken = Cancel(), []
    start = threading.Barrier(21)

    def work(number: int) -> None:
        wake = threading.Event()
        start.wait()
        try:
            with cancel.undoing(wake.set):
                assert wake.wait(10)
        except Cancelled:
            woken.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    start.wait()
    cancel.set()
    for thread in threads:
        thread.join(10)
    assert sorted(woken) == list(range(20))
