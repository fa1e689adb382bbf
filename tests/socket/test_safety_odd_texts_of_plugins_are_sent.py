"""Halves of characters, which no encoding can say, come from plug-ins in every place: the answer is an answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lollms_core.types import Embeddings
from tests.support.full_house import EchoBinding, House, full_house
from tests.support.personalities import write_personality
from tests.support.raw_http import Answer, ask, prompt

HALF = "\ud800"
SCRIPT = """
    async def run_workflow(prompt, params, context):
        yield "a"
        yield "\\ud800"
        yield {"type": "info", "content": "\\ud800", "metadata": {"\\ud800": "\\ud800"}}
        ran, said = await context["function_manager"].execute_function("odd.half", {})
        yield said
        if prompt == "fail":
            raise RuntimeError("\\ud800")
        yield "b"
"""
FUNCTIONS = """
async def half() -> str:
    return "\\ud800"
"""


class Odd(EchoBinding):
    """Says halves of characters wherever it can say something."""

    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": HALF, "details": {HALF: [HALF]}, "license": HALF}]

    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": HALF, "details": {HALF: {HALF: HALF}}}

    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        return f"a{HALF}b"

    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        return Embeddings(tuple((1.0,) for _ in texts), HALF)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is logged here cannot be written, and a report of it would end the run."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with full_house(Odd()) as running:
        write_personality(running.root / "personal_personalities", "odd", SCRIPT, name="Odd")
        (running.root / "personal_functions" / "odd.py").write_text(FUNCTIONS, encoding="utf-8")
        report = ask(running.server.port, "POST", "/api/v1/reload", {}, running.server.headers)
        assert "odd" in report.json()["loaded"], report
        yield running


def get(house: House, path: str, body: Any = None) -> Answer:
    return ask(house.server.port, "GET" if body is None else "POST", f"/api/v1/{path}", body, house.server.headers)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("detokenize", {"tokens": [1]}),
        ("embed", {"input": "x"}),
        ("list_personalities", None),
        ("generate", prompt("x", personality="Odd")),
    ],
)
def test_the_answer_is_json(house: House, path: str, body: Any) -> None:
    answer = get(house, path, body)
    assert answer.status == 200, answer
    assert answer.json()


@pytest.mark.parametrize("path", ["list_available_models/main", "get_model_info/main"])
def test_a_model_may_be_called_unusable_and_the_instance_is_named(house: House, path: str) -> None:
    answer = get(house, path)
    assert answer.status == 200 or (answer.status, answer.json()["code"]) == (500, "engine_error"), answer


def test_a_stream_has_its_end(house: House) -> None:
    for text, failed in (("x", False), ("fail", True)):
        events = get(house, "generate", prompt(text, personality="Odd", stream=True)).events()
        assert events[-1]["type"] == "final"
        assert (events[-1]["metadata"].get("status") == "failed") == failed
        assert events[-1]["content"][0]["data"].startswith("a")
