"""The embedded model's own tokenizer answers through the server: exact, there and back, with begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw_http import Answer, ask
from tests.support.server import Served, running_server
from tests.support.texts import SAMPLES

pytestmark = pytest.mark.group("engine")


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    config = {"bindings_map": {"nano": "llamacpp_binding"}, "defaults": {"ttt_binding": "nano"}}
    with running_server(config=config, instances={"nano": {"default_model": "lollms-nano"}}) as served:
        served.wait_until(lambda: served.services.manager.models == "ready", 30)  # its threads stay for all tests
        yield served


def post(server: Served, path: str, body: Any) -> Answer:
    return ask(server.port, "POST", f"/api/v1/{path}", body, server.headers)


@pytest.mark.parametrize("name", ["english", "german", "chinese", "emoji", "python"])
def test_there_and_back(server: Served, name: str) -> None:
    text = SAMPLES[name]
    tokens = post(server, "tokenize", {"text": text}).json()
    assert tokens["count"] == len(tokens["tokens"]) > 3
    assert post(server, "detokenize", {"tokens": tokens["tokens"]}).json() == {"text": text}
    assert post(server, "count_tokens", {"text": text}).json() == {"count": tokens["count"], "exact": True}


def test_begin_and_end_are_added_where_the_model_has_them(server: Served) -> None:
    plain = post(server, "tokenize", {"text": "Hello"}).json()["tokens"]
    marked = post(server, "tokenize", {"text": "Hello", "add_bos": True, "add_eos": True}).json()["tokens"]
    begin, end = marked[: marked.index(plain[0])], marked[marked.index(plain[0]) + len(plain) :]
    assert marked == [*begin, *plain, *end] and len(begin) <= 1 and len(end) == 1
    counted = post(server, "count_tokens", {"text": "Hello", "add_bos": True, "add_eos": True}).json()
    assert counted == {"count": len(marked), "exact": True}


def test_another_model_is_refused_and_embeddings_are_said_to_be_off(server: Served) -> None:
    refused = post(server, "tokenize", {"text": "a", "model_name": "gpt-4o"})
    assert (refused.status, refused.json()["code"]) == (400, "unknown_model")
    off = post(server, "embed", {"input": "a"})
    assert (off.status, off.json()["code"]) == (501, "unsupported_feature")
    assert "embedding" in off.json()["detail"]
