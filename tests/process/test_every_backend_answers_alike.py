"""Whatever stands behind the server, a caller meets the same: a script in this process, the engine with the embedded
model, and servers on sockets that speak the Ollama, the OpenAI and our own protocol.

All of them know the same few things (`tests.support.knowing`), so the answers can be compared word for word. Where they
differ by their nature, a table says how.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.backends import NAMES, Backend, EveryBackend, every_backend
from tests.support.engines import until
from tests.support.knowing import FOR_EVER
from tests.support.ollama_server import png
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import Served

pytestmark = pytest.mark.group("engine")

FRANCE, PARIS = "What is the capital of France?", "The capital of France is Paris."
WEATHER, SUNNY = "What is the weather in Madrid?", "The weather in Madrid is sunny, 21 C."
BOB = "I am Bob, played by lollms-nano, a tiny smoke-test model."
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Get the weather for a city", "parameters": CITY},
}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"enum": [7]}, "city": {"enum": ["Paris"]}},
    "required": ["age", "city"],
    "additionalProperties": False,
}
COLD = {"temperature": 0.0}


@pytest.fixture(scope="module")
def every() -> Iterator[EveryBackend]:
    with every_backend() as found:
        yield found


@pytest.fixture(scope="module")
def server(every: EveryBackend) -> Served:
    return every.server


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, every: EveryBackend) -> Backend:
    return every.backends[request.param]


def turn(role: str, text: str, **metadata: Any) -> dict[str, Any]:
    return {"type": "text", "role": role, "data": text, "metadata": metadata}


def post(server: Served, backend: Backend, asked: str | list[dict[str, Any]], **more: Any) -> Answer:
    """Ask for one answer, as exactly as the model can."""
    body = {"binding_name": backend.name, "parameters": COLD, **more}
    body["input_data"] = [turn("user_prompt", asked)] if isinstance(asked, str) else asked
    return ask(server.port, "POST", "/api/v1/generate", body, server.headers)


def both(server: Served, backend: Backend, asked: str | list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """The output, the same whether it was asked for as JSON or as a stream; ids of tool calls are the backend's own."""
    whole = post(server, backend, asked, **more)
    assert whole.status == 200, whole
    assert set(whole.json()) == {"personality", "request_id", "output", "execution_time"}
    streamed = post(server, backend, asked, **more, stream=True)
    assert (streamed.status, streamed.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    events = streamed.events()
    assert all(set(event) == {"type", "content", "thoughts", "metadata"} for event in events)
    assert [event["type"] for event in events].index("final") == len(events) - 1
    outputs: list[list[dict[str, Any]]] = [whole.json()["output"], events[-1]["content"]]
    shown = "".join(event["content"] for event in events if event["type"] == "chunk")
    assert shown == "".join(item["data"] for item in outputs[1] if item["type"] == "text")
    for output in outputs:
        for item in output:
            if item["metadata"].get("kind") == "tool_call":
                assert item["data"].pop("id")
            if usage := item["metadata"].get("usage"):
                usage.pop("prompt_tokens"), usage.pop("total_tokens")  # an engine that remembers may count otherwise
    assert outputs[0] == outputs[1]
    return outputs[0]


def text_of(output: list[dict[str, Any]]) -> str:
    (item,) = output
    assert (item["type"], item["mime_type"], item["thoughts"]) == ("text", None, None)
    return str(item["data"])


# ---- answers


def test_json_and_a_stream_give_the_same_answer_and_say_what_it_was_made_of(server: Served, backend: Backend) -> None:
    output = both(server, backend, FRANCE)
    assert text_of(output) == PARIS
    metadata = output[0]["metadata"]
    assert metadata["model_used"].removesuffix(":latest") == backend.models[0]
    assert (metadata["finish_reason"], metadata["receipt"]) == ("stop", [])
    assert metadata["usage"]["completion_tokens"] > 3


def test_a_stream_comes_in_pieces(server: Served, backend: Backend) -> None:
    events = post(server, backend, FRANCE, stream=True).events()
    assert sum(event["type"] == "chunk" for event in events) > 3


def test_history_and_system_prompt_reach_it_in_order(server: Served, backend: Backend) -> None:
    turns = [
        turn("system_context", "You are called Bob."),
        turn("user_message", "My name is Ann."),
        turn("assistant_message", "Hello Ann."),
        turn("user_prompt", "What is my name?"),
    ]
    assert text_of(both(server, backend, turns)) == "Your name is Ann."
    if backend.mind is not None:
        arrived = [(each.role, each.text) for each in backend.mind.asked[-1].turns]
        assert arrived == [
            ("system", "You are called Bob."),
            ("user", "My name is Ann."),
            ("assistant", "Hello Ann."),
            ("user", "What is my name?"),
        ]
    asked = [turns[0], turn("user_prompt", "What is your name?")]
    assert text_of(both(server, backend, asked)) == BOB


def test_an_answer_obeys_a_schema(server: Served, backend: Backend) -> None:
    assert json.loads(text_of(both(server, backend, "x", response_schema=SCHEMA))) == {"age": 7, "city": "Paris"}


def test_another_model_can_be_named_and_an_unknown_one_is_refused(server: Served, backend: Backend) -> None:
    for model in backend.models:
        output = both(server, backend, FRANCE, model_name=model)
        assert (text_of(output), output[0]["metadata"]["model_used"]) == (PARIS, model)
    for stream in (False, True):
        answer = post(server, backend, FRANCE, model_name="nobody", stream=stream)
        assert (answer.status, answer.json()["code"]) == (400, "unknown_model"), answer


# ---- parameters


def test_a_parameter_is_the_requests_else_the_personalitys_else_nobodys(server: Served, backend: Backend) -> None:
    name = "What is your name?"

    def used(**more: Any) -> tuple[Any, Any]:
        answer = post(server, backend, name, **more)
        assert answer.status == 200, answer
        sent = backend.sent()
        return sent.get("temperature"), sent.get("max_tokens")

    alone = used(parameters={})
    if backend.mind is not None:
        assert alone == (None, None) and not backend.sent()
    assert used(personality="Bob", parameters={}) == (0.5, 3)
    assert used(personality="Bob", parameters={"temperature": 0.25}) == (0.25, 3)
    assert used(personality="Bob", parameters={"max_tokens": 2}) == (0.5, 2)
    assert used(personality="Bob", parameters={"max_tokens": None}) == (0.5, 3)
    item = post(server, backend, name, personality="Bob", parameters=COLD).json()["output"][0]
    assert item["data"].startswith("I am")
    assert item["metadata"]["finish_reason"] == "length"
    assert item["metadata"]["usage"]["completion_tokens"] == 3


DROPPED = {
    "scripted": (),
    "nano": ("sharpness",),
    "ollama": ("sharpness",),
    "openai": ("sharpness", "top_k"),
    "lollms": ("sharpness",),
}
"""What each leaves out; a binding that is not ours gets names that nobody knows as they are."""


def test_what_was_not_done_as_asked_stands_in_the_receipt(server: Served, backend: Backend) -> None:
    asked = {**COLD, "sharpness": 1, "top_k": 7, "base_url": "http://127.0.0.1:9/", "api_key": "x", "headers": {"a": 1}}
    receipt = both(server, backend, FRANCE, parameters=asked)[0]["metadata"]["receipt"]
    assert all(each["action"] == "dropped" and each["reason"] for each in receipt)
    routing = {"base_url", "api_key", "headers"}
    assert sorted(each["name"] for each in receipt) == sorted(routing | set(DROPPED[backend.name]))
    sent = backend.sent()
    assert not routing & set(sent)
    assert sent.get("top_k") == (None if "top_k" in DROPPED[backend.name] else 7)
    assert sent.get("sharpness") == (1 if backend.name == "scripted" else None)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"temperature": 1e9}, "temperature"), ({"max_tokens": "many"}, "max_tokens"), ({"top_p": True}, "top_p")],
)
def test_a_parameter_out_of_bounds_is_refused_by_name_before_anybody_is_asked(
    server: Served, backend: Backend, parameters: dict[str, Any], named: str
) -> None:
    before = 0 if backend.mind is None else len(backend.mind.asked)
    for stream in (False, True):
        answer = post(server, backend, FRANCE, parameters=parameters, stream=stream)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_request"), answer
        assert f"Parameter {named} must be" in answer.json()["detail"]
    assert backend.mind is None or len(backend.mind.asked) == before


# ---- tools, functions, personalities


def test_a_tool_of_the_caller_is_called_and_its_result_is_used(server: Served, backend: Backend) -> None:
    call = both(server, backend, WEATHER, tools=[TOOL])[-1]
    assert (call["type"], call["data"]) == ("json", {"name": "get_weather", "arguments": {"city": "Madrid"}})
    events = post(server, backend, WEATHER, tools=[TOOL], stream=True).events()
    (called,) = [event["content"] for event in events if event["type"] == "function_call"]
    assert set(called) == {"id", "name", "arguments"} and called["arguments"] == {"city": "Madrid"}
    turns = [
        turn("user_message", WEATHER),
        turn("assistant_message", "", tool_calls=[called]),
        turn("tool_result", "sunny, 21 C", tool_call_id=called["id"]),
    ]
    assert text_of(both(server, backend, turns, tools=[TOOL])) == SUNNY


@pytest.mark.parametrize("more", [{"functions": ["own_tools.get_weather"]}, {"personality": "Helper"}])
def test_functions_of_the_server_run_here_and_the_answer_has_no_trace_of_them(
    server: Served, backend: Backend, more: dict[str, Any]
) -> None:
    assert text_of(both(server, backend, WEATHER, **more)) == SUNNY
    if backend.mind is not None:
        first, second = backend.mind.asked[-2:]
        assert first.tools == second.tools == ("own_tools__get_weather",)
        assert [each.role for each in second.turns[-2:]] == ["assistant", "tool"]
        assert json.loads(second.turns[-1].text) == {"function": "own_tools.get_weather", "result": "sunny, 21 C"}
    kinds = {event["type"] for event in post(server, backend, WEATHER, stream=True, **more).events()}
    assert "function_call" not in kinds


def test_a_simple_personality_says_how_to_behave(server: Served, backend: Backend) -> None:
    asked = {"personality": "Bob", "parameters": {**COLD, "max_tokens": 40}}
    assert text_of(both(server, backend, "What is your name?", **asked)) == BOB
    assert post(server, backend, "What is your name?", **asked).json()["personality"] == "Bob"


def test_scripts_of_personalities_ask_it_and_answer_with_what_they_like(server: Served, backend: Backend) -> None:
    text, info = both(server, backend, "the silver rocket", personality="Steps")
    assert (text["data"], info["type"], info["data"]) == ("the silver rocket", "info", "3 words")
    assert text["metadata"]["finish_reason"] == "stop"
    assert text["metadata"]["model_used"].removesuffix(":latest") == backend.models[0]
    assert text_of(both(server, backend, "the silver rocket", personality="Stream")) == "the silver rocket"
    said = post(server, backend, "the silver rocket", personality="Steps").json()
    assert said["personality"] == "Steps"


# ---- images, tokens, facts


def test_images_reach_models_that_take_them_and_are_refused_by_their_place_elsewhere(
    server: Served, backend: Backend
) -> None:
    data = base64.b64encode(png(5, 4)).decode()
    image = {"type": "image", "role": "input_image", "data": data, "mime_type": "image/png"}
    asked = [turn("user_prompt", "What is in it?"), image]
    if backend.seeing is not None:
        output = both(server, backend, asked, model_name=backend.seeing)
        assert text_of(output) == "I see [(5, 4)]."
    if backend.seeing != backend.models[0]:
        for stream in (False, True):
            answer = post(server, backend, asked, stream=stream)
            assert (answer.status, answer.json()["code"]) == (400, "invalid_request"), answer
            assert answer.json()["detail"].startswith("input_data[1]: ")
    broken = post(server, backend, [*asked[:1], {**image, "data": "no base64!"}], model_name=backend.seeing)
    assert broken.status == 400
    assert broken.json()["detail"].startswith("input_data[1]")


def test_tokens_are_exact_where_somebody_knows_them_and_else_refused_or_estimated(
    server: Served, backend: Backend
) -> None:
    def said(path: str, **body: Any) -> Answer:
        body["binding_name"] = backend.name
        return ask(server.port, "POST", f"/api/v1/{path}", body, server.headers)

    text = "The sky is blue."
    tokens, counted = said("tokenize", text=text), said("count_tokens", text=text)
    assert counted.status == 200, counted
    assert 3 <= counted.json()["count"] <= 9
    assert counted.json()["exact"] == (backend.name == "nano")
    if backend.name == "nano":
        found = tokens.json()
        assert found["count"] == len(found["tokens"]) == counted.json()["count"]
        assert said("detokenize", tokens=found["tokens"]).json() == {"text": text}
    else:
        for answer in (tokens, said("detokenize", tokens=[1, 2])):
            assert (answer.status, answer.json()["code"]) == (501, "unsupported_feature"), answer


EMBEDS = {"ollama": "embed", "openai": "one", "lollms": "embed"}


def test_texts_are_embedded_in_order_or_that_is_said_to_be_impossible(server: Served, backend: Backend) -> None:
    body = {"input": ["a", "bcd"], "binding_name": backend.name, "model_name": EMBEDS.get(backend.name)}
    answer = ask(server.port, "POST", "/api/v1/embed", body, server.headers)
    if backend.name not in EMBEDS:
        assert (answer.status, answer.json()["code"]) == (501, "unsupported_feature"), answer
        return
    assert answer.status == 200, answer
    assert [vector[0] for vector in answer.json()["embeddings"]] == [1.0, 3.0]
    assert answer.json()["model_name"].removesuffix(":latest") == EMBEDS[backend.name]


def test_models_are_listed_and_described_in_the_documented_fields(server: Served, backend: Backend) -> None:
    def said(path: str) -> Answer:
        return ask(server.port, "GET", f"/api/v1/{path}", None, server.headers)

    listed = said(f"list_available_models/{backend.name}").json()
    assert listed["binding_instance_name"] == backend.name
    names = {model["name"].removesuffix(":latest") for model in listed["models"]}
    assert {model.removesuffix(":latest") for model in backend.models} <= names
    assert all({"context_size", "supports_vision", "family", "details"} <= set(each) for each in listed["models"])
    info = said(f"get_model_info/{backend.name}").json()
    assert info["model_name"].removesuffix(":latest") == backend.models[0]
    assert info["context_size"] > 0 and info["supports_streaming"] is True
    unknown = said(f"get_model_info/{backend.name}?model_name=nobody")
    assert (unknown.status, unknown.json()["code"]) == (404, "unknown_model"), unknown
    assert set(info) | {"error"} <= set(unknown.json())
    assert unknown.json()["details"] == {"status": "not_found"}


# ---- stopping


@pytest.mark.parametrize("how", ["leaving", "DELETE"])
@pytest.mark.parametrize("stream", [True, False])
def test_the_backend_stops_when_nobody_wants_the_answer(
    server: Served, backend: Backend, stream: bool, how: str
) -> None:
    own = f"stop-{backend.name}-{how}-{stream}-0123456789"
    body = prompt("Count for ever.", binding_name=backend.name, parameters=FOR_EVER, stream=stream)
    headers = {**server.headers, "X-Request-ID": own}
    with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=headers) as request:
        if stream:
            next(request.read_head().pieces())
        until(backend.at_work, 5, "the beginning of the answer")
        if how == "leaving":
            request.leave()
        else:
            assert ask(server.port, "DELETE", f"/api/v1/requests/{own}", None, server.headers).status == 204
            answer = request.whole()
            if stream:
                error, final = answer.events()[-2:]
                assert (error["type"], error["metadata"]["code"]) == ("error", "cancelled")
                assert (final["type"], final["metadata"]["status"]) == ("final", "failed")
            else:
                assert (answer.status, answer.json()["code"]) == (499, "cancelled"), answer
        until(lambda: not backend.at_work(), 5, "the end of the work")
    server.wait_idle()
    if backend.mind is None:
        assert backend.sent()["read"] < 1000, "it has filled its context, so it was not stopped"
