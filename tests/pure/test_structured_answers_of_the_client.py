"""`generate_structured_content`: the documented example, every kind of shape, what the callback sees, and failures."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator
from typing_extensions import override

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_client.lollms_llm_binding import LollmsLLMBinding
from lollms_client.testing import ScriptedBinding, scripted_client
from lollms_core.errors import Cancelled, InvalidRequest, StructuredOutputError, UnsupportedFeature
from lollms_core.types import GenerationCall, Reply, ToolCall

TEMPLATE = {
    "full_name": "string",
    "age": "integer",
    "profession": "string",
    "city": "string",
    "hobbies": ["list", "of", "strings"],
}
JOHN = {
    "full_name": "John Doe",
    "age": 34,
    "profession": "software engineer",
    "city": "New York",
    "hobbies": ["hiking", "Python programming"],
}
PROMPT = "Extract the relevant information from the following text:\n\nJohn Doe is a 34-year-old software engineer."


class Level(Enum):
    LOW = "low"
    HIGH = "high"


class Address(BaseModel):
    city: str
    country: str = "US"


class Person(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(alias="fullName")
    born: date
    level: Level = Level.LOW
    addresses: list[Address] = []

    @field_validator("name")
    @classmethod
    def two_words(cls, value: str) -> str:
        if " " not in value:
            raise ValueError("the first and the last name are needed")
        return value


class Tags(RootModel[list[str]]):
    pass


class Fragile(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def breaks(cls, value: int) -> int:
        if value < 0:
            raise KeyError("below zero")
        return value


class Preferences(BaseModel):
    color: str = "red"
    size: int = 3


class Sync:
    """The operations of the client, each waited for."""

    def __init__(self, replies: Any) -> None:
        self.client: Any = LollmsClient(binding_name=None)
        self.client.binding = self.binding = ScriptedBinding(replies)

    def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.client, name)(*args, **kwargs)

    @property
    def calls(self) -> list[GenerationCall]:
        return self.binding.calls


class Async(Sync):
    """The same with coroutines."""

    def __init__(self, replies: Any) -> None:
        self.client = AsyncLollmsClient(binding_name=None)
        self.client.binding = self.binding = ScriptedBinding(replies)

    @override
    def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run(getattr(self.client, name)(*args, **kwargs))


both = pytest.mark.parametrize("kind", [Sync, Async])


@both
@pytest.mark.parametrize("given", [TEMPLATE, json.dumps(TEMPLATE)])
def test_the_documented_example_gives_the_documented_dictionary(kind: type[Sync], given: Any) -> None:
    made = kind([f"Sure!\n```json\n{json.dumps(JOHN, indent=2)}\n```"])
    assert made.ask("generate_structured_content", prompt=PROMPT, output_format=given) == JOHN
    (call,) = made.calls
    assert call.messages[-1].text.startswith(f"{PROMPT}\n\nAnswer with a JSON value alone")
    assert call.schema is not None
    assert call.schema["required"] == list(TEMPLATE)
    assert not call.stream


@both
def test_schemas_have_both_names_and_parameters_reach_the_model(kind: type[Sync]) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    made = kind(['{"n": 1}', '{"n": 1}'])
    given = {"system_prompt": "Be exact.", "temperature": 0.1, "n_predict": 50}
    assert made.ask("generate_structured_content", "How many?", None, schema, **given) == {"n": 1}
    assert made.ask("generate_structured_content", "How many?", output_format=schema, use_override=True) == {"n": 1}
    first, second = made.calls
    assert first.messages[0].text == "Be exact."
    assert (first.params.temperature, first.params.max_tokens) == (0.1, 50)
    assert second.messages[-1].text == "How many?"


@both
def test_a_callback_sees_the_value_grow_and_nothing_else_of_the_answer(kind: type[Sync]) -> None:
    told: list[tuple[Any, str, dict[str, Any]]] = []

    def callback(chunk: str, msg_type: MSG_TYPE, params: Any = None, metadata: Any = None) -> bool:
        told.append((msg_type, chunk, params))
        return True

    wrong = json.dumps({**JOHN, "age": "about 34"})
    made = kind([Reply(text=wrong, thoughts="Hm."), json.dumps(JOHN)])
    found = made.ask("generate_structured_content", PROMPT, schema=TEMPLATE, streaming_callback=callback)
    assert found == JOHN
    assert {each[0] for each in told} == {
        MSG_TYPE.MSG_TYPE_JSON_INFOS,
        MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK,
        MSG_TYPE.MSG_TYPE_WARNING,
    }
    partials = [
        (json.loads(text), params) for msg_type, text, params in told if msg_type is MSG_TYPE.MSG_TYPE_JSON_INFOS
    ]
    assert all(params == {"kind": "partial", "data": value} for value, params in partials)
    assert partials[-1][0] == JOHN
    assert len(partials) > 6
    assert all(call.stream for call in made.calls)


@both
def test_a_callback_that_stops_it_gets_no_value_and_is_not_called_again(kind: type[Sync]) -> None:
    told: list[Any] = []

    def callback(chunk: str, msg_type: MSG_TYPE) -> bool:
        told.append(msg_type)
        return False

    made = kind([json.dumps(JOHN)] * 2)
    assert made.ask("generate_structured_content", PROMPT, schema=TEMPLATE, streaming_callback=callback) is None
    assert told == [MSG_TYPE.MSG_TYPE_JSON_INFOS]
    with pytest.raises(Cancelled) as stopped:
        made.ask("generate_structured_content", PROMPT, schema=TEMPLATE, streaming_callback=callback, raise_errors=True)
    assert stopped.value.partial is not None
    assert stopped.value.partial.finish_reason == "cancelled"


@both
@pytest.mark.parametrize(("retries", "calls"), [(0, 1), (1, 2), (2, 3), (-1, 1)])
def test_what_never_fits_is_none_after_an_exception_event(kind: type[Sync], retries: int, calls: int) -> None:
    told: list[Any] = []
    made = kind(lambda call: '{"full_name": 5}')
    more = {"schema": TEMPLATE, "max_retries": retries}
    assert (
        made.ask("generate_structured_content", PROMPT, **more, streaming_callback=lambda c, t: told.append(t)) is None
    )
    assert len(made.calls) == calls
    assert told[-1] is MSG_TYPE.MSG_TYPE_EXCEPTION
    with pytest.raises(StructuredOutputError) as failed:
        made.ask("generate_structured_content", PROMPT, **more, raise_errors=True)
    assert len(failed.value.attempts) == calls
    assert failed.value.partial is not None
    assert failed.value.partial.usage is not None


@both
@pytest.mark.parametrize("given", [Person, Person.model_validate({"fullName": "A B", "born": "2000-01-01"})])
def test_a_pydantic_class_gives_instances_and_its_objections_reach_the_model(kind: type[Sync], given: Any) -> None:
    wrong = {"fullName": "Ada", "born": "1815-12-10"}
    right = {"fullName": "Ada Lovelace", "born": "1815-12-10", "level": "high", "addresses": [{"city": "London"}]}
    made = kind([json.dumps(wrong), json.dumps(right)])
    person = made.ask("generate_structured_content_pydantic", "Who?", given)
    assert person == Person.model_validate(right)
    assert person.addresses[0].country == "US"
    assert "at fullName, Value error, the first and the last name are needed" in made.calls[1].messages[-1].text
    assert "errors.pydantic.dev" not in made.calls[1].messages[-1].text


@both
@pytest.mark.parametrize("given", [Person, Person.model_validate({"fullName": "A B", "born": "2000-01-01"})])
def test_a_pydantic_class_as_a_schema_gives_a_dictionary(kind: type[Sync], given: Any) -> None:
    made = kind([json.dumps({"fullName": "Ada Lovelace", "born": "1815-12-10"})])
    assert made.ask("generate_structured_content", "Who?", schema=given) == {
        "fullName": "Ada Lovelace",
        "born": "1815-12-10",
        "level": "low",
        "addresses": [],
    }


@both
def test_a_root_model_and_a_validator_that_breaks(kind: type[Sync]) -> None:
    made = kind(['{"value": ["a", "b"]}', '["a"]'])
    assert made.ask("generate_structured_content_pydantic", "Tags?", Tags) == Tags(["a", "b"])
    assert made.ask("generate_structured_content", "Tags?", schema=Tags) == ["a"]
    made = kind(['{"n": -1}', '{"n": 1}'])
    assert made.ask("generate_structured_content_pydantic", "n?", Fragile) == Fragile(n=1)
    assert "KeyError: 'below zero'" in made.calls[1].messages[-1].text


@both
def test_an_answer_with_nothing_of_a_class_is_not_one_of_defaults_alone(kind: type[Sync]) -> None:
    asked = kind(['{"Preferences": {"color": "blue"}}', '{"color": "blue"}'])
    assert asked.ask("generate_structured_content_pydantic", "?", Preferences) == Preferences(color="blue")
    assert 'none of its properties: "Preferences"' in asked.calls[1].messages[-1].text
    assert kind(["{}"]).ask("generate_structured_content_pydantic", "?", Preferences) == Preferences()


@both
def test_a_tool_call_is_the_answer_where_schemas_are_refused(kind: type[Sync]) -> None:
    def answer(call: GenerationCall) -> Any:
        if call.schema is not None:
            return UnsupportedFeature("no schemas here", param="schema")
        return Reply(tool_calls=(ToolCall("c", call.tools[0].name, dict(JOHN)),), finish_reason="tool_calls")

    told: list[Any] = []
    made = kind(answer)
    more = {"schema": TEMPLATE, "streaming_callback": lambda c, t: told.append((t, c))}
    assert made.ask("generate_structured_content", PROMPT, **more) == JOHN
    assert {each[0] for each in told} == {MSG_TYPE.MSG_TYPE_JSON_INFOS}
    assert json.loads(told[-1][1]) == JOHN


@pytest.mark.parametrize("given", [None, 5, b"x", object(), int])
def test_what_is_no_shape_is_the_callers_mistake(given: Any) -> None:
    with pytest.raises(TypeError, match="schema must be"):
        Sync([]).ask("generate_structured_content", "x", schema=given)
    with pytest.raises(TypeError, match="pydantic class is needed"):
        Sync([]).ask("generate_structured_content_pydantic", "x", given)


@pytest.mark.parametrize("given", [{}, "{", {"type": "object", "properties": 5}, {"a": {1}}])
def test_a_shape_that_is_wrong_is_told_at_once(given: Any) -> None:
    made = Sync([])
    with pytest.raises(InvalidRequest):
        made.ask("generate_structured_content", "x", schema=given)
    assert made.calls == []


# ---- a binding of somebody else's


class OnlyText(LollmsLLMBinding):
    """Written from the documentation, with `generate_text` alone."""

    def __init__(self, answers: list[str]) -> None:
        super().__init__(binding_name="only_text")
        self.model_name = "m"
        self.answers = answers
        self.prompts: list[str] = []

    @override
    def generate_text(self, prompt: str, images: Any = None, system_prompt: str = "", n_predict: Any = None) -> str:  # type: ignore[override]
        self.prompts.append(prompt)
        return self.answers.pop(0)


@pytest.mark.parametrize("kind", [LollmsClient, AsyncLollmsClient])
def test_a_binding_that_only_has_generate_text_is_asked_in_words(kind: Any) -> None:
    client = kind(binding_name=None)
    client.binding = binding = OnlyText(["I think John is 34.", f"Here you are: {json.dumps(JOHN)}"])
    found = client.generate_structured_content(PROMPT, schema=TEMPLATE, max_retries=1)
    assert (asyncio.run(found) if asyncio.iscoroutine(found) else found) == JOHN
    assert len(binding.prompts) == 2
    assert '"hobbies"' in binding.prompts[0]
    assert "there is no JSON in it" in binding.prompts[1]


def test_a_list_is_a_template_too() -> None:
    client = scripted_client(['{"value": ["a", "b"]}'])
    assert client.generate_structured_content("List them.", schema=["string"]) == ["a", "b"]


def test_a_schema_with_a_slip_is_not_taken_for_a_template() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'object'"):
        scripted_client([]).generate_structured_content("?", schema={"type": "objct", "properties": {"a": {}}})


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("date", "soon", "2026-01-31"),
        ("date-time", "2026-01-31", "2026-01-31T10:00:00Z"),
        ("email", "ann", "ann@example.org"),
        ("uuid", "7", "123e4567-e89b-12d3-a456-426614174000"),
        ("ipv4", "1.2.3", "127.0.0.1"),
    ],
)
def test_formats_are_checked(kind: str, wrong: str, right: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "format": kind}}, "required": ["a"]}
    client = scripted_client([json.dumps({"a": wrong}), json.dumps({"a": right})])
    assert client.generate_structured_content("?", schema=schema) == {"a": right}
    assert len(client.binding.calls) == 2


def test_answers_that_were_all_cut_off_name_the_limit_to_raise() -> None:
    client = scripted_client([Reply(text='{"a": "b', finish_reason="length")] * 3)
    with pytest.raises(StructuredOutputError, match="n_predict"):
        client.generate_structured_content("?", schema={"a": "string"}, n_predict=3, raise_errors=True)
