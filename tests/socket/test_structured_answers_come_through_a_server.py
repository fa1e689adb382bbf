"""The client's structured answers through our server: what stands behind it may refuse schemas and tools.

A refusal comes back as what it is, and the client's flow asks in the next way; all ends typed and within its calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import EngineError, StructuredOutputError, WorkflowFailed
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import reply
from tests.support.openai_server import answering
from tests.support.personalities import serving
from tests.support.server import Served, running_server
from tests.support.third_party_binding import Documented, make

SHAPE = {"name": "string", "size": "integer"}
VALUE = {"name": "Ann", "size": 2}
WORDS = f"Here you are:\n```json\n{json.dumps(VALUE)}\n```"


class Refusing:
    """An OpenAI-compatible backend that takes no call with one of these fields, and answers the others in words."""

    def __init__(self, *fields: str) -> None:
        self.fields = fields
        self.bodies: list[Any] = []

    async def __call__(self, connection: Connection, seen: Seen) -> None:
        if seen.path.endswith("/models"):
            return await answering(connection, seen)
        body = seen.json()
        self.bodies.append(body)
        for field in self.fields:
            if field in body:
                error = {"message": f"{field} is not supported here.", "type": "invalid_request_error", "param": field}
                return await reply(connection, json.dumps({"error": error}).encode(), 400, "Bad Request")
        if not body.get("stream"):
            message = {"role": "assistant", "content": WORDS}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return await reply(connection, json.dumps({"model": "one", "choices": [choice]}).encode())
        await answering(connection, seen)


class Willing(Documented):
    """Answers in words, and says no to what stands in `refuses`, with the error of `how`."""

    refuses: tuple[str, ...] = ()
    how: type[Exception] = NotImplementedError

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
        self.asked.append({"prompt": prompt, "info": request_info})
        for name in self.refuses:
            if name in request_info:
                raise self.how(name)
        return self.config["answer"]


def client(server: Served, **config: Any) -> LollmsClient:
    return LollmsClient("lollms", server.url, service_key=server.key, llm_binding_config=config)


def asked(server: Served, callback: Any = None, **config: Any) -> Any:
    with client(server, **config) as each:
        return each.generate_structured_content("Who?", schema=SHAPE, raise_errors=True, streaming_callback=callback)


@pytest.mark.parametrize(
    ("fields", "ways"),
    [((), 1), (("response_format",), 2), (("response_format", "tools"), 3)],
    ids=["takes all", "no schema", "neither schema nor tools"],
)
def test_a_backend_that_refuses_a_way_is_asked_in_the_next(fields: tuple[str, ...], ways: int) -> None:
    refusing = Refusing(*fields)
    with ChaosServer() as chaos:
        settings = {"type": "openai_binding", "base_url": chaos.add("refusing", refusing), "api_key": "k"}
        config = {"bindings_map": {"box": "openai_binding"}, "defaults": {"ttt_binding": "box"}}
        with running_server(None, config, {"box": {**settings, "default_model": "one"}}) as server:
            assert asked(server) == VALUE
    assert [("response_format" in body, "tools" in body) for body in refusing.bodies] == [
        (True, False), (False, True), (False, False),
    ][:ways]  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", [NotImplementedError, ValueError])
@pytest.mark.parametrize("refuses", [(), ("response_schema",), ("response_schema", "tools")])
def test_a_documented_binding_is_asked_in_words_at_last(
    refuses: tuple[str, ...], how: type[Exception], streamed: bool
) -> None:
    binding = make(Willing, answer=WORDS, default_model="m")
    assert isinstance(binding, Willing)
    binding.refuses, binding.how = refuses, how
    with running_server({"mine": binding}) as server:
        assert asked(server, (lambda *_: True) if streamed else None) == VALUE
    assert len(binding.asked) == 1 + len(refuses)
    assert "JSON" in binding.asked[-1]["prompt"] and '"size"' in binding.asked[-1]["prompt"]


def test_a_binding_that_breaks_on_a_schema_is_not_asked_for_ever() -> None:
    binding = make(Willing, answer=WORDS, default_model="m")
    assert isinstance(binding, Willing)
    binding.refuses, binding.how = ("response_schema",), RuntimeError
    with running_server({"mine": binding}) as server, pytest.raises(EngineError):
        asked(server)
    assert len(binding.asked) == 1


def test_a_model_that_gives_no_json_ends_as_what_it_is() -> None:
    binding = make(Willing, answer="I would rather not.", default_model="m")
    with running_server({"mine": binding}) as server, pytest.raises(StructuredOutputError) as caught:
        asked(server)
    assert len(caught.value.attempts) == len(binding.asked) == 3


SCRIPTS = {
    "ready": """
        async def run_workflow(prompt, params, context):
            return {"name": "Ann", "size": 2}
        """,
    "words": """
        async def run_workflow(prompt, params, context):
            return (await context["binding"].generate(prompt)).text
        """,
    "broken": """
        async def run_workflow(prompt, params, context):
            raise RuntimeError("no")
        """,
}


@pytest.fixture(scope="module")
def scripted() -> Iterator[Served]:
    with serving(SCRIPTS, {"mine": make(Willing, answer=WORDS, default_model="m")}) as server:
        yield server


@pytest.mark.parametrize("personality", ["ready", "words"])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_script_of_a_personality_may_answer(scripted: Served, personality: str, streamed: bool) -> None:
    assert asked(scripted, (lambda *_: True) if streamed else None, personality=personality) == VALUE


def test_a_script_that_fails_is_asked_once(scripted: Served) -> None:
    with pytest.raises(WorkflowFailed):
        asked(scripted, personality="broken")
