"""Each operation of the client is in the table, costs what the table says, and shows the same in both clients."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lollms_client.async_operations import AsyncOperations
from lollms_client.async_text_operations import AsyncTextOperations
from lollms_client.operations import Operations
from lollms_client.text_operations import TextOperations
from lollms_core.errors import InvalidRequest
from lollms_core.types import TextDelta
from tests.support.every_operation import CLIENTS, OPERATIONS, RAISES, Asking, Operation, Played, in_async, in_sync

each_operation = pytest.mark.parametrize("row", OPERATIONS, ids=str)
each_client = pytest.mark.parametrize("client", CLIENTS)

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
CONTINUED = "1, and 1 for each continuation (at most 3), 1 if there is no code in the first answer"
COSTS: Mapping[str, tuple[str, str]] = {
    "1, at most `1 + max_retries` (3)": ("1", "3"),
    CONTINUED: ("1", "1 + 3 + 1"),
    "1, at most `max_retries` (3)": ("1", "3"),
    "1 if it fits into a chunk, else the chunks + 1": ("chunks + 1", "chunks + 1"),
    "the chunks + 1": ("chunks + 1", "chunks + 1"),
    "1, at most 3": ("1", "3"),
    "at most `max_rag_hops + 2`": ("max_rag_hops + 2", "max_rag_hops + 2"),
}
"""What the cells of the table mean: the calls of an ordinary model, and of one that makes it cost the most."""


def public(kind: type) -> set[str]:
    return {name for name, what in vars(kind).items() if not name.startswith("_") and inspect.isfunction(what)}


def table() -> dict[str, tuple[str, str]]:
    """The calls and the failure value of each operation, as `docs/operations.md` has them."""
    rows: dict[str, tuple[str, str]] = {}
    before = ""
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| `(\w+)\(.*?\)` \| .*? \| (.*?) \| (.*?) \|$", line):
            name, calls, failure = found.groups()
            before = before if calls == "the same" else calls
            rows[name] = before, failure
    return rows


def test_every_public_method_is_an_operation_with_a_row_and_documented() -> None:
    methods = public(Operations) | public(TextOperations)
    assert methods == {row.name for row in OPERATIONS} == set(table())
    assert methods == public(AsyncOperations) | public(AsyncTextOperations)


@each_operation
def test_the_row_is_that_of_the_documented_table(row: Operation) -> None:
    calls, failure = table()[row.name]
    least, most = (eval(words, {}, dict(row.sizes)) for words in COSTS[calls])
    if row.sizes.get("chunks") == 1 and "fits into a chunk" in calls:
        least = most = 1
    assert (len(row.replies), row.most) == (least, most)
    assert len(row.hard) == row.most <= row.bound
    if row.failure == RAISES:
        assert "raises" in failure
    else:
        documented = ast.literal_eval(failure.strip("`"))
        if isinstance(documented, dict):
            assert {name: row.failure[name] for name in documented} == documented
        else:
            assert documented == row.failure


@each_operation
def test_its_docstring_says_what_it_costs(row: Operation) -> None:
    words = inspect.getdoc(getattr(Operations, row.name)) or ""
    assert re.search(r"Costs |what it costs|[Aa]ll else is as in|^As `", words)
    limits = [name for name in ("max_retries", "max_rag_hops") if name in words and "Costs" in words]
    parameters = inspect.signature(getattr(Operations, row.name)).parameters
    assert all(name in parameters for name in limits)


@each_client
@each_operation
def test_an_ordinary_model_costs_the_promised_calls_and_the_observer_sees_them(row: Operation, client: str) -> None:
    for replies in (row.replies, row.hard):
        played: Played = CLIENTS[client](row, replies)
        assert played.error is None
        assert row.is_good(played.value)
        assert row.is_result(played.value)
        assert len(played.calls) == len(replies) == len(played.seen.replies)
        assert not played.seen.errors


def spoken(reply: Any) -> str:
    """The text of a scripted reply; as a text, it is played with the tokens that it costs."""
    if isinstance(reply, str):
        return reply
    return "".join(event.text for batch in reply for event in batch if isinstance(event, TextDelta))


@each_client
@each_operation
def test_the_observer_learns_the_tokens_of_every_call(row: Operation, client: str) -> None:
    played: Played = CLIENTS[client](row, [spoken(reply) for reply in row.hard])
    usages = [reply.usage for reply in played.seen.replies]
    assert len(usages) == len(played.calls) >= 1
    assert all(usage is not None and usage.total_tokens for usage in usages)


@each_operation
def test_both_clients_show_the_same_in_the_same_order(row: Operation) -> None:
    for replies in (row.replies, row.hard):
        there, here = in_sync(row, replies, Asking()), in_async(row, replies, Asking())
        assert there.value == here.value
        assert there.told
        if row.parallel == 1:
            assert there.told == here.told
            assert there.calls == here.calls
        else:  # the parts end in any order, and so a part may end with another fraction
            assert Counter(map(without_order, there.told)) == Counter(map(without_order, here.told))
            assert Counter(each.messages[-1].text for each in there.calls) == Counter(
                each.messages[-1].text for each in here.calls
            )


def without_order(told: Any) -> tuple[Any, ...]:
    return told.text, told.kind, told.params.get("id")


@each_operation
def test_it_costs_and_gives_the_same_whether_somebody_watches(row: Operation) -> None:
    watched, alone = in_sync(row, row.hard, Asking()), in_sync(row, row.hard)
    assert watched.value == alone.value
    assert len(watched.calls) == len(alone.calls)
    assert all(call.stream for call in watched.calls)
    assert not any(call.stream for call in alone.calls)


# ---- parameters

GIVEN = {"temperature": 0.25, "top_p": 0.5, "top_k": 7, "seed": 5, "n_predict": 2_000, "stop": ["END"], "mirostat": 2}
WRONG: list[dict[str, Any]] = [
    {"temperature": -1},
    {"temperature": "hot"},
    {"top_p": 2},
    {"n_predict": 0},
    {"seed": 2**70},
    {"stop": [""]},
    {"n_predict": True},
]


@each_client
@each_operation
def test_parameters_reach_every_call(row: Operation, client: str) -> None:
    played: Played = CLIENTS[client](row, row.hard, **GIVEN)
    assert played.error is None
    wanted = {**GIVEN, "max_tokens": GIVEN["n_predict"], "stop": ("END",)}
    for call in played.calls:
        params = call.params
        for name in {"max_tokens", "temperature", "top_p", "top_k", "seed", "stop"} - row.own:
            assert getattr(params, name) == wanted[name], name
        assert params.extra == {"mirostat": 2}
    last = played.calls[-1].params
    assert last.stop == ("END",)


@each_client
@each_operation
def test_defaults_of_the_client_reach_every_call_and_arguments_win(row: Operation, client: str) -> None:
    defaults = {"temperature": 0.75, "seed": 9, "top_k": 3}
    played: Played = CLIENTS[client](row, row.hard, client=defaults, seed=4)
    assert {(call.params.temperature, call.params.seed, call.params.top_k) for call in played.calls} == {(0.75, 4, 3)}


@each_client
@each_operation
def test_what_is_out_of_range_is_refused_before_any_call(row: Operation, client: str) -> None:
    for wrong in WRONG:
        played: Played = CLIENTS[client](row, row.replies, raise_errors=True, **wrong)
        assert isinstance(played.error, InvalidRequest), wrong
        assert played.error.param == next(iter(wrong))
        assert not played.calls
        callback = Asking()
        played = CLIENTS[client](row, row.replies, callback, **wrong)
        says_why = row.name in ("update_code", "generate_text_with_rag")
        assert row.is_failure(played.value) if says_why else isinstance(played.error, InvalidRequest)
        assert len(played.exceptions) == len(played.told) == 1
        assert not played.calls
