"""The status table: for every route, each documented status happens for real, with its code, and the OpenAPI has it.

`TABLE` is made of three parts that can be read by themselves: what the guard refuses on every route, what is wrong with
a body or a name, and what becomes of a binding that fails in one of the known ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from typing_extensions import override

from lollms_core.errors import ConnectFailed, RateLimited, UnknownModel, UpstreamFailed, UpstreamTimeout
from lollms_core.types import Embeddings, GenerationCall
from lollms_server.core.bindings.adapter import translated
from lollms_server.core.bindings.manager import BindingManager
from lollms_server.core.config import load_config
from lollms_server.core.functions import FunctionManager
from lollms_server.core.personalities import PersonalityManager
from lollms_server.core.requests import Registry
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served, running_server, write_config

# Label -> method, path of the OpenAPI, and the body of a request that is served.
ROUTES: dict[str, tuple[str, str, Any]] = {
    "health": ("GET", "/api/v1/health", None),
    "/health": ("GET", "/health", None),
    "list_bindings": ("GET", "/api/v1/list_bindings", None),
    "list_active_bindings": ("GET", "/api/v1/list_active_bindings", None),
    "list_personalities": ("GET", "/api/v1/list_personalities", None),
    "list_functions": ("GET", "/api/v1/list_functions", None),
    "list_models": ("GET", "/api/v1/list_models", None),
    "get_default_bindings": ("GET", "/api/v1/get_default_bindings", None),
    "queue": ("GET", "/api/v1/queue", None),
    "list_available_models": ("GET", "/api/v1/list_available_models/{binding_instance_name}", None),
    "get_model_info": ("GET", "/api/v1/get_model_info/{binding_instance_name}", None),
    "personality_icon": ("GET", "/api/v1/personality_icon/{personality_name}", None),
    "stop": ("DELETE", "/api/v1/requests/{request_id}", None),
    "reload": ("POST", "/api/v1/reload", None),
    "generate": ("POST", "/api/v1/generate", prompt("x")),
    "tokenize": ("POST", "/api/v1/tokenize", {"text": "x"}),
    "detokenize": ("POST", "/api/v1/detokenize", {"tokens": [1]}),
    "count_tokens": ("POST", "/api/v1/count_tokens", {"text": "x"}),
    "embed": ("POST", "/api/v1/embed", {"input": "x"}),
}
OPEN = ("health", "/health")
NAMED = ("list_available_models", "get_model_info")
WITH_BODY = ("generate", "tokenize", "detokenize", "count_tokens", "embed")
OF_BINDINGS = (*NAMED, *WITH_BODY)


HELD = "held-" * 4
"""The id of a request that runs all the while."""


class Row(NamedTuple):
    """One line of the table: on `route`, `why` gives `status` and `code`."""

    route: str
    why: str
    status: int
    code: str
    name: str = "main"  # the instance or what else stands in the path
    body: Any = ...
    headers: Mapping[str, str | None] = MappingProxyType({})

    def __str__(self) -> str:
        return f"{self.route}: {self.why} -> {self.status}"


def of_guard() -> Iterator[Row]:
    """On every route, whatever is asked there."""
    for route, (method, _, body) in ROUTES.items():
        if route not in OPEN:
            yield Row(route, "no key", 403, "key_missing", headers={"X-API-Key": None})
            yield Row(route, "another key", 401, "key_rejected", headers={"X-API-Key": "wrong-key-0123456789"})
        yield Row(route, "a page of elsewhere", 403, "origin_refused", headers={"Origin": "http://evil.example"})
        yield Row(route, "another host", 421, "host_refused", headers={"Host": "evil.example"})
        yield Row(route, "a huge body", 413, "payload_too_large", body=b" " * 20_001)
        if method == "POST":
            plain = {"Content-Type": "text/plain"}
            yield Row(route, "a body that is not JSON", 415, "unsupported_media_type", body=body or {}, headers=plain)
        if route in OF_BINDINGS:
            yield Row(route, "an id that is running", 409, "request_id_in_use", headers={"X-Request-ID": HELD})


def of_requests() -> Iterator[Row]:
    """What is wrong with a name or a body."""
    for route in NAMED:
        yield Row(route, "an unknown instance", 404, "not_found", name="nobody")
        yield Row(route, "a name that is too long", 422, "malformed_body", name="x" * 513)
    yield Row("list_available_models", "an instance that failed to load", 404, "not_found", name="unloaded")
    yield Row("get_model_info", "an instance that failed to load", 503, "instance_unavailable", name="unloaded")
    yield Row("get_model_info", "an unknown model", 404, "unknown_model", name="choosy")
    yield Row("personality_icon", "an unknown personality", 404, "not_found", name="nobody")
    yield Row("personality_icon", "a name that is too long", 422, "malformed_body", name="x" * 513)
    yield Row("stop", "an unknown request", 404, "not_found", name="0123456789abcdef")
    yield Row("stop", "an id that is too long", 422, "malformed_body", name="x" * 65)
    for route in WITH_BODY:
        good = ROUTES[route][2]
        yield Row(route, "a list for a body", 422, "malformed_body", body=[])
        yield Row(route, "an unknown instance", 404, "not_found", body={**good, "binding_name": "nobody"})
        yield Row(
            route,
            "an instance that failed to load",
            503,
            "instance_unavailable",
            body={**good, "binding_name": "unloaded"},
        )
        yield Row(route, "an unknown model", 400, "unknown_model", body={**good, "binding_name": "choosy"})
    generate: list[tuple[str, int, str, Any]] = [
        ("an unknown personality", 404, "not_found", {"personality": "nobody"}),
        ("a parameter out of bounds", 400, "invalid_request", {"parameters": {"temperature": 1e9}}),
        ("no default for images", 400, "invalid_request", {"generation_type": "tti"}),
        ("a kind that the instance does not make", 501, "unsupported_feature", {"generation_type": "tts"}),
        ("an image for who takes none", 400, "invalid_request", {"input_data": [IMAGE]}),
        ("a role that has no use", 400, "invalid_request", {"input_data": [{**TEXT, "role": "poet"}]}),
        ("an item that is too large", 413, "payload_too_large", {"input_data": [{**TEXT, "data": "x" * 6000}]}),
        ("an unknown tool", 400, "invalid_request", {"functions": ["no_file.no_function"]}),
    ]
    for why, status, code, more in generate:
        yield Row("generate", why, status, code, body={**prompt("x"), **more})


TEXT = {"type": "text", "role": "user_prompt", "data": "x"}
IMAGE = {"type": "image", "role": "input_image", "data": "aGVsbG8=", "mime_type": "image/png"}

# Instance -> what it raises, whatever is asked of it; and what becomes of that.
FAILURES: dict[str, tuple[BaseException, int, str]] = {
    "refusing": (ValueError("That is too much."), 400, "invalid_request"),
    "unable": (NotImplementedError("x"), 501, "unsupported_feature"),
    "defective": (ZeroDivisionError("x"), 500, "engine_error"),
    "limited": (RateLimited("Slower.", retry_after=3), 429, "rate_limited"),
    "broken": (UpstreamFailed("It broke."), 502, "upstream_failed"),
    "unreachable": (ConnectFailed("Nobody there."), 503, "connect_failed"),
    "slow": (UpstreamTimeout("Too slow."), 504, "timeout"),
}


def of_bindings() -> Iterator[Row]:
    """What an instance raises, on every route that asks one."""
    for name, (_, status, code) in FAILURES.items():
        for route in OF_BINDINGS:
            row = Row(route, f"the binding is {name}", status, code, name=name)
            if (route, name) == ("count_tokens", "unable"):
                continue  # where nobody can count, an estimate is given
            if (route, name) == ("get_model_info", "refusing"):
                row = row._replace(status=404, code="unknown_model")  # all that can be refused there is the model
            yield row._replace(body={**ROUTES[route][2], "binding_name": name}) if route in WITH_BODY else row


TABLE = [*of_guard(), *of_requests(), *of_bindings()]


class Able(PortsBinding):
    """A binding that can do everything that text needs, or fails in everything."""

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__(lambda call: failure or "fine")
        self.failure = failure

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    @override
    def open(self, call: GenerationCall) -> Any:
        with translated(self):
            self.check()
        return super().open(call)

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        self.check()
        return [{"name": "m"}]

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        self.check()
        return {"name": "m"}

    @override
    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        self.check()
        return list(text.encode())

    @override
    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        self.check()
        return "x"

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        self.check()
        return Embeddings(tuple((0.5,) for _ in texts), "m")


class Holding(Able):
    """A binding with one place, that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.places = 1
        self.let_go = False

    @override
    def open(self, call: GenerationCall) -> Any:
        @contextlib.asynccontextmanager
        async def block() -> Any:
            while not self.let_go:
                await asyncio.sleep(0.005)
            async with super(Holding, self).open(call) as batches:
                yield batches

        return block()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    held = Holding()
    bindings = {
        "main": Able(),
        "held": held,
        "choosy": Able(UnknownModel("There is no such model.")),
        **{name: Able(failure) for name, (failure, _, _) in FAILURES.items()},
    }
    config = {
        "bindings_map": {"unloaded": "no_such_binding"},
        "defaults": {"ttt_binding": "main", "tts_binding": "main"},
        "limits": {"max_item_bytes": 5000, "max_body_bytes": 20_000, "failed_keys_per_minute": 100_000},
    }
    with running_server(bindings, config) as served:
        served.wait_until(lambda: served.services.manager.models != "loading", 20)
        headers = {**served.headers, "X-Request-ID": HELD}
        body = prompt("x", binding_name="held")
        with RawRequest(served.port, "POST", "/api/v1/generate", body=body, headers=headers, timeout=60) as request:
            served.wait_until(lambda: len(served.services.registry) == 1)
            yield served
            held.let_go = True
            assert request.whole().status == 200


@pytest.fixture(scope="module")
def described(server: Served) -> dict[str, Any]:
    return dict(ask(server.port, "GET", "/openapi.json", None, server.headers).json())


def path_of(route: str, name: str) -> str:
    path, _, rest = ROUTES[route][1].partition("{")
    return f"{path}{name}" if rest else path


def call(server: Served, row: Row) -> Answer:
    method, _, body = ROUTES[row.route]
    headers = {**server.headers, **row.headers}
    sent = {name: value for name, value in headers.items() if value is not None}
    return ask(server.port, method, path_of(row.route, row.name), body if row.body is ... else row.body, sent)


def check_uniform(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status, answer
    body = answer.json()
    assert body["code"] == code, body
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["detail"] and len(body["detail"]) < 2001
    assert (status == 422) == bool(body.get("errors"))
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_each_row_of_the_table(server: Served, described: dict[str, Any], row: Row) -> None:
    check_uniform(call(server, row), row.status, row.code)
    method, path, _ = ROUTES[row.route]
    assert str(row.status) in described["paths"][path][method.lower()]["responses"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route not in ("stop", "personality_icon")])
def test_each_route_serves_what_is_right(server: Served, route: str) -> None:
    assert call(server, Row(route, "", 200, "")).status == 200


def test_the_table_is_about_every_route(described: dict[str, Any]) -> None:
    listed = {(method.upper(), path) for path, item in described["paths"].items() for method in item}
    assert listed == {(method, path) for method, path, _ in ROUTES.values()}


# What the documentation promises of each route.
_LIST, _TOKENS = (401, 403, 500, 503), (400, 401, 403, 404, 500, 501, 503)
DOCUMENTED: dict[str, tuple[int, ...]] = {
    "list_bindings": _LIST,
    "list_active_bindings": _LIST,
    "list_personalities": _LIST,
    "list_functions": _LIST,
    "list_models": (401, 403, 500),
    "get_default_bindings": (401, 403, 500),
    "list_available_models": (401, 403, 404, 500, 501, 503),
    "get_model_info": (401, 403, 404, 500, 501, 503),
    "generate": (400, 401, 403, 404, 408, 422, 500, 501, 503),
    "tokenize": _TOKENS,
    "detokenize": _TOKENS,
    "count_tokens": _TOKENS,
}
NEVER = {
    # "Not ready" cannot be seen: the port opens when what the lists are made of is there.
    *((route, 503) for route in ("list_bindings", "list_active_bindings", "list_personalities", "list_functions")),
    ("count_tokens", 501),  # an estimate is given
}
ELSEWHERE = {("generate", 408), ("embed", 408), ("list_models", 500)}
"""Shown by a test of its own below."""


def test_the_table_has_every_documented_status() -> None:
    shown = {(row.route, row.status) for row in TABLE} | {(route, 500) for route in DEFECTS} | ELSEWHERE
    promised = {(route, status) for route, statuses in DOCUMENTED.items() for status in statuses}
    assert promised - shown == NEVER
    every = {400, 401, 403, 404, 408, 409, 413, 415, 421, 422, 429, 500, 501, 502, 503, 504}
    assert every == {status for route, status in shown if route == "generate"}


@pytest.mark.parametrize("route", WITH_BODY)
def test_without_a_default_an_instance_must_be_named(route: str, bare: Served) -> None:
    check_uniform(call(bare, Row(route, "", 400, "")), 400, "invalid_request")


@pytest.mark.parametrize("route", [route for route in ROUTES if route not in OPEN])
def test_who_tries_keys_is_told_to_wait(route: str, bare: Served) -> None:
    answers = [call(bare, Row(route, "", 429, "", headers={"X-API-Key": "wrong-key-0123456789"})) for _ in range(2)]
    check_uniform(answers[-1], 429, "too_many_requests")
    assert int(answers[-1].headers["retry-after"]) >= 1


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without a default, that bears one wrong key in a minute."""
    folder = tmp_path_factory.mktemp("bare")
    config = write_config(folder, {"limits": {"failed_keys_per_minute": 1}})
    (folder / "models").write_text("not a folder", encoding="utf-8")
    with running_server({"main": Able()}, loaded=load_config(config, environ={}, further=("main",))) as served:
        yield served


def test_a_models_folder_that_cannot_be_read_is_500(bare: Served) -> None:
    check_uniform(call(bare, Row("list_models", "", 500, "")), 500, "storage_error")


DEFECTS: dict[str, tuple[type[Any], str]] = {
    "health": (BindingManager, "models"),
    "/health": (BindingManager, "models"),
    "list_bindings": (BindingManager, "listed"),
    "list_active_bindings": (BindingManager, "active"),
    "get_default_bindings": (BindingManager, "defaults"),
    "reload": (BindingManager, "reload"),
    "list_personalities": (PersonalityManager, "problems"),
    "personality_icon": (PersonalityManager, "get"),
    "list_functions": (FunctionManager, "names"),
    "queue": (Registry, "snapshot"),
    "stop": (Registry, "cancel"),
}


@pytest.mark.parametrize("route", DEFECTS)
def test_a_defect_of_ours_is_a_bare_500(server: Served, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise RuntimeError('File "/home/me/secret.py", line 5')

    owner, name = DEFECTS[route]
    plain = getattr(owner, name, None)
    broken = property(fail) if not callable(plain) else fail
    monkeypatch.setattr(owner, name, broken, raising=False)
    answer = call(server, Row(route, "", 500, ""))
    check_uniform(answer, 500, "internal_error")
    assert b"/home" not in answer.body and b"RuntimeError" not in answer.body


def test_who_waits_too_long_in_the_queue_gets_408() -> None:
    held = Holding()
    config = {"resource_manager": {"queue_timeout": 1}, "defaults": {"ttt_binding": "main"}}
    with running_server({"main": held}, config) as server, contextlib.ExitStack() as stack:

        def begin(route: str) -> RawRequest:
            path, body = path_of(route, ""), ROUTES[route][2]
            return stack.enter_context(RawRequest(server.port, "POST", path, body=body, headers=server.headers))

        first = begin("generate")
        server.wait_until(lambda: len(server.services.registry) == 1 and not server.services.scheduler.idle)
        waiting = [begin(route) for route in ("generate", "embed")]
        for request in waiting:
            check_uniform(request.whole(), 408, "queue_timeout")
        held.let_go = True
        assert first.whole().status == 200


def test_what_is_no_request_is_400(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: many\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
