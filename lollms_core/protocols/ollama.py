"""Ollama's own protocol: calls to requests for /api/chat, and the errors of its answers.

It is used rather than Ollama's imitation of the OpenAI protocol because only here the size of the context can be asked
for, thoughts come apart from the text, and a model's abilities can be looked up.

Sampling parameters travel in `options`, under Ollama's names. Images are base64 in the message they belong to. A tool's
result names the tool, not the call, so the name is looked up in the turns before it. `stream` is always sent, because
Ollama streams where it is left out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from lollms_core.errors import InvalidRequest, LollmsError, UnknownModel, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.http_errors import http_error
from lollms_core.protocols.json_limits import decode_lenient
from lollms_core.protocols.ollama_reader import OllamaReader, code_of
from lollms_core.protocols.outgoing import encode_json, finite, headers_for, model_named
from lollms_core.types import GenerationCall, Message, Params, ReceiptItem, Tool

__all__ = ["OLLAMA", "OllamaCodec", "ollama_request", "pull_hint"]

_OPTIONS: Mapping[str, str] = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
    "n_threads": "num_thread",
    "ctx_size": "num_ctx",
}
"""The names of `Params`, and what Ollama calls them."""

_MORE_OPTIONS = frozenset({"num_keep", "typical_p", "mirostat", "mirostat_tau", "mirostat_eta", "penalize_newline"})
"""Options that may pass under their own name. Those that say where a model runs are its operator's business."""

_LARGEST_SEED = 2**63 - 1

OLLAMA = "this Ollama server"
"""Who it is in a message where the target has no name."""


class OllamaCodec(OneRequestCodec):
    """Text generation over /api/chat. The target's base URL is the address of the Ollama server, without a path."""

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The POST whose answer the reader reads.

        Raises `InvalidRequest` for a call without a model and for values that cannot be sent, `UnsupportedFeature` for
        images outside of the user's messages, `ConfigError` for a key that cannot be a header.
        """
        body: dict[str, Any] = {
            "model": model_named(call.model, target, OLLAMA),
            "messages": _messages(call.messages),
            "stream": call.stream,
        }
        options, fields, receipt = self.plan(call.params)
        body.update(fields)
        if options:
            body["options"] = options
        if call.tools:
            body["tools"] = [_tool(tool) for tool in call.tools]
        if call.schema is not None:
            body["format"] = call.schema
        kind = "application/x-ndjson" if call.stream else "application/json"
        return ollama_request(target, "/api/chat", body, kind, receipt)

    def plan(self, params: Params) -> tuple[dict[str, Any], dict[str, Any], tuple[ReceiptItem, ...]]:
        """The options, the fields beside them, and what was not done as asked."""
        options: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        receipt: list[ReceiptItem] = []
        for name, value in finite(params).items():
            options[_OPTIONS[name]] = list(value) if name == "stop" else value
        if options.get("seed", 0) > _LARGEST_SEED:
            options["seed"] = _LARGEST_SEED
            receipt.append(ReceiptItem("seed", "clamped", f"ollama takes {_LARGEST_SEED} at most"))
        for name, value in params.extra.items():
            if name == "think":
                fields["think"] = _think(value)
            elif name in _MORE_OPTIONS:
                options[name] = value
            else:
                receipt.append(ReceiptItem(name, "dropped", "ollama has no such parameter"))
        return options, fields, tuple(receipt)

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return OllamaReader(content_type, **told)

    @override
    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx."""
        body = decode_lenient(response.body)
        said = body.get("error") if isinstance(body, dict) else None
        if isinstance(said, str) and 400 <= response.status < 500:
            # A wrong address has no JSON body: 404 with one means the model.
            code = code_of(said) or ("model_not_found" if response.status == 404 else "")
            coded = encode_json({"error": {"message": said, "code": code}})
            response = HttpResponse(response.status, response.headers, coded)
        error = http_error(response, target)
        if isinstance(error, UnknownModel) and (named := _QUOTED.search(error.message)):
            hint = pull_hint(named[1])
            error.message += hint if not hint or error.message.endswith((".", "!", "?")) else f".{hint}"
        return error


def pull_hint(name: str) -> str:
    """How to get a model, as an addition to a message; "" for a name that no shell should be given."""
    return f" Get it first: ollama pull {name}" if _NAME.fullmatch(name) else ""


_QUOTED = re.compile(r"""model ["']([^"'\s]{1,200})["']""")
_NAME = re.compile(r"[A-Za-z0-9][\w./:@-]{0,199}", re.ASCII)


def ollama_request(
    target: Target,
    path: str,
    body: object = None,
    accept: str = "application/json",
    receipt: tuple[ReceiptItem, ...] = (),
) -> HttpRequest:
    """A request to Ollama: a POST of `body` as JSON, a GET without one. Raises as `OllamaCodec.request` does."""
    headers = headers_for(target, accept, "authorization")
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
    )


def _think(value: object) -> object:
    """`think` is a switch, or for some models how hard to think, in a word."""
    if isinstance(value, bool) or (isinstance(value, str) and 0 < len(value) <= 32):
        return value
    raise InvalidRequest('Parameter think must be true, false or a level such as "low".', param="think")


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    tools: dict[str, str] = {}  # ids of calls to names of tools; the same id may come again later
    out: list[dict[str, Any]] = []
    for message in messages:
        if message.images and message.role != "user":
            raise UnsupportedFeature("ollama takes images in the user's messages only.")
        sent: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.images:
            sent["images"] = [base64.b64encode(image.data).decode("ascii") for image in message.images]
        if message.tool_calls:
            tools.update((call.id, call.name) for call in message.tool_calls)
            sent["tool_calls"] = [
                {"type": "function", "function": {"index": place, "name": call.name, "arguments": call.arguments}}
                for place, call in enumerate(message.tool_calls)
            ]
        if message.role == "tool" and (name := tools.get(message.tool_call_id or "")):
            sent["tool_name"] = name
        out.append(sent)
    return out


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}
