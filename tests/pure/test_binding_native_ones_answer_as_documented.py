"""The bindings that come with the server, called as the documentation says: by personalities and other code."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.errors import InvalidRequest, LollmsError, UnsupportedFeature
from lollms_core.protocols.lollms_input import HISTORY_ROLES, IMAGE_ROLES
from lollms_core.types import GenerationCall, ImagePart, Media, Message, ModelInfo, Params, Reply, ToolCall, Usage
from lollms_runtime.scripted import Script
from lollms_server.core.bindings.native import described
from tests.support.server import PortsBinding

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16
IMAGE = {"type": "image", "role": "input_image", "data": base64.b64encode(PNG).decode(), "mime_type": "image/jpeg"}
ANSWER = Reply(
    text="Paris.",
    thoughts="Easy.",
    tool_calls=(ToolCall("c1", "weather", {"city": "Paris"}),),
    media=(Media(PNG, "image/png"),),
    usage=Usage(3, 4, 7),
    finish_reason="tool_calls",
    model="m-2026",
)


class Seeing(PortsBinding):
    @override
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"]

    @override
    async def get_model_input_modalities(self, model_name: str) -> list[str]:
        return ["text"] if model_name == "blind" else ["text", "image"]


def generated(binding: PortsBinding, *arguments: Any) -> list[dict[str, Any]]:
    return asyncio.run(binding.generate(*arguments))


def streamed(binding: PortsBinding, *arguments: Any) -> list[dict[str, Any]]:
    async def work() -> list[dict[str, Any]]:
        return [chunk async for chunk in binding.generate_stream(*arguments)]

    return asyncio.run(work())


def test_an_answer_is_a_list_of_documented_items() -> None:
    text, call, image = generated(PortsBinding(Script(lambda call: ANSWER)), "x", {}, {})
    assert text == {
        "type": "text",
        "data": "Paris.",
        "mime_type": None,
        "thoughts": "Easy.",
        "metadata": {
            "model_used": "m-2026",
            "finish_reason": "tool_calls",
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            "receipt": [],
        },
    }
    assert call["type"] == "json" and call["metadata"] == {"kind": "tool_call"}
    assert call["data"] == {"id": "c1", "name": "weather", "arguments": {"city": "Paris"}}
    assert (image["type"], image["mime_type"], base64.b64decode(image["data"])) == ("image", "image/png", PNG)


def test_a_stream_is_chunks_and_a_final_one_with_the_same_items() -> None:
    binding = PortsBinding(Script(lambda call: ANSWER))
    chunks = streamed(binding, "x", {}, {})
    assert all(set(chunk) == {"type", "content", "thoughts", "metadata"} for chunk in chunks)
    *shown, final = chunks
    assert final["content"] == generated(binding, "x", {}, {})
    assert "".join(chunk["content"] for chunk in shown if chunk["type"] == "chunk") == "Paris."
    assert "".join(chunk["thoughts"] or "" for chunk in shown) == "Easy."
    assert [chunk["content"]["name"] for chunk in shown if chunk["type"] == "function_call"] == ["weather"]


@pytest.mark.parametrize("ask", [generated, streamed])
def test_what_is_asked_reaches_the_model(ask: Any) -> None:
    script = Script(lambda call: ANSWER)
    asked = ({"temperature": 0.5, "system_message": "Be kind."}, {"model_name": "other", "messages": ["not read"]})
    ask(Seeing(script), "Look!", *asked, [IMAGE])
    assert script.calls[-1] == GenerationCall(
        (Message.system("Be kind."), Message.user("Look!", [ImagePart(PNG, "image/png")])),
        "other",
        Params(temperature=0.5),
        stream=ask is streamed,
    )


@pytest.mark.parametrize(
    ("item", "model", "kind"),
    [
        (IMAGE, "blind", UnsupportedFeature),
        ({**IMAGE, "type": "audio"}, "m", UnsupportedFeature),
        ({**IMAGE, "role": "mask"}, "m", UnsupportedFeature),
        ({**IMAGE, "data": "?"}, "m", InvalidRequest),
        ({**IMAGE, "data": None}, "m", InvalidRequest),
    ],
)
def test_what_cannot_be_put_in_is_refused(item: dict[str, Any], model: str, kind: type[LollmsError]) -> None:
    script = Script(lambda call: ANSWER)
    for ask in (generated, streamed):
        with pytest.raises(kind):
            ask(Seeing(script), "x", {}, {"model_name": model}, [item])
    assert not script.calls


def test_only_the_roles_of_a_conversation_are_taken() -> None:
    script = Script(lambda call: ANSWER)
    seeing, blind = Seeing(script), PortsBinding(script)
    assert (seeing.input_roles("text"), seeing.input_roles("image")) == (HISTORY_ROLES, IMAGE_ROLES)
    assert (blind.input_roles("image"), seeing.input_roles("audio")) == ((), ())
    assert seeing.supports_input_role("image", "reference_image") and not seeing.supports_input_role("image", "mask")
    assert not blind.supports_input_role("image", "input_image")


def test_a_model_is_described_with_all_documented_fields() -> None:
    given = {"size": 5, "family": "f", "families": ["f", 3], "license": 7, "digest": "abc", "format": "gguf"}
    assert described(ModelInfo("m", details=given), 99) == {
        "name": "m",
        "size": 5,
        "modified_at": None,
        "quantization_level": None,
        "format": "gguf",
        "family": "f",
        "families": None,
        "parameter_size": None,
        "context_size": 99,
        "max_output_tokens": None,
        "template": None,
        "license": None,
        "homepage": None,
        "supports_vision": False,
        "supports_audio": False,
        "details": {"families": ["f", 3], "license": 7, "digest": "abc"},
    }
