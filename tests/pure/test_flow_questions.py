"""Questions with few answers: what they ask, what they cost, and that only one of the answers ever comes back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import (
    AuthFailed,
    Cancelled,
    ContextTooLong,
    InvalidRequest,
    LollmsError,
    StructuredOutputError,
    TruncatedStream,
    UnsupportedFeature,
)
from lollms_core.flows.base import Emit, Flow, Generate, Request
from lollms_core.flows.questions import Choice, Ranking, Verdict, Wanted, choose, decide, rank
from lollms_core.flows.spending import Limits
from lollms_core.text.json_schema import SchemaChecker
from lollms_core.types import (
    Event,
    GenerationCall,
    ImagePart,
    Message,
    Notice,
    Params,
    Progress,
    Reply,
    ToolCall,
    Usage,
)

CITIES = ["London", "Paris", "Rome"]
PLAIN, EXPLAINED = Wanted(), Wanted(explained=True)
CALL = GenerationCall((Message.system("Be brief."), Message.user("?")), model="m")


def said(text: str, **more: Any) -> Reply:
    return Reply(text=text, usage=Usage(10, 5, 15), model="m", **more)


def answer(value: Any, **more: Any) -> Reply:
    return said(json.dumps(value), **more)


def send(flow: Flow[Any], results: Sequence[Reply | Exception]) -> tuple[Any, list[Request]]:
    """Send a flow the results of its calls; all must be used. Returns its value, or its error, and what it asked."""
    requests: list[Request] = []
    left = list(results)
    value: Any = None
    found: Any = None
    try:
        while True:
            request = flow.throw(value) if isinstance(value, Exception) else flow.send(value)
            requests.append(request)
            value = left.pop(0) if isinstance(request, Generate) else None
    except StopIteration as end:
        found = end.value
    except LollmsError as error:
        found = error
    assert not left
    return found, requests


def asked(requests: Sequence[Request]) -> list[GenerationCall]:
    return [each.call for each in requests if isinstance(each, Generate)]


def shown(requests: Sequence[Request]) -> list[Event]:
    return [event for each in requests if isinstance(each, Emit) for event in each.batch]


FLOWS: list[tuple[Callable[..., Flow[Any]], str]] = [
    (lambda wanted=PLAIN: decide(CALL, "Is it?", "", wanted), "decide"),
    (lambda wanted=PLAIN: choose(CALL, "Which?", CITIES, "", wanted), "choose"),
    (lambda wanted=PLAIN: rank(CALL, "Rank.", CITIES, "", wanted), "rank"),
]
RIGHT: dict[str, dict[str, Any]] = {
    "decide": {"answer": True},
    "choose": {"answer": "B"},
    "rank": {"ranking": "B > A > C"},
}
FOUND = {"decide": (True,), "choose": (1,), "rank": ((1, 0, 2),)}
each_flow = pytest.mark.parametrize(("make", "name"), FLOWS, ids=[name for _, name in FLOWS])


def result(found: Any) -> Any:
    """What a flow found, or the type of its error."""
    if isinstance(found, Verdict):
        return found.answer
    if isinstance(found, Choice):
        return found.index
    return found.ranking if isinstance(found, Ranking) else type(found)


@each_flow
def test_the_first_right_answer_costs_one_call(make: Callable[..., Flow[Any]], name: str) -> None:
    found, requests = send(make(), [answer(RIGHT[name])])
    assert (result(found),) == FOUND[name]
    assert len(asked(requests)) == 1
    assert found.reply.usage == Usage(10, 5, 15)
    assert [event.kind for event in shown(requests) if isinstance(event, Progress)] == ["step_start", "step_end"]
    assert {event.data["id"] for event in shown(requests) if isinstance(event, Progress)} == {"question"}


@each_flow
def test_a_wrong_answer_is_asked_for_again_three_times_at_most(make: Callable[..., Flow[Any]], name: str) -> None:
    found, requests = send(make(), [said("Hm."), answer({"answer": "Q", "ranking": "Q"}), answer(RIGHT[name])])
    assert (result(found),) == FOUND[name]
    assert found.reply.usage == Usage(30, 15, 45)
    assert len([event for event in shown(requests) if isinstance(event, Notice)]) == 2
    found, requests = send(make(), [said("Hm."), said("No idea."), said("Ask somebody else.")])
    assert isinstance(found, StructuredOutputError)
    assert [attempt.text for attempt in found.attempts] == ["Hm.", "No idea.", "Ask somebody else."]
    assert len(asked(requests)) == 3
    found, requests = send(make(Wanted(limits=Limits(calls=1))), [said("Hm.")])
    assert isinstance(found, StructuredOutputError)


@each_flow
def test_the_schema_allows_what_is_right_and_nothing_else(make: Callable[..., Flow[Any]], name: str) -> None:
    _, requests = send(make(), [answer(RIGHT[name])])
    schema = asked(requests)[0].schema
    assert schema is not None
    check = SchemaChecker(schema).check
    check(RIGHT[name])
    for wrong in ({}, {"answer": "Paris"}, {"answer": 1}, {"ranking": "B > B > A"}, {"ranking": ["B", "A"]}, "B", True):
        with pytest.raises(ValueError, match=r"."):
            check(wrong)


def test_the_prompt_has_the_question_the_context_and_the_options() -> None:
    call = msgspec.structs.replace(CALL, params=Params(temperature=0.5, max_tokens=1000), stream=True)
    _, requests = send(choose(call, "Which {one}?", ["a {b}", 'c "d"', "e\nf"], "It is {0}."), [said("A")])
    first = asked(requests)[0]
    assert [message.role for message in first.messages] == ["system", "user"]
    assert first.messages[0].text == "Be brief."
    text = first.messages[1].text
    assert text.startswith("Context:\nIt is {0}.\n\nQuestion:\nWhich {one}?\n\nOptions:\n")
    assert 'A. a {b}\nB. c "d"\nC. e\n   f\n' in text
    assert "A, B, C" in text
    assert (first.params, first.stream, first.model) == (call.params, True, "m")


def test_images_of_the_call_are_asked_about() -> None:
    image = ImagePart(data=b"png", mime="image/png")
    call = GenerationCall((Message.user("Is it a cat?", [image]),))
    _, requests = send(decide(call, "Is it a cat?"), [answer({"answer": False})])
    assert asked(requests)[0].messages[-1].images == (image,)


@each_flow
def test_an_explanation_comes_before_the_answer(make: Callable[..., Flow[Any]], name: str) -> None:
    reasons = {"A": "big", "B": " best ", "C": "old"}
    given: dict[str, Any] = {"explanations": reasons} if name == "rank" else {"explanation": "best"}
    found, requests = send(make(EXPLAINED), [answer({**given, **RIGHT[name]})])
    schema = asked(requests)[0].schema
    assert schema is not None
    assert list(schema["properties"]) == [*given, *RIGHT[name]] == schema["required"]
    assert (result(found),) == FOUND[name]
    assert (found.explanations if name == "rank" else found.explanation) == (
        ("best", "big", "old") if name == "rank" else "best"
    )
    assert asked(requests)[0].params.max_tokens is None


@each_flow
def test_an_explanation_that_is_missing_or_odd_does_not_cost_the_answer(
    make: Callable[..., Flow[Any]], name: str
) -> None:
    for odd in (None, ["a", "b"], 7):
        value = {"explanation": odd, "explanations": odd, **RIGHT[name]}
        found, requests = send(make(EXPLAINED), [answer(value if odd else RIGHT[name])])
        assert (result(found),) == FOUND[name]
        assert len(asked(requests)) == 1


@each_flow
def test_the_length_of_an_explanation_is_a_limit_of_tokens(make: Callable[..., Flow[Any]], name: str) -> None:
    _, requests = send(make(Wanted(True, 60)), [answer(RIGHT[name])])
    call = asked(requests)[0]
    many = 3 if name == "rank" else 1
    assert call.params.max_tokens is not None
    assert many * 60 < call.params.max_tokens <= many * (60 + 64)
    assert "in at most 40 words" in call.messages[-1].text
    _, requests = send(make(Wanted(False, 60)), [answer(RIGHT[name])])
    assert asked(requests)[0].params.max_tokens is None
    for wrong in (0, -1, True, 1.5, "60"):
        found, requests = send(make(Wanted(True, wrong)), [])  # type: ignore[arg-type]
        assert isinstance(found, InvalidRequest)
        assert found.param == "max_answer_length"


def test_a_smaller_limit_of_the_caller_stays() -> None:
    call = msgspec.structs.replace(CALL, params=Params(max_tokens=20))
    _, requests = send(decide(call, "Is it?", "", Wanted(True, 60)), [answer({"answer": True})])
    assert asked(requests)[0].params.max_tokens == 20


def test_an_answer_that_was_cut_off_is_asked_for_again() -> None:
    cut = said("Yes, because it", finish_reason="length")
    found, requests = send(decide(CALL, "Is it?"), [cut, answer({"answer": False})])
    assert result(found) is False
    assert "it must be shorter" in asked(requests)[1].messages[-1].text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes, because it is.", True),
        ("No.", False),
        ("true", True),
        ('"no"', False),
        ("<think>no, no</think>Yes.", True),
        ('{"answer": "Yes, because it is."}', True),
        ('{"answer": "false"}', False),
        ('```json\n{"answer": true}\n```', True),
        ("32 is smaller than 40. The answer is no.", False),
    ],
)
def test_yes_and_no_in_other_words(text: str, value: bool) -> None:
    found, _ = send(decide(CALL, "Is it?", "", EXPLAINED), [said(text)])
    assert result(found) is value


@pytest.mark.parametrize(
    "text",
    ["not true", "no doubt, yes", "yes and no", '{"answer": "not true"}', '{"answer": null}', '{"answer": 3}', "", "7"],
)
def test_what_is_neither_yes_nor_no_is_not_guessed_at(text: str) -> None:
    found, requests = send(decide(CALL, "Is it?"), [said(text), answer({"answer": True})])
    assert result(found) is True
    assert len(asked(requests)) == 2


def test_an_explanation_in_words_is_the_whole_text() -> None:
    found, _ = send(decide(CALL, "Is it?", "", EXPLAINED), [said("Yes, because it is.\n")])
    assert (found.answer, found.explanation) == (True, "Yes, because it is.")
    found, _ = send(choose(CALL, "Which?", CITIES, "", EXPLAINED), [said("B, because it is.")])
    assert (found.index, found.explanation) == (1, "B, because it is.")


@pytest.mark.parametrize(
    "text", ["B", "(b)", "Option 2: Paris", '{"answer": "Paris"}', '{"answer": "B) Paris"}', '"B"']
)
def test_an_answer_in_other_words(text: str) -> None:
    found, requests = send(choose(CALL, "Which?", CITIES), [said(text)])
    assert result(found) == 1
    assert len(asked(requests)) == 1


@pytest.mark.parametrize("text", ["B or C", "2", '{"answer": 2}', '{"answer": "D"}', '{"answer": ["B"]}', "A. x\nB. y"])
def test_an_answer_that_may_be_another_is_not_guessed_at(text: str) -> None:
    found, requests = send(choose(CALL, "Which?", CITIES), [said(text), answer({"answer": "C"})])
    assert result(found) == 2
    assert len(asked(requests)) == 2


@pytest.mark.parametrize("text", ["B > A > C", '["B", "A", "C"]', '{"ranking": ["B", "A"]}', '{"ranking": [1, 0, 2]}'])
def test_a_ranking_in_other_words(text: str) -> None:
    found, requests = send(rank(CALL, "Rank.", CITIES), [said(text)])
    assert result(found) == (1, 0, 2)
    assert len(asked(requests)) == 1


@pytest.mark.parametrize("text", ["B", '{"ranking": ["B"]}', '{"ranking": ["B", "B", "A"]}', '{"ranking": "A, B, D"}'])
def test_a_ranking_that_is_not_whole_is_asked_for_again(text: str) -> None:
    found, requests = send(rank(CALL, "Rank.", CITIES), [said(text), answer({"ranking": ["C", "B", "A"]})])
    assert result(found) == (2, 1, 0)
    assert len(asked(requests)) == 2


@pytest.mark.parametrize("many", [2, 3, 5, 6, 26, 27, 200])
def test_any_number_of_answers(many: int) -> None:
    answers = [f"text {index}" * (1000 if index == 1 else 1) for index in range(many)]
    labels = [str(index + 1) for index in range(many)] if many > 26 else [chr(65 + index) for index in range(many)]
    found, requests = send(choose(CALL, "Which?", answers), [answer({"answer": labels[-1]})])
    assert result(found) == many - 1
    schema = asked(requests)[0].schema
    assert schema is not None
    assert schema["properties"]["answer"]["enum"] == labels
    order = list(reversed(labels))
    value = " > ".join(order) if many <= 5 else order
    found, requests = send(rank(CALL, "Rank.", answers), [answer({"ranking": value})])
    assert result(found) == tuple(reversed(range(many)))
    schema = asked(requests)[0].schema
    assert schema is not None
    SchemaChecker(schema).check({"ranking": value})
    with pytest.raises(ValueError, match=r"."):
        SchemaChecker(schema).check({"ranking": order[1:]})


def test_none_and_one_answer_cost_nothing() -> None:
    found, _ = send(choose(CALL, "Which?", []), [])
    assert isinstance(found, InvalidRequest)
    assert found.param == "possible_answers"
    assert send(choose(CALL, "Which?", ["x"]), []) == (Choice(0), [])
    assert send(rank(CALL, "Rank.", ["x"]), []) == (Ranking((0,)), [])
    assert send(rank(CALL, "Rank.", [], "", EXPLAINED), []) == (Ranking(()), [])


def test_the_only_answer_is_explained_when_asked() -> None:
    found, _ = send(choose(CALL, "Which?", ["x"], "", EXPLAINED), [answer({"explanation": "why", "answer": "A"})])
    assert (found.index, found.explanation) == (0, "why")
    value = {"explanations": {"A": "why"}, "ranking": "A"}
    found, _ = send(rank(CALL, "Rank.", ["x"], "", EXPLAINED), [answer(value)])
    assert (found.ranking, found.explanations) == ((0,), ("why",))


def test_answers_that_are_equal_or_look_like_labels_are_told_apart() -> None:
    for answers in (["x", "x", "x"], ["B", "1", "N1"], ["", "", ""], ["Yes", "No", "no"], ["A > B", "C, A", "{}"]):
        found, _ = send(choose(CALL, "Which?", answers), [answer({"answer": "C"})])
        assert result(found) == 2
        for order in itertools.permutations("ABC"):
            found, _ = send(rank(CALL, "Rank.", answers), [answer({"ranking": " > ".join(order)})])
            assert result(found) == tuple("ABC".index(label) for label in order)


@each_flow
def test_errors_and_other_ways_are_those_of_structured_answers(make: Callable[..., Flow[Any]], name: str) -> None:
    found, requests = send(make(), [UnsupportedFeature("No schemas.", param="schema"), answer(RIGHT[name])])
    assert (result(found),) == FOUND[name]
    assert [bool(call.tools) for call in asked(requests)] == [False, True]
    call = Reply(tool_calls=(ToolCall("1", "answer", RIGHT[name]),), finish_reason="tool_calls")
    found, _ = send(make(), [UnsupportedFeature("No schemas.", param="schema"), call])
    assert (result(found),) == FOUND[name]
    for error in (ContextTooLong("Too long."), AuthFailed("No."), Cancelled("Stopped.")):
        found, requests = send(make(), [error])
        assert found is error
        assert len(asked(requests)) == 1
    found, _ = send(make(), [TruncatedStream("Cut."), answer(RIGHT[name])])
    assert (result(found),) == FOUND[name]


def test_words_beside_an_answer_in_the_wanted_form_decide_nothing() -> None:
    found, requests = send(choose(CALL, "Which?", CITIES), [said('The answer is B.\n{"answer": "C"}')])
    assert result(found) == 2
    assert len(asked(requests)) == 1
    wrong, broken = ToolCall("1", "answer", {"answer": "Q"}), (("answer", '{"answer": "C'),)
    for first in (said("The answer is B.", tool_calls=(wrong,)), said("The answer is B.", broken_calls=broken)):
        found, requests = send(choose(CALL, "Which?", CITIES), [first, answer({"answer": "C"})])
        assert result(found) == 2
        assert len(asked(requests)) == 2


def test_a_flow_that_is_left_closes_what_it_drives() -> None:
    flow = decide(CALL, "Is it?")
    next(flow)
    assert isinstance(next(flow), Generate)
    flow.close()
    with pytest.raises(StopIteration):
        next(flow)


LABELS = ["A", "B", "C", "D", "1", "London", "Paris", "yes", "no", "true"]
VALUES = st.recursive(
    st.sampled_from([*LABELS, "B > A > C", None, True, False, 0, 1, 2, 3, 1.0, ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["answer", "ranking", "explanation", "explanations", "value"]), inner)
    ),
    max_leaves=6,
)
TEXTS = (
    st.sampled_from(
        ["", "Hm.", "I cannot help with that.", "yes and no", "not true", "Yes.", "B", "A. London\nB. Paris"]
    )
    | st.text(max_size=30)
    | st.lists(st.sampled_from([*LABELS, ",", ">", "\n", "because", "The answer is"])).map(" ".join)
)
MISBEHAVIOURS = (
    VALUES.map(answer)
    | VALUES.map(lambda value: said(f"```json\n{json.dumps(value)}\n```"))
    | VALUES.map(lambda value: said(json.dumps(value)[:-1], finish_reason="length"))
    | VALUES.map(lambda value: Reply(tool_calls=(ToolCall("1", "answer", {"answer": value}),)))
    | TEXTS.map(said)
    | st.builds(lambda raw: Reply(broken_calls=(("answer", raw),), finish_reason="tool_calls"), st.text(max_size=10))
    | st.sampled_from([TruncatedStream("Cut."), UnsupportedFeature("No."), InvalidRequest("No.", status=400)])
    | st.sampled_from([AuthFailed("No."), ContextTooLong("Too long."), Cancelled("Stopped.")])
    | st.just(said("Refused.", finish_reason="content_filter"))
)


@pytest.mark.parametrize("explained", [False, True])
@pytest.mark.parametrize("name", ["decide", "choose", "rank"])
@given(st.lists(MISBEHAVIOURS, min_size=7, max_size=7))
@settings(max_examples=150)
def test_whatever_a_model_does_an_allowed_answer_or_a_typed_error_comes(
    name: str, explained: bool, results: list[Reply | Exception]
) -> None:
    left = iter(results)
    flow = {each: make for make, each in FLOWS}[name](Wanted(explained))
    generated = answers = 0
    value: Any = None
    found: Any = None
    try:
        while True:
            request = flow.throw(value) if isinstance(value, Exception) else flow.send(value)
            value = None
            if isinstance(request, Generate):
                value = next(left)
                generated += 1
                answers += isinstance(value, Reply)
    except StopIteration as end:
        found = end.value
    except LollmsError as error:
        found = error
    assert answers <= 3
    assert generated <= 6  # two refusals of a way to ask are no answers, nor is a retry that does not fit
    if isinstance(found, LollmsError):
        assert isinstance(found, StructuredOutputError) or found in results
    elif isinstance(found, Verdict):
        assert type(found.answer) is bool
    elif isinstance(found, Choice):
        assert found.index in range(3)
    else:
        assert sorted(found.ranking) == [0, 1, 2]
        assert len(found.explanations) == (3 if explained else 0)
