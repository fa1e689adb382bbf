"""The server in front of an HTTP backend: its bad days are typed errors, its connection closes when the caller leaves,
and no request can choose where it goes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lollms_server.core.bindings.instances import load_card
from lollms_server.core.bindings.manager import SHIPPED
from tests.support.chaos import ChaosServer, refused_url
from tests.support.chaos_modes import TEXT, reply
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import Served, running_server

BACKEND_KEY = "canary-backend-key-0123456789"


@contextlib.contextmanager
def in_front_of(urls: dict[str, str]) -> Iterator[Served]:
    """A server with one instance of openai_binding for each address."""
    config = {
        "bindings_map": dict.fromkeys(urls, "openai_binding"),
        "defaults": {"ttt_binding": next(iter(urls))},
    }
    instances = {
        name: {"type": "openai_binding", "base_url": url, "api_key": BACKEND_KEY, "default_model": "gpt-x"}
        for name, url in urls.items()
    }
    with running_server(None, config, instances) as server:
        server.wait_until(lambda: server.services.manager.models != "loading", 20)
        yield server


@pytest.fixture(scope="module")
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as backend:
        backend.with_elsewhere()
        yield backend
        assert backend.elsewhere is not None
        backend.elsewhere.__exit__()
        backend.elsewhere = None


MODES = """
    ok ok_json ok_sse one_packet slicer split_utf8 stall never drip html broken_sse bad_utf8 error_in_stream fin_chunked
    rst fin_before_headers no_terminator status-401 status-403 status-404 status-400 status-500
    redirect deep_json echo long
"""
ROUTING = """
    base_url api_base openai_api_base api_key service_key headers extra_headers extra_body extra_query default_headers
    organization project url host endpoint azure_endpoint deployment route provider transforms models plugins proxy
    http_client timeout user_agent model messages stream
"""


@pytest.fixture(scope="module")
def server(chaos: ChaosServer) -> Iterator[Served]:
    urls = {mode: chaos.url(mode) for mode in MODES.split()}
    urls["refused"] = refused_url()
    with in_front_of(urls) as served:
        yield served


def post(server: Served, mode: str, **more: Any) -> Answer:
    return ask(server.port, "POST", "/api/v1/generate", prompt("x", binding_name=mode, **more), server.headers)


@pytest.mark.parametrize("mode", ["ok", "one_packet", "slicer", "split_utf8"])
def test_whole_and_streamed_answers_are_the_same(server: Served, mode: str) -> None:
    streamed = post(server, mode, stream=True).events()
    assert "".join(event["content"] for event in streamed if event["type"] == "chunk") == TEXT
    assert streamed[-1]["content"][0]["data"] == TEXT
    if mode == "ok":
        whole = post(server, mode).json()["output"]
        assert whole == streamed[-1]["content"]


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        ("refused", 503, "connection_refused"),
        ("html", 502, "protocol_error"),
        ("status-401", 502, "auth_failed"),
        ("status-403", 502, "auth_failed"),
        ("status-500", 502, "upstream_failed"),
        ("status-400", 400, "invalid_request"),
        ("redirect", 502, "redirect_refused"),
        ("fin_before_headers", 502, "truncated_stream"),
        ("deep_json", 502, ""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_backend_that_fails_before_it_speaks_is_a_status(
    server: Served, chaos: ChaosServer, mode: str, status: int, code: str, stream: bool
) -> None:
    answer = post(server, mode, stream=stream)
    assert (answer.status, answer.json()["code"]) == (status, code or answer.json()["code"]), answer
    assert BACKEND_KEY.encode() not in answer.body
    assert answer.json()["detail"]
    if mode == "redirect":
        assert chaos.elsewhere is not None and not chaos.elsewhere.requests


@pytest.mark.parametrize("mode", ["error_in_stream", "fin_chunked", "rst", "no_terminator"])
def test_a_backend_that_fails_in_the_middle_ends_the_stream_with_what_came(server: Served, mode: str) -> None:
    answer = post(server, mode, stream=True)
    assert answer.status == 200, answer
    *chunks, error, final = answer.events()
    text = "".join(chunk["content"] for chunk in chunks)
    assert text and TEXT.startswith(text)
    assert error["type"] == "error" and error["metadata"]["code"]
    assert final["type"] == "final" and final["metadata"]["status"] == "failed"
    assert final["content"][0]["data"] == text
    assert final["content"][-1]["type"] == "error"
    assert b"canary" not in answer.body


@pytest.mark.parametrize(("mode", "stream"), [("stall", True), ("drip", True), ("never", True), ("never", False)])
def test_the_backends_connection_closes_when_the_caller_leaves(
    server: Served, chaos: ChaosServer, mode: str, stream: bool
) -> None:
    number = len(chaos.requests) + 1
    request = RawRequest(
        server.port,
        "POST",
        "/api/v1/generate",
        body=prompt("x", binding_name=mode, stream=stream),
        headers=server.headers,
    )
    seen = chaos.wait_request(number)
    if mode != "never":
        request.read_head()
    left = request.leave()
    seen.connection.closed_after()
    assert seen.connection.closed is not None
    assert seen.connection.closed - left <= 0.25
    server.wait_idle()


@pytest.mark.parametrize("stream", [True, False])
def test_the_backends_connection_closes_when_the_request_is_deleted(
    server: Served, chaos: ChaosServer, stream: bool
) -> None:
    number = len(chaos.requests) + 1
    own = "delete-me-0123456789"
    with RawRequest(
        server.port,
        "POST",
        "/api/v1/generate",
        body=prompt("x", binding_name="never", stream=stream),
        headers={**server.headers, "X-Request-ID": own},
    ) as request:
        seen = chaos.wait_request(number)
        now = time.monotonic()
        assert ask(server.port, "DELETE", f"/api/v1/requests/{own}", None, server.headers).status == 204
        seen.connection.closed_after()
        assert seen.connection.closed is not None
        assert seen.connection.closed - now <= 0.25
        assert request.whole().status == 499
    server.wait_idle()


def test_a_request_cannot_choose_the_backend_its_key_or_its_headers(server: Served, chaos: ChaosServer) -> None:
    evil = refused_url()
    names = ROUTING.split()
    number = len(chaos.requests) + 1
    answer = post(server, "ok", parameters={**dict.fromkeys(names, evil), "temperature": 0.5})
    assert answer.status == 200, answer
    seen = chaos.wait_request(number)
    body = seen.json()
    assert seen.path == "/ok/chat/completions"
    assert seen.headers["host"] == chaos.origin.removeprefix("http://")
    assert seen.headers["authorization"] == f"Bearer {BACKEND_KEY}"
    assert evil not in json.dumps([body, seen.raw_headers])
    assert (body["model"], body["temperature"]) == ("gpt-x", 0.5)
    dropped = {item["name"] for item in answer.json()["output"][0]["metadata"]["receipt"]}
    assert dropped == set(names)


def test_fields_beside_the_parameters_choose_nothing_either(server: Served, chaos: ChaosServer) -> None:
    evil = refused_url()
    number = len(chaos.requests) + 1
    answer = ask(
        server.port,
        "POST",
        f"/api/v1/generate?base_url={evil}&api_key=x",
        {**prompt("x", binding_name="ok"), "base_url": evil, "api_key": "x", "headers": {"x": "y"}},
        {
            **server.headers,
            "X-Base-Url": evil,
            "Cookie": "a=b",
            "Authorization": "Bearer mine",
            "X-Forwarded-Host": "h",
        },
    )
    assert answer.status == 200, answer
    seen = chaos.wait_request(number)
    assert seen.path == "/ok/chat/completions"
    assert evil not in json.dumps([seen.json(), seen.raw_headers])
    assert "cookie" not in seen.headers and "x-api-key" not in seen.headers
    assert seen.headers["authorization"] == f"Bearer {BACKEND_KEY}"


def test_the_models_of_a_backend_are_listed(chaos: ChaosServer) -> None:
    async def models(connection: Any, seen: Any) -> None:
        body = {"object": "list", "data": [{"id": "one", "object": "model"}, {"id": "two", "max_model_len": 32768}]}
        await reply(connection, json.dumps(body).encode(), content_type="application/json")

    with in_front_of({"main": chaos.add("list-of-models", models), "dead": refused_url()}) as server:
        answer = ask(server.port, "GET", "/api/v1/list_available_models/main", None, server.headers)
        assert answer.status == 200, answer
        assert [model["name"] for model in answer.json()["models"]] == ["one", "two"]
        assert {"context_size", "supports_vision", "size", "family", "details"} <= set(answer.json()["models"][0])
        dead = ask(server.port, "GET", "/api/v1/list_available_models/dead", None, server.headers)
        assert (dead.status, dead.json()["code"]) == (503, "connection_refused")
        unknown = ask(server.port, "GET", "/api/v1/list_available_models/nobody", None, server.headers)
        assert unknown.status == 404


def test_listings_have_the_documented_shapes(server: Served) -> None:
    said = ask(server.port, "GET", "/api/v1/list_bindings", None, server.headers).json()
    card = load_card(SHIPPED / "openai_binding")
    assert set(said) == {"binding_types", "binding_instances", "problems"}
    assert said["binding_types"]["openai_binding"]["display_name"] == card.display_name
    assert set(said["binding_types"]["openai_binding"]) == {
        "type_name", "display_name", "version", "author", "description", "requirements", "supports_streaming",
        "documentation_url", "supported_output_modalities", "supported_input_modalities",
    }  # fmt: skip
    instance = said["binding_instances"]["ok"]
    assert instance["type"] == "openai_binding" and instance["default_model"] == "gpt-x"
    assert "api_key" not in instance
    active = ask(server.port, "GET", "/api/v1/list_active_bindings", None, server.headers).json()
    assert active["bindings"]["ok"] == instance
    defaults = ask(server.port, "GET", "/api/v1/get_default_bindings", None, server.headers).json()
    assert defaults["defaults"]["ttt_binding"] == "ok"
    assert set(defaults["defaults"]) == {
        "ttt_binding", "tti_binding", "tts_binding", "stt_binding", "ttv_binding", "ttm_binding",
        "default_context_size", "default_max_output_tokens",
    }  # fmt: skip


def test_no_secret_leaves_the_house(server: Served, chaos: ChaosServer, caplog: pytest.LogCaptureFixture) -> None:
    """Every route and every failure, looked through for the keys of the backends and of the caller."""
    paths = ["/", "/health", "/openapi.json", "/docs", "/nope", "/api/v1/get_default_bindings"]
    paths += ["/api/v1/list_bindings", "/api/v1/list_active_bindings"]

    def all_of(mode: str) -> list[bytes]:
        """Both kinds of answer, and the models, of one backend."""
        answers = [post(server, mode, stream=stream, parameters={"api_key": "x"}) for stream in (False, True)]
        answers.append(ask(server.port, "GET", f"/api/v1/list_available_models/{mode}", None, server.headers))
        return [answer.body for answer in answers]

    quick = [mode for mode in (*MODES.split(), "refused") if mode not in ("stall", "never", "drip")]
    with ThreadPoolExecutor(len(quick)) as pool:
        replies = [body for bodies in pool.map(all_of, quick) for body in bodies]
    replies += [ask(server.port, "GET", path, None, server.headers).body for path in paths]
    everything = b"\n".join(replies).decode() + repr(vars(server.services.manager)) + repr(server.services)
    for secret in (BACKEND_KEY, server.key):
        assert secret not in everything
        assert secret not in caplog.text
