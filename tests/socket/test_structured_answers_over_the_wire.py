"""The documented example of structured output over real sockets: Ollama, OpenAI's protocol, and our own server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_core.errors import UnsupportedFeature
from lollms_core.types import GenerationCall
from lollms_runtime.scripted import Script
from tests.support.chaos import ChaosServer
from tests.support.server import PortsBinding, running_server
from tests.support.structured_servers import ExactOllama, exact_openai

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


def extract(made: Callable[[Any], Any], is_async: bool, **more: Any) -> Any:
    """What the example gives with a client that `made` makes of its class."""
    if not is_async:
        with made(LollmsClient) as client:
            return client.generate_structured_content(PROMPT, output_format=TEMPLATE, raise_errors=True, **more)

    async def work() -> Any:
        async with made(AsyncLollmsClient) as client:
            return await client.generate_structured_content(PROMPT, output_format=TEMPLATE, raise_errors=True, **more)

    return asyncio.run(work())


class Told:
    """A callback that keeps what it is told."""

    def __init__(self) -> None:
        self.kinds: list[MSG_TYPE] = []
        self.partials: list[Any] = []

    def __call__(self, chunk: str, msg_type: MSG_TYPE, params: Any = None, metadata: Any = None) -> bool:
        self.kinds.append(msg_type)
        if msg_type is MSG_TYPE.MSG_TYPE_JSON_INFOS:
            assert json.loads(chunk) == params["data"]
            self.partials.append(params["data"])
        return True


@pytest.fixture(scope="module")
def ollama() -> Iterator[ExactOllama]:
    with ExactOllama() as server:
        server.value = JOHN
        yield server


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_ollama_is_held_to_the_schema(ollama: ExactOllama, is_async: bool, watched: bool) -> None:
    told = Told()
    before = len(ollama.asked("/api/chat"))
    more = {"streaming_callback": told} if watched else {}
    found = extract(lambda kind: kind("ollama", ollama.origin, model_name="llama3.2"), is_async, **more)
    assert found == JOHN
    (seen,) = ollama.asked("/api/chat")[before:]
    assert list(seen.json()["format"]["properties"]) == list(TEMPLATE)
    if watched:
        assert set(told.kinds) == {MSG_TYPE.MSG_TYPE_JSON_INFOS}
        assert told.partials[-1] == JOHN


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize(
    ("ways", "requests"), [(("schema", "tool", "prompt"), 1), (("tool", "prompt"), 2), (("prompt",), 3)]
)
def test_what_refuses_a_way_is_asked_in_the_next(
    ways: tuple[str, ...], requests: int, watched: bool, is_async: bool
) -> None:
    told = Told()
    with ChaosServer() as chaos:
        address = chaos.add("exact", exact_openai(JOHN, *ways))
        more = {"streaming_callback": told} if watched else {}
        found = extract(
            lambda kind: kind("openai", address, model_name="one", service_key="k"), is_async, max_retries=0, **more
        )
        asked = [seen.json() for seen in chaos.requests]
    assert found == JOHN
    assert len(asked) == requests
    assert [bool(each.get("response_format")) for each in asked] == [True, False, False][:requests]
    assert [bool(each.get("tools")) for each in asked] == [False, True, False][:requests]
    if watched:
        assert set(told.kinds) == {MSG_TYPE.MSG_TYPE_JSON_INFOS}
        assert told.partials[-1] == JOHN


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("takes", ["schema", "tool", "prompt"])
def test_our_own_server_passes_on_what_its_instance_refuses(takes: str, is_async: bool) -> None:
    def answer(call: GenerationCall) -> Any:
        way = "schema" if call.schema is not None else "tool" if call.tools else "prompt"
        if ["schema", "tool", "prompt"].index(way) < ["schema", "tool", "prompt"].index(takes):
            return UnsupportedFeature(f"This binding takes no {way}.", param=way)
        return f"So: {json.dumps(JOHN)}"

    script, told = Script(answer), Told()
    with running_server({"box": PortsBinding(script)}) as server:
        found = extract(
            lambda kind: kind("lollms", server.url, service_key=server.key),
            is_async,
            max_retries=0,
            streaming_callback=told,
        )
    assert found == JOHN
    assert len(script.calls) == ["schema", "tool", "prompt"].index(takes) + 1
    assert told.partials[-1] == JOHN
