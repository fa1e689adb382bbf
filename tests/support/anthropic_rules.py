"""What Anthropic's API refuses, as its reference says: the stand-in holds every request against it.

`problem_of(body, version)` says what is wrong with a request to /v1/messages, in the words of the API; "" for nothing.
What models take stands in `MODELS`, row by row from the reference, on purpose not taken from the product's own table.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["MODELS", "Model", "problem_of", "signature_of"]


class Model(NamedTuple):
    """`thinking` are the values of its `type` that are taken; `sampling` is all, one or none; `prefill` is whether the
    model goes on with an answer that was begun for it."""

    display_name: str
    max_input_tokens: int
    max_tokens: int
    thinking: tuple[str, ...]
    sampling: str
    efforts: tuple[str, ...] = ()
    prefill: bool = False


_ALL = ("low", "medium", "high", "xhigh", "max")
MODELS: dict[str, Model] = {
    "claude-opus-5-5": Model("Claude Opus 5.5", 1_000_000, 128_000, ("adaptive",), "none", _ALL),
    "claude-sonnet-5-5": Model("Claude Sonnet 5.5", 1_000_000, 128_000, ("adaptive", "disabled"), "none", _ALL),
    "claude-opus-4-6": Model(
        "Claude Opus 4.6", 1_000_000, 128_000, ("adaptive", "enabled", "disabled"), "one", (*_ALL[:3], "max")
    ),
    "claude-sonnet-4-5-20250929": Model("Claude Sonnet 4.5", 200_000, 64_000, ("enabled", "disabled"), "one", (), True),
    "claude-haiku-4-5-20251001": Model("Claude Haiku 4.5", 200_000, 64_000, ("enabled", "disabled"), "one", (), True),
    "claude-broken": Model("It fails half way", 200_000, 64_000, (), "all"),
}

_SAMPLING = {"temperature", "top_p", "top_k"}
_FIELDS = {
    "model", "messages", "max_tokens", "system", "stream", "stop_sequences", "thinking", "tools", "tool_choice",
    "output_config", "metadata", "service_tier", "cache_control", "inference_geo", "container", *_SAMPLING,
}  # fmt: skip
_BLOCKS: dict[str, tuple[set[str], set[str]]] = {
    "text": ({"text"}, {"citations", "cache_control"}),
    "image": ({"source"}, {"cache_control"}),
    "thinking": ({"thinking", "signature"}, set()),
    "redacted_thinking": ({"data"}, set()),
    "tool_use": ({"id", "name", "input"}, {"caller", "cache_control"}),
    "tool_result": ({"tool_use_id"}, {"content", "is_error", "cache_control"}),
}
"""What a block must and may have."""

_SCHEMA_WORDS = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "allOf", "$ref",
    "$defs", "definitions", "title", "description", "format", "default", "minItems", "pattern",
}  # fmt: skip
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


class _Refused(Exception):
    pass


def signature_of(thoughts: str) -> str:
    """The signature of thoughts, which must come back with them."""
    return base64.b64encode(f"signed {binascii.crc32(thoughts.encode())}".encode()).decode()


def problem_of(body: Any, version: str, *, counting: bool = False) -> str:
    """What is wrong with a request; `counting` for those to count tokens, which need no limit."""
    try:
        _check(body, version, counting)
    except _Refused as refused:
        return str(refused)
    return ""


def _need(good: object, words: str) -> None:
    if not good:
        raise _Refused(words)


def _check(body: Any, version: str, counting: bool) -> None:
    _need(isinstance(body, dict), "Input should be an object")
    known = _FIELDS if version == "2023-06-01" else _FIELDS - _SAMPLING
    if counting:
        known = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
    for name in body:
        _need(name in known, f"{name}: Extra inputs are not permitted")
    needed = ("model", "messages") if counting else ("model", "messages", "max_tokens")
    for name in needed:
        _need(name in body, f"{name}: Field required")
    model = MODELS[body["model"]]
    if not counting:
        most = body["max_tokens"]
        _need(type(most) is int and most >= 1, "max_tokens: Input should be greater than or equal to 1")
        words = f"max_tokens: {most} > {model.max_tokens}, which is the maximum allowed number of output tokens"
        _need(most <= model.max_tokens, f"{words} for {body['model']}")
    _need(isinstance(body.get("system", ""), str), "system: Input should be a valid string")
    _check_tuning(body, model)
    _check_thinking(body, model)
    _check_turns(body)
    _check_tools(body, model)
    _check_output(body.get("output_config", {}), model)


def _check_tuning(body: dict[str, Any], model: Model) -> None:
    given = [name for name in sorted(_SAMPLING) if name in body]
    if model.sampling == "none":
        _need(not given, f"`{(given or ['?'])[0]}` is deprecated for this model.")
    if model.sampling == "one":
        words = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        _need(not {"temperature", "top_p"} <= body.keys(), words)
    temperature = body.get("temperature", 1.0)
    _need(0 <= temperature <= 1, "temperature: range: -0..1")
    if body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        _need(temperature == 1, "`temperature` may only be set to 1 when thinking is enabled.")
        _need("top_k" not in body, "`top_k` must be unset when thinking is enabled.")
        words = "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
        _need(body.get("top_p", 1) >= 0.95, words)
    for stop in body.get("stop_sequences", ()):
        _need(stop.strip(), "stop_sequences: each stop sequence must contain non-whitespace")


def _check_thinking(body: dict[str, Any], model: Model) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type")
    _need(kind in model.thinking, f'"thinking.type.{kind}" is not supported for this model.')
    if kind == "enabled":
        _need(thinking.get("budget_tokens", 0) >= 1024, "thinking.enabled.budget_tokens: must be at least 1024")
        words = "`max_tokens` must be greater than `thinking.budget_tokens`"
        _need("max_tokens" not in body or thinking["budget_tokens"] < body["max_tokens"], words)
    allowed = {"enabled": {"type", "budget_tokens", "display"}, "adaptive": {"type", "display"}}
    for name in thinking:
        _need(name in allowed.get(kind, {"type"}), f"thinking.{kind}.{name}: Extra inputs are not permitted")


def _check_turns(body: dict[str, Any]) -> None:
    messages = body["messages"]
    _need(isinstance(messages, list) and messages, "messages: at least one message is required")
    _need(messages[0].get("role") == "user", 'messages: first message must use the "user" role')
    waiting: list[str] = []
    called: set[str] = set()
    for at, message in enumerate(messages):
        _need(message.keys() == {"role", "content"}, f"messages.{at}: Extra inputs are not permitted")
        _need(message["role"] in ("user", "assistant"), f"messages: Unexpected role {message['role']!r}.")
        blocks = list(_blocks(message["content"]))
        for number, block in enumerate(blocks):
            _check_block(block, message["role"], f"messages.{at}.content.{number}")
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        _need(set(answered) <= set(waiting), f"messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks")
        words = f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after"
        _need(set(answered) == set(waiting), words)
        kinds = [block["type"] for block in blocks]
        _need(kinds[: len(answered)] == ["tool_result"] * len(answered), f"messages.{at}: results must come first")
        _need(len(set(answered)) == len(answered), f"messages.{at}: each tool_use must have a single result")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        unique = len(set(waiting)) == len(waiting) and not called & set(waiting)
        _need(unique, f"messages.{at}.content.0: `tool_use` ids must be unique")
        called |= set(waiting)
        if waiting and body.get("thinking", {}).get("type") == "enabled" and at == len(messages) - 2:
            words = f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`."
            _need(kinds[0] in ("thinking", "redacted_thinking"), words)
    last = messages[-1]
    if last["role"] == "assistant":
        words = "This model does not support assistant message prefill. The conversation must end with a user message."
        _need(MODELS[body["model"]].prefill, words)
        text = list(_blocks(last["content"]))[-1].get("text", "")
        _need(text == text.rstrip(), "messages: final assistant content cannot end with trailing whitespace")


def _blocks(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    else:
        yield from content


def _check_block(block: dict[str, Any], role: str, where: str) -> None:
    kind = block.get("type")
    _need(kind in _BLOCKS, f"{where}: Input tag {kind!r} found using 'type' does not match any of the expected tags")
    must, may = _BLOCKS[str(kind)]
    given = block.keys() - {"type"}
    _need(must <= given, f"{where}.{kind}: Field required")
    _need(given <= must | may, f"{where}.{kind}: Extra inputs are not permitted")
    theirs = ("thinking", "redacted_thinking", "tool_use")
    _need(role == "assistant" or kind not in theirs, f"{where}: `{kind}` blocks are not allowed in user messages")
    _need(role == "user" or kind not in ("image", "tool_result"), f"{where}: not allowed in assistant messages")
    if kind == "text":
        _need(block["text"], "messages: text content blocks must be non-empty")
        _need(block["text"].strip(), "messages: text content blocks must contain non-whitespace text")
    elif kind == "thinking":
        good = block["signature"] == signature_of(block["thinking"])
        _need(good, f"{where}: Invalid `signature` in `thinking` block")
    elif kind == "image":
        source = block["source"]
        _need(source.keys() == {"type", "media_type", "data"} and source["type"] == "base64", f"{where}.image.source")
        _need(source["media_type"] in ("image/png", "image/jpeg", "image/gif", "image/webp"), f"{where}.media_type")
        base64.b64decode(source["data"], validate=True)
    elif kind in ("tool_use", "tool_result"):
        call_id = block.get("id") or block.get("tool_use_id") or ""
        _need(_ID.fullmatch(call_id), f"{where}.{kind}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        for number, part in enumerate(_blocks(block.get("content", ()) or ())):
            _check_block(part, "user", f"{where}.content.{number}")


def _check_tools(body: dict[str, Any], model: Model) -> None:
    tools = body.get("tools", [])
    for at, tool in enumerate(tools):
        _need({"name", "input_schema"} <= tool.keys(), f"tools.{at}.custom.input_schema: Field required")
        known = {"name", "input_schema", "description", "strict", "cache_control", "type"}
        _need(tool.keys() <= known, f"tools.{at}: Extra inputs are not permitted")
        _need(tool["input_schema"].get("type") == "object", f"tools.{at}.custom.input_schema.type: Field required")
        words = f"tools.{at}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
        _need(not {"oneOf", "allOf", "anyOf"} & tool["input_schema"].keys(), words)
        words = f"tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        _need(_TOOL_NAME.fullmatch(tool["name"]), words)
    _need(tools or "tool_choice" not in body, "tool_choice: may only be specified while providing `tools`.")
    kinds = {block.get("type") for message in body["messages"] for block in _blocks(message["content"])}
    words = "Requests which include `tool_use` or `tool_result` blocks must define tools."
    _need(tools or not kinds & {"tool_use", "tool_result"}, words)
    choice = body.get("tool_choice", {"type": "auto"})
    _need(choice.get("type") in ("auto", "any", "tool", "none"), "tool_choice: Input tag is not expected")
    if choice["type"] in ("any", "tool"):
        thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive") or model.thinking == ("adaptive",)
        _need(not thinks, "Thinking may not be enabled when tool_choice forces tool use.")
    if choice["type"] == "tool":
        _need(choice.get("name") in [tool["name"] for tool in tools], f"Tool {choice.get('name')!r} not found")


def _check_output(config: dict[str, Any], model: Model) -> None:
    _need(config.keys() <= {"format", "effort"}, "output_config: Extra inputs are not permitted")
    if "effort" in config:
        _need(config["effort"] in model.efforts, "This model does not support the effort parameter.")
    if "format" in config:
        shape = config["format"]
        _need(shape.keys() == {"type", "schema"} and shape["type"] == "json_schema", "output_config.format: wrong form")
        _check_schema(shape["schema"])


def _check_schema(schema: Any) -> None:
    where = "output_config.format.schema: "
    for word in schema:
        _need(word in _SCHEMA_WORDS, f"{where}For this schema, property '{word}' is not supported")
    if schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        _need(closed, f"{where}For 'object' type, 'additionalProperties' must be explicitly set to false")
    _need(schema.get("minItems", 0) in (0, 1), f"{where}'minItems' values other than 0 or 1 are not supported")
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    for each in [*inner, *([schema["items"]] if "items" in schema else [])]:
        _check_schema(each)
