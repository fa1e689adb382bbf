"""Tokens come from the binding, else from this machine, else as a marked estimate; and never from a network."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.text.tokens import estimate
from lollms_server.core.bindings import Binding
from lollms_server.zoos.bindings.openai_binding import OpenAIBinding
from tests.support.raw_http import Answer, RawRequest, ask
from tests.support.server import PortsBinding, Served, running_server
from tests.support.texts import SAMPLES

HELLO = [24912, 2375]  # "hello world" in the vocabulary of gpt-4o


class Documented(Binding):
    """Written from the documentation alone: its tokens are the code points, once a model is loaded."""

    binding_type_name = "documented_binding"

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.default_model_name = "points"
        self.answer: Any = None
        self.seen: list[tuple[bool, bool, str | None]] = []

    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": "points"}]

    def get_supported_input_modalities(self) -> list[str]:
        return ["text"]

    def get_supported_output_modalities(self) -> list[str]:
        return ["text"]

    async def load_model(self, model_name: str) -> bool:
        self.model_name, self._model_loaded = model_name, model_name == "points"
        return self._model_loaded

    async def unload_model(self) -> bool:
        return True

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> str:
        return prompt

    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": "points"}

    @override
    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        self.seen.append((add_bos, add_eos, model_name))
        assert self._model_loaded
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is not None:
            return self.answer  # type: ignore[no-any-return]
        return [1] * add_bos + [ord(c) for c in text] + [2] * add_eos

    @override
    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        if self.answer is not None:
            return self.answer  # type: ignore[no-any-return]
        return "".join(map(chr, tokens))


class Brief(Documented):
    """Takes fewer arguments than are documented."""

    @override
    async def tokenize(self, text: str) -> list[int]:  # type: ignore[override]
        return [len(text)]

    @override
    async def detokenize(self, tokens: list[int]) -> str:  # type: ignore[override]
        return "x" * tokens[0]


class OpenAI(OpenAIBinding):
    """OpenAI itself, which nobody asks."""

    @override
    async def health_check(self) -> tuple[bool, str]:
        return True, ""


def openai(**settings: Any) -> OpenAI:
    return OpenAI({"default_model": "gpt-4o", **settings}, None)  # type: ignore[arg-type]


DOCUMENTED = Documented()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    bindings = {
        "own": DOCUMENTED,
        "brief": Brief(),
        "openai": openai(),
        "other": openai(default_model="llama3"),
        "proxy": openai(base_url="http://127.0.0.1:9/v1"),
        "none": PortsBinding(lambda call: "fine"),
    }
    with running_server(bindings, {"bindings_map": {"broken": "no_such_binding"}}) as served:
        good(post(served, "count_tokens", {"text": "a", "binding_name": "openai"}))  # its thread stays for the others
        yield served


@pytest.fixture(autouse=True)
def _no_answer() -> Iterator[None]:
    yield
    DOCUMENTED.answer = None
    DOCUMENTED.seen.clear()


def post(server: Served, path: str, body: Any) -> Answer:
    return ask(server.port, "POST", f"/api/v1/{path}", body, server.headers)


def good(answer: Answer) -> Any:
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def refused(answer: Answer, status: int, code: str) -> str:
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    return str(answer.json()["detail"])


def test_the_default_binding_tokenizes(server: Served) -> None:
    assert good(post(server, "tokenize", {"text": "aé"})) == {"tokens": [97, 233], "count": 2}
    assert good(post(server, "detokenize", {"tokens": [97, 233]})) == {"text": "aé"}
    assert good(post(server, "count_tokens", {"text": "aé"})) == {"count": 2, "exact": True}
    assert good(post(server, "tokenize", {"text": ""})) == {"tokens": [], "count": 0}
    assert good(post(server, "count_tokens", {"text": ""})) == {"count": 0, "exact": True}
    assert good(post(server, "detokenize", {"tokens": []})) == {"text": ""}


def test_begin_and_end_are_passed_on(server: Served) -> None:
    body = {"text": "a", "add_bos": True, "add_eos": True, "binding_name": "own", "model_name": "points"}
    assert good(post(server, "tokenize", body)) == {"tokens": [1, 97, 2], "count": 3}
    assert good(post(server, "count_tokens", body)) == {"count": 3, "exact": True}
    assert good(post(server, "tokenize", {"text": "a", "add_bos": True}))["tokens"] == [1, 97]
    assert (True, True, "points") in DOCUMENTED.seen


def test_a_binding_gets_the_arguments_that_it_takes(server: Served) -> None:
    assert good(post(server, "tokenize", {"text": "abc", "binding_name": "brief"}))["tokens"] == [3]
    assert good(post(server, "detokenize", {"tokens": [3], "binding_name": "brief"})) == {"text": "xxx"}
    assert good(post(server, "count_tokens", {"text": "abc", "binding_name": "brief"})) == {"count": 1, "exact": True}


def test_what_a_binding_gives_is_checked(server: Served) -> None:
    for wrong in ("abc", [1, "2"], [-1], [1.5], [True], {"tokens": []}, [2**63]):
        DOCUMENTED.answer = wrong
        assert "did not give" in refused(post(server, "tokenize", {"text": "a"}), 500, "engine_error")
    DOCUMENTED.answer = [1]
    assert "did not give a text" in refused(post(server, "detokenize", {"tokens": [1]}), 500, "engine_error")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("/etc/shadow"), 500, "engine_error"),
        (ValueError("too odd"), 400, "invalid_request"),
        (ConnectionError("gone"), 503, "connect_failed"),
        (SystemExit(3), 500, "engine_error"),
    ],
)
def test_a_binding_that_fails_is_an_error_and_no_estimate(
    server: Served, error: BaseException, status: int, code: str
) -> None:
    DOCUMENTED.answer = error
    for path in ("tokenize", "count_tokens"):
        assert "shadow" not in refused(post(server, path, {"text": "a"}), status, code)


def test_openais_models_are_exact_without_asking_anybody(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bpe_openai")
    asked: list[Any] = []

    def refuse(*given: Any, **named: Any) -> Any:
        asked.append(given)
        raise OSError("there is no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("lollms_runtime.transport.http_async.AsyncHttpTransport.open", refuse)
    body = {"text": "hello world", "binding_name": "openai", "add_bos": True, "add_eos": True}
    assert good(post(server, "tokenize", body)) == {"tokens": HELLO, "count": 2}
    assert good(post(server, "count_tokens", body)) == {"count": 2, "exact": True}
    assert good(post(server, "detokenize", {"tokens": HELLO, "binding_name": "openai"})) == {"text": "hello world"}
    assert good(post(server, "count_tokens", {**body, "model_name": "gpt-4"})) == {"count": 2, "exact": True}
    assert good(post(server, "tokenize", {**body, "model_name": "gpt-4"}))["tokens"] == [15339, 1917]
    refused(post(server, "detokenize", {"tokens": [2**32 - 1], "binding_name": "openai"}), 400, "invalid_request")
    assert asked == []


@pytest.mark.parametrize("instance", ["other", "none"])
@pytest.mark.parametrize("name", ["english", "russian", "chinese", "python"])
def test_what_nobody_knows_is_a_marked_estimate(server: Served, instance: str, name: str) -> None:
    counted = good(post(server, "count_tokens", {"text": SAMPLES[name], "binding_name": instance}))
    assert counted == {"count": estimate(SAMPLES[name]), "exact": False}


def test_a_name_that_may_mean_anything_is_a_guess(server: Served) -> None:
    pytest.importorskip("bpe_openai")
    asked = {"text": "hello world", "binding_name": "proxy"}
    assert good(post(server, "count_tokens", asked)) == {"count": 2, "exact": False}
    refused(post(server, "tokenize", asked), 501, "unsupported_feature")


@pytest.mark.parametrize("instance", ["other", "none"])
def test_tokens_need_a_tokenizer(server: Served, instance: str) -> None:
    detail = refused(post(server, "tokenize", {"text": "a", "binding_name": instance}), 501, "unsupported_feature")
    assert "count_tokens" in detail
    refused(post(server, "detokenize", {"tokens": [1], "binding_name": instance}), 501, "unsupported_feature")


@pytest.mark.parametrize("path", ["tokenize", "detokenize", "count_tokens"])
def test_statuses(server: Served, path: str) -> None:
    def asked(**more: Any) -> Answer:
        return post(server, path, {"text": "a", "tokens": [97], **more})

    refused(asked(binding_name="nobody"), 404, "not_found")
    refused(asked(binding_name="broken"), 503, "instance_unavailable")
    refused(asked(model_name="unknown"), 400, "unknown_model")
    for wrong in ({"binding_name": 5}, {"model_name": ""}, {"text": None, "tokens": None}):
        refused(asked(**wrong), 422, "malformed_body")
    refused(post(server, path, b"[]"), 422, "malformed_body")
    for tokens in ([-1], [2**32], ["1"], [1.5], [True], "abc", [[1]]):
        if path == "detokenize":
            refused(asked(tokens=tokens), 422, "malformed_body")
    if path != "detokenize":
        for field in ("add_bos", "add_eos"):
            refused(asked(**{field: "yes"}), 422, "malformed_body")
    answer = ask(server.port, "POST", f"/api/v1/{path}", {"text": "a", "tokens": [1]}, {})
    refused(answer, 403, "key_missing")


def test_without_a_default_a_name_is_needed() -> None:
    with running_server({"own": Documented()}, {"defaults": {}}) as server:
        for path in ("tokenize", "detokenize", "count_tokens"):
            refused(post(server, path, {"text": "a", "tokens": [1]}), 400, "invalid_request")


def test_a_text_over_the_limit_is_refused() -> None:
    with running_server({"own": Documented()}, {"limits": {"max_item_bytes": 2000}}) as server:
        for path in ("tokenize", "count_tokens"):
            assert good(post(server, path, {"text": "é" * 1000}))["count"] == 1000
            refused(post(server, path, {"text": "é" * 1001}), 413, "payload_too_large")


def test_a_megabyte_leaves_room_for_others() -> None:
    with running_server({"none": PortsBinding(lambda call: "fine"), "openai": openai()}) as server:
        for instance in ("none", "openai"):
            _two_megabytes_at_once(server, instance)


def _two_megabytes_at_once(server: Served, instance: str) -> None:
    text = (SAMPLES["english"] + SAMPLES["russian"]) * 1700
    body = json.dumps({"text": text, "binding_name": instance}).encode()
    answers: list[Answer] = []
    workers = [threading.Thread(target=lambda: answers.append(post(server, "count_tokens", body))) for _ in range(2)]
    for worker in workers:
        worker.start()
    slowest = 0.0
    while any(worker.is_alive() for worker in workers):
        before = time.monotonic()
        assert ask(server.port, "GET", "/health", None, {}).status == 200
        slowest = max(slowest, time.monotonic() - before)
    first, second = map(good, answers)
    assert first == second
    assert slowest < 0.5


class Waiting(Documented):
    """Never answers; says when it was asked, and when it was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.stopped = threading.Event(), threading.Event()

    @override
    async def tokenize(self, *given: Any, **named: Any) -> list[int]:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        return []


def test_it_is_listed_and_ends_when_its_caller_leaves_or_somebody_says_so() -> None:
    binding = Waiting()
    with running_server({"slow": binding}) as server:
        asked = RawRequest(server.port, "POST", "/api/v1/tokenize", body={"text": "a"}, headers=server.headers)
        assert binding.asked.wait(5)
        assert [(each.instance, each.model, each.state) for each in server.running()] == [("slow", "points", "running")]
        asked.leave()
        assert binding.stopped.wait(5)
        server.wait_idle()
        binding.asked.clear()
        headers = {**server.headers, "X-Request-ID": "please-stop-this-one"}
        answers: list[Answer] = []
        caller = threading.Thread(
            target=lambda: answers.append(ask(server.port, "POST", "/api/v1/count_tokens", {"text": "a"}, headers))
        )
        caller.start()
        assert binding.asked.wait(5)
        assert ask(server.port, "DELETE", "/api/v1/requests/please-stop-this-one", None, server.headers).status < 300
        caller.join(5)
        refused(answers[0], 499, "cancelled")


def test_they_count_against_the_limit_of_requests() -> None:
    binding = Waiting()
    with running_server({"slow": binding}, {"limits": {"max_active_requests": 1}}) as server:
        asked = RawRequest(server.port, "POST", "/api/v1/tokenize", body={"text": "a"}, headers=server.headers)
        assert binding.asked.wait(5)
        refused(post(server, "count_tokens", {"text": "a"}), 429, "too_many_requests")
        asked.leave()
        assert binding.stopped.wait(5)
