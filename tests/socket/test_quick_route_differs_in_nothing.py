"""With and without the quick route: the same status, headers in the same order and bytes, whatever is sent.

And what is plain takes the quick route: a request that goes round by the other one would cost several times as much.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lollms_core.protocols.base import Target
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.types import GenerationCall, Message, Params, TextDelta
from lollms_runtime.scripted import AsyncScriptedPorts
from lollms_server.core.services import Patience
from lollms_server.middleware.guard import _RequestIds
from tests.support.asgi_calls import request_scope
from tests.support.generate_answers import Documented, Seeing, saying
from tests.support.generate_corpus import CASES, MAX_BODY, MAX_ITEM, Case
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served, batches_of
from tests.support.twin_servers import DEFAULTS, ID, PATH, Taken, Twins, raw_request, twins

CONFIG = {
    "defaults": {"ttt_binding": "main"},
    "bindings_map": {"broken": "no_such_binding"},
    "limits": {"max_item_bytes": MAX_ITEM, "max_body_bytes": MAX_BODY, "failed_keys_per_minute": 100_000},
}
HELLO = json.dumps(prompt("hello")).encode()


@pytest.fixture(scope="module")
def pair() -> Iterator[Twins]:
    made = lambda: {"main": PortsBinding(saying), "seeing": Seeing(saying), "own": Documented()}  # noqa: E731
    with twins(made, CONFIG) as both:
        yield both


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_request_of_the_corpus(pair: Twins, case: Case) -> None:
    _, by_quick = pair.check(raw_request(case.body, case.headers, chunks=case.chunks))
    assert case.quick is None or by_quick == case.quick


def test_any_difference_would_be_seen(pair: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends say back all that reaches them, and the comparison misses nothing."""
    bodies = [each.body for each in CASES if each.name.startswith("plain: temperature ")][3:8]
    assert len({pair.check(raw_request(body))[0].body for body in bodies}) == 5
    monkeypatch.setattr(pair.quick.app._guarded, "_ids", _OtherIds())
    with pytest.raises(AssertionError):
        pair.check(raw_request(HELLO, [("x-request-id", None)]))
    pair.check(raw_request(HELLO))


class _OtherIds(_RequestIds):
    """Not those that the other server gives."""


def test_an_output_that_cannot_be_written_as_json_ends_in_words(pair: Twins) -> None:
    whole, _ = pair.check(raw_request(json.dumps(prompt("not JSON at all")).encode()))
    assert whole.head[0].startswith("HTTP/1.1 500 ") and json.loads(whole.body)["code"] == "internal_error"
    stream, _ = pair.check(raw_request(json.dumps(prompt("not JSON at all", stream=True)).encode()))
    text, error, final = (json.loads(event.removeprefix(b"data: ")) for event in stream.events)
    assert (text["content"], error["type"], final["metadata"]["status"]) == ("x", "error", "failed")
    assert [item["type"] for item in final["content"]] == ["text", "error"] and final["content"][0]["data"] == "x"


FIRST_LINES = (
    f"POST {PATH}?key=1&x HTTP/1.1", f"POST {PATH}# HTTP/1.1", "POST /api/v1/gener%61te HTTP/1.1",
    f"POST {PATH}/ HTTP/1.1",
    f"POST /{PATH} HTTP/1.1", "POST /api/v1/GENERATE HTTP/1.1", "POST /api/v1/x/../generate HTTP/1.1",
    f"POST http://localhost{PATH} HTTP/1.1", f"POST {PATH} HTTP/1.0", f"PUT {PATH} HTTP/1.1", f"GET {PATH} HTTP/1.1",
    f"DELETE {PATH} HTTP/1.1", f"OPTIONS {PATH} HTTP/1.1", f"PATCH {PATH} HTTP/1.1", f"post {PATH} HTTP/1.1",
    f"POST {PATH} HTTP/2.0", f"POST {PATH}%00 HTTP/1.1", f"POST {PATH}; HTTP/1.1", "POST * HTTP/1.1",
)  # fmt: skip


@pytest.mark.parametrize("first", FIRST_LINES)
def test_odd_first_lines(pair: Twins, first: str) -> None:
    pair.check(raw_request(HELLO, first=first))


def test_requests_behind_each_other_on_one_connection(pair: Twins) -> None:
    bodies = [HELLO, b"{}", json.dumps(prompt("thoughts between", stream=True)).encode(), b"[", HELLO]
    kept = [
        raw_request(body, [("connection", "keep-alive"), ("x-request-id", f"{ID}-{n}")])
        for n, body in enumerate(bodies)
    ]
    pair.check(b"".join(kept) + raw_request(HELLO), answers=6)


async def played(app: Any, parts: tuple[bytes, ...]) -> list[dict[str, Any]]:
    """What an application sends for a body that comes in these parts, to a caller that stays."""
    scope = request_scope(PATH, "POST", [*DEFAULTS.items(), ("content-length", str(sum(map(len, parts))))])
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    coming[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not coming:
            await asyncio.Event().wait()
        return coming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return sent


def in_parts(server: Served, *parts: bytes) -> list[dict[str, Any]]:
    return asyncio.run_coroutine_threadsafe(played(server.app, parts), server.loop).result(10)


def same_in_parts(pair: Twins, *parts: bytes) -> bool:
    """Whether the quick route served the body, after both ways gave the same."""
    before = len(pair.reached)
    assert in_parts(pair.quick, *parts) == in_parts(pair.documented, *parts)
    return len(pair.reached) == before


@pytest.mark.parametrize("text", ["héllo 🎉", "thoughts between", "late rate_limited"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_plain_body_may_come_in_any_pieces(pair: Twins, text: str, stream: bool) -> None:
    body = json.dumps(prompt(text, stream=stream), ensure_ascii=False).encode()
    for at in range(len(body) + 1):
        assert same_in_parts(pair, body[:at], body[at:])
    assert same_in_parts(pair, *(bytes([each]) for each in body))
    assert same_in_parts(pair, b"", body, b"", b"")
    assert not same_in_parts(pair, body, b" x")


def test_a_body_of_any_size_may_come_in_pieces(pair: Twins) -> None:
    items = [{"type": "text", "role": "user_prompt", "data": "x" * MAX_ITEM}] * 30
    body = json.dumps({"input_data": items}).encode()
    assert same_in_parts(pair, *(body[at : at + 16384] for at in range(0, len(body), 16384)))
    assert same_in_parts(pair, body[:5], body[5:])
    over = body + b" " * (MAX_BODY - len(body) + 1)
    same_in_parts(pair, *(over[at : at + 16384] for at in range(0, len(over), 16384)))


CALLS = [
    GenerationCall((Message.user("hi"),)),
    GenerationCall((Message.system("be brief"), Message.user("a"), Message.assistant("b"), Message.user("c")), "m"),
    GenerationCall((Message.user("hi"),), "m", Params(max_tokens=5, temperature=0.5, seed=-1, ctx_size=9), stream=True),
]


@pytest.mark.parametrize("call", CALLS, ids=["one turn", "a conversation", "parameters"])
def test_our_own_client_takes_the_quick_route(pair: Twins, call: GenerationCall) -> None:
    body = LollmsCodec().request(call, Target("http://localhost:1", options={"instance": "main"})).body
    _, by_quick = pair.check(raw_request(body))
    assert by_quick


BODIES = [each.body for each in CASES if each.chunks is None and not each.headers and 0 < len(each.body) < 600]
TOKENS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\0", b"-", b".", b"e9", b"0", b"1",
    b"99999999999999999999",
    b"null", b"true", b"false", b"{}", b"[]", b'""', b'"x":1,', b"\\u0041", b"\\ud83c", b"\xff", b"\xc3\xa9", b"NaN",
    b"\t",
    b'"stream":true,', b'"parameters":{"top_k":', b'"metadata":{},', b'"role":"user_message",', b'"data":"y",', b"/**/",
]  # fmt: skip
EDIT = st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(TOKENS) | st.binary(max_size=3))


@settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(body=st.sampled_from(BODIES), edits=st.lists(EDIT, min_size=1, max_size=3))
def test_bodies_that_are_changed_a_little(pair: Twins, body: bytes, edits: list[tuple[float, int, bytes]]) -> None:
    for place, length, token in edits:
        at = int(place * len(body))
        body = body[:at] + token + body[at + length :]
    same_in_parts(pair, body)


ESCAPES = [
    r"\ud83c", r"\udf89", r"\uD83C", r"\udc00", r"\udbff", r"\uDFFF", r"\ue000", r"\ud7ff", r"\u0041", r"\uffff",
    r"\ud8", r"\u", r"\n", "\\\\", "u", "d", "x", "é", "🎉",
]  # fmt: skip


@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(st.sampled_from(ESCAPES), min_size=2, max_size=5))
def test_escapes_of_half_characters(pair: Twins, pieces: list[str]) -> None:
    """A pair of halves is one character to both readers, and any other half is refused by both."""
    same_in_parts(pair, HELLO.replace(b"hello", "".join(pieces).encode()))


# ---- answers that take their time ----------------------------------------------------------------------------------


def without_comments(taken: Taken) -> tuple[list[str], list[bytes]]:
    return taken.head, [event for event in taken.events if event != b": still here"]


@pytest.mark.parametrize("text", ["hello", "late rate_limited", "rate_limited"])
def test_a_backend_that_makes_the_caller_wait(text: str) -> None:
    made = lambda: {"main": PortsBinding(AsyncScriptedPorts(saying, delay=0.1))}  # noqa: E731
    with twins(made, patience=Patience(silence=0.03)) as pair:
        quick, documented, by_quick = pair.both(raw_request(json.dumps(prompt(text, stream=True)).encode()))
    assert by_quick and without_comments(quick[0]) == without_comments(documented[0])
    assert all(b": still here" in taken.events for taken in (*quick, *documented))


class Held:
    """Two servers whose backend, of one place, stops before its second batch until its gate is opened."""

    def __init__(self, pair: Twins, gates: list[asyncio.Event]) -> None:
        self.pair = pair
        self.servers = (pair.quick, pair.documented)
        self.gates = gates

    def held(self, server: Served, **headers: str) -> RawRequest:
        """A stream that has begun and goes no further."""
        sent = {**DEFAULTS, "x-request-id": "the-one-that-is-held", **headers}
        request = RawRequest(server.port, "POST", PATH, body=prompt("x", stream=True), headers=sent)
        return request.read_head()

    def release(self) -> None:
        for server, gate in zip(self.servers, self.gates, strict=True):
            server.loop.call_soon_threadsafe(gate.set)


@pytest.fixture
def holding(request: pytest.FixtureRequest) -> Iterator[Held]:
    gates: list[asyncio.Event] = []

    def made() -> dict[str, Any]:
        gates.append(asyncio.Event())
        script = lambda call: batches_of(TextDelta("one "), TextDelta("two"))  # noqa: E731
        return {"main": PortsBinding(AsyncScriptedPorts(script, gates={1: gates[-1]}), places=1)}

    with twins(made, {"defaults": {"ttt_binding": "main"}, "limits": request.param}) as pair:
        yield Held(pair, gates)


def heads_and_bodies(requests: list[RawRequest]) -> list[tuple[int, list[tuple[str, str]], bytes]]:
    answers = [each.whole() for each in requests]
    return [(each.status, list(each.headers.items()), each.body) for each in answers]


@pytest.mark.parametrize("holding", [{"max_active_requests": 1}], indirect=True)
def test_a_server_that_is_full(holding: Held) -> None:
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(holding.held(server)) for server in holding.servers]
        for stream in (False, True):
            refused, by_quick = holding.pair.check(raw_request(json.dumps(prompt("x", stream=stream)).encode()))
            assert by_quick and refused.head[0].startswith("HTTP/1.1 429 ")
        holding.release()
        one, other = heads_and_bodies(running)
    assert one == other


@pytest.mark.parametrize("holding", [{}], indirect=True)
def test_an_id_that_is_in_use_and_a_request_that_is_stopped(holding: Held) -> None:
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(holding.held(server)) for server in holding.servers]
        taken, by_quick = holding.pair.check(raw_request(HELLO, [("x-request-id", "the-one-that-is-held")]))
        assert by_quick and taken.head[0].startswith("HTTP/1.1 409 ")
        for server in holding.servers:
            path = "/api/v1/requests/the-one-that-is-held"
            assert ask(server.port, "DELETE", path, None, server.headers).status == 204
        one, other = heads_and_bodies(running)
    assert one == other and b'"code":"cancelled"' in one[2]


@pytest.mark.parametrize("holding", [{}], indirect=True)
def test_requests_that_wait_for_their_turn(holding: Held) -> None:
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(holding.held(server)) for server in holding.servers]
        waiting = [stack.enter_context(holding.held(each, **{"x-request-id": ID})) for each in holding.servers]
        holding.release()
        one, other = heads_and_bodies(waiting)
        first, second = heads_and_bodies(running)
    assert one == other and b'"kind":"queue"' in one[2]
    assert first == second and first[0] == 200
