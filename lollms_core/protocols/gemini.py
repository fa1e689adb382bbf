"""Google's Gemini API: calls to requests for generateContent and streamGenerateContent.

The model stands in the path, the key in a header and never in the query. What steers an answer is `generationConfig`;
the system prompt, tools and safety settings stand beside the conversation. https://ai.google.dev/api/generate-content

A turn of the model that came with signatures goes back as it came (`Native`), which newer models insist on while they
call tools. What some models refuse and others take (a system prompt of their own, penalties, settings of thinking,
calls that nobody signed) is sent as it should be and learned from the refusal; see `lollms_core.protocols.lessons`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from typing_extensions import override

from lollms_core.errors import InvalidRequest, LollmsError
from lollms_core.protocols.base import HttpRequest, HttpResponse, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.gemini_contents import conversation
from lollms_core.protocols.gemini_errors import (
    LEVEL,
    NO_THINKING,
    PENALTY,
    SIGNATURE,
    SYSTEM,
    THOUGHTS,
    gemini_error,
)
from lollms_core.protocols.gemini_plan import planned, tool_choice
from lollms_core.protocols.gemini_reader import GeminiReader
from lollms_core.protocols.outgoing import encode_json, headers_for
from lollms_core.protocols.schema_reduction import GEMINI_SCHEMAS, reduced
from lollms_core.types import GenerationCall, ReceiptItem, Tool

__all__ = ["KEY_HEADER", "GeminiCodec", "gemini_request", "model_path"]

KEY_HEADER = "x-goog-api-key"

_COLLECTIONS = ("models", "tunedModels")
_SAYS_NOTHING = frozenset({"type", "title", "description", "required", "$schema", "$id", "$defs", "definitions"})


class GeminiCodec(OneRequestCodec):
    """Text generation over generateContent. The target's base URL includes the version, such as `.../v1beta`.

    Options of the target: `safety_settings`, thresholds by category of harm; `max_output_tokens`, the most that may be
    asked for, and what is asked for where a call does not say.
    """

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The POST whose answer the reader reads.

        Raises `InvalidRequest` for a call without a model or a message and for values that cannot be sent,
        `UnsupportedFeature` for images in instructions and for schemas that no answer can be held to there,
        `ConfigError` for a key that cannot be a header.
        """
        known = {lesson.field for lesson in target.lessons}
        body, receipt = conversation(call.messages, apart=SYSTEM not in known, sign=SIGNATURE in known)
        optional = [SYSTEM] if SYSTEM in body else []
        if any(message.tool_calls for message in call.messages):
            optional.append(SIGNATURE)
        config, more = planned(call.params, target, call.model or target.model)
        receipt += more
        optional += [*config, PENALTY, NO_THINKING, LEVEL, THOUGHTS]
        if call.schema is not None:
            schema, items = reduced(call.schema, GEMINI_SCHEMAS)
            config.update(responseMimeType="application/json", responseJsonSchema=schema)
            receipt.extend(items)
        if config:
            body["generationConfig"] = config
        if call.tools:
            declared, more = _declared(call.tools)
            body["tools"] = [{"functionDeclarations": declared}]
            receipt += more
        if (choice := tool_choice(call)) is not None:
            body["toolConfig"] = {"functionCallingConfig": choice}
        elif "tool_choice" in call.params.extra and not call.tools:
            receipt.append(ReceiptItem("tool_choice", "dropped", "there are no tools to choose from"))
        if safety := target.options.get("safety_settings"):
            body["safetySettings"] = _safety(safety)
        verb = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        kind = "text/event-stream" if call.stream else "application/json"
        path = f"/{model_path(call.model, target)}:{verb}"
        return gemini_request(target, path, body, kind, tuple(receipt), tuple(optional))

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return GeminiReader(
            content_type, taken={each.id for message in call.messages for each in message.tool_calls}, **told
        )

    @override
    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx."""
        return gemini_error(response, target)


def gemini_request(
    target: Target,
    path: str,
    body: object = None,
    accept: str = "application/json",
    receipt: tuple[ReceiptItem, ...] = (),
    optional: tuple[str, ...] = (),
) -> HttpRequest:
    """A request to the API: a POST of `body` as JSON, a GET without one. Raises as `GeminiCodec.request` does."""
    headers = headers_for(target, accept, KEY_HEADER)
    if body is not None:
        headers["content-type"] = "application/json"
    return HttpRequest(
        "GET" if body is None else "POST",
        target.base_url + path,
        headers,
        b"" if body is None else encode_json(body),
        target.timeouts,
        target.verify_tls,
        receipt,
        optional,
    )


def model_path(name: str, target: Target, *, plain: bool = False) -> str:
    """The path of a model, `models/NAME` or `tunedModels/NAME`; the name is one segment, whatever is in it.

    With `plain` as it stands inside of a request, not encoded for a URL. Raises `InvalidRequest` where neither call nor
    target name a model, and for names that mean another place.
    """
    name = name or target.model
    if not name:
        raise InvalidRequest(f"Name a model: {target.provider or 'the Gemini API'} has no default.", param="model_name")
    collection, slash, rest = name.partition("/")
    if not slash or collection not in _COLLECTIONS:
        collection, rest = _COLLECTIONS[0], name
    if not rest.strip("."):
        raise InvalidRequest(f"{name[:100]!r} is no name of a model.", param="model_name")
    try:
        return f"{collection}/{rest if plain else quote(rest, safe='')}"
    except UnicodeEncodeError:
        raise InvalidRequest("The model's name has half of a character in it.", param="model_name") from None


def _declared(tools: Sequence[Tool]) -> tuple[list[dict[str, Any]], list[ReceiptItem]]:
    """The tools as they are offered; one without parameters must not have an empty object of them."""
    declared: list[dict[str, Any]] = []
    receipt: list[ReceiptItem] = []
    for tool in tools:
        one: dict[str, Any] = {"name": tool.name, "description": tool.description}
        if any(_restricts(name, value) for name, value in tool.parameters.items()):
            schema, items = reduced(tool.parameters, GEMINI_SCHEMAS)
            if not {"type", "anyOf", "$ref"} & schema.keys():
                schema["type"] = "object"  # without which a function cannot be demanded
            one["parametersJsonSchema"] = schema
            receipt += items
        declared.append(one)
    return declared, receipt


def _restricts(name: str, value: object) -> bool:
    """Whether a keyword of a schema of arguments says that there are any."""
    return bool(value) and not isinstance(value, bool) and name not in _SAYS_NOTHING


def _safety(settings: object) -> list[dict[str, Any]]:
    given = settings if isinstance(settings, Mapping) else {}
    return [{"category": category, "threshold": threshold} for category, threshold in given.items()]
