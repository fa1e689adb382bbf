"""The older /completions of the OpenAI protocol, which continues a text, for models that know no chat.

All but the form of the request is as with /chat/completions: parameters, streams, errors, usage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from lollms_core.errors import UnsupportedFeature
from lollms_core.protocols.base import Target
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.prompt_text import continuation
from lollms_core.types import GenerationCall, ReceiptItem

__all__ = ["CompletionCodec"]

_CHAT, _PATH = "/chat/completions", "/completions"


class CompletionCodec(ChatCodec):
    """Text generation over /completions, in the words of one dialect. A conversation becomes one text."""

    @property
    @override
    def path(self) -> str:
        return self.dialect.chat_path.replace(_CHAT, _PATH)

    @override
    def body(
        self, call: GenerationCall, target: Target, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """See `ChatCodec.body`. Raises `UnsupportedFeature` for tools, schemas and images."""
        asked = {"tools": call.tools, "a JSON Schema": call.schema is not None}
        asked["images"] = any(message.images for message in call.messages)
        if lacking := [what for what, wanted in asked.items() if wanted]:
            raise UnsupportedFeature(
                f"A completion (completion format Instruct) cannot have {' or '.join(lacking)}. Use the format Chat."
            )
        fields = dict(params)
        limit = self.dialect.params.get("max_tokens", "")
        if limit in fields:
            fields["max_tokens"] = fields.pop(limit)  # it was never renamed here
        body: dict[str, Any] = {
            "prompt": continuation(call.messages, self.dialect.name),
            **fields,
            **self.dialect.fixed,
        }
        if model := call.model or target.model:
            body["model"] = model
        if call.stream:
            body["stream"] = True
            if self.dialect.stream_usage and all(lesson.field != "stream_options" for lesson in target.lessons):
                body["stream_options"] = {"include_usage": True}
        return body, ()
