"""Whatever stands behind the server, its bad days reach a caller as the same documented statuses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lollms_core.errors import AuthFailed, FirstByteTimeout, LollmsError, RateLimited, Refused
from lollms_core.protocols.base import Timeouts
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.http import HttpBinding
from lollms_server.zoos.bindings.lollms_binding import LollmsBinding
from lollms_server.zoos.bindings.ollama_binding import OllamaBinding
from lollms_server.zoos.bindings.openai_binding import OpenAIBinding
from tests.support.chaos import ChaosServer, refused_url
from tests.support.raw_http import Answer, ask, prompt
from tests.support.server import PortsBinding, Served, running_server

FAULTS: dict[str, tuple[int, str, LollmsError]] = {
    "refused": (503, "connection_refused", Refused("Nobody there.")),
    "status-401": (502, "auth_failed", AuthFailed("Another key, please.")),
    "status-429-after-700": (429, "rate_limited", RateLimited("Slowly.", retry_after=700)),
    "never": (504, "first_byte_timeout", FirstByteTimeout("Too slow.")),
}
SPEAKING: dict[str, type[HttpBinding]] = {"ollama": OllamaBinding, "openai": OpenAIBinding, "lollms": LollmsBinding}
ADDRESS = {"ollama": "host", "openai": "base_url", "lollms": "base_url"}
KEY = "canary-backend-key-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """Instances `<protocol>-<fault>` of every protocol, and the same of scripts."""
    with pytest.MonkeyPatch.context() as patch, ChaosServer() as chaos:
        for kind in SPEAKING.values():
            patch.setattr(kind, "timeouts", Timeouts(first_byte=0.2))
        instances: dict[str, dict[str, Any]] = {}
        for protocol, fault in itertools.product(SPEAKING, FAULTS):
            address = refused_url() if fault == "refused" else chaos.url(fault)
            key = "service_key" if protocol == "lollms" else "api_key"
            instances[f"{protocol}-{fault}"] = {
                "type": f"{protocol}_binding",
                ADDRESS[protocol]: address,
                "default_model": "m",
                key: KEY,
            }
        instances["nano-lost"] = {"type": "llamacpp_binding", "default_model": "nobody-has-this.gguf"}
        config = {"bindings_map": {name: each["type"] for name, each in instances.items()}}
        with running_server(scripted(), config, instances) as served:
            served.wait_until(lambda: served.services.manager.models != "loading", 30)
            yield served


def scripted() -> dict[str, Binding]:
    """Bindings in this process that fail in the same ways."""
    return {f"scripted-{fault}": PortsBinding(lambda call, error=error: error) for fault, (*_, error) in FAULTS.items()}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["scripted", *SPEAKING])
def test_a_backend_that_fails_before_it_speaks_is_the_documented_status(server: Served, name: str, fault: str) -> None:
    status, code, _ = FAULTS[fault]

    def post(stream: bool) -> Answer:
        body = prompt("Hello", binding_name=f"{name}-{fault}", stream=stream)
        return ask(server.port, "POST", "/api/v1/generate", body, server.headers)

    with ThreadPoolExecutor(2) as pool:  # some are asked again after a while before they are given up
        answers = list(pool.map(post, (False, True)))
    for answer in answers:
        assert (answer.status, answer.json()["code"]) == (status, code), answer
        assert answer.json()["detail"] and KEY.encode() not in answer.body
        if status == 429:
            assert answer.headers["retry-after"] == "700"


def test_an_engine_without_its_model_is_unavailable_and_says_why(server: Served) -> None:
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("Hello", binding_name="nano-lost"), server.headers)
    assert (answer.status, answer.json()["code"]) == (503, "instance_unavailable"), answer
    problems = ask(server.port, "GET", "/api/v1/list_bindings", None, server.headers).json()["problems"]
    (problem,) = [each for each in problems if each["name"] == "nano-lost"]
    assert "nobody-has-this.gguf" in problem["reason"]
