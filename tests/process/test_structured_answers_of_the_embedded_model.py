"""The documented example of structured output on the embedded model: by grammar, so its shape is right every time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_core.flows.shapes import shape_of

pytestmark = pytest.mark.group("engine")

TEXT = "John Doe is a 34-year-old software engineer from New York. He loves hiking and Python programming."
PROMPT = f"Extract the relevant information from the following text:\n\n{TEXT}"
TEMPLATE = {
    "full_name": "string",
    "age": "integer",
    "profession": "string",
    "city": "string",
    "hobbies": ["list", "of", "strings"],
}


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture(scope="module")
def client() -> Iterator[LollmsClient]:
    with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as made:
        made.generate_text("Hello!", n_predict=1)  # it runs before the first test, so that its threads belong to none
        yield made


def test_the_documented_example_has_the_documented_shape(client: LollmsClient) -> None:
    partials: list[Any] = []

    def callback(chunk: str, msg_type: MSG_TYPE, params: Any = None, metadata: Any = None) -> bool:
        if msg_type is MSG_TYPE.MSG_TYPE_JSON_INFOS:
            partials.append(params["data"])
        assert msg_type is not MSG_TYPE.MSG_TYPE_CHUNK
        return True

    found = client.generate_structured_content(
        PROMPT, output_format=TEMPLATE, n_predict=400, streaming_callback=callback
    )
    assert found is not None
    assert shape_of(TEMPLATE).read(found) == found
    assert list(found) == list(TEMPLATE)
    assert type(found["age"]) is int
    assert partials[-1] == found


def test_a_pydantic_class_and_a_list(client: LollmsClient) -> None:
    person = client.generate_structured_content_pydantic(TEXT, Person, n_predict=300, raise_errors=True)
    assert isinstance(person, Person)
    schema = {"type": "array", "items": {"enum": ["red", "blue"]}, "minItems": 1, "maxItems": 3}
    found = client.generate_structured_content("Which colours?", schema=schema, n_predict=200, raise_errors=True)
    assert shape_of(schema).read(found) == found


def test_coroutines_get_the_same(client: LollmsClient) -> None:
    given: dict[str, Any] = {"output_format": TEMPLATE, "n_predict": 400, "temperature": 0.0}

    async def work() -> Any:
        async with AsyncLollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as other:
            return await other.generate_structured_content(PROMPT, **given)

    found = asyncio.run(work())
    assert shape_of(TEMPLATE).read(found) == found
    assert found == client.generate_structured_content(PROMPT, **given)
