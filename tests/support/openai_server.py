"""A stand-in for an OpenAI-compatible endpoint, as a mode of the chaos server: it answers with what it was asked.

    with ChaosServer() as chaos:
        base_url = chaos.add("openai", answering)

The answer names the model that was asked for, as the real ones do. A message with images is answered with their number.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.chaos import Connection, Seen
from tests.support.chaos_modes import END, chunk, reply, stream_head

__all__ = ["answering"]

MODELS = [{"id": "one", "object": "model"}, {"id": "two", "object": "model", "max_model_len": 32768}]


async def answering(connection: Connection, seen: Seen) -> None:
    """See the module."""
    path = seen.path.partition("/")[2].partition("/")[2]
    if path == "models":
        return await _json(connection, {"object": "list", "data": MODELS})
    body = seen.json()
    if path == "embeddings":
        vectors = [{"object": "embedding", "index": at, "embedding": [len(t)]} for at, t in enumerate(body["input"])]
        return await _json(connection, {"object": "list", "data": vectors[::-1], "model": body["model"]})
    text = _said(body["messages"][-1]["content"])
    common: dict[str, Any] = {"id": "chatcmpl-1", "model": body["model"]}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return await _json(connection, {**common, "object": "chat.completion", "choices": [choice]})
    await connection.packet(stream_head())
    for at in range(0, len(text), 3):
        choice = {"index": 0, "delta": {"content": text[at : at + 3]}, "finish_reason": None}
        await connection.packet(chunk(_event({**common, "choices": [choice]})))
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    await connection.send(chunk(_event({**common, "choices": [end]}) + b"data: [DONE]\n\n") + END)


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    return f"{sum(part['type'] == 'image_url' for part in content)} images"


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


async def _json(connection: Connection, value: object) -> None:
    await reply(connection, json.dumps(value).encode())
