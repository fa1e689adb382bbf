"""The server asks a model once with a parameter that it refuses, and never again."""

from __future__ import annotations

import json
from typing import Any

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import reply
from tests.support.openai_server import answering
from tests.support.raw_http import ask, prompt
from tests.support.server import running_server


async def _choosy(connection: Connection, seen: Seen) -> None:
    if seen.path.endswith("/models") or "temperature" not in seen.json():
        return await answering(connection, seen)
    words = "Unsupported parameter: 'temperature' is not supported with this model."
    error = {"message": words, "type": "invalid_request_error", "param": "temperature", "code": "unsupported_parameter"}
    await reply(connection, json.dumps({"error": error}).encode(), 400, "Bad Request")


def test_a_refusal_is_repeated_once_and_the_receipt_says_so() -> None:
    with ChaosServer() as chaos:
        url = chaos.add("choosy", _choosy)
        settings = {"type": "openai_binding", "base_url": url, "api_key": "sk-canary", "default_model": "one"}
        config = {"bindings_map": {"box": "openai_binding"}, "defaults": {"ttt_binding": "box"}}
        with running_server(None, config, {"box": settings}) as server:
            found: list[Any] = []
            for stream in (False, True, False):
                asked = prompt("Hi", stream=stream, parameters={"temperature": 0.5})
                answer = ask(server.port, "POST", "/api/v1/generate", asked, server.headers)
                assert answer.status == 200, answer
                found.append(answer.events()[-1]["content"] if stream else answer.json()["output"])
            sent = [seen.json() for seen in chaos.requests if seen.path.endswith("/chat/completions")]
    assert ["temperature" in body for body in sent] == [True, False, False, False]
    assert found[0] == found[1] == found[2]
    assert found[0][0]["data"] == "Hi"
    receipt = found[0][0]["metadata"]["receipt"]
    assert [(item["name"], item["action"]) for item in receipt] == [("temperature", "dropped")]
