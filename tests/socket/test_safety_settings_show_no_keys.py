"""A key that is written where it does not belong, in an address, is refused and not shown."""

from __future__ import annotations

import pytest

from tests.support.raw_http import ask, prompt
from tests.support.server import running_server


@pytest.mark.parametrize(
    "url",
    [
        "http://user:canary-5d1e@127.0.0.1:1/v1",
        "http://canary-5d1e@127.0.0.1:1/v1",
        "http://127.0.0.1:1/v1?api_key=canary-5d1e",
        "http://127.0.0.1:1/v1#canary-5d1e",
    ],
)
def test_an_address_with_a_key_in_it_is_not_listed(url: str) -> None:
    config = {"bindings_map": {"mine": "openai_binding"}, "defaults": {"ttt_binding": "mine"}}
    with running_server(config=config, instances={"mine": {"base_url": url}}) as server:
        answer = ask(server.port, "POST", "/api/v1/generate", prompt("x"), server.headers)
        assert (answer.status, answer.json()["code"]) == (503, "instance_unavailable")
        for path in ("list_bindings", "list_active_bindings", "list_available_models/mine"):
            assert b"canary" not in ask(server.port, "GET", f"/api/v1/{path}", None, server.headers).body
