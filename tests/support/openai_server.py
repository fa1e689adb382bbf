"""A stand-in for an OpenAI-compatible endpoint, as a mode of the chaos server: it answers with what it was asked.

    with ChaosServer() as chaos:
        base_url = chaos.add("openai", answering)

The answer names the model that was asked for, as the real ones do, and is the last message, or over /completions the
prompt. A message with images is answered with their number, a schema with an object of its properties. `tool:NAME`
calls the first tool of that name twice, in pieces where it is streamed. The model `thinker` sends thoughts in a field
of their own; a model that is not in `MODELS` but named `nobody` is not found.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.chaos import Connection, Seen
from tests.support.chaos_modes import END, chunk, reply, stream_head

__all__ = ["MODELS", "USAGE", "answering"]

MODELS = [
    {"id": "one", "object": "model", "created": 1, "owned_by": "us"},
    {"id": "two", "object": "model", "created": 1, "owned_by": "us", "max_model_len": 32768},
]
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
_ARGUMENTS = ['{"n":', ' 0, "ü":', ' ["☃"]}']


async def answering(connection: Connection, seen: Seen) -> None:
    """See the module."""
    path = seen.path.partition("/")[2].partition("/")[2]
    if path == "models":
        return await _json(connection, {"object": "list", "data": MODELS})
    body = seen.json()
    if body.get("model") == "nobody":
        error = {"message": "The model `nobody` does not exist", "type": "invalid_request_error"}
        return await _json(connection, {"error": {**error, "param": None, "code": "model_not_found"}}, 404)
    if path == "embeddings":
        vectors = [{"object": "embedding", "index": at, "embedding": [len(t)]} for at, t in enumerate(body["input"])]
        return await _json(connection, {"object": "list", "data": vectors[::-1], "model": body["model"]})
    if path == "completions":
        return await _complete(connection, body)
    await _chat(connection, body)


async def _chat(connection: Connection, body: dict[str, Any]) -> None:
    common: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": body.get("model", "")}
    message = _message(body)
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        whole = {**common, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return await _json(connection, whole)
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in _deltas(message)]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    await _stream(connection, body, {**common, "object": "chat.completion.chunk"}, choices)


async def _complete(connection: Connection, body: dict[str, Any]) -> None:
    common: dict[str, Any] = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
    text = body["prompt"]
    end = {"index": 0, "finish_reason": "length" if body.get("max_tokens") == 1 else "stop", "logprobs": None}
    if not body.get("stream"):
        return await _json(connection, {**common, "choices": [{"text": text, **end}], "usage": USAGE})
    choices = [{"index": 0, "text": piece, "finish_reason": None, "logprobs": None} for piece in _pieces(text)]
    await _stream(connection, body, common, [*choices, {"text": "", **end}])


async def _stream(
    connection: Connection, body: dict[str, Any], common: dict[str, Any], choices: list[dict[str, Any]]
) -> None:
    await connection.packet(stream_head())
    for choice in choices[:-1]:
        await connection.packet(chunk(_event({**common, "choices": [choice]})))
    last = _event({**common, "choices": [choices[-1]]})
    if (body.get("stream_options") or {}).get("include_usage"):
        last += _event({**common, "choices": [], "usage": USAGE})
    await connection.send(chunk(last + b"data: [DONE]\n\n") + END)


# ---- what is answered ----------------------------------------------------------------------------------------------


def _message(body: dict[str, Any]) -> dict[str, Any]:
    last = body["messages"][-1]
    said = _said(last["content"])
    message: dict[str, Any] = {"role": "assistant", "content": said}
    offered = [tool["function"]["name"] for tool in body.get("tools") or ()]
    if body.get("response_format"):
        properties = body["response_format"]["json_schema"]["schema"]["properties"]
        message["content"] = json.dumps(dict.fromkeys(properties, 1))
    elif said.startswith("tool:") and said[5:] in offered:
        function = {"name": said[5:], "arguments": "".join(_ARGUMENTS)}
        message["content"] = None
        message["tool_calls"] = [{"id": f"call_{at}", "type": "function", "function": function} for at in "ab"]
    elif last["role"] == "tool":
        message["content"] = f"{last['tool_call_id']} said {said}"
    if body.get("model") == "thinker":
        message["reasoning_content"] = "Let me see."
    return message


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    thoughts = [{"reasoning_content": piece} for piece in _pieces(message.get("reasoning_content", ""))]
    deltas = [*thoughts, *({"content": piece} for piece in _pieces(message["content"] or ""))]
    for index, call in enumerate(message.get("tool_calls", ())):
        first = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        pieces = [{"index": index, "function": {"arguments": piece}} for piece in _ARGUMENTS]
        deltas += [{"tool_calls": [each]} for each in (first, *pieces)]
    return deltas


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    return f"{sum(part['type'] == 'image_url' for part in content)} images"


def _pieces(text: str) -> list[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


async def _json(connection: Connection, value: object, code: int = 200) -> None:
    await reply(connection, json.dumps(value).encode(), code, "OK" if code == 200 else "Error")
