"""The same call gives the same events: through `LollmsClient`, through `AsyncLollmsClient`, and through the server.

Four bindings, each asked directly by both clients and, by both clients again, through a server that has an instance of
the same kind: Ollama and OpenAI servers on sockets, a lollms server, and the engine with the embedded model. All know
the same few things (`tests.support.knowing`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_core.errors import Cancelled, LollmsError
from lollms_core.types import Event, Reply, TextDelta, ThoughtDelta, ToolCallDelta
from tests.support.backends import Backend, EveryBackend, every_backend
from tests.support.engines import until
from tests.support.feeding import merged
from tests.support.knowing import FOR_EVER
from tests.support.media_files import png

pytestmark = pytest.mark.group("engine")

BINDINGS = {"ollama": "ollama", "openai": "openai", "lollms": "lollms", "pythonllamacpp": "nano"}
"""The bindings of the client, and the instance of the server that is of the same kind."""

FACES = ("client", "async client", "server", "async through the server")
FRANCE, PARIS = "What is the capital of France?", "The capital of France is Paris."
WEATHER, SUNNY = "What is the weather in Madrid?", "The weather in Madrid is sunny, 21 C."
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "Get the weather for a city", "parameters": CITY}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"enum": [7]}, "city": {"enum": ["Paris"]}},
    "required": ["age", "city"],
    "additionalProperties": False,
}


class Outcome(NamedTuple):
    """What came of a call, without what is a face's own: ids, pieces, progress, and how a prompt was counted."""

    events: list[Any]
    text: str
    calls: list[tuple[str, dict[str, Any]]]
    finish: str
    tokens: int | None
    model: str
    left_out: list[str]
    error: type[LollmsError] | None = None


@pytest.fixture(scope="module")
def every() -> Iterator[EveryBackend]:
    with every_backend() as found:
        yield found


class Clients:
    """Both clients of a binding, directly and through the server."""

    def __init__(self, every: EveryBackend, name: str) -> None:
        self.backend: Backend = every.backends[BINDINGS[name]]
        models = {"ollama": "llama3.2", "openai": "one", "lollms": "", "pythonllamacpp": "lollms-nano"}
        direct: dict[str, Any] = {"binding_name": name, "model_name": models[name]}
        if name in every.addresses:
            direct["host_address"] = every.addresses[name]
            direct["service_key"] = every.far_key if name == "lollms" else "k"
        through = {
            "binding_name": "lollms",
            "host_address": every.server.url,
            "service_key": every.server.key,
            "llm_binding_config": {"instance": self.backend.name},
        }
        self.sync = {"client": LollmsClient(**direct), "server": LollmsClient(**through)}
        self.settings = {"async client": direct, "async through the server": through}

    @contextlib.asynccontextmanager
    async def asynchronous(self, face: str) -> AsyncIterator[AsyncLollmsClient]:
        """An asynchronous client; it asks the engine of the synchronous one, and leaves that running."""
        if face == "async client" and self.backend.name == "nano":
            client = AsyncLollmsClient(binding_name=None)
            client.binding = self.sync["client"].binding
            yield client
            return
        async with AsyncLollmsClient(**self.settings[face]) as client:
            yield client

    def close(self) -> None:
        for client in self.sync.values():
            client.close()


@pytest.fixture(scope="module", params=list(BINDINGS))
def clients(request: pytest.FixtureRequest, every: EveryBackend) -> Iterator[Clients]:
    found = Clients(every, request.param)
    if request.param == "pythonllamacpp":
        assert found.sync["client"].get_ctx_size()  # the engine runs until the last test has ended
    yield found
    found.close()


def outcome(events: list[Event], reply: Reply | None, error: LollmsError | None) -> Outcome:
    shown = [each for each in events if isinstance(each, (TextDelta, ThoughtDelta, ToolCallDelta))]
    if reply is None:
        return Outcome([], "", [], "", None, "", [], type(error))
    kinds: list[Any] = [
        (each.name, each.arguments.replace(" ", "")) if isinstance(each, ToolCallDelta) else each
        for each in merged(shown)
    ]
    return Outcome(
        kinds,
        reply.text,
        [(each.name, each.arguments) for each in reply.tool_calls],
        reply.finish_reason,
        reply.usage.completion_tokens if reply.usage else None,
        reply.model.removesuffix(":latest"),
        sorted(each.name for each in reply.receipt),
    )


def ask(clients: Clients, face: str, prompt: Any, **more: Any) -> Outcome:
    """Ask for a stream and for a whole answer, which must be the same, on one face."""
    params = {"temperature": 0.0, **more}
    events: list[Event] = []

    def by_thread(client: LollmsClient) -> tuple[Reply, Reply]:
        with client.stream(prompt, **params) as stream:
            events.extend(stream)
            return stream.result(), client.complete(prompt, **params)

    async def by_task() -> tuple[Reply, Reply]:
        async with clients.asynchronous(face) as client, client.stream(prompt, **params) as stream:
            async for event in stream:
                events.append(event)
            return await stream.result(), await client.complete(prompt, **params)

    try:
        streamed, whole = by_thread(clients.sync[face]) if face in clients.sync else asyncio.run(by_task())
    except LollmsError as error:
        return outcome([], None, error)
    found = outcome(events, streamed, None)
    assert found[1:] == outcome([], whole, None)[1:]
    return found


def everywhere(clients: Clients, prompt: Any, **more: Any) -> Outcome:
    """What comes of a call, the same on every face."""
    found = {face: ask(clients, face, prompt, **more) for face in FACES}
    assert all(each == found["client"] for each in found.values()), found
    return found["client"]


def test_an_answer(clients: Clients) -> None:
    found = everywhere(clients, FRANCE)
    assert found.events == [TextDelta(PARIS)]
    assert (found.text, found.finish, found.left_out) == (PARIS, "stop", [])
    assert found.model == clients.backend.models[0]
    assert found.tokens is not None and found.tokens > 3


def test_system_prompt_and_history(clients: Clients) -> None:
    turns = [
        {"role": "user", "content": "My name is Ann."},
        {"role": "assistant", "content": "Hello Ann."},
        {"role": "user", "content": "What is my name?"},
    ]
    assert everywhere(clients, turns, system="You are called Bob.").text == "Your name is Ann."


def test_a_limit_of_tokens(clients: Clients) -> None:
    found = everywhere(clients, FRANCE, max_tokens=2)
    assert (found.finish, found.tokens) == ("length", 2)
    assert PARIS.startswith(found.text) and found.text


def test_a_schema(clients: Clients) -> None:
    assert everywhere(clients, "x", schema=SCHEMA).text.replace(" ", "") == '{"age":7,"city":"Paris"}'


def test_tools_and_their_results(clients: Clients) -> None:
    found = everywhere(clients, WEATHER, tools=[TOOL])
    assert found.calls == [("get_weather", {"city": "Madrid"})]
    assert found.finish == "tool_calls"
    reply = clients.sync["client"].complete(WEATHER, tools=[TOOL], temperature=0.0)
    turns = [
        {"role": "user", "content": WEATHER},
        {"role": "assistant", "content": "", "tool_calls": reply.tool_calls},
        {"role": "tool", "content": "sunny, 21 C", "tool_call_id": reply.tool_calls[0].id},
    ]
    assert everywhere(clients, turns, tools=[TOOL]).text == SUNNY


def test_a_parameter_that_the_backend_does_not_have_stands_in_the_receipt(clients: Clients) -> None:
    assert everywhere(clients, FRANCE, sharpness=1).left_out == ["sharpness"]


def test_an_unknown_model(clients: Clients) -> None:
    found = {face: ask(clients, face, FRANCE, model="nobody").error for face in FACES}
    codes = {each.__name__ for each in found.values() if each is not None}
    assert len(found) == 4 and all(found.values())
    assert codes <= {"UnknownModel", "ModelNotFound"}, found


def test_images_where_models_see(clients: Clients) -> None:
    seeing = clients.backend.seeing
    if seeing is None:
        found = {face: ask(clients, face, "What is in it?", images=[png(5, 4)]).error for face in FACES}
        assert all(each is not None and issubclass(each, ValueError | NotImplementedError) for each in found.values())
        return
    assert everywhere(clients, "What is in it?", images=[png(5, 4)], model=seeing).text == "I see [(5, 4)]."


def test_documented_text_and_callbacks(clients: Clients) -> None:
    told: dict[str, list[str]] = {face: [] for face in FACES}

    def callback(face: str) -> Callable[[str, MSG_TYPE], None]:
        def take(chunk: str, msg_type: MSG_TYPE) -> None:
            assert msg_type == MSG_TYPE.MSG_TYPE_CHUNK
            told[face].append(chunk)

        return take

    async def later(face: str) -> Any:
        take = callback(face)

        async def taken(chunk: str, msg_type: MSG_TYPE) -> None:
            take(chunk, msg_type)

        async with clients.asynchronous(face) as client:
            return await client.generate_text(FRANCE, temperature=0.0, streaming_callback=taken)

    for face in FACES:
        if face in clients.sync:
            text = clients.sync[face].generate_text(FRANCE, temperature=0.0, streaming_callback=callback(face))
        else:
            text = asyncio.run(later(face))
        assert text == PARIS == "".join(told[face])
        assert len(told[face]) > 1


@pytest.mark.parametrize("face", FACES)
def test_leaving_in_the_middle_ends_the_work(clients: Clients, face: str) -> None:
    def first_words() -> str:
        client = clients.sync[face]
        stream = client.stream("Count for ever.", **FOR_EVER)
        with stream:
            text = next(each.text for each in stream if isinstance(each, TextDelta))
        with contextlib.suppress(Cancelled):
            stream.result()
        return text

    async def first_words_later() -> str:
        async with clients.asynchronous(face) as client, client.stream("Count for ever.", **FOR_EVER) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    return event.text
        raise AssertionError("no word came")

    assert first_words() if face in clients.sync else asyncio.run(first_words_later())
    direct = "server" not in face and clients.backend.name == "nano"
    if not direct:  # the engine of the client has no window of its own to look through; its own tests have
        until(lambda: not clients.backend.at_work(), 5)
