"""A question that the user does not see ends with a usable value, with its default, or with an error of the backend."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    ContextTooLong,
    EngineCrashed,
    IdleTimeout,
    InvalidRequest,
    LollmsError,
    Overloaded,
    RateLimited,
    Refused,
    StructuredOutputError,
    TruncatedStream,
    UnknownModel,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.flows.ask_json import OBJECTIVES, QUERY, ROOM, ask_json
from lollms_core.flows.base import Generate
from lollms_core.flows.spending import Limits, Spending
from lollms_core.types import (
    GenerationCall,
    Message,
    Notice,
    Params,
    Progress,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    Usage,
)
from tests.support.sending import send, send_with

CALL = GenerationCall((Message.system("Be brief."), Message.user("Name this talk.")), model="m")
GOOD = '{"query": "parrots"}'
BROKEN_OFF = [TruncatedStream("t"), IdleTimeout("i"), UpstreamFailed("u"), EngineCrashed("e")]
RAISED = [
    AuthFailed("no"),
    Refused("no"),
    RateLimited("no"),
    Overloaded("no"),
    ContextTooLong("no", status=400),
    UnknownModel("no", status=400),
    InvalidRequest("no"),
    Cancelled("no"),
]


def notices(sent: Any) -> list[tuple[str, str]]:
    return [(each.level, each.text) for each in sent.shown if isinstance(each, Notice)]


def test_the_first_good_answer_is_the_value_and_costs_one_call() -> None:
    sent = send(ask_json(CALL, QUERY, ""), [GOOD])
    assert (sent.value, len(sent.calls), sent.shown) == ("parrots", 1, [])
    template = send(ask_json(CALL, {"title": "string"}, {"title": "?"}), ['{"title": "Birds"}'])
    assert template.value == {"title": "Birds"}


def test_the_second_attempt_counts_and_nobody_is_told_of_the_first() -> None:
    sent = send(ask_json(CALL, QUERY, ""), ["Parrots!", GOOD])
    assert (sent.value, len(sent.calls), sent.shown) == ("parrots", 2, [])


def test_the_default_comes_with_a_notice_and_a_line_of_the_receipt() -> None:
    spending = Spending()
    sent = send(ask_json(CALL, QUERY, "talk", what="search query", spending=spending), ["No.", Reply(text="{}")])
    assert sent.value == "talk"
    assert notices(sent) == [("info", "The model gave no usable search query, so the work goes on without one.")]
    (item,) = spending.receipt
    assert (item.name, item.action) == ("search query", "dropped")
    assert spending.calls == 2


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_no_more_calls_than_the_limit_are_made(limit: int) -> None:
    sent = send_with(ask_json(CALL, QUERY, "talk", Limits(calls=limit)), lambda request: "nothing")
    assert (sent.value, len(sent.calls)) == ("talk", limit)


@pytest.mark.parametrize("error", BROKEN_OFF, ids=lambda error: type(error).__name__)
def test_an_answer_that_breaks_off_twice_is_the_default(error: LollmsError) -> None:
    sent = send(ask_json(CALL, QUERY, "talk"), [error, error])
    assert sent.value == "talk"
    assert send(ask_json(CALL, QUERY, "talk"), [error, GOOD]).value == "parrots"


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_the_backend_says_of_every_call_is_raised(error: LollmsError) -> None:
    error.partial = Reply(text='{"que', usage=Usage(3, 2, 5))
    sent = send(ask_json(CALL, QUERY, "talk"), [error])
    assert sent.error is error
    assert sent.shown == []
    partial = error.partial
    assert (partial.text, partial.usage) == ("", None if isinstance(error, InvalidRequest) else Usage(3, 2, 5))
    assert partial.finish_reason == ("cancelled" if isinstance(error, Cancelled) else "error")


@pytest.mark.parametrize(
    "no", [UnsupportedFeature("no", param="schema"), InvalidRequest("no", status=400)], ids=lambda no: no.code
)
def test_a_way_of_asking_that_is_refused_costs_nothing(no: LollmsError) -> None:
    spending = Spending()
    sent = send(ask_json(CALL, QUERY, "talk", Limits(calls=1), spending=spending), [no, no, GOOD])
    assert (sent.value, spending.calls) == ("parrots", 1)
    assert send(ask_json(CALL, QUERY, "talk"), [no, no, no]).error is no


def test_all_calls_are_paid_for() -> None:
    spending = Spending()
    replies = [Reply(text=text, usage=Usage(10, 2, 12), model="m") for text in ("Hm.", GOOD)]
    send(ask_json(CALL, QUERY, "", spending=spending), replies)
    assert (spending.calls, spending.tokens, spending.usage) == (2, 4, Usage(20, 4, 24))


def test_nothing_of_the_answer_is_shown() -> None:
    sent = send(ask_json(CALL, QUERY, ""), ["Hm.", GOOD])
    for request in sent.requests:
        assert isinstance(request, Generate)
        assert request.view is not None
        progress = Progress("queue", position=2)
        assert request.view.feed([TextDelta("{"), ThoughtDelta("hm"), progress]) == [progress]


def test_the_limit_of_a_text_does_not_cut_json_off() -> None:
    for limit, sent_as in ((None, None), (20, ROOM), (5000, 5000)):
        call = msgspec.structs.replace(CALL, params=Params(max_tokens=limit, stop=("\n",), temperature=0.5))
        (asked,) = send(ask_json(call, QUERY, ""), [GOOD]).calls
        assert asked.params == Params(max_tokens=sent_as, temperature=0.5)


def test_the_call_is_asked_as_it_is_with_words_about_the_form() -> None:
    (asked,) = send(ask_json(CALL, QUERY, ""), [GOOD]).calls
    assert asked.messages[0] == CALL.messages[0]
    assert asked.messages[1].text.startswith("Name this talk.\n\nAnswer with a JSON value alone")
    assert asked.schema == QUERY.schema


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"query": "  two \\n words "}', "two words"),
        ('```json\n{"query": "x", "why": "y"}\n```', "x"),
        (json.dumps({"query": "x" * 5000}), "x" * 1000),
        ('{"query": ""}', None),
        ('{"query": " \\n"}', None),
        ("[]", None),
    ],
)
def test_queries_are_texts_of_one_line(text: str, value: str | None) -> None:
    assert send(ask_json(CALL, QUERY, None, Limits(calls=1)), [text]).value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"objectives": ["a", " b\\n c", "a", "", 7]}', ("a", "b c")),
        ('{"objectives": "one alone"}', ("one alone",)),
        ('["a", "b"]', ("a", "b")),
        (json.dumps({"objectives": [str(n) for n in range(50)]}), tuple(str(n) for n in range(12))),
        ('{"objectives": []}', ()),
        ('{"objectives": {"a": 1}}', ()),
    ],
)
def test_objectives_are_a_few_texts(text: str, value: tuple[str, ...]) -> None:
    none: tuple[str, ...] = ()
    assert send(ask_json(CALL, OBJECTIVES, none, Limits(calls=1)), [text]).value == value


def test_a_shape_that_is_none_is_refused_before_anything_is_asked() -> None:
    sent = send(ask_json(CALL, "no json", ""), [])
    assert isinstance(sent.error, InvalidRequest)


ODD = st.one_of(
    st.sampled_from(["", " ", "I must not.", "```json", '{"query": ', '{"query": "a"} {"query": "b"}', GOOD * 3]),
    st.text(max_size=60),
    st.builds(json.dumps, st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5)),
)
MISBEHAVIOURS = st.one_of(
    st.builds(Reply, text=ODD, finish_reason=st.sampled_from(["stop", "length", "content_filter", "tool_calls"])),
    st.builds(lambda value: Reply(tool_calls=(ToolCall("1", "answer", {"query": value}),)), st.text(max_size=5)),
    st.sampled_from([type(each)(str(each)) for each in [*BROKEN_OFF, *RAISED]]),
    st.just(UnsupportedFeature("no")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MISBEHAVIOURS, min_size=12, max_size=12), st.integers(1, 4))
def test_whatever_a_model_does_it_ends_within_the_limit(results: list[Any], limit: int) -> None:
    left = [type(each)(str(each)) if isinstance(each, LollmsError) else each for each in results]
    spending = Spending()
    sent = send_with(ask_json(CALL, QUERY, None, Limits(calls=limit), spending=spending), lambda _: left.pop(0))
    assert spending.calls <= limit
    assert len(sent.calls) <= limit + 2  # two ways may be refused before they are sent
    if sent.error is None:
        assert sent.value is None or (isinstance(sent.value, str) and sent.value)
    else:
        assert not isinstance(sent.error, StructuredOutputError)
        assert sent.error.partial is not None
        assert sent.error.partial.text == ""
