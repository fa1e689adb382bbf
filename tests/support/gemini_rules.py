"""What the Gemini API takes and what it refuses, for its stand-in: the fields of requests by their type, as the public
reference lists them, and Google's words for what is wrong.

`fault_of(name, body)` gives the body of the error for a request of a type, or None.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["camel", "fault_of", "status"]

_TEXT, _NUMBER, _INT, _BOOL, _ANY = "string", "number", "int32", "bool", "any"

_TYPES: dict[str, dict[str, Any]] = {
    "GenerateContentRequest": {
        "contents": ["Content"],
        "systemInstruction": "Content",
        "tools": ["Tool"],
        "toolConfig": "ToolConfig",
        "safetySettings": ["SafetySetting"],
        "generationConfig": "GenerationConfig",
        "cachedContent": _TEXT,
    },
    "CountTokensRequest": {"contents": ["Content"], "generateContentRequest": "GenerateContentRequest"},
    "BatchEmbedContentsRequest": {"requests": ["EmbedContentRequest"]},
    "EmbedContentRequest": {
        "model": _TEXT,
        "content": "Content",
        "taskType": _TEXT,
        "title": _TEXT,
        "outputDimensionality": _INT,
    },
    "Content": {"role": _TEXT, "parts": ["Part"]},
    "Part": {
        "text": _TEXT,
        "thought": _BOOL,
        "thoughtSignature": _TEXT,
        "inlineData": "Blob",
        "functionCall": "FunctionCall",
        "functionResponse": "FunctionResponse",
    },
    "Blob": {"mimeType": _TEXT, "data": _TEXT},
    "FunctionCall": {"id": _TEXT, "name": _TEXT, "args": _ANY},
    "FunctionResponse": {"id": _TEXT, "name": _TEXT, "response": _ANY, "parts": ["FunctionResponsePart"]},
    "FunctionResponsePart": {"inlineData": "Blob"},
    "Tool": {"functionDeclarations": ["FunctionDeclaration"]},
    "FunctionDeclaration": {
        "name": _TEXT,
        "description": _TEXT,
        "parameters": _ANY,
        "parametersJsonSchema": _ANY,
        "response": _ANY,
    },
    "ToolConfig": {"functionCallingConfig": "FunctionCallingConfig"},
    "FunctionCallingConfig": {"mode": _TEXT, "allowedFunctionNames": [_TEXT]},
    "SafetySetting": {"category": _TEXT, "threshold": _TEXT},
    "GenerationConfig": {
        "stopSequences": [_TEXT],
        "responseMimeType": _TEXT,
        "responseSchema": _ANY,
        "responseJsonSchema": _ANY,
        "responseModalities": [_TEXT],
        "candidateCount": _INT,
        "maxOutputTokens": _INT,
        "temperature": _NUMBER,
        "topP": _NUMBER,
        "topK": _NUMBER,
        "seed": _INT,
        "presencePenalty": _NUMBER,
        "frequencyPenalty": _NUMBER,
        "thinkingConfig": "ThinkingConfig",
        "mediaResolution": _TEXT,
    },
    "ThinkingConfig": {"includeThoughts": _BOOL, "thinkingBudget": _INT, "thinkingLevel": _TEXT},
}

_KINDS: dict[str, Any] = {_TEXT: str, _NUMBER: (int, float), _INT: int, _BOOL: bool}

_HARMS = {f"HARM_CATEGORY_{harm}" for harm in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")}
_THRESHOLDS = {"BLOCK_NONE", "BLOCK_ONLY_HIGH", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_LOW_AND_ABOVE", "OFF"}


def status(code: int, word: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """The body of an error."""
    error: dict[str, Any] = {"code": code, "message": message, "status": word}
    if details:
        error["details"] = [{**each, "@type": f"type.googleapis.com/google.rpc.{each['@type']}"} for each in details]
    return {"error": error}


def _invalid(message: str, field: str = "") -> dict[str, Any]:
    if not field:
        return status(400, "INVALID_ARGUMENT", message)
    violation = {"field": field, "description": message}
    return status(400, "INVALID_ARGUMENT", message, {"@type": "BadRequest", "fieldViolations": [violation]})


def fault_of(name: str, body: Any) -> dict[str, Any] | None:
    """What is wrong with a request of type `name`; None if nothing is."""
    return _form(name, body, "") or (_meaning(body) if name == "GenerateContentRequest" else None)


def _form(name: str, value: Any, at: str) -> dict[str, Any] | None:
    """Fields that do not exist and values of another type, by the JSON form of protocol buffers."""
    fields = _TYPES[name]
    if not isinstance(value, dict):
        return _invalid(f"Invalid value at '{at or name}' (type.googleapis.com/{name}), {value!r}", at)
    for key, each in value.items():
        here = f"{at}.{_snake(key)}" if at else _snake(key)
        if key not in fields:
            where = f" at '{at}'" if at else ""
            message = f'Invalid JSON payload received. Unknown name "{key}"{where}: Cannot find field.'
            return _invalid(message, at or _snake(key))
        kind = fields[key]
        many = isinstance(kind, list)
        if many and not isinstance(each, list):
            return _invalid(f"Invalid value at '{here}', expected a list", here)
        kind = kind[0] if isinstance(kind, list) else kind
        for place, one in enumerate(each if many else [each]):
            there = f"{here}[{place}]" if many else here
            if kind in _TYPES:
                if fault := _form(kind, one, there):
                    return fault
            elif kind != _ANY and (
                not isinstance(one, _KINDS[kind]) or (kind in (_INT, _NUMBER) and isinstance(one, bool))
            ):
                return _invalid(f"Invalid value at '{there}' (TYPE_{kind.upper()}), {one!r}", there)
            elif kind == _INT and not -(2**31) <= one < 2**31:
                return _invalid(f"Invalid value at '{there}' (TYPE_INT32), {one!r}", there)
    return None


def camel(name: str, value: Any) -> Any:
    """A request with the names of its fields in one form: JSON of protocol buffers may write them in two."""
    if not isinstance(value, dict):
        return value
    fields, out = _TYPES[name], {}
    for key, each in value.items():
        known = re.sub("_([a-z])", lambda found: found[1].upper(), key)
        key = known if known in fields else key
        kind = fields.get(key)
        if isinstance(kind, list) and isinstance(each, list) and kind[0] in _TYPES:
            out[key] = [camel(kind[0], one) for one in each]
        else:
            out[key] = camel(kind, each) if isinstance(kind, str) and kind in _TYPES else each
    return out


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)


def _meaning(body: dict[str, Any]) -> dict[str, Any] | None:
    """Values of the right form that make no sense."""
    contents = body.get("contents") or []
    if not contents:
        return _invalid("* GenerateContentRequest.contents: contents is not specified\n")
    config = body.get("generationConfig", {})
    if len(config.get("stopSequences", ())) > 5:
        return _invalid("The number of stop sequences must not be more than 5.")
    schema = config.get("responseJsonSchema", config.get("responseSchema"))
    if schema is not None and config.get("responseMimeType") != "application/json":
        return _invalid("Response schema is only supported with response mime type application/json.")
    if "responseJsonSchema" in config and "responseSchema" in config:
        return _invalid("Only one of response_schema and response_json_schema may be set.")
    if {"thinkingBudget", "thinkingLevel"} <= set(config.get("thinkingConfig", {})):
        return _invalid("You can only set only one of thinking budget and thinking level.")
    for setting in body.get("safetySettings", ()):
        if setting.get("category") not in _HARMS or setting.get("threshold") not in _THRESHOLDS:
            return _invalid("* GenerateContentRequest.safety_settings[0]: element predicate failed\n")
    for place, content in enumerate(contents):
        if not content.get("parts"):
            where = f"GenerateContentRequest.contents[{place}].parts"
            return _invalid(f"* {where}: contents.parts must not be empty.\n")
        if content.get("role", "user") not in ("user", "model"):
            return _invalid("Please use a valid role: user, model.")
        if any(len(set(part) - {"thought", "thoughtSignature"}) != 1 for part in content["parts"]):
            return _invalid(f"contents[{place}].parts[0].data: required oneof field 'data' must have one value")
        if any(part.get("text") == "" and "thoughtSignature" not in part for part in content["parts"]):
            said = "required oneof field 'data' must have one initialized field\n"
            return _invalid(f"* GenerateContentRequest.contents[{place}].parts[0].data: {said}")
    return _answered(contents)


def _answered(contents: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Whether each turn of calls is followed by as many results."""
    for before, after in zip([{"parts": []}, *contents], [*contents, {"parts": []}], strict=True):
        if any("functionCall" in part for part in after["parts"]) and before.get("role", "model") == "model":
            return _invalid(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )
        calls = [part["functionCall"] for part in before["parts"] if "functionCall" in part]
        results = [part["functionResponse"] for part in after["parts"] if "functionResponse" in part]
        if len(calls) != len(results):
            return _invalid(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        for call, result in zip(calls, results, strict=True):
            if not isinstance(result.get("response"), dict) or not result.get("name"):
                return _invalid("Invalid value at 'contents.parts.function_response'")
            if result.get("id") != call.get("id"):
                return _invalid("The id of a function response is not that of its call.")
    return None
