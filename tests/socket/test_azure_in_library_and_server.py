"""Azure OpenAI whole: both forms of its addresses, in the library's bindings and in the server's, over real sockets.

The stand-in wants the key in `api-key`, a version in the query of the older form and none in the newer one, and puts
what its filters found into chunks of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import InvalidRequest
from lollms_core.types import Reply, Usage
from lollms_server.zoos.bindings.openai_binding import OpenAIBinding
from tests.support.attached import attached, reply_of, said
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import reply
from tests.support.raw_http import ask, prompt
from tests.support.responses_server import responding
from tests.support.server import running_server
from tests.support.strict_chat_server import KEY, strict

T = TypeVar("T")
TEXT = "Grüße 🦙, 世界!"
FORMS = {"azure_openai": "/openai/deployments/my%20gpt/chat/completions?api-version={}", "azure_openai_v1": ""}

each_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


def with_instance(address: str, work: Callable[[OpenAIBinding], Awaitable[T]], **settings: Any) -> T:
    """What is asked of an instance of the server's binding."""
    settings = {"provider": "azure_openai", "api_key": KEY, "default_model": "my gpt", **settings}

    async def run() -> T:
        async with attached(OpenAIBinding, base_url=address, **settings) as binding:
            return await work(binding)

    return asyncio.run(run())


@each_form
@pytest.mark.parametrize("stream", [True, False])
def test_the_servers_binding_speaks_both_forms(chaos: ChaosServer, form: str, stream: bool) -> None:
    address = strict(chaos, form)
    found = with_instance(address, lambda binding: reply_of(binding, said(TEXT, stream=stream)))
    assert (found.text, found.model, found.finish_reason) == (TEXT, "my gpt", "stop")
    assert found.usage == (None if stream and form == "azure_openai" else Usage(11, 7, 18))
    asked = chaos.requests[-1]
    path = FORMS[form].format("2024-02-01") or "/openai/v1/chat/completions"
    assert asked.path == f"/{form}{path}"
    assert asked.headers["api-key"] == KEY
    assert "authorization" not in asked.headers


@each_form
def test_the_servers_binding_lists_embeds_and_is_there(chaos: ChaosServer, form: str) -> None:
    async def work(binding: OpenAIBinding) -> tuple[Any, ...]:
        embedded = await binding.embed(["a", "bcd"], "e")
        return await binding.list_available_models(), embedded.vectors, await binding.health_check()

    models, vectors, health = with_instance(strict(chaos, form), work)
    assert [model["name"] for model in models] == ["one"]
    assert (vectors, health[0]) == (((1.0,), (3.0,)), True)


def test_a_version_of_ones_own(chaos: ChaosServer) -> None:
    address = strict(chaos, "azure_openai")
    with_instance(address, lambda binding: reply_of(binding, said(TEXT)), api_version="2024-10-21")
    assert chaos.requests[-1].path.endswith("?api-version=2024-10-21")


def test_a_version_in_an_instance_file_reaches_azure(chaos: ChaosServer) -> None:
    """The whole way: a file, in which the version may look like a date, the server's route, and Azure's answer."""
    address = strict(chaos, "azure_openai")
    instance = {
        "type": "openai_binding",
        "provider": "azure_openai",
        "base_url": address,
        "api_key": KEY,
        "default_model": "my gpt",
        "api_version": "2024-10-21",
    }
    config = {"bindings_map": {"az": "openai_binding"}, "defaults": {"ttt_binding": "az"}}
    with running_server(None, config, {"az": instance}) as server:
        server.wait_until(lambda: server.services.manager.models != "loading", 20)
        answer = ask(server.port, "POST", "/api/v1/generate", prompt(TEXT, stream=True), server.headers)
        events = answer.events()
        refused = ask(server.port, "POST", "/api/v1/generate", prompt(TEXT, model_name="filtered"), server.headers)
    assert "".join(event["content"] for event in events if event["type"] == "chunk") == TEXT
    assert (refused.status, "our policy" in str(refused.json())) == (400, True)
    assert {seen.path.partition("?")[2] for seen in chaos.requests} == {"api-version=2024-10-21"}


@each_form
def test_an_address_of_azure_is_known_by_its_host(form: str) -> None:
    """The binding for OpenAI and its kin takes Azure's row there."""
    for host in ("r.openai.azure.com", "r.cognitiveservices.azure.com", "R.services.ai.azure.com"):
        path = "/openai/v1/" if form == "azure_openai_v1" else "/"
        binding: Any = LollmsClient("openai", f"https://{host}{path}", model_name="m", service_key=KEY).binding
        assert binding.dialect.name == form
        assert dict(binding.target.options) == ({} if path != "/" else {"api-version": "2024-02-01"})
    for other in ("https://openai.azure.com.evil.example", "https://r.openai.azure.com/models"):
        other_binding: Any = LollmsClient("openai", other, model_name="m", service_key=KEY).binding
        assert other_binding.dialect.name == "openai-compatible"


# ---- deployments that are served over Responses alone --------------------------------------------------------------

NOT_HERE = "The chatCompletion operation does not work with the specified model, deep. Please choose different model."


async def _azure_with_responses(connection: Connection, seen: Seen) -> None:
    """Chat completions know no deployment `deep`, Responses are in the newer form alone and take no version."""
    path = seen.path.removeprefix("/azure")
    if seen.headers.get("api-key") != KEY:
        return await reply(connection, b'{"error": {"code": "401", "message": "Access denied"}}', 401, "No")
    if path == "/openai/v1/responses":
        seen.path = "/azure/responses"
        return await responding(connection, seen)
    body = json.dumps({"error": {"code": "OperationNotSupported", "message": NOT_HERE}}).encode()
    await reply(connection, body, 400, "No")


@pytest.mark.parametrize("path", ["", "/openai/v1"])
def test_a_deployment_without_chat_completions_is_asked_over_responses(chaos: ChaosServer, path: str) -> None:
    address = chaos.add("azure", _azure_with_responses) + path
    with LollmsClient("azure_openai", address, model_name="deep", service_key=KEY) as client:
        replies = [client.complete(TEXT), client.stream(TEXT).result()]
    replies.append(with_instance(address, lambda binding: reply_of(binding, said(TEXT, "deep"))))
    assert [reply.text for reply in replies] == [TEXT] * 3
    asked = [seen.path for seen in chaos.requests]
    assert asked.count("/azure/responses") == 3
    assert len(asked) == 5  # each binding learned it once


def test_what_azures_filters_stop_is_not_tried_over_responses(chaos: ChaosServer) -> None:
    with contextlib.ExitStack() as stack:
        address = strict(chaos, "azure_openai_v1")
        client = stack.enter_context(LollmsClient("azure_openai", address, model_name="filtered", service_key=KEY))
        with pytest.raises(InvalidRequest, match="our policy"):
            client.complete(TEXT)
    assert len(chaos.requests) == 1


def test_an_answer_that_a_filter_ends_says_so(chaos: ChaosServer) -> None:
    """The last choice has no `delta`, and the filter's findings come behind it."""
    chunks: list[dict[str, Any]] = [
        {"model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]},
        {"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Gr"}}]},
        {"model": "m", "choices": [{"index": 0, "finish_reason": "content_filter", "content_filter_results": {}}]},
        {"model": "", "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]},
    ]
    lines = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks) + b"data: [DONE]\n\n"

    async def answer(connection: Connection, seen: Seen) -> None:
        await reply(connection, lines, content_type="text/event-stream")

    address = chaos.add("azure", answer)
    with LollmsClient("azure_openai", address, model_name="m", service_key=KEY) as client:
        found: Reply = client.stream(TEXT).result()
    assert (found.text, found.finish_reason, found.model) == ("Gr", "content_filter", "m")
