"""Backends of two kinds for a comparison of answers: what each one says follows from the prompt alone.

`Saying` answers with what `ANSWERS` has under the prompt's text, or else says back everything that it was given, so
that no difference in the call can hide. `Documented` is a binding of the documented form that does the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from lollms_core import errors
from lollms_core.errors import LollmsError
from lollms_core.types import (
    Done,
    GenerationCall,
    Item,
    Media,
    Notice,
    Output,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from lollms_server.core.bindings import Binding
from tests.support.media_files import png
from tests.support.server import PortsBinding

__all__ = ["ANSWERS", "RAISED", "Documented", "saying"]

RAISED: Mapping[str, type[LollmsError]] = {row.code: kind for kind, row in errors.MEANINGS.items()}
"""Every error of the project by its code. A code is answered with it, `late` and a code with it after some text."""

_DETAILED = errors.RateLimited(
    "Slow down, /home/me/models/secret.gguf says.", status=429, upstream_code="rate", retry_after=2.5, provider="them"
)
_ENDLESS = errors.Overloaded("Wait.", retry_after=float("inf"))
_WHOLE = Reply(
    text="Paris.",
    thoughts="Easy.",
    tool_calls=(ToolCall("c1", "weather", {"city": "Paris", "n": [1, 2.5, None]}),),
    media=(Media(png(2, 2), "image/png"),),
    usage=Usage(3, 4, 7),
    finish_reason="tool_calls",
    model="m-2026",
    receipt=(ReceiptItem("top_k", "dropped", "no such thing"),),
    broken_calls=(("half", '{"a":'),),
)
_ITEMS = (
    Item("text", "one", metadata={"a": 1}),
    Item("info", "two"),
    Item("image", "aGk=", "image/png"),
    Item("json", {"x": [1, 2]}),
)

ANSWERS: Mapping[str, Any] = {
    "nothing": [],
    "empty text": "",
    "empty batches": [(), (TextDelta(""),), (), (Done("stop"),)],
    "no end": [(TextDelta("never done"),)],
    "everything": _WHOLE,
    "thoughts alone": Reply(thoughts="Hm. Hm."),
    "thoughts between": [(TextDelta("a"), ThoughtDelta("b"), TextDelta("c")), (ThoughtDelta("d"), Done("length"))],
    "tools alone": Reply(
        tool_calls=(ToolCall("1", "f", {}), ToolCall("2", "g", {"é": "☃"})), finish_reason="tool_calls"
    ),
    "half a tool": [(ToolCallDelta(0, "1", "f", '{"a"'),), errors.TruncatedStream("It ended.")],
    "media alone": Reply(media=(Media(b"RIFF", "audio/wav"), Media(b"\x00\xff", "odd/type"))),
    "items": [(Output(_ITEMS),), (Done("stop", Usage()),)],
    "items that replace": [(TextDelta("old"),), (Output(_ITEMS[:1], replaces=True), Done("stop"))],
    "notices": [(Progress("load", "Loading.", 0.5), Notice("warning", "Odd.", {"k": "v"})), (TextDelta("x"),)],
    "long": "word " * 5000,
    "one long piece": [(TextDelta("x" * 300_000),), (Done("stop"),)],
    "many pieces": [*((TextDelta(f"{n} "),) for n in range(2000)), (Done("stop", Usage(1, 2000, 2001)),)],
    "odd characters": [
        (TextDelta('"\\\x00\x1f\x7f \u2028 </script> 🎉'), ThoughtDelta("\r\n\n\ndata: x\n\n")),
        (Done(),),
    ],
    "halves": [(TextDelta("\ud83c"),), (TextDelta("\udf89 \udc00"), ThoughtDelta("\ud800")), (Done("stop"),)],
    "not JSON": [(Output((Item("json", float("nan")), Item("json", {1: {2, 3}}))),), (Done("stop"),)],
    "not JSON at all": [(TextDelta("x"), Output((Item("json", object()),))), (Done("stop"),)],
    "detailed": _DETAILED,
    "endless": _ENDLESS,
    "late detailed": [(TextDelta("some"), ThoughtDelta("t")), _DETAILED],
    "late endless": [(TextDelta("some"),), _ENDLESS],
    "unforeseen": RuntimeError('File "/home/me/secret.py", line 5'),
    "late unforeseen": [(TextDelta("some"),), ZeroDivisionError("division")],
    "empty error": errors.UpstreamFailed(""),
    "out of nothing": MemoryError("no memory"),
}


def saying(call: GenerationCall) -> Any:
    """The reply to a call, for the ports of a script."""
    text = call.messages[-1].text
    if text in ANSWERS:
        return _fresh(ANSWERS[text])
    late = text.startswith("late ")
    if (kind := RAISED.get(text.removeprefix("late "))) is not None:
        error = kind(f"It is {text}.")
        return [(TextDelta("some"),), error] if late else error
    said = json.dumps([repr(each) for each in (call.messages, call.model, call.params, call.tools, call.schema)])
    return [(ThoughtDelta("t"), TextDelta(said[:9])), (TextDelta(said[9:]),), (Done("stop", Usage(1, 2, 3)),)]


def _fresh(answer: Any) -> Any:
    """An answer whose errors are new ones: the server changes those that it sends."""
    if isinstance(answer, LollmsError):
        new = type(answer)(answer.message)
        new.__dict__.update(answer.__dict__)
        return new
    if isinstance(answer, Exception):
        return type(answer)(*answer.args)
    return (
        [_fresh(each) if isinstance(each, Exception) else each for each in answer]
        if isinstance(answer, list)
        else answer
    )


class Seeing(PortsBinding):
    """Takes images, too."""

    @override
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"]


class Documented(Binding):
    """A binding as the documentation describes it; it says back every argument."""

    binding_type_name = "documented_binding"

    def __init__(self) -> None:
        super().__init__({"default_model": "tiny"}, None)
        self.default_model_name = "tiny"

    @override
    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": "tiny"}]

    @override
    def get_supported_input_modalities(self) -> list[str]:
        return ["text"]

    @override
    def get_supported_output_modalities(self) -> list[str]:
        return ["text"]

    @override
    async def load_model(self, model_name: str) -> bool:
        self._model_loaded = model_name != "huge"
        return self._model_loaded

    @override
    async def unload_model(self) -> bool:
        return True

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": model_name}

    @override
    async def generate(
        self,
        prompt: str,
        params: dict[str, Any],
        request_info: dict[str, Any],
        multimodal_data: list[dict[str, Any]] | None = None,
    ) -> str | dict[str, Any] | list[dict[str, Any]]:
        if prompt == "fail":
            raise ValueError("It failed.")
        return repr((prompt, params, sorted(request_info.items(), key=repr), multimodal_data))
