"""The OpenAI chat protocol: calls to requests for /chat/completions, /models and /embeddings, and their answers back.

What a call asks for is either sent as the dialect names it, or, if it only tunes the sampling and the provider has no
such knob, dropped and listed in the receipt; leaving out anything that changes the meaning of the call is an error
instead. The request can only ever go to the target: the base URL and the key come from there, and nothing in a call
reaches the URL or the headers.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, ProtocolError, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Limits, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.dialect import Dialect
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.lessons import Lesson, heeded
from lollms_core.protocols.openai_models import parse_models
from lollms_core.protocols.openai_reader import ChatReader, usage_of
from lollms_core.protocols.outgoing import encode_json, finite, headers_for
from lollms_core.types import (
    Embeddings,
    GenerationCall,
    ImagePart,
    Message,
    Params,
    Part,
    ReceiptItem,
    TextPart,
    Tool,
)

__all__ = [
    "ChatCodec",
    "embeddings_request",
    "models_request",
    "parse_embeddings",
    "parse_models",
]


class ChatCodec(OneRequestCodec):
    """Text generation over /chat/completions, in the words of one dialect."""

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
            address_of(target, self.dialect, self.path, call.model),
            headers,
            encode_json(body),
            target.timeouts,
            target.verify_tls,
            receipt + more,
            (*params, "stream_options") if "stream_options" in body else tuple(params),
        )

    @property
    def path(self) -> str:
        """What is appended to the base URL."""
        return self.dialect.chat_path

    def body(
        self, call: GenerationCall, target: Target, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The request's JSON object with the parameters as `plan` made them, and what more belongs in the receipt."""
        dialect = self.dialect
        receipt: tuple[ReceiptItem, ...] = ()
        body: dict[str, Any] = {
            "model": call.model or target.model,
            "messages": _messages(call, dialect),
            **params,
            **dialect.fixed,
        }
        if not body["model"]:
            del body["model"]
        if call.tools:
            if dialect.tools is not True:
                raise UnsupportedFeature(
                    f"{dialect.name} cannot call tools. Ask without tools, or use another backend."
                )
            body["tools"] = [_tool(tool) for tool in call.tools]
        if call.schema is not None:
            receipt = _add_schema(body, call.schema, dialect)
        if call.stream:
            body["stream"] = True
            if dialect.stream_usage and all(lesson.field != "stream_options" for lesson in target.lessons):
                body["stream_options"] = {"include_usage": True}
        return body, receipt

    def plan(self, params: Params, lessons: Sequence[Lesson] = ()) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The parameters as the provider names them, and what was not done as asked."""
        dialect = self.dialect
        fields: dict[str, Any] = {}
        receipt: list[ReceiptItem] = []
        for name, value in finite(params).items():
            there = dialect.params.get(name)
            if there is None:
                receipt.append(ReceiptItem(name, "dropped", f"{dialect.name} has no such parameter"))
                continue
            if name == "stop":
                value = list(value)
                if dialect.max_stops is not None and len(value) > dialect.max_stops:
                    value = value[: dialect.max_stops]
                    receipt.append(ReceiptItem(name, "clamped", f"{dialect.name} takes {dialect.max_stops} at most"))
                if not value:
                    continue
            fields[there] = value
        for name, value in params.extra.items():
            if name in dialect.extras:
                fields[name] = value
            else:
                receipt.append(ReceiptItem(name, "dropped", f"{dialect.name} has no such parameter"))
        if lessons:
            ours = {there: name for name, there in dialect.params.items()}
            fields, learned = heeded(fields, lessons, ours, dialect.name)
            receipt += learned
        return fields, tuple(receipt)

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return ChatReader(
            content_type,
            think_tags=self.dialect.think_tags,
            returns=self.dialect.returns,
            protocol=self.dialect.name,
            **told,
        )


# ---- pieces of a request -------------------------------------------------------------------------------------------


def address_of(target: Target, dialect: Dialect, path: str, model: str = "") -> str:
    """The URL of a request: the target's base URL, a path of the dialect, and its query.

    Raises `InvalidRequest` for a model that cannot stand in a path.
    """
    if "{model}" in path:
        name = model or target.model
        if not name.strip("."):
            raise InvalidRequest(f"Name a model: {dialect.name} has it in the address.", param="model_name")
        path = path.replace("{model}", quote(name, safe=""))
    known = {name: str(target.options.get(name) or default) for name, (_, default) in dialect.query.items()}
    return f"{target.base_url}{path}?{urlencode(known)}" if known else target.base_url + path


def _add_schema(body: dict[str, Any], schema: Mapping[str, Any], dialect: Dialect) -> tuple[ReceiptItem, ...]:
    """Hold the answer to a schema as well as the provider can; returns what belongs in the receipt."""
    if dialect.schemas == "none":
        raise UnsupportedFeature(f"{dialect.name} cannot be held to a JSON Schema. Use another backend.")
    if dialect.schemas == "json_object":
        words = "Answer with one JSON value and nothing else. It must obey this JSON Schema:\n"
        told = {"role": "system", "content": words + encode_json(schema).decode()}
        body["messages"] = [told, *body["messages"]]
        body["response_format"] = {"type": "json_object"}
        return (ReceiptItem("schema", "rewritten", f"{dialect.name} promises JSON only; the schema is in the prompt"),)
    if dialect.schemas == "json":
        body["response_format"] = {"type": "json", "schema": schema}
        return ()
    shape, receipt = strict_form(schema, dialect)
    body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", **shape}}
    return receipt


def strict_form(schema: Mapping[str, Any], dialect: Dialect) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
    """`schema` and `strict` of a request, and what belongs in the receipt: strict mode takes a part of JSON Schema.

    Raises as `reduced` does.
    """
    strict = _is_strict(schema)
    if not strict or dialect.strict_schemas is None:
        return {"schema": schema, "strict": strict}, ()
    from lollms_core.protocols.schema_reduction import reduced  # few calls have one

    less, receipt = reduced(schema, dialect.strict_schemas)
    return {"schema": less, "strict": True}, receipt


def _messages(call: GenerationCall, dialect: Dialect) -> list[dict[str, Any]]:
    """All turns, in an order that the provider takes."""
    turns: Sequence[Message] = call.messages
    if dialect.turns == "alternating":
        turns = _alternating(turns)
    elif dialect.turns == "closed":
        turns = _closed(turns)
    out = [_message(message, dialect, blank=bool(call.tools)) for message in turns]
    if dialect.turns == "closed" and turns and turns[-1].role == "assistant":
        out[-1]["prefix"] = True
    return out


def _closed(messages: Sequence[Message]) -> list[Message]:
    """The turns with one of the assistant between the results of tools and the user."""
    out: list[Message] = []
    for message in messages:
        if out and out[-1].role == "tool" and message.role == "user":
            out.append(Message.assistant(" "))
        out.append(message)
    return out


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """The turns with neighbours of one role joined by an empty line."""
    out: list[Message] = []
    for message in messages:
        if out and out[-1].role == message.role:
            parts = (*out[-1].parts, TextPart("\n\n"), *message.parts)
            out[-1] = msgspec.structs.replace(out[-1], parts=parts)
        else:
            out.append(message)
    return out


def _message(message: Message, dialect: Dialect, *, blank: bool = False) -> dict[str, Any]:
    """One turn, with what of it the provider wants back; with `blank` empty fields where there is nothing of it."""
    images = message.images
    if images and (message.role != "user" or not dialect.images):
        raise UnsupportedFeature(
            f"{dialect.name} takes images in the user's messages only."
            if dialect.images
            else f"{dialect.name} cannot look at images. Ask without them, or use another backend."
        )
    out = _plain(message, images, dialect)
    if message.role != "assistant":
        return out
    native = message.native
    if native is not None and native.protocol == dialect.name and isinstance(native.data, Mapping):
        found = ((name, native.data.get(name)) for name in dialect.returns)
        out.update((name, value) for name, value in found if isinstance(value, str | list | tuple))
    if blank and dialect.returns_blank:
        for name in dialect.returns:
            out.setdefault(name, "")
    return out


def _plain(message: Message, images: Sequence[ImagePart], dialect: Dialect) -> dict[str, Any]:
    if message.role == "tool":
        call_id = _call_id(message.tool_call_id or "", dialect)
        return {"role": "tool", "tool_call_id": call_id, "content": message.text}
    if message.tool_calls:
        calls = [
            {
                "id": _call_id(call.id, dialect),
                "type": "function",
                "function": {"name": call.name, "arguments": encode_json(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
        return {"role": message.role, "content": message.text or None, "tool_calls": calls}
    if images:
        return {"role": message.role, "content": [_part(part) for part in message.parts]}
    return {"role": message.role, "content": message.text}


def _call_id(call_id: str, dialect: Dialect) -> str:
    """The id of a tool call as the provider takes it: one from elsewhere is exchanged, always for the same."""
    length = dialect.call_id_length
    if length is None or (len(call_id) == length and call_id.isascii() and call_id.isalnum()):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        url = f"data:{part.mime};base64,{base64.b64encode(part.data).decode('ascii')}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": part.text}


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _is_strict(schema: object) -> bool:
    """Whether a schema fits strict mode: every object requires all its properties and allows no others.

    A provider refuses strict mode for any other schema; without it such a schema is a guide only.
    """
    if isinstance(schema, Mapping):
        if "properties" in schema or schema.get("type") == "object":
            properties = schema.get("properties", {})
            if schema.get("additionalProperties") is not False or not isinstance(properties, Mapping):
                return False
            required = schema.get("required", ())
            if not isinstance(required, list | tuple) or sorted(map(str, required)) != sorted(map(str, properties)):
                return False
        return all(_is_strict(value) for key, value in schema.items() if key not in ("enum", "const", "default"))
    if isinstance(schema, list | tuple):
        return all(_is_strict(value) for value in schema)
    return True


# ---- lists of models, embeddings -----------------------------------------------------------------------------------


def models_request(target: Target, dialect: Dialect) -> HttpRequest:
    """GET the list of models. Raises `UnsupportedFeature` where the provider has none."""
    if not dialect.models_path:
        raise UnsupportedFeature(f"{dialect.name} has no list of its models. They are named at {dialect.docs}")
    headers = headers_for(target, "application/json", dialect.key_header)
    return HttpRequest(
        "GET", address_of(target, dialect, dialect.models_path), headers, b"", target.timeouts, target.verify_tls
    )


def embeddings_request(target: Target, dialect: Dialect, texts: Sequence[str], model: str = "") -> HttpRequest:
    """POST texts to be embedded.

    Raises `UnsupportedFeature` where the provider embeds nothing, `InvalidRequest` for text that cannot be sent.
    """
    if not dialect.embeddings_path:
        raise UnsupportedFeature(f"{dialect.name} has no embeddings. Use another backend to embed texts.")
    headers = headers_for(target, "application/json", dialect.key_header)
    headers["content-type"] = "application/json"
    body: dict[str, Any] = {"input": list(texts)}
    if model or target.model:
        body["model"] = model or target.model
    url = address_of(target, dialect, dialect.embeddings_path, model)
    return HttpRequest("POST", url, headers, encode_json(body), target.timeouts, target.verify_tls)


class _Vector(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int | None = None


class _VectorList(msgspec.Struct):
    data: list[_Vector]
    model: str | None = None
    usage: Any = None


_vector_list = msgspec.json.Decoder(_VectorList).decode


def parse_embeddings(response: HttpResponse) -> Embeddings:
    """The vectors of a 2xx answer to `embeddings_request`. Raises `ProtocolError`, also for gaps in the list."""
    reply = decode_body(_vector_list, response.body)
    return Embeddings(_in_order(reply.data), reply.model or "", usage_of(reply.usage))


def _in_order(vectors: Iterable[_Vector]) -> tuple[tuple[float, ...], ...]:
    placed = {place if vector.index is None else vector.index: vector.embedding for place, vector in enumerate(vectors)}
    try:
        return tuple(placed[place] for place in range(len(placed)))
    except KeyError:
        raise ProtocolError("The backend sent embeddings that do not match the list of texts.") from None
