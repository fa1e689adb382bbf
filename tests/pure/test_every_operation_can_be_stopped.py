"""Each operation ends at any event at which it is stopped, by whatever means, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lollms_core.errors import CallbackFailed, Cancelled
from tests.support.every_operation import CLIENTS, OPERATIONS, RAISES, Asking, Operation, Played, in_sync

each_operation = pytest.mark.parametrize("row", OPERATIONS, ids=str)
each_client = pytest.mark.parametrize("client", CLIENTS)


class Broken(Exception):
    """What a callback of the caller's raises."""


def at_every_event(
    row: Operation, client: str, do: Callable[[Asking], Any], **more: Any
) -> Iterator[tuple[Asking, Played]]:
    """A run for each event, of a model that makes it cost the most, with something done there."""
    for at in range(len(CLIENTS[client](row, row.hard, Asking()).told)):
        callback = Asking(at, do)
        played = CLIENTS[client](row, row.hard, callback, **more)
        assert len(callback.told) > at
        yield callback, played


def assert_ended_there(row: Operation, callback: Asking, played: Played) -> None:
    """Nobody was told or asked anything afterwards; of parts that run at once, the others may have begun."""
    assert callback.told == played.told
    assert len(played.calls) < callback.asked + row.parallel


def stop(_: Asking) -> bool:
    return False


def fail(_: Asking) -> bool:
    raise Broken("No more.")


@each_client
@each_operation
def test_a_callback_that_returns_false_is_told_no_more_and_gets_what_there_is(row: Operation, client: str) -> None:
    for at, (callback, played) in enumerate(at_every_event(row, client, stop)):
        assert_ended_there(row, callback, played)
        assert len(played.told) == at + 1
        if row.stopped is None:
            assert isinstance(played.error, Cancelled)
        else:
            assert played.error is None
            assert row.stopped(played.value), (at, played.value)


@each_client
@each_operation
def test_a_stop_is_no_error_where_there_is_something_to_return(row: Operation, client: str) -> None:
    for _, played in at_every_event(row, client, stop, raise_errors=True):
        if row.failure == RAISES and row.stopped is not None:
            assert played.error is None
        else:
            assert played.error is None or isinstance(played.error, Cancelled)


@each_client
@each_operation
def test_a_callback_that_raises_fails_the_work(row: Operation, client: str) -> None:
    for at, (callback, played) in enumerate(at_every_event(row, client, fail, raise_errors=True)):
        assert_ended_there(row, callback, played)
        assert len(played.told) == at + 1
        assert isinstance(played.error, CallbackFailed)
        assert isinstance(played.error.__cause__, Broken)
        assert "No more." in str(played.error)


@each_client
@each_operation
def test_a_callback_that_raises_gives_the_documented_value(row: Operation, client: str) -> None:
    for _, played in at_every_event(row, client, fail):
        if row.failure == RAISES:
            assert isinstance(played.error, CallbackFailed)
        elif row.name == "generate_text_with_rag":
            assert row.is_result(played.value)
            assert "No more." in played.value["error"]
        else:
            assert played.error is None
            assert row.is_failure(played.value)


@each_operation
def test_an_interrupt_from_the_keyboard_passes_through(row: Operation) -> None:
    def interrupt(_: Asking) -> None:
        raise KeyboardInterrupt

    for callback, played in at_every_event(row, "sync", interrupt):
        assert_ended_there(row, callback, played)
        assert isinstance(played.error, KeyboardInterrupt)


@each_operation
def test_a_cancelled_task_ends_at_once(row: Operation) -> None:
    def cancel(callback: Asking) -> bool:
        callback.task.cancel()
        return True

    for callback, played in at_every_event(row, "async", cancel):
        assert isinstance(played.error, asyncio.CancelledError)
        assert len(played.calls) <= callback.asked + row.parallel  # a task is cancelled where it waits next


@each_client
@each_operation
def test_a_client_that_gets_another_binding_meanwhile_ends_its_work_with_the_first(row: Operation, client: str) -> None:
    def lose(callback: Asking) -> bool:
        callback.client.binding = None
        return True

    for _, played in at_every_event(row, client, lose):
        assert played.error is None
        assert row.is_good(played.value)


@each_client
@each_operation
def test_a_model_that_is_gone_meanwhile_ends_the_work_with_its_error(row: Operation, client: str) -> None:
    gone: list[bool] = []

    def until_gone(reply: Any) -> Any:
        return lambda call: Cancelled("It was closed.") if gone else reply

    for at in range(len(CLIENTS[client](row, row.hard, Asking()).told)):
        gone.clear()
        callback = Asking(at, lambda _: gone.append(True))
        played = CLIENTS[client](row, [until_gone(reply) for reply in row.hard], callback)
        assert len(played.calls) <= callback.asked + row.parallel
        if len(played.calls) == callback.asked:
            assert row.is_good(played.value)
        else:
            assert row.is_failed(played.value, played.error, Cancelled)
            assert len(played.exceptions) == 1


def test_all_events_are_tried() -> None:
    assert all(len(in_sync(row, row.hard, Asking()).told) >= 3 for row in OPERATIONS)
