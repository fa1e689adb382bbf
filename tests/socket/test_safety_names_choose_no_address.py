"""Names in requests never become a part of an address: a backend is asked at the paths of its protocol alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.full_house import House, full_house
from tests.support.path_payloads import PATH_PAYLOADS
from tests.support.raw_http import ask, prompt

PATHS = {
    "ollama": {f"/api/{name}" for name in ("version", "tags", "show", "chat", "embed")},
    "openai": {f"/openai/{name}" for name in ("models", "chat/completions", "embeddings")},
}
NAMES = [
    *PATH_PAYLOADS[::4],
    "one?x=1",
    "one#x",
    "../models",
    "%2e%2e/models",
    "one/../../x",
    "http://127.0.0.1:1/x",
    "@x",
]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with full_house() as running:
        yield running


@pytest.mark.parametrize("instance", PATHS)
def test_a_model_name_is_no_part_of_a_path(house: House, instance: str) -> None:
    server = house.server
    backend: Any = getattr(house, instance)
    del backend.requests[:]
    for name in NAMES:
        bodies: list[tuple[str, Any]] = [
            ("/api/v1/generate", prompt("x", binding_name=instance, model_name=name or None)),
            ("/api/v1/embed", {"input": ["x"], "binding_name": instance, "model_name": name or None}),
            ("/api/v1/tokenize", {"text": "x", "binding_name": instance, "model_name": name or None}),
            ("/api/v1/count_tokens", {"text": "x", "binding_name": instance, "model_name": name or None}),
        ]
        for path, body in bodies:
            answer = ask(server.port, "POST", path, body, server.headers)
            assert answer.status < 500 or answer.status in (501, 502), (path, name, answer)
        path = f"/api/v1/get_model_info/{instance}?model_name={quote(name, safe='')}"
        assert ask(server.port, "GET", path, None, server.headers).status in (200, 400, 404, 422), name
    assert len(backend.requests) > len(NAMES)
    assert {seen.path for seen in backend.requests} <= PATHS[instance]
