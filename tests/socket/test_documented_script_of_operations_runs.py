"""The script of DOC_DEV.md that uses operations of several calls runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lollms_core.types import GenerationCall
from lollms_runtime.scripted import Script
from lollms_server.core.personalities.workflow_operations import ScriptOperations
from tests.support.personalities import answer_of, serving
from tests.support.server import PortsBinding

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "DOC_DEV.md").read_text(encoding="utf-8")
CODE = re.search(r"^```python\n# personal_personalities/who/scripts/workflow.py\n(.*?)^```", GUIDE, re.M | re.S)


@pytest.mark.parametrize(
    ("text", "expected"), [("Ann the baker came.", {"name": "Ann", "role": "baker"}), ("It rains.", "Nobody is named.")]
)
def test_the_script_of_the_guide_answers(text: str, expected: object) -> None:
    def reply(call: GenerationCall) -> str:
        said = call.messages[-1].text
        if "Is a person named" in said:
            return "Yes." if "Ann" in said else "No."
        assert call.params.temperature == 0
        return '{"name": "Ann", "role": "baker"}'

    assert CODE is not None
    with serving({"who": CODE[1]}, {"main": PortsBinding(Script(reply))}) as server:
        answer = answer_of(server, "who", text)
        assert answer.status == 200, answer
        assert answer.json()["output"][0]["data"] == expected


def test_the_guide_names_every_operation_of_scripts() -> None:
    found = {name for name in dir(ScriptOperations) if not name.startswith("_")}
    assert found == set(
        re.findall(r"^\| `(\w+)\(", GUIDE.partition("## A personality")[2].partition("## A function")[0], re.M)
    )
