"""A script may return or yield any documented form, on the loop or on a thread; streamed or not, all is the same."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.types import Reply, Usage
from lollms_runtime.scripted import Script
from tests.support.personalities import answer_of, serving
from tests.support.server import PortsBinding, Served

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 16).decode()
RETURNED = """
from lollms_server.api.models import OutputData, StreamChunk

async def documented_stream():
    yield {"type": "info", "content": "Working"}
    yield {"type": "chunk", "content": "Starting..."}
    yield {"type": "final", "content": [{"type": "text", "data": "Starting..."}, {"image_base64": PNG}]}

async def other_final():
    yield {"type": "chunk", "content": "wrong"}
    yield {"type": "final", "content": [{"type": "text", "data": "right"}]}

async def yields_models():
    yield StreamChunk(type="chunk", content="hi")
    yield OutputData(type="text", data="!")

FORMS = {
    "text": lambda: "hi",
    "empty": lambda: "",
    "dictionary": lambda: {"text": "hi", "thoughts": "hm"},
    "item": lambda: {"type": "text", "data": "hi"},
    "json": lambda: {"answer": [1, 2]},
    "items": lambda: [{"type": "text", "data": "Result text"}, {"type": "info", "data": "Task completed"}],
    "image": lambda: [{"type": "text", "data": "see"}, {"image_base64": PNG}],
    "models": lambda: [OutputData(type="text", data="hi"), OutputData(type="json", data={"a": 1})],
    "thinking": lambda: "<think>hm</think>hi",
    "failing item": lambda: [{"type": "text", "data": "hi"}, {"type": "error", "data": "no image today"}],
    "documented stream": documented_stream,
    "other final": other_final,
    "models in a stream": yields_models,
    "plain generator": lambda: (word for word in ("hi ", "there")),
}

async def run_workflow(prompt, params, context):
    return FORMS[prompt]()
""".replace("PNG", repr(PNG))
SCRIPTS = {
    "returned": RETURNED,
    "yields": """
        async def run_workflow(prompt, params, context):
            yield "hi "
            yield {"type": "chunk", "content": prompt}
        """,
    "plain": """
        def run_workflow(prompt, params, context):
            return "hi " + prompt
        """,
    "plain_yields": """
        def run_workflow(prompt, params, context):
            yield "hi "
            yield prompt
        """,
    "an_object": """
        class Workflow:
            async def __call__(self, prompt, params, context):
                return "hi " + prompt
        run_workflow = Workflow()
        """,
    "beside": """
        import ascii_colors as logging
        from typing import Any, Dict, Optional, List, Union, AsyncGenerator
        from .helper import greet
        from lollms_server.api.models import OutputData, InputData
        async def run_workflow(prompt: str, params: Dict, context: Dict) -> Union[str, Dict]:
            assert all(isinstance(item, InputData) for item in context["input_data"])
            return greet(prompt)
        """,
}
ANSWERS: dict[str, Any] = {
    "text": "hi", "empty": "", "dictionary": "hi", "item": "hi", "json": {"answer": [1, 2]}, "thinking": "hi",
    "items": ["Result text", "Task completed"], "image": ["see", PNG], "models": ["hi", {"a": 1}],
    "failing item": ["hi", "no image today"], "documented stream": ["Starting...", PNG], "other final": "right",
    "models in a stream": "hi!", "plain generator": "hi there",
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    binding = PortsBinding(Script(lambda call: Reply(text="never asked", usage=Usage(1, 1, 2))))
    helper = {"scripts/helper.py": "def greet(text):\n    return 'hi ' + text\n"}
    with serving(SCRIPTS, {"main": binding}, beside=helper) as served:
        yield served


def plain(items: list[dict[str, Any]]) -> Any:
    data = [item["data"] for item in items]
    return data[0] if len(data) == 1 else data


def both(server: Served, personality: str, text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The output, which is the same whole and streamed, and the events of the stream."""
    whole = answer_of(server, personality, text)
    assert whole.status == 200, whole
    assert whole.json()["personality"] == personality
    events = answer_of(server, personality, text, stream=True).events()
    assert events[-1]["type"] == "final"
    assert events[-1]["content"] == whole.json()["output"]
    return whole.json()["output"], events


def shown(events: list[dict[str, Any]]) -> str:
    return "".join(event["content"] for event in events if event["type"] == "chunk")


@pytest.mark.parametrize("form", ANSWERS)
def test_what_it_returns_becomes_items(server: Served, form: str) -> None:
    output, events = both(server, "returned", form)
    assert plain(output) == ANSWERS[form]
    if isinstance(ANSWERS[form], str) and form != "other final":
        assert shown(events) == ANSWERS[form]


@pytest.mark.parametrize("personality", [name for name in SCRIPTS if name != "returned"])
def test_it_may_be_any_kind_of_function(server: Served, personality: str) -> None:
    output, events = both(server, personality, "there")
    assert plain(output) == shown(events) == "hi there"


def test_a_generator_is_collected_and_never_shown_as_an_object(server: Served) -> None:
    """W-S11."""
    for personality, text in (("returned", "documented stream"), ("yields", "x"), ("plain_yields", "x")):
        assert b"generator object" not in answer_of(server, personality, text).body


def test_thoughts_are_apart_from_the_text(server: Served) -> None:
    for form in ("thinking", "dictionary"):
        (item,) = answer_of(server, "returned", form).json()["output"]
        assert (item["data"], item["thoughts"]) == ("hi", "hm")


def test_information_is_shown_when_it_comes(server: Served) -> None:
    _, events = both(server, "returned", "documented stream")
    assert [event["type"] for event in events] == ["info", "chunk", "final"]


def test_an_error_item_of_the_script_is_output(server: Served) -> None:
    text, error = answer_of(server, "returned", "failing item").json()["output"]
    assert (text["type"], error["type"]) == ("text", "error")
