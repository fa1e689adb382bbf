"""One instance, two models, many callers at once: each answer comes from the model that its caller named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.raw_http import ask, prompt
from tests.support.third_party_binding.folder import CODE, STREAM, server_with_folders


@pytest.mark.parametrize("code", [CODE, CODE + STREAM], ids=["whole", "streaming"])
def test_no_answer_comes_from_anothers_model(code: str) -> None:
    with server_with_folders({"mine": code}) as server, ThreadPoolExecutor(16) as pool:

        def one(number: int) -> None:
            # Some name no model: the default is theirs, whatever somebody else has loaded.
            model = ("small", "large", None)[number % 3]
            body = prompt(f"model {number}", model_name=model, stream=number % 2 == 0)
            answer = ask(server.port, "POST", "/api/v1/generate", body, server.headers)
            assert answer.status == 200, answer
            output: list[dict[str, Any]]
            output = answer.events()[-1]["content"] if number % 2 == 0 else answer.json()["output"]
            wanted = model or "small"
            assert output[0]["data"] == {"seen": [wanted], "prompt": f"model {number}"}
            assert output[0]["metadata"]["model_used"] == wanted

        list(pool.map(one, range(60)))
