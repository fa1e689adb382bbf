"""The quick route and the documented one give the same bytes for every body; only plain bodies take the quick one."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lollms_core import errors
from lollms_core.types import Done, GenerationCall, TextDelta, ThoughtDelta, Usage
from lollms_server.core.quick_route import QuickRoute
from tests.support.raw_http import RawRequest, prompt
from tests.support.server import PortsBinding, Served, running_server

ID = "the-same-request-id"


def answer(call: GenerationCall) -> Any:
    """Says back everything it was given, so that any difference in the call is seen."""
    text = call.messages[-1].text
    if text in RAISED:
        return RAISED[text]
    if text == "midway":
        return [(TextDelta("some"),), errors.RateLimited("Slow down.", retry_after=2)]
    said = json.dumps([repr(call.messages), call.model, repr(call.params), repr(call.tools), repr(call.schema)])
    return [(ThoughtDelta("t"), TextDelta(said[:9])), (TextDelta(said[9:]),), (Done("stop", Usage(1, 2, 3)),)]


RAISED = {row.code: kind(f"It is {row.code}.") for kind, row in errors.MEANINGS.items()}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Served, Served]]:
    config = {
        "defaults": {"ttt_binding": "main"},
        "bindings_map": {"broken": "no_such_binding"},
        "limits": {"max_item_bytes": 5000, "max_body_bytes": 100_000},
    }
    with contextlib.ExitStack() as stack:
        yield tuple(  # type: ignore[misc]
            stack.enter_context(running_server({"main": PortsBinding(answer)}, config, quick=quick))
            for quick in (True, False)
        )


def taken(server: Served, body: bytes) -> tuple[list[str], bytes]:
    """The head and body of the answer, without what time alone changes."""
    headers = {**server.headers, "X-Request-ID": ID}
    with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=headers) as request:
        raw = b""
        while data := request.sock.recv(65536):
            raw += data
    head, _, rest = raw.partition(b"\r\n\r\n")
    rest = re.sub(rb'("execution_time":)[0-9.e-]+', rb"\1 0", rest)
    lines = [line for line in head.decode().split("\r\n") if not line.startswith(("date:", "content-length:"))]
    return lines, rest


def check_same(pair: tuple[Served, Served], body: bytes) -> None:
    quick, documented = (taken(server, body) for server in pair)
    assert quick == documented


TEXT = {"type": "text", "role": "user_prompt", "data": "hello"}
PLAIN = [
    prompt("hello"),
    prompt("hello", stream=True),
    prompt("hello", stream=False, generation_type="ttt", binding_name="main", model_name="other"),
    prompt("héllo ☃ 🎉 \u2028 \x00 \\", stream=True),
    prompt("hello", parameters={"temperature": 0.5, "max_tokens": 5, "seed": -1, "top_k": 40}),
    {
        "input_data": [{**TEXT, "role": role} for role in ("system_context", "user_message", "assistant_message")]
        + [TEXT]
    },
    {"input_data": [{**TEXT, "role": "tool_result"}]},
    prompt("hello", binding_name=None, personality=None),
    prompt("hello", binding_name="nobody"),
    prompt("hello", binding_name="broken", stream=True),
    prompt("hello", parameters={"temperature": 1000}),
    prompt("hello", parameters={"max_tokens": 1.5}),
    prompt("hello", parameters={"max_tokens": 0, "n_predict": 1}),
    prompt("hello", parameters={"max_tokens": 1, "n_predict": 2}),
    {"input_data": [{**TEXT, "role": "system_context"}]},
    prompt("x" * 5001),
    prompt("midway", stream=True),
    prompt("midway"),
    *(prompt(code, stream=stream) for code in RAISED for stream in (False, True)),
]
OTHER = [
    prompt("hello", stream=None),
    prompt("hello", personality="x"),
    prompt("hello", parameters={"stop": ["x"], "system_message": "s", "base_url": "http://x", "top_k": None}),
    prompt("hello", parameters={"mirostat": 1}),
    prompt("hello", parameters={"temperature": True}),
    prompt("hello", parameters={"max_tokens": 10**20}),
    prompt("hello", parameters=None),
    prompt("hello", unknown=1),
    prompt("hello", tools=[], functions=[], response_schema={}),
    {"input_data": [{**TEXT, "metadata": {"a": 1}}]},
    {"input_data": [{**TEXT, "mime_type": "text/plain"}]},
    {"input_data": [{**TEXT, "role": "poet"}]},
    {"input_data": [{**TEXT, "type": "image"}]},
    {"input_data": [TEXT] * 600},
    {"input_data": []},
    {},
    [],
    {"text_prompt": "hello"},
    prompt("hello", generation_type="tti"),
    prompt("hello", binding_name=""),
    prompt("hello", model_name="m" * 400),
]
RAW = [
    b"", b"[]", b"null", b"{", b"\xff", b"\xef\xbb\xbf" + json.dumps(prompt("x")).encode(), b" " * 50, b"[" * 90_000,
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"\\ud800"}]}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"\\ud83c\\udf89 joined"}]}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"\xed\xa0\x80"}]}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"}],"parameters":{"temperature":NaN}}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"}],"parameters":{"temperature":1e400}}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"}],"parameters":{"max_tokens":5.0}}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"}],"parameters":{"temperature":-0.0}}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"}],"parameters":{"seed":9007199254740993}}',
    b'{"input_data":[],"input_data":[{"type":"text","role":"user_prompt","data":"twice"}]}',
    b'{"stream":true,"stream":false,"input_data":[{"type":"text","role":"user_prompt","data":"1","data":"2"}]}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"}],"parameters":{"top_k":1,"top_k":2}}',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"}]} trailing',
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"x"},]}',
    b"{'input_data':[]}",
    b'{"input_data":[{"type":"text","role":"user_prompt","data":"tab\there"}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", [*PLAIN, *OTHER], ids=lambda body: json.dumps(body)[:60])
def test_json_bodies(pair: tuple[Served, Served], body: Any) -> None:
    check_same(pair, json.dumps(body, ensure_ascii=False).encode())


@pytest.mark.parametrize("body", RAW, ids=lambda body: repr(body[:50]))
def test_bodies_that_are_hardly_json(pair: tuple[Served, Served], body: bytes) -> None:
    check_same(pair, body)


@pytest.mark.parametrize(("bodies", "quick"), [(PLAIN, True), (OTHER, False)])
def test_plain_bodies_take_the_quick_route_and_others_do_not(
    pair: tuple[Served, Served], bodies: list[Any], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = []
    inner = pair[0].app.api

    class Counting(QuickRoute):
        def __init__(self, app: Any, services: Any) -> None:
            async def counted(scope: Any, receive: Any, send: Any) -> None:
                reached.append(scope["path"])
                await app(scope, receive, send)

            super().__init__(counted, services)

    monkeypatch.setattr(pair[0].app._guarded, "_app", Counting(inner, pair[0].services))
    for body in bodies:
        taken(pair[0], json.dumps(body, ensure_ascii=False).encode())
    assert len(reached) == (0 if quick else len(bodies))


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANY = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
ITEM = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["text", "text", "text", "image"]) | ANY,
        "role": st.sampled_from(["user_prompt", "user_message", "system_context", "poet"]) | ANY,
        "data": st.text(max_size=20) | ANY,
    },
    optional={"mime_type": ANY, "metadata": ANY},
)
BODY = st.fixed_dictionaries(
    {"input_data": st.lists(ITEM, max_size=3) | ANY},
    optional={
        "stream": st.booleans() | ANY,
        "parameters": st.dictionaries(
            st.sampled_from(["temperature", "max_tokens", "n_predict", "top_k", "stop", "x", "url"]), ANY, max_size=3
        )
        | ANY,
        "generation_type": st.sampled_from(["ttt", "tti"]) | ANY,
        "binding_name": st.sampled_from(["main", "nobody"]) | ANY,
        "model_name": st.text(max_size=4) | ANY,
        "tools": ANY,
        "personality": ANY,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY)
def test_any_body(pair: tuple[Served, Served], body: Any) -> None:
    check_same(pair, json.dumps(body).encode())
