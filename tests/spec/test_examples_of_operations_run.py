"""The printed examples of operations that take several calls run; what the model says stands in the test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.spec.blocks import all_blocks
from tests.spec.live import environment
from tests.spec.printed import edited, python, runs
from tests.support.ollama_server import OllamaServer
from tests.support.speaking_ollama import SpeakingOllama

pytestmark = pytest.mark.group("spec")


def at(server: OllamaServer, code: str) -> str:
    """An example for a server at another address than Ollama's own."""
    line = 'model_name="llama3"'
    return edited(code, line, f'{line}, host_address="{server.origin}"')


# ---- structured answers

STRUCTURED = "000:3:dcbe5c30"


def expected() -> dict[str, Any]:
    """The comment behind the example."""
    lines = all_blocks()[STRUCTURED].text.partition("# Expected output:\n")[2].splitlines()
    value: dict[str, Any] = json.loads("\n".join(line.removeprefix("#") for line in lines))
    return value


@runs(STRUCTURED)
def test_the_structured_example_prints_what_stands_behind_it(tmp_path: Path) -> None:
    with SpeakingOllama(lambda body: json.dumps(expected())) as ollama:
        shown = python(at(ollama, all_blocks()[STRUCTURED].text), tmp_path, environment(tmp_path))
    assert json.loads(shown) == expected()
    assert list(json.loads(shown)) == list(expected())
    (body,) = ollama.bodies
    assert body["format"]["properties"]["age"]["type"] == "integer"
    assert body["format"]["properties"]["hobbies"]["items"]["type"] == "string"
    assert "John Doe is a 34-year-old software engineer" in body["messages"][-1]["content"]


def test_the_structured_example_ends_well_with_a_model_that_talks(tmp_path: Path) -> None:
    said = iter(["Here you are!", f"Sure:\n```json\n{json.dumps(expected())}\n```\nAnything else?"])
    with SpeakingOllama(lambda body: next(said)) as ollama:
        shown = python(at(ollama, all_blocks()[STRUCTURED].text), tmp_path, environment(tmp_path))
    assert json.loads(shown) == expected()
    assert len(ollama.bodies) == 2


@pytest.mark.group("engine")
def test_the_structured_example_has_its_shape_with_the_embedded_model(tmp_path: Path) -> None:
    named = 'binding_name="ollama", model_name="llama3"'
    code = edited(
        all_blocks()[STRUCTURED].text,
        named,
        'binding_name="pythonllamacpp", model_name="lollms-nano", n_predict=400, temperature=0, seed=1',
    )
    value = json.loads(python(code, tmp_path, environment(tmp_path)))
    assert {name: type(each) for name, each in value.items()} == {n: type(each) for n, each in expected().items()}
    assert all(isinstance(hobby, str) for hobby in value["hobbies"])


# ---- code


def with_scripted(replies: list[str], *names: str) -> str:
    """Examples of the older guide, whose client has a model that says these things."""
    start = f"from lollms_client.testing import scripted_client\nclient = scripted_client({replies!r})"
    return "\n".join([start, *(all_blocks()[name].text for name in names)])


FACTORIAL = "def factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)"
REVERSED = "def reverse(text):\n    return text[::-1]"
IN_JAVASCRIPT = "const factorial = (n) => (n < 2 ? 1 : n * factorial(n - 1));"


@runs("002:7:394b8278", "002:14:89355323")
def test_the_older_guide_generates_code(tmp_path: Path) -> None:
    replies = [f"Here it is:\n```python\n{code}\n```\nHave fun." for code in (FACTORIAL, REVERSED)]
    code = with_scripted(replies, "002:7:394b8278", "002:14:89355323")
    assert python(code, tmp_path, environment(tmp_path)) == f"{FACTORIAL}\n{REVERSED}\n"


@runs("002:8:cd816896")
def test_the_older_guide_generates_several_codes(tmp_path: Path) -> None:
    said = f"Two:\n```python\n{FACTORIAL}\n```\nand\n```javascript\n{IN_JAVASCRIPT}\n```\n"
    shown = python(with_scripted([said], "002:8:cd816896"), tmp_path, environment(tmp_path))
    blocks = [eval(line, {"__builtins__": {}}) for line in shown.splitlines()]
    assert [(block["type"], block["content"]) for block in blocks] == [
        ("python", FACTORIAL),
        ("javascript", IN_JAVASCRIPT),
    ]


# ---- long texts

SUMMARY = "000:17:5f6c1b09"


def test_the_summary_example_runs_without_the_import_that_it_does_not_use(tmp_path: Path) -> None:
    calls: list[str] = []

    def says(body: dict[str, Any]) -> str:
        calls.append(body["messages"][-1]["content"])
        return f"Milestones, part {len(calls)}."

    with SpeakingOllama(says) as ollama:
        code = edited(all_blocks()[SUMMARY].text, ", LollmsPersonality\n", "\n")
        shown = python(at(ollama, code), tmp_path, environment(tmp_path))
    assert "An error occurred" not in shown
    assert len(calls) > 2
    assert re.search(rf"--- Final Comprehensive Summary ---\s+Milestones, part {len(calls)}\.", shown)
    assert shown.count(">> ") >= 2 * len(calls) - 2
    assert all(body["options"]["temperature"] == 0.1 for body in ollama.bodies)
    assert "Charles Babbage" in calls[0]
