"""The binding `lollms` asks a server by its documented routes, with the right key, and reads its answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_core.errors import AuthFailed, KeyRejected, NotFound, Overloaded, UnsupportedFeature
from lollms_core.protocols.lollms_wire import (
    GenerateResponse,
    encode_batch,
    encode_error,
    encode_final,
    encode_response,
    reply_output,
)
from lollms_core.types import Progress, Reply, TextDelta, ThoughtDelta, Usage
from lollms_runtime.keys import remember_key
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import END, chunk, reply, stream_head

ANSWER = Reply("Space is big.", thoughts="Hm.", usage=Usage(3, 4, 7), model="nano")
RECORDS: dict[str, Any] = {
    "get_default_bindings": {"defaults": {"ttt_binding": "my instance"}},
    "list_available_models/my%20instance": {"models": [{"name": "nano", "context_size": 512}]},
    "get_model_info/my%20instance": {"model_name": "nano", "context_size": 512},
    "get_model_info/my%20instance?model_name=a%2Fb": {"model_name": "a/b", "context_size": 99},
    "list_personalities": {"personalities": {"lollms": {}, "artbot": {}}},
    "tokenize": {"tokens": [1, 2], "count": 2},
    "detokenize": {"text": "two words"},
    "count_tokens": {"count": 2},
    "embed": {"embeddings": [[0.5, 1.0]], "model_name": "nano"},
}


async def server(connection: Any, seen: Any) -> None:
    """The routes that the client uses, with fixed answers."""
    route = seen.path.split("/api/v1/", 1)[1]
    if route != "generate":
        await reply(connection, json.dumps(RECORDS[route]).encode())
    elif not seen.json()["stream"]:
        await reply(connection, encode_response(GenerateResponse(output=reply_output(ANSWER))))
    else:
        await connection.send(stream_head())
        for batch in (
            [Progress("queue", position=1)],
            [ThoughtDelta("Hm.")],
            [TextDelta("Space"), TextDelta(" is big.")],
        ):
            await connection.send(chunk(encode_batch(batch)))
        await connection.send(chunk(encode_final(reply_output(ANSWER), {"request_id": "abc"})) + END)


@pytest.fixture(autouse=True)
def no_keys_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOLLMS_API_KEY", raising=False)
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path))


def test_streamed_or_whole_it_is_the_same() -> None:
    with ChaosServer() as chaos, LollmsClient("lollms", chaos.add("server", server), service_key="k") as client:
        events: list[Any] = []
        assert client.generate_text("Hi", streaming_callback=lambda *each: events.append(each)) == ANSWER.text
        assert [kind for _, kind in events] == [
            MSG_TYPE.MSG_TYPE_INFO,
            MSG_TYPE.MSG_TYPE_THOUGHT_CHUNK,
            MSG_TYPE.MSG_TYPE_CHUNK,
            MSG_TYPE.MSG_TYPE_CHUNK,
        ]
        assert client.generate_text("Hi") == ANSWER.text
        assert client.complete("Hi") == client.stream("Hi").result() == ANSWER


def test_only_what_was_set_is_sent() -> None:
    with ChaosServer() as chaos:
        config = {"instance": "other", "personality": "artbot"}
        address = chaos.add("server", server)
        with LollmsClient("lollms", address, service_key="k", llm_binding_config=config) as client:
            client.generate_text("Hi", system_prompt="Be kind.", n_predict=100)
        with LollmsClient("lollms", address, service_key="k") as client:
            client.generate_text("Hi")
        first, second = (seen.json() for seen in chaos.requests)
        assert (first["binding_name"], first["personality"]) == ("other", "artbot")
        assert first["parameters"] == {"max_tokens": 100}
        assert [(item["role"], item["data"]) for item in first["input_data"]] == [
            ("system_context", "Be kind."),
            ("user_prompt", "Hi"),
        ]
        assert second["parameters"] == {}
        assert not {"binding_name", "personality", "model_name"} & set(second)
        assert chaos.requests[0].path == "/server/api/v1/generate"


def test_the_key_is_the_given_one_else_the_environments_else_the_users_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChaosServer() as chaos:
        address = chaos.add("server", server)

        def key_sent(service_key: str | None = None) -> str | None:
            with LollmsClient("lollms", address, service_key=service_key) as client:
                client.complete("Hi")
            return chaos.requests[-1].headers.get("x-api-key")

        assert key_sent() is None
        remember_key("from-file")
        assert key_sent() == "from-file"
        monkeypatch.setenv("LOLLMS_API_KEY", "from-environment")
        assert key_sent() == "from-environment"
        assert key_sent("given") == "given"


def test_a_key_that_comes_later_is_found() -> None:
    with ChaosServer() as chaos, LollmsClient("lollms", chaos.add("server", server)) as client:
        client.complete("Hi")
        remember_key("from-file")
        client.complete("Hi")
        assert [seen.headers.get("x-api-key") for seen in chaos.requests] == [None, "from-file"]


def test_the_documented_routes() -> None:
    with ChaosServer() as chaos, LollmsClient("lollms", chaos.add("server", server), service_key="k") as client:
        assert client.listModels() == [{"model_name": "nano", "name": "nano", "context_size": 512}]
        assert client.get_model_info() == {"model_name": "nano", "context_size": 512}
        assert client.get_ctx_size() == 512
        assert client.get_ctx_size("a/b") == 99
        assert client.listMountedPersonalities() == ["artbot", "lollms"]
        assert client.tokenize("two words") == [1, 2]
        assert client.detokenize([1, 2]) == "two words"
        assert client.count_tokens("two words") == 2
        assert client.embed("x") == [0.5, 1.0]
        assert client.embed(["x"]) == [[0.5, 1.0]]
        assert all(seen.headers["x-api-key"] == "k" for seen in chaos.requests)


def refusing(status: int, code: str) -> Any:
    async def mode(connection: Any, seen: Any) -> None:
        body = {"detail": "Words of the server.", "code": code, "request_id": "abc"}
        await reply(connection, json.dumps(body).encode(), status, "No")

    return mode


def test_its_errors_come_back_as_they_were() -> None:
    with ChaosServer() as chaos:
        for status, code, kind in ((503, "overloaded", Overloaded), (404, "not_found", NotFound)):
            with LollmsClient("lollms", chaos.add(code, refusing(status, code)), service_key="k") as client:
                with pytest.raises(kind, match=r"Words of the server\."):
                    client.complete("Hi")


def test_a_wrong_key_says_where_keys_come_from() -> None:
    with ChaosServer() as chaos:
        address = chaos.add("no", refusing(401, "key_rejected"))
        with LollmsClient("lollms", address, service_key="wrong-key-canary") as client:
            with pytest.raises(AuthFailed) as caught:
                client.complete("Hi")
            assert not isinstance(caught.value, KeyRejected)
            assert "key" in str(caught.value)
            assert "wrong-key-canary" not in str(caught.value)
            result = client.listMountedPersonalities()
            assert isinstance(result, dict)
            assert result["code"] == "auth_failed"


def test_an_error_in_the_stream_keeps_what_came() -> None:
    async def breaks(connection: Any, seen: Any) -> None:
        error = Overloaded("Too much.")
        output = reply_output(Reply("Space", finish_reason="error"), failed=error)
        stream = encode_batch([TextDelta("Space")]) + encode_error(error) + encode_final(output, {"status": "failed"})
        await connection.send(stream_head() + chunk(stream) + END)

    with ChaosServer() as chaos, LollmsClient("lollms", chaos.add("breaks", breaks), service_key="k") as client:
        with pytest.raises(Overloaded, match="Too much") as caught:
            client.stream("Hi").result()
        assert caught.value.partial is not None
        assert caught.value.partial.text == "Space"


async def today(connection: Any, seen: Any) -> None:
    """A server that has the routes of the listings only."""
    route = seen.path.split("/api/v1/", 1)[-1]
    if route in ("get_default_bindings", "list_available_models/my%20instance"):
        await reply(connection, json.dumps(RECORDS[route]).encode())
    else:
        await refusing(404, "not_found")(connection, seen)


def test_a_route_that_the_server_has_not_is_an_unsupported_feature() -> None:
    with ChaosServer() as chaos, LollmsClient("lollms", chaos.add("today", today), service_key="k") as client:
        for route, ask in {
            "POST /api/v1/count_tokens": lambda: client.count_tokens("a"),
            "POST /api/v1/tokenize": lambda: client.tokenize("a"),
            "POST /api/v1/detokenize": lambda: client.detokenize([1]),
            "POST /api/v1/embed": lambda: client.embed("a"),
            "GET /api/v1/get_model_info": client.get_model_info,
        }.items():
            with pytest.raises(UnsupportedFeature, match=f"has no {route}") as caught:
                ask()
            assert "version of the server" in str(caught.value)
        result = client.listMountedPersonalities()
        assert isinstance(result, dict)
        assert result["code"] == "unsupported_feature"


def test_an_instance_that_is_not_there_is_not_taken_for_a_missing_route() -> None:
    config = {"instance": "other"}
    with ChaosServer() as chaos:
        address = chaos.add("today", today)
        with LollmsClient("lollms", address, service_key="k", llm_binding_config=config) as client:
            with pytest.raises(NotFound, match=r"list_available_models/other: Words of the server"):
                client.count_tokens("a")


def test_a_path_in_the_address_is_named_with_the_cure() -> None:
    with ChaosServer() as chaos:
        address = chaos.add("nothing", refusing(404, "not_found"))
        with LollmsClient("lollms", f"{address}/api/v1/", service_key="k") as client:
            for ask in (lambda: client.complete("Hi"), lambda: client.stream("Hi").result(), client.list_models):
                with pytest.raises(NotFound, match="/nothing/api/v1/api/v1/") as caught:
                    ask()
                assert "host_address is only scheme://host:port" in str(caught.value)
                assert "leave /nothing/api/v1 out" in str(caught.value)
