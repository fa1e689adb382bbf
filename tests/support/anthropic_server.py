"""A stand-in for Anthropic's API on a real socket, as its reference and the types of its SDK describe it.

`with AnthropicServer(key="...") as api:` starts it; `api.origin` is its address. Requests are held against the rules of
`anthropic_rules`, which also has the models. A model answers with what it was asked:

    any text            the same text, in pieces where it is streamed; cut where a stop sequence stands
    tool:NAME           two calls of the tool, at once
    the result of tools "ID said RESULT" for each
    images              "I see [(width, height)]"
    a schema            an object with 1 for each property
    refuse              a refusal, with why

With `thinking` on it thinks first, signed; thoughts that come back must have their signature. `max_tokens` of 1 ends an
answer early. The model `claude-broken` fails in the middle of a stream. `api.fail(529, "overloaded_error")` makes the
next requests fail, `api.largest` is the most bytes of a request. `api.hold()` makes answers wait behind their first
piece, until `release`. Requests stand in `api.requests`, as with the chaos server that this is built on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.anthropic_rules import MODELS, problem_of, signature_of
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, reply, stream_head

__all__ = ["THOUGHTS", "USAGE", "AnthropicServer"]

THOUGHTS = "Let me see."
USAGE = {"input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 4, "output_tokens": 7}
_ARGUMENTS = ['{"n":', '0,"ü":', '["☃"]}']
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 413: "request_too_large"}


class AnthropicServer(ChaosServer):
    """See the module."""

    def __init__(self, *, key: str = "") -> None:
        super().__init__()
        self.key = key
        self.largest = 32 * 2**20
        self._failures: list[tuple[int, str, dict[str, str]]] = []
        self._held: asyncio.Event | None = None
        self.add("v1", self._api)

    def asked(self, path: str = "/v1/messages") -> list[Any]:
        """The bodies of the requests to one path so far."""
        return [seen.json() for seen in self.requests if seen.path == path]

    def fail(self, status: int, kind: str, times: int = 1, **headers: str) -> None:
        """The next requests are answered with an error."""
        self._failures += [(status, kind, headers)] * times

    def hold(self) -> None:
        """Answers wait from now on, streams behind their first piece."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Answers go on."""
        held, self._held = self._held, None
        if held is not None:
            self._loop.call_soon_threadsafe(held.set)

    # ---- routes

    async def _api(self, connection: Connection, seen: Seen) -> None:
        if self._failures:
            status, kind, headers = self._failures.pop(0)
            return await _fail(connection, status, "As the test wishes.", kind, **headers)
        given = seen.headers.get("x-api-key") or seen.headers.get("authorization", "").removeprefix("Bearer ")
        if not given or (self.key and given != self.key):
            return await _fail(connection, 401, "invalid x-api-key" if given else "x-api-key header is required")
        if "anthropic-version" not in seen.headers:
            return await _fail(connection, 400, "anthropic-version: header is required")
        if len(seen.body) > self.largest:
            return await _fail(connection, 413, "Request exceeds the maximum size")
        path = urlsplit(seen.path)
        if seen.method == "GET" and path.path == "/v1/models":
            return await self._list(connection, parse_qs(path.query))
        if seen.method == "GET" and path.path.startswith("/v1/models/"):
            name = path.path.removeprefix("/v1/models/")
            return await (_json(connection, _model(name)) if name in MODELS else _no_model(connection, name))
        if seen.method == "POST" and path.path in ("/v1/messages", "/v1/messages/count_tokens"):
            return await self._post(connection, seen, counting=path.path.endswith("count_tokens"))
        await _fail(connection, 404, "Not found")

    async def _list(self, connection: Connection, query: dict[str, list[str]]) -> None:
        names = list(MODELS)
        after = query.get("after_id", [""])[0]
        begin = names.index(after) + 1 if after else 0
        limit = min(int(query.get("limit", ["20"])[0]), 2)  # small pages, so that there are several
        page = names[begin : begin + limit]
        value = {"data": [_model(name) for name in page], "has_more": begin + limit < len(names)}
        await _json(connection, {**value, "first_id": page[0], "last_id": page[-1]})

    async def _post(self, connection: Connection, seen: Seen, *, counting: bool) -> None:
        try:
            body = json.loads(seen.body)
        except ValueError as error:
            return await _fail(connection, 400, str(error))
        name = body.get("model")
        if isinstance(name, str) and name not in MODELS:
            return await _no_model(connection, name)
        if problem := problem_of(body, seen.headers["anthropic-version"], counting=counting):
            return await _fail(connection, 400, problem)
        if counting:
            return await _json(connection, {"input_tokens": 8 + len(json.dumps(body["messages"]).split())})
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": name, **_answer(body)}
        if body.get("stream"):
            return await self._stream(connection, message)
        if name == "claude-broken":
            return await _fail(connection, 500, "Internal server error", "api_error")
        if self._held is not None:
            await self._held.wait()
        await _json(connection, {**message, "usage": USAGE})

    async def _stream(self, connection: Connection, message: dict[str, Any]) -> None:
        await connection.packet(stream_head(request_id="req_1"))
        early = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": {**USAGE, "output_tokens": 1}}
        await connection.packet(chunk(_event("message_start", message={**message, **early})))
        for index, block in enumerate(message["content"]):
            events = _events(index, block)
            for number, event in enumerate(events):
                await connection.packet(chunk(event))
                if number == 1 and message["model"] == "claude-broken":
                    error = {"type": "overloaded_error", "message": "Overloaded"}
                    return await connection.send(chunk(_event("error", error=error, request_id="req_1")) + END)
                if number == 1 and self._held is not None:
                    await self._held.wait()
            await connection.packet(chunk(_event("ping")))
        ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
        last = _event("message_delta", delta=ending, usage={"output_tokens": USAGE["output_tokens"]})
        await connection.send(chunk(last + _event("message_stop")) + END)


# ---- what is answered ----------------------------------------------------------------------------------------------


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        content.append({"type": "thinking", "thinking": THOUGHTS, "signature": signature_of(THOUGHTS)})
    last = body["messages"][-1]["content"]
    said = _said([{"type": "text", "text": last}] if isinstance(last, str) else last)
    offered = [tool["name"] for tool in body.get("tools") or ()]
    if said == "refuse":
        why = {"type": "refusal", "category": "bio", "explanation": "It must not."}
        return {"content": [], "stop_reason": "refusal", "stop_sequence": None, "stop_details": why}
    if said.startswith("tool:") and said[5:] in offered and body.get("tool_choice", {}).get("type") != "none":
        arguments = json.loads("".join(_ARGUMENTS))
        calls = [{"type": "tool_use", "id": f"toolu_{at}", "name": said[5:], "input": arguments} for at in "ab"]
        return {"content": [*content, *calls], "stop_reason": "tool_use", "stop_sequence": None}
    shape = body.get("output_config", {}).get("format")
    text = json.dumps(dict.fromkeys(shape["schema"]["properties"], 1)) if shape else said
    stop = next((each for each in body.get("stop_sequences", ()) if each in text), None)
    text = text.partition(stop)[0] if stop else text
    reason = "stop_sequence" if stop else "max_tokens" if body["max_tokens"] == 1 else "end_turn"
    content.append({"type": "text", "text": text, "citations": None})
    return {"content": content, "stop_reason": reason, "stop_sequence": stop}


def _said(blocks: list[dict[str, Any]]) -> str:
    results = [f"{block['tool_use_id']} said {block['content']}" for block in blocks if block["type"] == "tool_result"]
    if results:
        return "; ".join(results)
    images = [base64.b64decode(block["source"]["data"]) for block in blocks if block["type"] == "image"]
    if images:
        return f"I see {[struct.unpack('>II', image[16:24]) for image in images]}."
    return str(blocks[-1]["text"])


def _events(index: int, block: dict[str, Any]) -> list[bytes]:
    """One block as a stream has it: its start, its deltas, its end."""
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
    deltas: list[dict[str, Any]] = []
    if block["type"] == "text":
        deltas += [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
    elif block["type"] == "thinking":
        deltas += [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *_ARGUMENTS)]
    start = _event("content_block_start", index=index, content_block={**block, **empty[block["type"]]})
    middle = [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return [start, *middle, _event("content_block_stop", index=index)]


def _pieces(text: str) -> list[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


# ---- pieces --------------------------------------------------------------------------------------------------------


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


async def _json(connection: Connection, value: object, code: int = 200, **headers: str) -> None:
    data = json.dumps(value, ensure_ascii=False).encode()
    await reply(connection, data, code, "OK" if code == 200 else "Error", request_id="req_1", **headers)


async def _fail(connection: Connection, code: int, message: str, kind: str = "", **headers: str) -> None:
    error = {"type": kind or _TYPES[code], "message": message}
    await _json(connection, {"type": "error", "error": error, "request_id": "req_1"}, code, **headers)


async def _no_model(connection: Connection, name: str) -> None:
    await _fail(connection, 404, f"model: {name}")


def _model(name: str) -> dict[str, Any]:
    model = MODELS[name]
    can, cannot = {"supported": True}, {"supported": False}
    types = {kind: can if kind in model.thinking else cannot for kind in ("adaptive", "enabled", "disabled")}
    efforts = {level: can if level in model.efforts else cannot for level in ("low", "medium", "high", "xhigh", "max")}
    return {
        "type": "model",
        "id": name,
        "display_name": model.display_name,
        "created_at": "2026-02-17T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "capabilities": {
            "image_input": can if name != "claude-broken" else cannot,
            "structured_outputs": can,
            "thinking": {"supported": bool(model.thinking), "types": {**types, "between_tools": cannot}},
            "effort": {"supported": bool(model.efforts), **efforts},
        },
    }
