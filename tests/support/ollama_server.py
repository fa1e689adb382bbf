"""A stand-in for an Ollama server on a real socket, as its public API reference describes it.

`with OllamaServer() as ollama:` starts it; `ollama.origin` is its address. It has these models:

    llama3.2:latest    text and tools
    llava:latest       text and images
    qwen3:latest       text, tools, thoughts in a field of their own
    old:latest         as versions without a list of abilities describe one: it thinks between tags
    embed:latest       embeddings alone
    broken:latest      fails in the middle of a stream

What a model answers is what it was asked, so that answers can be told apart: the text of the last message. A message
that says `tool:NAME` makes it call the first tool with that name. Requests stand in `ollama.requests`, as with the
chaos server that this is built on, which also says when a connection was closed. `ollama.hold()` makes answers wait,
streams after their first line, until `release` is called. `ollama.loaded` are the models that are in memory.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import struct
import zlib
from typing import Any

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, head, reply

__all__ = ["MODELS", "OllamaServer", "png"]

_AT = "2026-01-02T03:04:05.678901Z"


def _described(family: str, abilities: list[str] | None, context: int, **info: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "modelfile": "FROM /some/blob",
        "parameters": "stop    <|end|>",
        "template": "{{ .Prompt }}",
        "license": "Made up.",
        "modified_at": _AT,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": family,
            "families": [family, *(["clip"] if "vision" in info else [])],
            "parameter_size": "3.2B",
            "quantization_level": "Q4_K_M",
        },
        "model_info": {
            "general.architecture": family,
            f"{family}.vision.context_length": 7,
            f"{family}.context_length": context,
            "tokenizer.ggml.tokens": None,
        },
    }
    return shown if abilities is None else {**shown, "capabilities": abilities}


MODELS: dict[str, dict[str, Any]] = {
    "llama3.2:latest": _described("llama", ["completion", "tools"], 131072),
    "llava:latest": _described("llama", ["completion", "vision"], 32768),
    "qwen3:latest": _described("qwen3", ["completion", "tools", "thinking"], 40960),
    "old:latest": _described("mllama", None, 4096),
    "embed:latest": _described("bert", ["embedding"], 512),
    "broken:latest": _described("llama", ["completion"], 2048),
}


class OllamaServer(ChaosServer):
    """See the module. With `key`, requests without it are refused."""

    def __init__(self, *, key: str = "") -> None:
        super().__init__()
        self.key = key
        self.models = dict(MODELS)
        self.loaded = ["llama3.2:latest"]
        self._held: asyncio.Event | None = None
        self.add("api", self._api)

    def asked(self, path: str) -> list[Seen]:
        """The requests to one path so far."""
        return [seen for seen in self.requests if seen.path == path]

    def hold(self) -> None:
        """Answers wait from now on, streams after their first line."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Answers go on."""
        held, self._held = self._held, None
        if held is not None:
            self._loop.call_soon_threadsafe(held.set)

    # ---- routes

    async def _api(self, connection: Connection, seen: Seen) -> None:
        if self.key and seen.headers.get("authorization") != f"Bearer {self.key}":
            return await _fail(connection, 401, "unauthorized")
        route = (seen.method, seen.path)
        if route == ("GET", "/api/version"):
            return await _json(connection, {"version": "0.40.12"})
        if route == ("GET", "/api/tags"):
            return await _json(connection, {"models": [_tag(name, shown) for name, shown in self.models.items()]})
        if route == ("GET", "/api/ps"):
            return await _json(connection, {"models": [_loaded(name, self.models[name]) for name in self.loaded]})
        routes = {"/api/show": self._show, "/api/embed": self._embed, "/api/chat": self._chat}
        if seen.method != "POST" or seen.path not in routes:
            return await reply(connection, b"404 page not found", 404, "Not Found", content_type="text/plain")
        try:
            body = json.loads(seen.body)
        except ValueError as error:
            return await _fail(connection, 400, str(error))
        name = _full(body.get("model") or "")
        if not body.get("model"):
            return await _fail(connection, 400, "model is required")
        if name not in self.models:
            return await _fail(connection, 404, f"model '{body['model']}' not found")
        await routes[seen.path](connection, body, self.models[name])

    async def _show(self, connection: Connection, body: dict[str, Any], model: dict[str, Any]) -> None:
        await _json(connection, model)

    async def _embed(self, connection: Connection, body: dict[str, Any], model: dict[str, Any]) -> None:
        if "embedding" not in model.get("capabilities", ()):
            return await _fail(connection, 400, "this model does not support embeddings")
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if any(len(text) > 2000 for text in texts):
            return await _fail(connection, 400, "the input length exceeds the context length")
        vectors = [[float(len(text)), 0.5, -1.0] for text in texts]
        counted = sum(len(text.split()) for text in texts)
        await _json(connection, {"model": body["model"], "embeddings": vectors, "prompt_eval_count": counted})

    async def _chat(self, connection: Connection, body: dict[str, Any], model: dict[str, Any]) -> None:
        if problem := _refused(body, model):
            return await _fail(connection, 400, problem)
        message = _answer(body, model)
        ending = {"done": True, "done_reason": "stop", "total_duration": 5, "load_duration": 1}
        ending |= {"prompt_eval_count": 11, "prompt_eval_duration": 2, "eval_count": 7, "eval_duration": 2}
        if (body.get("options") or {}).get("num_predict") == 1:
            ending["done_reason"] = "length"
        common = {"model": body["model"], "created_at": _AT}
        if body.get("stream") is False:
            if body["model"].startswith("broken"):
                return await _fail(connection, 500, "an error was encountered while running the model")
            if self._held is not None:
                await self._held.wait()
            return await _json(connection, {**common, "message": message, **ending})
        await connection.packet(head(content_type="application/x-ndjson", transfer_encoding="chunked"))
        for place, part in enumerate(_parts(message)):
            await connection.packet(chunk(_line({**common, "message": part, "done": False})))
            if body["model"].startswith("broken"):
                await connection.packet(chunk(_line({"error": "an error was encountered while running the model"})))
                return await connection.send(END)
            if place == 0 and self._held is not None:
                await self._held.wait()
        await connection.packet(chunk(_line({**common, "message": {"role": "assistant", "content": ""}, **ending})))
        await connection.send(END)


# ---- pieces --------------------------------------------------------------------------------------------------------


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


async def _json(connection: Connection, value: object) -> None:
    await reply(connection, json.dumps(value).encode(), content_type="application/json; charset=utf-8")


async def _fail(connection: Connection, code: int, message: str) -> None:
    await reply(connection, json.dumps({"error": message}).encode(), code, "Error")


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _tag(name: str, shown: dict[str, Any]) -> dict[str, Any]:
    digest = f"{zlib.crc32(name.encode()):064x}"
    return {
        "name": name,
        "model": name,
        "modified_at": _AT,
        "size": 2019393189,
        "digest": digest,
        "details": shown["details"],
    }


def _loaded(name: str, shown: dict[str, Any]) -> dict[str, Any]:
    tag = {key: value for key, value in _tag(name, shown).items() if key != "modified_at"}
    return {**tag, "expires_at": "2026-01-02T03:09:05.678901Z", "size_vram": 1000000000, "context_length": 4096}


def _refused(body: dict[str, Any], model: dict[str, Any]) -> str:
    """What is wrong with a chat request; "" if nothing is."""
    able = model.get("capabilities", ["completion"])
    if "completion" not in able:
        return f'"{body["model"]}" does not support chat'
    if body.get("tools") and "tools" not in able:
        return f"registry.ollama.ai/library/{body['model']} does not support tools"
    if body.get("think") and "thinking" not in able:
        return f'"{body["model"]}" does not support thinking'
    for message in body["messages"]:
        if message["role"] not in ("system", "user", "assistant", "tool"):
            return f"invalid role: {message['role']}"
        for call in message.get("tool_calls") or ():
            if not isinstance(call["function"]["arguments"], dict):
                return "json: cannot unmarshal string into Go struct field of type api.ToolCallFunctionArguments"
        for image in message.get("images") or ():
            try:
                base64.b64decode(image, validate=True)
            except binascii.Error:
                return "illegal base64 data at input byte 0"
            if "vision" not in able:
                return "this model does not support image input"
    return ""


def _answer(body: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """The whole message that is answered."""
    last = body["messages"][-1]
    said, message = last["content"], {"role": "assistant", "content": last["content"]}
    if isinstance(body.get("format"), dict):
        message["content"] = json.dumps(dict.fromkeys(body["format"].get("properties", {}), 1))
    elif images := last.get("images"):
        sizes = [struct.unpack(">II", base64.b64decode(image)[16:24]) for image in images]
        message["content"] = f"I see {sizes}."
    elif said.startswith("tool:"):
        name = said.removeprefix("tool:").strip()
        offered = [tool["function"]["name"] for tool in body.get("tools") or ()]
        message["content"] = ""
        calls = [{"function": {"index": at, "name": name, "arguments": {"n": at, "ü": ["☃"]}}} for at in range(2)]
        message["tool_calls"] = calls if name in offered else []
    elif last["role"] == "tool":
        message["content"] = f"{last.get('tool_name')} said {said}"
    if "thinking" in model.get("capabilities", ()) and body.get("think", True):
        message["thinking"] = "Let me see."
    elif "capabilities" not in model:
        message["content"] = f"<think>Let me see.</think>{message['content']}"
    return message


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message as it is streamed: thoughts, then text, then each tool call in a line of its own."""
    parts = [{"role": "assistant", "content": "", "thinking": text} for text in _pieces(message.get("thinking", ""))]
    parts += [{"role": "assistant", "content": text} for text in _pieces(message["content"])]
    calls = message.get("tool_calls") or ()
    parts += [{"role": "assistant", "content": "", "tool_calls": [call]} for call in calls]
    return parts or [{"role": "assistant", "content": ""}]


def _pieces(text: str) -> list[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def png(width: int = 3, height: int = 2) -> bytes:
    """A valid PNG image, all black."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\0" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
