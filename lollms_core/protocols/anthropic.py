"""Anthropic's Messages protocol: calls to requests for /v1/messages, and the errors of its answers.

Three things differ from other protocols. `max_tokens` must be sent: where the caller sets none, it is all that the
model can write. Parameters that a model refuses are known by its generation (see `anthropic_models`), so that most
calls go right at once; what is not known is learned from the refusal. And a turn with thoughts goes back as it came,
because the thoughts are signed.

The version in the header is the last one that has sampling parameters; the newer one differs in refusing them. The base
URL may end in /v1 or not. How turns are written is in `anthropic_turns`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from lollms_core.errors import InvalidRequest, LollmsError
from lollms_core.protocols.anthropic_models import ModelProfile, profile_of
from lollms_core.protocols.anthropic_reader import MessagesReader
from lollms_core.protocols.anthropic_thinking import (
    add_effort,
    add_thinking,
    begins_without_thoughts,
    tidy_thinking,
)
from lollms_core.protocols.anthropic_turns import conversation, used_tools
from lollms_core.protocols.base import HttpRequest, HttpResponse, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.http_errors import http_error, problem_of, scrub, secrets_of
from lollms_core.protocols.json_limits import decode_lenient
from lollms_core.protocols.lessons import Lesson, heeded
from lollms_core.protocols.outgoing import encode_json, finite, headers_for, model_named
from lollms_core.protocols.schema_reduction import ANTHROPIC_SCHEMAS, reduced
from lollms_core.types import GenerationCall, Params, ReceiptItem, Tool

__all__ = ["MessagesCodec", "messages_request"]

VERSION = "2023-06-01"

_PARAMS: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop_sequences",
}
"""The names of `Params` that are known there, and what they are called."""

_SAMPLING = ("temperature", "top_p", "top_k")
_EXTRAS = frozenset({"metadata", "service_tier", "inference_geo", "cache_control"})
_NEEDED = frozenset({"max_tokens"})

_LEAST_TOP_P = 0.95  # with thoughts

_TOO_LONG = re.compile(r"prompt is too long|exceeds? (?:the )?(?:model's )?context (?:limit|window)", re.IGNORECASE)
_NO_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
_NO_PREFILL = re.compile(r"does not support assistant message prefill", re.IGNORECASE)


class MessagesCodec(OneRequestCodec):
    """Text generation over /v1/messages."""

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The POST whose answer the reader reads.

        Raises `InvalidRequest` for a call without a model or a message and for values that cannot be sent,
        `UnsupportedFeature` for images of the assistant or in instructions and for schemas that no answer can be held
        to there, `ConfigError` for a key that cannot be a header.
        """
        model = model_named(call.model, target)
        profile = profile_of(model)
        system, turns, moved = conversation(call.messages)
        unsigned = begins_without_thoughts(turns)
        fields, receipt = self.plan(call.params, profile, target.lessons, offers=bool(call.tools), unsigned=unsigned)
        choice = fields.pop("tool_choice", None)
        body: dict[str, Any] = {"model": model, "max_tokens": profile.max_output, "messages": turns, **fields}
        receipt += moved
        if call.schema is not None:
            told, more = _add_schema(body, call.schema, profile)
            system, receipt = f"{system}\n\n{told}" if system and told else system or told, receipt + more
        if system:
            body["system"] = system
        if call.tools:
            body["tools"] = [_tool(tool) for tool in call.tools]
            receipt += _told_in_words(call.tools)
            if choice is not None:
                body["tool_choice"] = choice
        else:
            if choice is not None:
                receipt += (ReceiptItem("tool_choice", "dropped", "there are no tools to choose from"),)
            if earlier := used_tools(turns):  # calls in a conversation are refused where no tool is described
                body["tools"] = [_tool(Tool(name)) for name in earlier]
                body["tool_choice"] = {"type": "none"}
        if call.stream:
            body["stream"] = True
        accept = "text/event-stream" if call.stream else "application/json"
        return messages_request(
            target, "/messages", body, accept, receipt, tuple(name for name in fields if name not in _NEEDED)
        )

    def plan(
        self,
        params: Params,
        profile: ModelProfile,
        lessons: Sequence[Lesson] = (),
        *,
        offers: bool = False,
        unsigned: bool = False,
    ) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The parameters as a model takes them, under the names there, and what was not done as asked.

        `offers` says that there are tools to choose from; `unsigned` is that of `tidy_thinking`.
        """
        fields: dict[str, Any] = {}
        receipt: list[ReceiptItem] = []
        for name, value in finite(params).items():
            if name in _PARAMS:
                fields[_PARAMS[name]] = list(value) if name == "stop" else value
            else:
                receipt.append(_unknown(name))
        for name, value in params.extra.items():
            if name in ("thinking", "think"):
                add_thinking(fields, value, profile, receipt)
            elif name == "effort":
                add_effort(fields, value, profile, receipt)
            elif name == "tool_choice":
                fields["tool_choice"] = _choice(value)
            elif name in _EXTRAS:
                fields[name] = value
            else:
                receipt.append(_unknown(name))
        forced = offers and fields.get("tool_choice", {}).get("type") in ("any", "tool")
        tidy_thinking(fields, receipt, forced=forced, unsigned=unsigned)
        _tidy_stops(fields, receipt)
        _tidy_sampling(fields, profile, receipt)
        if lessons:
            ours = {there: name for name, there in _PARAMS.items()}
            needed = {name: fields.pop(name) for name in _NEEDED if name in fields}
            fields, learned = heeded(fields, lessons, ours, "anthropic")
            fields.update(needed)
            receipt += learned
        return fields, tuple(receipt)

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return MessagesReader(content_type, **told)

    @override
    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx.

        An unknown model, a conversation that is too long and an answer that cannot be continued have no type of their
        own: their messages tell them.
        """
        problem = problem_of(decode_lenient(response.body))
        told = response
        if problem is not None and (code := _code_of(problem.type, problem.message, response.status)):
            coded = {"error": {"type": problem.type, "message": problem.message, "code": code}}
            told = HttpResponse(response.status, response.headers, encode_json(coded))
        error = http_error(told, target)
        error.request_id = error.request_id or scrub(
            response.headers.get("request-id", ""), secrets_of(target), length=100
        )
        return error


def _code_of(kind: str, message: str, status: int) -> str:
    """A code for what the provider says in words alone; "" for all else."""
    if kind == "not_found_error" and status == 404 and _NO_MODEL.search(message):
        return "model_not_found"
    if kind == "invalid_request_error" and _TOO_LONG.search(message):
        return "context_length_exceeded"
    if kind == "invalid_request_error" and _NO_PREFILL.search(message):
        return "not_supported_error"
    return ""


def messages_request(
    target: Target,
    path: str,
    body: object = None,
    accept: str = "application/json",
    receipt: tuple[ReceiptItem, ...] = (),
    optional: tuple[str, ...] = (),
) -> HttpRequest:
    """A request to the API: a POST of `body` as JSON, a GET without one. Raises as `MessagesCodec.request` does."""
    headers = headers_for(target, accept, "x-api-key")
    headers.setdefault("anthropic-version", VERSION)
    if body is not None:
        headers["content-type"] = "application/json"
    return HttpRequest(
        "GET" if body is None else "POST",
        f"{target.base_url.removesuffix('/v1')}/v1{path}",
        headers,
        b"" if body is None else encode_json(body),
        target.timeouts,
        target.verify_tls,
        receipt,
        optional,
    )


# ---- parameters ----------------------------------------------------------------------------------------------------


def _unknown(name: str) -> ReceiptItem:
    return ReceiptItem(name, "dropped", "anthropic has no such parameter")


def _tidy_stops(fields: dict[str, Any], receipt: list[ReceiptItem]) -> None:
    """Take out what is refused as the end of an answer: texts of blanks alone."""
    stops = fields.pop("stop_sequences", [])
    taken = [stop for stop in stops if not stop.isspace() and stop]
    if len(taken) < len(stops):
        receipt.append(ReceiptItem("stop", "dropped", "anthropic takes no text of blanks alone"))
    if taken:
        fields["stop_sequences"] = taken


def _tidy_sampling(fields: dict[str, Any], profile: ModelProfile, receipt: list[ReceiptItem]) -> None:
    """Leave out what the model refuses, alone or together with something else."""

    def leave_out(name: str, reason: str) -> None:
        if fields.pop(name, None) is not None:
            receipt.append(ReceiptItem(name, "dropped", reason))

    if profile.sampling == "none":
        for name in _SAMPLING:
            leave_out(name, "the model takes no sampling parameters")
    if fields.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        for name in ("temperature", "top_k"):
            leave_out(name, "it cannot be set while the model thinks")
        if fields.get("top_p", 1.0) < _LEAST_TOP_P:
            leave_out("top_p", f"it must be {_LEAST_TOP_P} or more while the model thinks")
    if fields.get("temperature", 0.0) > 1.0:
        fields["temperature"] = 1.0
        receipt.append(ReceiptItem("temperature", "clamped", "anthropic takes 1 at most"))
    if profile.sampling == "one" and "temperature" in fields:
        leave_out("top_p", "the model takes it without a temperature only")


_CHOICES = {"auto": "auto", "any": "any", "required": "any", "none": "none"}


def _choice(value: object) -> dict[str, Any]:
    """Which tool to use: in a word, by a tool's name, or as an object in the words of this or of OpenAI's API.

    Raises `InvalidRequest` for anything else.
    """
    if isinstance(value, str) and value:
        return {"type": _CHOICES[value]} if value in _CHOICES else {"type": "tool", "name": value}
    if isinstance(value, Mapping):
        function = value.get("function")
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            return {"type": "tool", "name": function["name"]}
        if isinstance(value.get("type"), str):
            return dict(value)
    raise InvalidRequest(
        "Parameter tool_choice must be auto, required, none, the name of a tool, or an object with a type.",
        param="tool_choice",
    )


# ---- tools and schemas ---------------------------------------------------------------------------------------------


_UNIONS = frozenset({"anyOf", "oneOf", "allOf"})


def _tool(tool: Tool) -> dict[str, Any]:
    """A tool as it is offered. Unions at the head of a schema are refused there, so they are told in words."""
    unions = {name: value for name, value in tool.parameters.items() if name in _UNIONS}
    rest = {name: value for name, value in tool.parameters.items() if name not in unions}
    told = [tool.description] if tool.description else []
    if unions:
        told.append(f"The arguments must obey this JSON Schema, too: {encode_json(unions).decode()}")
    described = {"description": "\n\n".join(told)} if told else {}
    return {"name": tool.name, **described, "input_schema": {"type": "object", **(rest or {"properties": {}})}}


def _told_in_words(tools: Sequence[Tool]) -> tuple[ReceiptItem, ...]:
    """What the receipt says of tools whose schemas are not sent as they are."""
    reason = "anthropic takes no {} at the head of the schema of {}; the description tells it"
    return tuple(
        ReceiptItem("tools", "rewritten", reason.format(name, tool.name[:100]))
        for tool in tools
        for name in tool.parameters
        if name in _UNIONS
    )


def _add_schema(
    body: dict[str, Any], schema: Mapping[str, Any], profile: ModelProfile
) -> tuple[str, tuple[ReceiptItem, ...]]:
    """Hold the answer to a schema as well as the model can; returns what to tell it, and what the receipt says."""
    if not profile.schemas:
        words = "Answer with one JSON value and nothing else. It must obey this JSON Schema:\n"
        told = ReceiptItem("schema", "rewritten", "the model cannot be held to one; the schema is in the instructions")
        return words + encode_json(schema).decode(), (told,)
    shape, receipt = reduced(schema, ANTHROPIC_SCHEMAS)
    config = body.get("output_config", {})
    body["output_config"] = {**config, "format": {"type": "json_schema", "schema": shape}}
    return "", receipt
