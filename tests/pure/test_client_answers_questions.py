"""`yes_no`, `multichoice_question` and `multichoice_ranking`: what they return, show, send and do when they fail."""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lollms_client import MSG_TYPE
from lollms_client.testing import ScriptedBinding, scripted_async_client, scripted_client
from lollms_core.errors import CallbackFailed, Cancelled, ContextTooLong, InvalidRequest, Refused, StructuredOutputError
from lollms_core.types import Reply

CITIES = ["London", "Paris", "Rome"]
QUESTION = "What is the capital of France?"
NOTHING = {
    "yes_no": (False, {"answer": False, "explanation": ""}),
    "multichoice_question": (-1, {"index": -1, "explanation": ""}),
    "multichoice_ranking": ({"ranking": []}, {"ranking": [], "explanations": []}),
}
RIGHT = {
    "yes_no": ('{"explanation": "It is.", "answer": true}', True, {"answer": True, "explanation": "It is."}),
    "multichoice_question": ('{"explanation": "It is.", "answer": "B"}', 1, {"index": 1, "explanation": "It is."}),
    "multichoice_ranking": (
        '{"explanations": {"A": "a", "B": "b", "C": "c"}, "ranking": "B > A > C"}',
        {"ranking": [1, 0, 2]},
        {"ranking": [1, 0, 2], "explanations": ["b", "a", "c"]},
    ),
}
each_method = pytest.mark.parametrize("method", list(RIGHT))

Ask = Callable[..., tuple[Any, ScriptedBinding]]


def in_sync(replies: Sequence[Any], method: str, *arguments: Any, **more: Any) -> tuple[Any, ScriptedBinding]:
    client = scripted_client(replies, **more.pop("client", {}))
    assert isinstance(client.binding, ScriptedBinding)
    return getattr(client, method)(*arguments, **more), client.binding


def in_async(replies: Sequence[Any], method: str, *arguments: Any, **more: Any) -> tuple[Any, ScriptedBinding]:
    client = scripted_async_client(replies, **more.pop("client", {}))
    assert isinstance(client.binding, ScriptedBinding)

    async def ask() -> Any:
        return await getattr(client, method)(*arguments, **more)

    return asyncio.run(ask()), client.binding


@pytest.fixture(params=[in_sync, in_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    made: Ask = request.param
    return made


def arguments(method: str) -> tuple[Any, ...]:
    return (QUESTION,) if method == "yes_no" else (QUESTION, CITIES)


@each_method
def test_the_documented_values_come_back(ask: Ask, method: str) -> None:
    text, plain, explained = RIGHT[method]
    found, binding = ask([text], method, *arguments(method))
    assert found == plain
    assert type(found) is type(plain)
    assert len(binding.calls) == 1
    assert ask([text], method, *arguments(method), return_explanation=True)[0] == explained


def test_the_documented_order_of_the_arguments() -> None:
    rest = ["context", "max_answer_length", "conditionning", "return_explanation", "callback"]
    client = scripted_client([])
    for method in RIGHT:
        first = ["question"] if method == "yes_no" else ["question", "possible_answers"]
        parameters = inspect.signature(getattr(client, method)).parameters.values()
        assert [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD] == [*first, *rest]


@each_method
@pytest.mark.parametrize("name", ["conditionning", "conditioning"])
def test_all_arguments_reach_the_model(ask: Ask, method: str, name: str) -> None:
    more = {"context": "It is {late}.", name: "Be kind.", "temperature": 0.5, "n_predict": 40}
    _, binding = ask([RIGHT[method][0]], method, *arguments(method), **more)
    call = binding.calls[0]
    assert [message.role for message in call.messages] == ["system", "user"]
    assert call.messages[0].text == "Be kind."
    assert "It is {late}." in call.messages[1].text
    assert QUESTION in call.messages[1].text
    assert (call.params.temperature, call.params.max_tokens) == (0.5, 40)
    assert call.schema is not None
    assert not call.stream


@each_method
def test_a_model_that_gives_no_answer(ask: Ask, method: str) -> None:
    for explained in (False, True):
        events: list[Any] = []
        more = {"return_explanation": explained, "callback": lambda *a, e=events: e.append(a)}
        found, binding = ask(["Hm."] * 3, method, *arguments(method), **more)
        assert found == NOTHING[method][explained]
        assert len(binding.calls) == 3
        assert events[-1][1] == MSG_TYPE.MSG_TYPE_EXCEPTION
        assert "gave no answer" in events[-1][0]
    for asked in ({"raise_errors": True}, {"client": {"raise_errors": True}}):
        with pytest.raises(StructuredOutputError) as caught:
            ask(["Hm."] * 3, method, *arguments(method), **asked)
        assert len(caught.value.attempts) == 3
    found, _ = ask(["Hm."] * 3, method, *arguments(method), raise_errors=False, client={"raise_errors": True})
    assert found == NOTHING[method][False]


@each_method
@pytest.mark.parametrize("error", [Refused("Nobody there."), ContextTooLong("Too long.")], ids=["refused", "too long"])
def test_a_backend_that_gives_no_answer(ask: Ask, method: str, error: Exception) -> None:
    events: list[Any] = []
    more = {"callback": lambda *a: events.append(a)}
    if method == "yes_no":  # no answer is not the answer no
        with pytest.raises(type(error)):
            ask([error], method, *arguments(method), **more)
    else:
        assert ask([error], method, *arguments(method), **more)[0] == NOTHING[method][False]
        with pytest.raises(type(error)):
            ask([error], method, *arguments(method), raise_errors=True)
    assert events[-1][:2] == (str(error), MSG_TYPE.MSG_TYPE_EXCEPTION)


@each_method
@pytest.mark.parametrize("name", ["callback", "streaming_callback", "default"])
def test_a_callback_sees_steps_and_thoughts_but_no_json(ask: Ask, method: str, name: str) -> None:
    events: list[tuple[str, MSG_TYPE, dict[str, Any]]] = []

    def callback(chunk: str, kind: MSG_TYPE, params: dict[str, Any]) -> None:
        events.append((chunk, kind, params))

    given = {"client": {"streaming_callback": callback}} if name == "default" else {name: callback}
    replies = ["Hm.", Reply(thoughts="Let me see.", text=RIGHT[method][0])]
    _, binding = ask(replies, method, *arguments(method), **given)
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == MSG_TYPE.MSG_TYPE_STEP_START
    assert kinds[-1] == MSG_TYPE.MSG_TYPE_STEP_END
    assert set(kinds[1:-1]) == {MSG_TYPE.MSG_TYPE_WARNING, MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK}
    assert "".join(chunk for chunk, kind, _ in events if kind == MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK) == "Let me see."
    assert events[0][2]["id"] == events[-1][2]["id"]
    key, value = {"yes_no": ("answer", True), "multichoice_question": ("index", 1)}.get(method, ("ranking", [1, 0, 2]))
    assert events[-1][2][key] == value
    assert all(call.stream for call in binding.calls)
    assert not any("{" in chunk for chunk, _, _ in events)


@each_method
def test_a_callback_that_stops(ask: Ask, method: str) -> None:
    events: list[Any] = []

    def callback(chunk: str, kind: MSG_TYPE, **more: Any) -> bool:
        events.append(kind)
        return kind != MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK

    replies = [Reply(thoughts="Let me see.", text=RIGHT[method][0])]
    if method == "yes_no":
        with pytest.raises(Cancelled):
            ask(replies, method, *arguments(method), callback=callback)
    else:
        assert ask(replies, method, *arguments(method), callback=callback)[0] == NOTHING[method][False]
        with pytest.raises(Cancelled):
            ask(replies, method, *arguments(method), callback=callback, raise_errors=True)
    assert events[:2] == [MSG_TYPE.MSG_TYPE_STEP_START, MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK]


@each_method
def test_a_callback_that_fails(ask: Ask, method: str) -> None:
    def callback(chunk: str, kind: MSG_TYPE, **more: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(CallbackFailed):
        ask([RIGHT[method][0]], method, *arguments(method), callback=callback, raise_errors=True)


class Colour(enum.Enum):
    RED = 1


def test_answers_of_any_type_and_none_and_one(ask: Ask) -> None:
    answers = (each for each in [1, None, 2.5, Colour.RED, "text"])
    found, binding = ask(['{"answer": "D"}'], "multichoice_question", QUESTION, answers)
    assert found == 3
    assert "A. 1\nB. None\nC. 2.5\nD. Colour.RED\nE. text\n" in binding.calls[0].messages[-1].text
    found, binding = ask([], "multichoice_question", QUESTION, ["x"])
    assert (found, binding.calls) == (0, [])
    with pytest.raises(InvalidRequest):
        ask([], "multichoice_question", QUESTION, [])
    assert ask([], "multichoice_ranking", QUESTION, ["x"])[0] == {"ranking": [0]}
    assert ask([], "multichoice_ranking", QUESTION, [])[0] == {"ranking": []}
    for wrong in ("Paris", b"Paris", {"Paris": 1}, {"Paris"}, None, 7):
        for method in ("multichoice_question", "multichoice_ranking"):
            with pytest.raises(TypeError, match="possible_answers"):
                ask([], method, QUESTION, wrong)


def test_a_limit_that_is_none(ask: Ask) -> None:
    for method, answers in (("yes_no", ()), ("multichoice_question", (CITIES,))):
        with pytest.raises(InvalidRequest) as caught:
            ask([], method, QUESTION, *answers, max_answer_length=0)
        assert caught.value.param == "max_answer_length"
