"""OpenAI's Responses protocol: calls to requests for /responses. The answers are read in `responses_reader`.

Some models are served in this form alone. It has fewer knobs than /chat/completions (no stop, seed or penalties), and a
conversation is a list of items: messages, calls of functions and their outputs, thoughts. Nothing is kept at the
provider (`store` is false), so a model that thinks gets its thoughts back from us, encrypted as they came.

See https://platform.openai.com/docs/api-reference/responses.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from lollms_core.errors import UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, Limits, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.dialect import Dialect
from lollms_core.protocols.lessons import Lesson, heeded
from lollms_core.protocols.openai import strict_form
from lollms_core.protocols.outgoing import encode_json, finite, headers_for
from lollms_core.protocols.responses_reader import PROTOCOL, ResponsesReader
from lollms_core.types import GenerationCall, ImagePart, Message, Params, Part, ReceiptItem, Tool

__all__ = ["PATH", "ResponsesCodec"]

PATH = "/responses"

_PARAMS: Mapping[str, str] = {"max_tokens": "max_output_tokens", "temperature": "temperature", "top_p": "top_p"}

_EXTRAS: Mapping[str, str] = {
    "reasoning_effort": "effort",
    "reasoning_summary": "summary",
    "verbosity": "verbosity",
    "service_tier": "service_tier",
    "user": "user",
    "safety_identifier": "safety_identifier",
    "prompt_cache_key": "prompt_cache_key",
    "truncation": "truncation",
}

_INSIDE: Mapping[str, str] = {"effort": "reasoning", "summary": "reasoning", "verbosity": "text"}
"""Fields that stand inside of another one. A refusal names them `reasoning.effort`; what is learned is `effort`."""

_OURS: Mapping[str, str] = {there: name for name, there in (*_PARAMS.items(), *_EXTRAS.items())}

_ENCRYPTED = "reasoning.encrypted_content"


_OWN_ITEMS = ("message", "reasoning", "function_call")
"""What a model writes that is offered nothing but functions."""


class ResponsesCodec(OneRequestCodec):
    """Text generation over /responses. The dialect says who is there, and whether images and tools are taken."""

    def __init__(self, dialect: Dialect, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.dialect = dialect

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The POST whose answer the reader reads.

        Raises `UnsupportedFeature` for what the dialect cannot do, `InvalidRequest` for values that cannot be sent,
        `ConfigError` for a key that cannot be a header.
        """
        headers = headers_for(
            target, "text/event-stream" if call.stream else "application/json", self.dialect.key_header
        )
        headers["content-type"] = "application/json"
        params, receipt = self.plan(call.params, target.lessons)
        body, more = self.body(call, target, params)
        return HttpRequest(
            "POST",
            target.base_url + (self.dialect.responses_path or PATH),
            headers,
            encode_json(body),
            target.timeouts,
            target.verify_tls,
            receipt + more,
            (*params, "include"),
        )

    def body(
        self, call: GenerationCall, target: Target, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The request's JSON object with the parameters as `plan` made them, and what more belongs in the receipt."""
        receipt: tuple[ReceiptItem, ...] = ()
        instructions, messages = _instructions(call.messages)
        body: dict[str, Any] = {"input": [item for message in messages for item in _items(message, self.dialect)]}
        if model := call.model or target.model:
            body["model"] = model
        if instructions:
            body["instructions"] = instructions
        body["store"] = False
        if all(lesson.field != "include" for lesson in target.lessons):
            body["include"] = [_ENCRYPTED]
        for name, value in params.items():
            place = _INSIDE.get(name)
            (body if place is None else body.setdefault(place, {}))[name] = value
        if call.tools:
            if not self.dialect.tools:
                raise UnsupportedFeature(
                    f"{self.dialect.name} cannot call tools. Ask without tools, or use another backend."
                )
            body["tools"] = [_tool(tool) for tool in call.tools]
        if call.schema is not None:
            shape, receipt = self._format(call.schema)
            body.setdefault("text", {})["format"] = shape
        if call.stream:
            body["stream"] = True
        return body, receipt

    def _format(self, schema: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The form of an answer that a schema asks for. OpenAI's strict mode takes a part of JSON Schema alone."""
        if self.dialect.schemas == "none":
            raise UnsupportedFeature(f"{self.dialect.name} cannot be held to a JSON Schema. Use another backend.")
        shape, receipt = strict_form(schema, self.dialect)
        return {"type": "json_schema", "name": "answer", **shape}, receipt

    def plan(self, params: Params, lessons: Sequence[Lesson] = ()) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The parameters by the names of the protocol, those inside of another field too; what was not done as asked.

        Fields inside of another one stand here by their own name, so that one of them can be refused alone.
        """
        fields: dict[str, Any] = {}
        receipt: list[ReceiptItem] = []
        known = ((_PARAMS, finite(params)), (_EXTRAS, params.extra))
        for names, given in known:
            for name, value in given.items():
                if name in names:
                    fields[names[name]] = value
                elif value != ():  # no stop sequences are none to leave out
                    receipt.append(ReceiptItem(name, "dropped", "the Responses protocol has no such parameter"))
        if lessons:
            fields, learned = heeded(fields, lessons, _OURS, self.dialect.name)
            receipt += learned
        return fields, tuple(receipt)

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return ResponsesReader(content_type, **told)


# ---- pieces of a request -------------------------------------------------------------------------------------------


def _instructions(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The system message at the head, which has a field of its own, and the other messages."""
    if messages and messages[0].role == "system" and not messages[0].images:
        return messages[0].text, messages[1:]
    return "", messages


def _items(message: Message, dialect: Dialect) -> list[dict[str, Any]]:
    """The items of a turn: one, or for a turn of the assistant also those of its calls."""
    images = message.images
    if images and (message.role != "user" or not dialect.images):
        raise UnsupportedFeature(
            f"{dialect.name} takes images in the user's messages only."
            if dialect.images
            else f"{dialect.name} cannot look at images. Ask without them, or use another backend."
        )
    if own := _own(message):
        return own
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id or "", "output": message.text}]
    items = [
        {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": encode_json(call.arguments).decode(),
        }
        for call in message.tool_calls
    ]
    if items and not message.text:
        return items
    content = [_part(part) for part in message.parts] if images else message.text
    return [{"type": "message", "role": message.role, "content": content}, *items]


def _own(message: Message) -> list[dict[str, Any]]:
    """The output items that came from this protocol; none for other turns, and where they are not what they should be.

    They may have been through the hands of a caller, who must not reach anything else of the account by them.
    """
    native = message.native
    if message.role != "assistant" or native is None or native.protocol != PROTOCOL:
        return []
    data = native.data
    if not isinstance(data, list | tuple):
        return []
    good = all(
        isinstance(item, dict)
        and item.get("type") in _OWN_ITEMS
        and (item["type"] != "message" or item.get("role") == "assistant")
        for item in data
    )
    return list(data) if good else []


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        url = f"data:{part.mime};base64,{base64.b64encode(part.data).decode('ascii')}"
        return {"type": "input_image", "detail": "auto", "image_url": url}
    return {"type": "input_text", "text": part.text}


def _tool(tool: Tool) -> dict[str, Any]:
    """A tool, flat. Without `strict` the protocol would take it for strict, and refuse most schemas."""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": False,
    }
