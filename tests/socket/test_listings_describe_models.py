"""What a binding says of its models comes out in the documented form or as the documented error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.errors import ConnectFailed, UnknownModel, UnsupportedFeature
from tests.support.raw_http import Answer, RawRequest, ask
from tests.support.server import KEY, PortsBinding, Served, running_server

SECRET = "sk-canary-5d1e8f2a9b7c"


def get(server: Served, path: str) -> Answer:
    return ask(server.port, "GET", f"/api/v1/{path}", None, server.headers)


class Describing(PortsBinding):
    """A binding that says of its models what a test tells it to."""

    def __init__(self, said: Any) -> None:
        super().__init__(lambda call: "fine")
        self.said = said

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        said = self.said(model_name) if callable(self.said) else self.said
        if isinstance(said, BaseException):
            raise said
        return said  # type: ignore[no-any-return]

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        return await self.get_model_info()  # type: ignore[return-value]


FULL = {
    "name": "real-name",
    "model_name": "real-name",
    "model_type": "vlm",
    "context_size": 512,
    "max_output_tokens": 64,
    "supports_vision": True,
    "supports_audio": False,
    "supports_streaming": False,
    "details": {"family": "llama"},
    "format": "gguf",
}


# What a binding says of a model -> what the reply holds.
DESCRIPTIONS: list[tuple[Any, str, dict[str, Any]]] = [
    (FULL, "", {**FULL, "details": {"format": "gguf", "family": "llama"}}),
    ({"name": "x"}, "", {"model_name": "x", "model_type": "ttt", "context_size": 8192, "details": {}}),
    ({"context_size": None}, "y", {"model_name": "y", "context_size": 8192, "max_output_tokens": None}),
    ({"context_size": -1, "max_output_tokens": "many"}, "", {"context_size": 8192, "max_output_tokens": None}),
    ({"supports_vision": True}, "", {"model_type": "vlm", "supports_vision": True}),
    ({"model_type": "smell"}, "", {"model_type": "ttt"}),
    (
        {"name": "x", "details": {"a": float("nan"), "b": object(), "c": {1: b"x"}}},
        "",
        {"details": {"a": None, "b": "object", "c": {"1": "x"}}},
    ),
]
UNKNOWN: dict[str, Any] = {
    "UnknownModel": UnknownModel("There is no 'x'."),
    "ValueError": ValueError("There is no 'x'."),
    "empty": {},
    "error": {"error": "There is no 'x'.", "details": {"status": "not_found"}},
    "status": {"model_name": "x", "details": {"status": "not_found"}},
}
FAILING: dict[str, tuple[Any, int, str]] = {
    "not-implemented": (NotImplementedError(), 501, "unsupported_feature"),
    "unsupported": (UnsupportedFeature("No."), 501, "unsupported_feature"),
    "unreachable": (ConnectFailed("Nobody there."), 503, "connect_failed"),
    "slow": (TimeoutError(), 504, "timeout"),
    "defect": (ZeroDivisionError(f"{SECRET} in /home/me/x.py"), 500, "engine_error"),
    "text": ("a text", 500, "engine_error"),
    "numbers": ([5], 500, "engine_error"),
}
LISTED = ["by name", {"name": "a", "size": 5, "digest": "d"}, {"model_name": "b", "details": {"key": KEY}}]


@pytest.fixture(scope="module")
def describing() -> Iterator[Served]:
    said = {
        **{f"described-{number}": said for number, (said, _, _) in enumerate(DESCRIPTIONS)},
        **UNKNOWN,
        **{name: said for name, (said, _, _) in FAILING.items()},
        "listed": LISTED,
    }
    bindings = {name: Describing(each) for name, each in said.items()}
    config = {"defaults": {"ttt_binding": "listed", "default_context_size": 8192}}
    with running_server(bindings, config) as served:
        yield served


@pytest.mark.parametrize("number", range(len(DESCRIPTIONS)))
def test_model_info_has_its_documented_fields(describing: Served, number: int) -> None:
    _, asked, wanted = DESCRIPTIONS[number]
    answer = get(describing, f"get_model_info/described-{number}" + (f"?model_name={asked}" if asked else ""))
    assert answer.status == 200, answer
    body = answer.json()
    assert set(body) == {
        *("binding_instance_name", "model_name", "model_type", "context_size", "max_output_tokens"),
        *("supports_vision", "supports_audio", "supports_streaming", "details"),
    }
    assert body["binding_instance_name"] == f"described-{number}"
    assert {name: body[name] for name in wanted if name in body} == {n: v for n, v in wanted.items() if n in body}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_model_is_404_with_the_documented_object(describing: Served, name: str) -> None:
    answer = get(describing, f"get_model_info/{name}?model_name=x")
    assert answer.status == 404
    body = answer.json()
    assert body.pop("error") == body["detail"] and "'x'" in body["detail"]
    assert body.pop("request_id") == answer.headers["x-request-id"]
    assert body.pop("code") == "unknown_model" and body.pop("detail")
    assert body == {
        "binding_instance_name": name,
        "model_name": "x",
        "model_type": None,
        "context_size": None,
        "max_output_tokens": None,
        "supports_vision": False,
        "supports_audio": False,
        "supports_streaming": True,
        "details": {"status": "not_found"},
    }


@pytest.mark.parametrize("name", FAILING)
def test_a_binding_that_fails_to_describe_has_its_status(describing: Served, name: str) -> None:
    _, status, code = FAILING[name]
    for path in (f"get_model_info/{name}", f"list_available_models/{name}"):
        answer = get(describing, path)
        assert (answer.status, answer.json()["code"]) == (status, code), path
        assert SECRET.encode() not in answer.body and b"/home" not in answer.body


def test_what_a_binding_says_of_its_models_is_brought_into_form(describing: Served) -> None:
    first, second, third = get(describing, "list_available_models/listed").json()["models"]
    assert (first["name"], first["size"], first["details"]) == ("by name", None, {})
    assert (second["size"], second["details"]) == (5, {"digest": "d"})
    assert third["name"] == "b" and third["details"] == {"key": "•••"}
    assert list(first) == [
        *("name", "size", "modified_at", "quantization_level", "format", "family", "families", "parameter_size"),
        *("context_size", "max_output_tokens", "template", "license", "homepage", "supports_vision"),
        *("supports_audio", "details"),
    ]


def test_a_question_ends_when_its_caller_leaves() -> None:
    class Silent(PortsBinding):
        @override
        async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

        @override
        async def list_available_models(self) -> list[dict[str, Any]]:
            return [await self.get_model_info()]

    with running_server({"main": Silent(lambda call: "fine")}) as server:
        for path in ("get_model_info/main?model_name=x", "list_available_models/main"):
            with RawRequest(server.port, "GET", f"/api/v1/{path}", headers=server.headers):
                server.wait_until(lambda: len(server.services.registry) == 1)
            server.wait_idle()
