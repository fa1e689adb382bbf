"""Scripts and functions that fail with a secret in their words: no error, listing, report or log line repeats it."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.types import GenerationCall, Reply, ToolCall
from lollms_runtime.scripted import AsyncScriptedPorts
from lollms_server.core.log import setup_logging
from tests.support.full_house import EchoBinding, House, full_house
from tests.support.personalities import write_personality
from tests.support.raw_http import Answer, ask, prompt

SECRET = "canary-of-the-plug-in/0123456789+abcdef"
BACKEND = "canary-of-the-backend-0123456789"

RAISES = f"""
    async def run_workflow(prompt, params, context):
        if prompt == "later":
            yield "begun"
        raise RuntimeError("no luck with {SECRET} and {BACKEND}")
        yield
"""
SAYS = f'''
    def run_workflow(prompt, params, context):
        if prompt == "chunk":
            return iter([{{"type": "error", "content": "no luck with {SECRET}"}}])
        return {{"type": "text", "data": object(), "metadata": {{"x": "{SECRET}"}}}}
'''
LOADS = f'raise RuntimeError("cannot be loaded without {SECRET} and {BACKEND}")\n'
FUNCTION = f'''
async def fails() -> str:
    raise RuntimeError("no luck with {SECRET} and {BACKEND}")

async def gives() -> object:
    class Odd:
        def __str__(self):
            raise ValueError("{SECRET}")
    return Odd()
'''


class Calling(EchoBinding):
    """Calls the functions that it is offered, and says what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = AsyncScriptedPorts(self.answer)

    def answer(self, call: GenerationCall) -> Any:
        last = call.messages[-1]
        if call.tools and last.role != "tool":
            calls = tuple(ToolCall(f"c{at}", tool.name, {}) for at, tool in enumerate(call.tools))
            return Reply("", tool_calls=calls, model=call.model)
        return last.text


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    names = (None, "uvicorn.error", "uvicorn", "asyncio", "lollms_server", "lollms_runtime", "lollms_core")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    factory = logging.getLogRecordFactory()
    yield io.StringIO()
    logging.setLogRecordFactory(factory)
    for each, handlers, level, propagate in before:
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def answers(house: House) -> Iterator[Answer]:
    server = house.server

    def post(path: str, body: Any) -> Answer:
        return ask(server.port, "POST", path, body, server.headers)

    for stream in (False, True):
        for who, text in (("Raises", "now"), ("Raises", "later"), ("Says", "chunk"), ("Says", "item"), ("Loads", "x")):
            yield post("/api/v1/generate", prompt(text, personality=who, stream=stream))
        yield post("/api/v1/generate", prompt("x", functions=["bad.fails", "bad.gives"], stream=stream))
    for _ in range(2):
        yield post("/api/v1/reload", {})
        (house.root / "personal_functions" / "loads.py").write_text(LOADS + "# changed\n", encoding="utf-8")
        (house.root / "personal_personalities" / "raises" / "scripts" / "workflow.py").write_text(
            LOADS, encoding="utf-8"
        )
    for path in ("list_personalities", "list_functions", "list_bindings", "list_active_bindings", "queue"):
        yield ask(server.port, "GET", f"/api/v1/{path}", None, server.headers)
    yield ask(server.port, "GET", "/openapi.json", None, server.headers)


def test_neither_a_reply_nor_the_log_repeats_it(log: io.StringIO) -> None:
    with full_house(Calling(), secrets={"own": SECRET, "openai": BACKEND}) as house:
        setup_logging("DEBUG", house.server.services.loaded.scrubber, log)
        for name, script in (("raises", RAISES), ("says", SAYS), ("loads", LOADS)):
            write_personality(house.root / "personal_personalities", name, script, name=name.capitalize())
        (house.root / "personal_functions" / "bad.py").write_text(FUNCTION, encoding="utf-8")
        (house.root / "personal_functions" / "loads.py").write_text(LOADS, encoding="utf-8")
        first = ask(house.server.port, "POST", "/api/v1/reload", {}, house.server.headers)
        assert {"Raises", "Says", "bad"} <= set(first.json()["loaded"]), first
        given = [first, *answers(house)]
    texts = [(f"the reply {at}", f"{each.headers} {each.body.decode()}") for at, each in enumerate(given)]
    assert {200, 500, 503} <= {each.status for each in given}
    assert log.getvalue().count("no luck with •••") >= 4  # the log has the rest of the sentence
    assert any("no luck with •••" in text for _, text in texts)
    for where, text in [*texts, ("the log", log.getvalue())]:
        for secret in (SECRET, BACKEND):
            for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()[:-4]):
                assert form not in text, (where, text[:1500])
