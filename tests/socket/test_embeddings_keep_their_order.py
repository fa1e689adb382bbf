"""POST /api/v1/embed gives one vector for each text, in their order, or a typed error."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.types import Embeddings, Usage
from tests.support.raw_http import Answer, RawRequest, ask
from tests.support.server import PortsBinding, Served, running_server


class Embedder(PortsBinding):
    """The vector of a text is its length and its first character. `answer` is given or raised instead."""

    def __init__(self, places: int | None = None) -> None:
        super().__init__(lambda call: "fine", places=places, model="lengths")
        self.answer: Any = None
        self.running = self.most = 0
        self.gate: asyncio.Event | None = None
        self.asked, self.stopped = threading.Event(), threading.Event()

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        self.running += 1
        self.most = max(self.most, self.running)
        self.asked.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        finally:
            self.running -= 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is not None:
            return self.answer  # type: ignore[no-any-return]
        vectors = tuple((float(len(text)), float(ord(text[:1] or "\0"))) for text in texts)
        return Embeddings(vectors, model_name or "", Usage(prompt_tokens=len(texts)))


EMBEDDER = Embedder()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    bindings = {"main": EMBEDDER, "text": PortsBinding(lambda call: "fine")}
    with running_server(bindings, {"limits": {"max_item_bytes": 2000}}) as served:
        yield served


@pytest.fixture(autouse=True)
def _no_answer() -> Iterator[None]:
    yield
    EMBEDDER.answer = None


def post(server: Served, body: Any, **headers: str) -> Answer:
    return ask(server.port, "POST", "/api/v1/embed", body, {**server.headers, **headers})


def refused(answer: Answer, status: int, code: str) -> str:
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    return str(answer.json()["detail"])


def test_one_text_or_many(server: Served) -> None:
    one = post(server, {"input": "abc"})
    assert one.status == 200 and one.headers["content-type"] == "application/json"
    assert one.json() == {
        "embeddings": [[3.0, 97.0]],
        "model_name": "lengths",
        "usage": {"prompt_tokens": 1, "completion_tokens": None, "total_tokens": None},
    }
    texts = [chr(97 + index % 26) * (index % 50 + 1) for index in range(2048)]
    many = post(server, {"input": texts, "binding_name": "main", "model_name": "other"}).json()
    assert many["embeddings"] == [[len(text), ord(text[0])] for text in texts]
    assert many["model_name"] == "other" and many["usage"]["prompt_tokens"] == 2048


def test_no_usage_is_null(server: Served) -> None:
    EMBEDDER.answer = Embeddings(((1.0,),))
    assert post(server, {"input": "a"}).json() == {"embeddings": [[1.0]], "model_name": "lengths", "usage": None}


def test_what_a_binding_gives_is_checked(server: Served) -> None:
    wrong: list[Any] = [
        Embeddings(()),
        Embeddings(((1.0,),)),
        Embeddings(((1.0,), (1.0,), (1.0,))),
        Embeddings(((1.0,), (1.0, 2.0))),
        Embeddings(((), ())),
        Embeddings(((1.0,), (math.nan,))),
        Embeddings(((1.0, math.inf), (1.0, -math.inf))),
        Embeddings((("a",), ("b",))),  # type: ignore[arg-type]
        [[1.0], [2.0]],
        "vectors",
    ]
    for answer in wrong:
        EMBEDDER.answer = answer
        refused(post(server, {"input": ["a", "b"]}), 500, "engine_error")
    EMBEDDER.answer = Embeddings(((1e308, 1e308), (1e308, 1e308)))
    assert post(server, {"input": ["a", "b"]}).status == 200


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("/etc/shadow"), 500, "engine_error"),
        (ValueError("too long"), 400, "invalid_request"),
        (TimeoutError(), 504, "timeout"),
        (SystemExit(3), 500, "engine_error"),
    ],
)
def test_a_binding_that_fails(server: Served, error: BaseException, status: int, code: str) -> None:
    EMBEDDER.answer = error
    assert "shadow" not in refused(post(server, {"input": "a"}), status, code)


def test_statuses(server: Served) -> None:
    assert "cannot embed" in refused(post(server, {"input": "a", "binding_name": "text"}), 501, "unsupported_feature")
    refused(post(server, {"input": "a", "binding_name": "nobody"}), 404, "not_found")
    bodies: list[Any] = [
        {},
        {"input": None},
        {"input": []},
        {"input": ["a"] * 2049},
        {"input": ["a", 1]},
        {"input": {"text": "a"}},
        {"input": "a", "binding_name": 1},
        {"input": "a", "model_name": ""},
        b"[]",
    ]
    for body in bodies:
        refused(post(server, body), 422, "malformed_body")
    assert "input[1]" in refused(post(server, {"input": ["a", "é" * 1001]}), 413, "payload_too_large")
    assert ask(server.port, "POST", "/api/v1/embed", {"input": "a"}, {}).status == 403


def test_without_a_default_a_name_is_needed() -> None:
    with running_server({"main": Embedder()}, {"defaults": {}}) as server:
        refused(post(server, {"input": "a"}), 400, "invalid_request")


def test_it_takes_a_place_in_the_instance() -> None:
    binding = Embedder(places=1)
    with running_server({"main": binding}, {"resource_manager": {"queue_timeout": 1}}) as server:
        server.on_loop(lambda: setattr(binding, "gate", asyncio.Event()))
        answers: list[Answer] = []
        callers = [threading.Thread(target=lambda: answers.append(post(server, {"input": "abc"}))) for _ in range(2)]
        for caller in callers:
            caller.start()
        server.wait_until(lambda: sorted(each.state for each in server.services.registry.snapshot()) == _WAITING)
        assert binding.most == 1
        for caller in callers:
            caller.join(0.01)
        server.wait_until(lambda: len(server.services.registry) == 1)
        server.on_loop(lambda: binding.gate and binding.gate.set())
        for caller in callers:
            caller.join(5)
        assert sorted(answer.status for answer in answers) == [200, 408]
        assert binding.most == 1


_WAITING = ["queued", "running"]


def test_it_stops_when_its_caller_leaves() -> None:
    binding = Embedder(places=1)
    with running_server({"main": binding}) as server:
        server.on_loop(lambda: setattr(binding, "gate", asyncio.Event()))
        asked = RawRequest(server.port, "POST", "/api/v1/embed", body={"input": "a"}, headers=server.headers)
        assert binding.asked.wait(5)
        waiting = RawRequest(server.port, "POST", "/api/v1/embed", body={"input": "b"}, headers=server.headers)
        server.wait_until(lambda: len(server.services.registry) == 2)
        waiting.leave()
        server.wait_until(lambda: len(server.services.registry) == 1)
        asked.leave()
        assert binding.stopped.wait(5)
        server.wait_idle()
