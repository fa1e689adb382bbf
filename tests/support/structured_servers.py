"""Stand-ins for providers whose model gives exact structured answers, over a real socket.

`ExactOllama` answers a schema with its value. `exact_openai` answers in the ways that it is given, `schema`, `tool` and
`prompt`, and refuses the others as the real ones do.
"""

from __future__ import annotations

import json
from typing import Any

from typing_extensions import override

from tests.support.chaos import Connection, Seen
from tests.support.chaos_modes import END, Mode, answer_events, answer_json, chunk, event, head, reply, stream_head
from tests.support.ollama_server import OllamaServer

__all__ = ["ExactOllama", "exact_openai"]


class ExactOllama(OllamaServer):
    """Ollama with a model that answers each schema with `value`."""

    value: Any = None

    @override
    async def _chat(self, connection: Connection, body: dict[str, Any], model: dict[str, Any]) -> None:
        text = json.dumps(self.value) if isinstance(body.get("format"), dict) else "I do not know."
        common = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
        ending = {"done": True, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 7}
        if body.get("stream") is False:
            message = {"role": "assistant", "content": text}
            return await reply(connection, json.dumps({**common, "message": message, **ending}).encode())
        await connection.packet(head(content_type="application/x-ndjson", transfer_encoding="chunked"))
        for place in range(0, len(text), 5):
            message = {"role": "assistant", "content": text[place : place + 5]}
            line = json.dumps({**common, "message": message, "done": False}).encode() + b"\n"
            await connection.packet(chunk(line))
        last = {**common, "message": {"role": "assistant", "content": ""}, **ending}
        await connection.send(chunk(json.dumps(last).encode() + b"\n") + END)


def exact_openai(value: Any, *ways: str) -> Mode:
    """A mode of the chaos server that takes `schema`, `tool` and `prompt`, those of them that are named."""

    async def mode(connection: Connection, seen: Seen) -> None:
        body, text = seen.json(), json.dumps(value)
        way = "schema" if body.get("response_format") else "tool" if body.get("tools") else "prompt"
        if way not in ways:
            words = f"'{'response_format' if way == 'schema' else 'tools'}' is not supported by this model"
            error = {"message": words, "type": "invalid_request_error", "param": None, "code": None}
            return await reply(connection, json.dumps({"error": error}).encode(), 400, "Bad Request")
        if way != "tool":
            text = text if way == "schema" else f"Here it is:\n```json\n{text}\n```"
            if not body.get("stream"):
                return await reply(connection, answer_json(text))
            await connection.packet(stream_head())
            return await connection.send(b"".join(chunk(each) for each in answer_events(text)) + END)
        function = {"name": body["tools"][0]["function"]["name"], "arguments": text}
        call = {"id": "c1", "type": "function", "function": function}
        if not body.get("stream"):
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            whole = {"id": "x", "object": "chat.completion", "model": "chaos", "choices": [choice]}
            return await reply(connection, json.dumps(whole).encode())
        first = event({"tool_calls": [{**call, "index": 0, "function": {**function, "arguments": ""}}]})
        pieces = [text[place : place + 6] for place in range(0, len(text), 6)]
        later = [event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces]
        await connection.packet(stream_head())
        events = [first, *later, event(finish="tool_calls"), b"data: [DONE]\n\n"]
        await connection.send(b"".join(map(chunk, events)) + END)

    return mode
