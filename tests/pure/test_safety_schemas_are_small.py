"""A schema that a local engine would work on for minutes is refused before anybody works on it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lollms_core.errors import InvalidRequest
from lollms_server.api.models import GenerateRequest
from lollms_server.core.calls import build_call
from tests.support.server import PortsBinding

MANY = [str(number) for number in range(5000)]
COSTLY = {
    "many values": {"enum": MANY},
    "many alternatives": {"anyOf": [{"const": text} for text in MANY]},
    "many properties": {"type": "object", "properties": {text: {"type": "string"} for text in MANY}},
    "a long pattern": {"type": "string", "pattern": f"^({'|'.join(MANY)})$"},
    "somewhere inside": {"type": "array", "items": {"type": "object", "properties": {"a": {"enum": MANY}}}},
}
ORDINARY = {
    "type": "object",
    "properties": {f"field_{n}": {"type": "string", "enum": ["a", "b", "c"], "description": "x"} for n in range(60)},
    "required": [f"field_{n}" for n in range(60)],
    "additionalProperties": False,
}


def built(**more: Any) -> Any:
    body = {"input_data": [{"type": "text", "role": "user_prompt", "data": "x"}], **more}
    return asyncio.run(build_call(GenerateRequest.model_validate(body), "main", PortsBinding("fine"), 1 << 20)).call


@pytest.mark.parametrize("schema", COSTLY.values(), ids=COSTLY)
def test_a_costly_schema_is_refused_with_its_name(schema: Any) -> None:
    with pytest.raises(InvalidRequest, match="response_schema"):
        built(response_schema=schema)
    with pytest.raises(InvalidRequest, match=r"tools\[1\]"):
        built(tools=[{"function": {"name": name, "parameters": use}} for name, use in (("a", {}), ("b", schema))])


def test_an_ordinary_schema_passes() -> None:
    call = built(response_schema=ORDINARY, tools=[{"function": {"name": "a", "parameters": ORDINARY}}])
    assert call.schema == ORDINARY
