"""A stand-in for a lollms web UI of the older kind on a real socket, as its public source describes it.

`with WebuiServer() as webui:` starts it; `webui.origin` is its address. It answers with the prompt it was given, after
`I see N images: ` where there are images; a prompt that ends with `think` gets a thought between tags. Its streams are
plain text under the content type `text/event-stream`, as with the real one, three characters a packet, with every
character of several bytes cut in two. Requests stand in `webui.requests`, as with the chaos server that this is built
on. With a `fault`, generating goes wrong in that way:

    error      status 200 and a JSON object that says what failed
    nothing    status 200 and `null`: no model is loaded
    page       status 200 and a web page
    latin      bytes that are not UTF-8, behind some that are
    cut        the connection ends in the middle of a stream
    half       a body that ends in the middle of a character
    quoted     the text as a JSON string, as early versions sent it
    broken     status 500
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, head, reply

__all__ = ["MODELS", "PERSONALITIES", "WebuiServer"]

MODELS = ["mistral-7b.gguf", "llava"]
PERSONALITIES = ["generic/lollms", "art/artbot"]
_NUMBERS = {"temperature": float, "top_p": float, "repeat_penalty": float, "top_k": int, "n_predict": int}


class WebuiServer(ChaosServer):
    """See the module. With `key`, requests without it are refused."""

    def __init__(self, *, key: str = "", fault: str = "") -> None:
        super().__init__()
        self.key = key
        self.fault = fault
        for route in ("lollms_generate", "lollms_generate_with_images", "lollms_tokenize", "lollms_detokenize"):
            self.add(route, self._post)
        self.add("lollms_embed", self._post)
        self.add("list_models", self._get)
        self.add("list_mounted_personalities", self._get)

    async def _get(self, connection: Connection, seen: Seen) -> None:
        if self.key and seen.headers.get("authorization") != f"Bearer {self.key}":
            return await _json(connection, {"detail": "Not authenticated"}, 401)
        if seen.path == "/list_models":
            return await _json(connection, MODELS)
        found = {"status": True, "personalities": PERSONALITIES, "active_personality_id": 0}
        await _json(connection, found)

    async def _post(self, connection: Connection, seen: Seen) -> None:
        if self.key and seen.headers.get("authorization") != f"Bearer {self.key}":
            return await _json(connection, {"detail": "Not authenticated"}, 401)
        body = seen.json()
        match seen.path:
            case "/lollms_tokenize":
                await _json(connection, list(body["prompt"].encode()))
            case "/lollms_detokenize":
                await _json(connection, bytes(body["tokens"]).decode())
            case "/lollms_embed":
                await _json(connection, {"vector": [float(len(body["text"])), 0.5]})
            case _:
                await self._generate(connection, seen, body)

    async def _generate(self, connection: Connection, seen: Seen, body: dict[str, Any]) -> None:
        wrong = [name for name, kind in _NUMBERS.items() if name in body and not isinstance(body[name], (int, kind))]
        if wrong or not isinstance(body.get("prompt"), str) or not isinstance(body.get("personality", -1), int):
            return await _json(connection, {"detail": [{"loc": ["body", *wrong], "msg": "Input should be valid"}]}, 422)
        images = [base64.b64decode(image, validate=True) for image in body.get("images", ())]
        if seen.path.endswith("_with_images") != bool(images):
            return await _json(connection, {"detail": [{"loc": ["body", "images"], "msg": "Field required"}]}, 422)
        text = body["prompt"]
        if images:
            text = f"I see {len(images)} images: {text}"
        if text.endswith("think"):
            text = f"<think>Let me see.</think>{text}"
        await self._answer(connection, text, body.get("stream", False))

    async def _answer(self, connection: Connection, text: str, stream: bool) -> None:
        data = text.encode()
        match self.fault:
            case "error":
                return await _json(connection, {"status": False, "error": "CUDA out of memory"})
            case "nothing":
                return await _json(connection, None)
            case "page":
                page = b"<!DOCTYPE html><title>Log in</title>"
                return await reply(connection, page, content_type="text/html; charset=utf-8")
            case "quoted":
                return await _json(connection, text)
            case "broken":
                return await reply(connection, b"Internal Server Error", 500, "Error", content_type="text/plain")
            case "latin":
                data += "é".encode("latin-1") + b" more"
            case "half":
                data += "é".encode()[:1]
        if not stream:
            return await reply(connection, data, content_type="text/plain; charset=utf-8")
        headers = {"content_type": "text/event-stream", "cache_control": "no-cache", "transfer_encoding": "chunked"}
        await connection.packet(head(**headers))
        for at in range(0, len(data), 3):
            await connection.packet(chunk(data[at : at + 3]))
            if at == 0:
                await connection.pause(0.01)  # so that a client sees more than one piece
            if self.fault == "cut":
                return connection.fin()
        await connection.send(END)


async def _json(connection: Connection, value: object, code: int = 200) -> None:
    await reply(connection, json.dumps(value).encode(), code, "OK" if code == 200 else "Error")
