"""Whatever goes wrong, the caller gets the uniform body: a sentence, a code and an id, and nothing of our files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import MEANINGS, LollmsError, meaning
from lollms_core.types import TextDelta
from lollms_server.app import ServerApp
from lollms_server.core.bindings import Surroundings
from lollms_server.core.config import load_config
from tests.support.asgi_calls import Answer, acall, request_scope
from tests.support.both_routes import create_app
from tests.support.server import KEY, PortsBinding, write_config

WHERE = "/home/joe/private/model.gguf"
SHOWS = ("/home", "joe", "private", 'File "', "Traceback", "line 1", "site-packages", "C:\\Users")
UNFORESEEN = [
    RuntimeError(f'File "{WHERE}", line 1'),
    OSError(2, "No such file", WHERE),
    KeyError(WHERE),
    MemoryError(),
    RecursionError(f"in {WHERE}"),
    ZeroDivisionError(),
]
TOLD = [kind(f"It went wrong at {WHERE} and at C:\\Users\\joe\\private\\x.py.") for kind in MEANINGS]


def served(tmp_path: Path, error: BaseException, *, late: bool) -> ServerApp:
    said: Any = [(TextDelta("so far"),), error] if late else error
    loaded = load_config(write_config(tmp_path), environ={})
    return create_app(loaded, bindings={"main": PortsBinding(lambda call: said)})


def answer_of(app: ServerApp, *, stream: bool) -> Answer:
    raw = json.dumps(
        {
            "binding_name": "main",
            "stream": stream,
            "input_data": [{"type": "text", "role": "user_prompt", "data": "x"}],
        }
    ).encode()
    headers = {"x-api-key": KEY, "content-type": "application/json", "content-length": str(len(raw))}

    async def main() -> Answer:
        await app.services.manager.start(Surroundings(Path()))
        await app.services.manager.get("main")
        answer = await acall(app, request_scope("/api/v1/generate", "POST", headers), [raw])
        await app.services.manager.stop()
        return answer

    return asyncio.run(main())


@pytest.mark.parametrize("error", [*TOLD, *UNFORESEEN], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_word(tmp_path: Path, error: Exception, stream: bool) -> None:
    answer = answer_of(served(tmp_path, error, late=False), stream=stream)
    assert answer.status == (meaning(error).http_status if isinstance(error, LollmsError) else 500)
    body = answer.json()
    assert body.keys() == {"detail", "code", "request_id"}
    assert body["request_id"] == answer.header("x-request-id")
    assert body["detail"] and body["code"]
    assert not [each for each in SHOWS if each in answer.body.decode()]


@pytest.mark.parametrize("error", [*TOLD, *UNFORESEEN], ids=lambda error: type(error).__name__)
def test_a_failure_in_the_middle(tmp_path: Path, error: Exception) -> None:
    answer = answer_of(served(tmp_path, error, late=True), stream=True)
    assert answer.status == 200
    events = [json.loads(line[6:]) for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    assert [event["type"] for event in events] == ["chunk", "error", "final"]
    assert events[1]["content"] and events[1]["metadata"]["code"]
    assert events[2]["metadata"]["status"] == "failed"
    assert not [each for each in SHOWS if each in answer.body.decode()]
