"""Each operation ends with its documented failure, told once, whichever of its calls fails, and with whatever error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    ContextTooLong,
    LollmsError,
    RateLimited,
    Refused,
    StructuredOutputError,
    TruncatedStream,
    UnknownBinding,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.testing.scripted import Scripted, ScriptedReply
from lollms_core.types import TextDelta
from tests.support.every_operation import CLIENTS, OPERATIONS, Asking, Operation, Played

each_operation = pytest.mark.parametrize("row", OPERATIONS, ids=str)
each_client = pytest.mark.parametrize("client", CLIENTS)

SAID = "It has failed."
KINDS = (
    Refused,
    AuthFailed,
    RateLimited,
    UpstreamFailed,
    TruncatedStream,
    ContextTooLong,
    UnsupportedFeature,
    Cancelled,
)


def failing(kind: type[LollmsError]) -> Callable[[Any], ScriptedReply]:
    """A model that fails with a new error each time, the cut stream in the middle of its answer."""

    def fail(_: Any) -> Any:
        error = kind(SAID)
        return [(TextDelta("A p"),), error] if isinstance(error, TruncatedStream) else error

    return fail


def with_failure(row: Operation, place: int, kind: type[LollmsError]) -> list[Scripted]:
    """Replies of which the one at a place is a failure, and enough of them for all attempts after that."""
    hard: Sequence[Scripted] = row.hard
    return [*hard[:place], failing(kind), *hard[place:], *[hard[-1]] * (row.bound + row.halved)]


def check(row: Operation, kind: type[LollmsError], played: Played) -> None:
    """It has succeeded and told of no failure, or it has failed as documented and told of one."""
    assert len(played.calls) <= row.bound + (row.halved if kind is ContextTooLong else 0), kind
    if played.error is None and not played.exceptions:
        assert row.is_good(played.value), (kind, played.value)
        assert kind is not Cancelled, "it has gone on after it was stopped"
        return
    assert len(played.exceptions) == 1, kind
    assert played.told[-1] == played.exceptions[0]
    unanswered = row.name == "yes_no" and played.value is False  # after other answers that were none
    assert unanswered or is_partial(row, played.value) or row.is_failed(played.value, played.error, LollmsError)


def is_partial(row: Operation, value: Any) -> bool:
    """What there is of an answer from documents stands beside its error."""
    return row.name == "generate_text_with_rag" and row.is_result(value) and bool(value["error"])


@each_client
@each_operation
def test_any_error_of_any_call_is_survived_or_told_once(row: Operation, client: str) -> None:
    for kind in KINDS:
        for place in range(len(row.hard)):
            check(row, kind, CLIENTS[client](row, with_failure(row, place, kind), Asking()))


@each_client
@each_operation
def test_what_is_not_survived_is_raised_where_that_is_wanted(row: Operation, client: str) -> None:
    for kind in KINDS:
        for place in range(len(row.hard)):
            played: Played = CLIENTS[client](row, with_failure(row, place, kind), raise_errors=True)
            if played.error is None:
                assert row.is_good(played.value), (kind, place)
            else:  # an operation that asks again may have had other answers that could not be used
                assert isinstance(played.error, (kind, StructuredOutputError)), (kind, place)


@each_client
@each_operation
def test_a_model_that_always_fails_ends_the_work(row: Operation, client: str) -> None:
    for kind in KINDS:
        played: Played = CLIENTS[client](row, failing(kind), Asking())
        assert played.exceptions
        check(row, kind, played)
        again: Played = CLIENTS[client](row, failing(kind), raise_errors=True)
        assert isinstance(again.error, kind)
        assert again.error.partial is None or again.error.partial.finish_reason in ("cancelled", "error")


@each_client
@each_operation
def test_what_passes_is_survived_where_it_is_promised(row: Operation, client: str) -> None:
    for kind in KINDS:
        replies = [failing(kind), *row.replies, *[row.replies[-1]] * (row.bound + row.halved)]
        played: Played = CLIENTS[client](row, replies, Asking())
        assert (played.error is None and row.is_good(played.value)) == (kind in row.survives), kind


@each_client
@each_operation
def test_raise_errors_of_the_call_wins_over_that_of_the_client(row: Operation, client: str) -> None:
    ask = CLIENTS[client]
    no_key = failing(AuthFailed)
    assert isinstance(ask(row, no_key, raise_errors=True).error, AuthFailed)
    assert isinstance(ask(row, no_key, client={"raise_errors": True}).error, AuthFailed)
    for quiet in (ask(row, no_key), ask(row, no_key, client={"raise_errors": True}, raise_errors=False)):
        assert row.is_failed(quiet.value, quiet.error, AuthFailed)
    told = ask(row, no_key, Asking(), raise_errors=True)
    assert isinstance(told.error, AuthFailed)
    assert [(each.text, each.params["code"]) for each in told.exceptions] == [(SAID, "auth_failed")]


@each_client
@each_operation
def test_a_callback_that_fails_when_it_is_told_of_the_failure_changes_nothing(row: Operation, client: str) -> None:
    def fail(_: Asking) -> bool:
        raise ValueError("And this.")

    events = len(CLIENTS[client](row, failing(AuthFailed), Asking()).told)
    played: Played = CLIENTS[client](row, failing(AuthFailed), Asking(events - 1, fail))
    assert row.is_failed(played.value, played.error, AuthFailed)


@each_client
@each_operation
def test_the_callback_may_have_any_of_its_names_or_be_that_of_the_client(row: Operation, client: str) -> None:
    ask = CLIENTS[client]
    wanted = ask(row, None, Asking())
    for names, arguments in (
        ({}, "callback"),
        ({}, "streaming_callback"),
        ({"streaming_callback"}, ""),
        ({"callback"}, ""),
    ):
        callback = Asking()
        more = {arguments: callback} if arguments else {}
        made = dict.fromkeys(names, callback)
        played = ask(row, None, None, client=made, **more)
        assert played.value == wanted.value
        assert len(callback.told) == len(wanted.told)
        assert all(call.stream for call in played.calls)


@each_client
@each_operation
def test_a_client_without_a_binding_says_so(row: Operation, client: str) -> None:
    for more in ({}, {"raise_errors": True}):
        played: Played = CLIENTS[client](row, without_binding=True, **more)
        assert isinstance(played.error, UnknownBinding)
        assert not played.calls
