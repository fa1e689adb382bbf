"""What the Responses endpoint takes, by its API reference: whatever else is asked is refused in its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Refusal", "check", "encrypted"]

FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "model": str,
    "input": (str, list),
    "instructions": (str, type(None)),
    "max_output_tokens": int,
    "temperature": (int, float),
    "top_p": (int, float),
    "reasoning": dict,
    "text": dict,
    "tools": list,
    "tool_choice": (str, dict),
    "store": bool,
    "include": list,
    "stream": bool,
    "service_tier": str,
    "user": str,
    "safety_identifier": str,
    "prompt_cache_key": str,
    "truncation": str,
    "parallel_tool_calls": bool,
    "metadata": dict,
}
_OF_USERS = ("input_text", "input_image", "input_file")
_OF_MODELS = ("output_text", "refusal")
THINKING = ("thinker", "deep")


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, words: str, param: str | None, code: str | None = None, status: int = 400) -> None:
        super().__init__(words)
        self.words, self.param, self.code, self.status = words, param, code, status


def encrypted(place: int) -> str:
    """What the model gives for its thoughts when its item is the one after so many."""
    return f"gAAAAAB-{place}-sealed=="


def check(body: Any) -> None:
    """Raises `Refusal` for a request that the real endpoint would refuse."""
    for name, value in body.items():
        if name not in FIELDS:
            raise Refusal(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        wanted = FIELDS[name]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise Refusal(f"Invalid type for '{name}'.", name, "invalid_type")
    for name in ("model", "input"):
        if name not in body:
            raise Refusal(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if body["model"] == "nobody":
        raise Refusal("The requested model 'nobody' does not exist.", "model", "model_not_found")
    _check_knobs(body)
    for tool in body.get("tools", ()):
        _check_tool(tool)
    _check_format((body.get("text") or {}).get("format"))
    if isinstance(body["input"], list):
        _check_input(body["input"], stored=body.get("store", True))


def _check_knobs(body: dict[str, Any]) -> None:
    model = body["model"]
    if body.get("max_output_tokens", 16) < 16:
        words = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16."
        raise Refusal(words, "max_output_tokens", "integer_below_min_value")
    if model == "plain" and "reasoning.encrypted_content" in body.get("include", ()):
        raise Refusal("Encrypted content is not supported with this model.", "include")
    for name in ("effort", "summary"):
        if model == "plain" and name in body.get("reasoning", {}):
            words = f"Unsupported parameter: 'reasoning.{name}' is not supported with this model."
            raise Refusal(words, f"reasoning.{name}", "unsupported_parameter")
    if model in THINKING and "temperature" in body:
        words = "Unsupported parameter: 'temperature' is not supported with this model."
        raise Refusal(words, "temperature", "unsupported_parameter")
    if unknown := set(body.get("reasoning", {})) - {"effort", "summary"}:
        raise Refusal(f"Unknown parameter: 'reasoning.{min(unknown)}'.", "reasoning", "unknown_parameter")
    if unknown := set(body.get("text", {})) - {"format", "verbosity"}:
        raise Refusal(f"Unknown parameter: 'text.{min(unknown)}'.", "text", "unknown_parameter")


def _check_tool(tool: dict[str, Any]) -> None:
    if tool.get("type") != "function" or not tool.get("name"):
        raise Refusal("Missing required parameter: 'tools[0].name'.", "tools[0].name", "missing_required_parameter")
    if tool.get("strict", True) and not _is_closed(tool.get("parameters") or {}):
        raise Refusal(
            f"Invalid schema for function '{tool['name']}'.", "tools[0].parameters", "invalid_function_schema"
        )


def _check_format(shape: dict[str, Any] | None) -> None:
    if shape is None or shape.get("type") == "text":
        return
    if shape.get("type") != "json_schema" or not shape.get("name") or "schema" not in shape:
        raise Refusal("Missing required parameter: 'text.format.name'.", "text.format", "missing_required_parameter")
    if shape.get("strict") and not _is_closed(shape["schema"]):
        words = f"Invalid schema for response_format '{shape['name']}': 'additionalProperties' is required to be false."
        raise Refusal(words, "text.format.schema", "invalid_json_schema")


def _is_closed(schema: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    return schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)


def _check_input(items: list[Any], stored: bool) -> None:
    called: dict[str, bool] = {}  # whether a call has its output
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message":
            _check_message(item, at)
        elif kind == "function_call":
            if not all(isinstance(item.get(name), str) for name in ("call_id", "name", "arguments")):
                raise Refusal("Missing required parameter.", f"input[{at}]", "missing_required_parameter")
            called[item["call_id"]] = False
        elif kind == "function_call_output":
            if item.get("call_id") not in called:
                words = f"No tool call found for function call output with call_id {item.get('call_id')}."
                raise Refusal(words, "input")
            called[item["call_id"]] = True
        elif kind == "reasoning":
            _check_thought(items, at, stored)
        else:
            raise Refusal(f"Invalid value: '{kind}'.", f"input[{at}]", "invalid_value")
    if missing := [name for name, has in called.items() if not has]:
        raise Refusal(f"No tool output found for function call {missing[0]}.", "input")


def _check_message(item: dict[str, Any], at: int) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise Refusal(f"Invalid value: '{role}'.", f"input[{at}].role", "invalid_value")
    for number, part in enumerate([] if isinstance(content, str) else content):
        if part.get("type") not in (_OF_MODELS if role == "assistant" else _OF_USERS):
            raise Refusal(f"Invalid value: '{part.get('type')}'.", f"input[{at}].content[{number}]", "invalid_value")
        if part["type"] == "input_image" and not part["image_url"].startswith(("data:image/", "https://")):
            raise Refusal("Invalid 'image_url'.", f"input[{at}].content[{number}].image_url", "invalid_value")


def _check_thought(items: list[Any], at: int, stored: bool) -> None:
    item = items[at]
    if not isinstance(item.get("summary"), list) or not item.get("id"):
        raise Refusal("Missing required parameter.", f"input[{at}]", "missing_required_parameter")
    if not stored and item.get("encrypted_content") != encrypted(int(item["id"].removeprefix("rs_"))):
        words = f"The encrypted content for item {item['id']} could not be verified."
        raise Refusal(words, None, "invalid_encrypted_content")
    after = items[at + 1].get("type") if at + 1 < len(items) else None
    if after not in ("message", "function_call", "reasoning"):
        words = f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."
        raise Refusal(words, "input")
