"""A stand-in for Google's Gemini API on a real socket, as its public reference describes it.

`with GeminiServer() as gemini:` starts it; `gemini.base` is its base URL, `gemini.key` the key it wants. Its models:

    gemini-2.5-flash         text, images, tools, and thoughts where they are asked for
    gemini-2.5-flash-lite    thinks only when it is told to, and refuses to show thoughts that it has not
    gemini-2.5-pro           always thinks, and refuses not to
    gemini-3-pro-preview     signs its turns, and refuses calls of functions that come back without their signature; it
                             alone takes images in the results of functions, and schemas beside functions
    gemini-2.5-flash-image   draws
    gemma-3-27b-it           knows no system prompt, no tools, no schemas, no penalties and no settings of thinking
    gemini-embedding-001     embeds
    broken, broken-plainly   fail in the middle of a stream: with an event, with JSON that is no event
    quota, busy, ...         fail as `FAILURES` says

What a model answers is what it was asked: the text of the last turn. `tool:NAME` makes it call that function twice,
`block` is blocked, `unsafe` ends for safety, `garbled` calls a function in a way that nobody can read. Unknown fields
are refused. Requests stand in `gemini.requests`; `gemini.hold()` makes streams wait after their first event.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, head, reply
from tests.support.gemini_rules import camel, fault_of, status
from tests.support.ollama_server import png

__all__ = ["FAILURES", "KEY", "MODELS", "SIGNATURE", "GeminiServer"]

KEY = "AIza-made-up-key-0123456789"
SIGNATURE = base64.b64encode(b"only the provider can read this").decode()
_UNSIGNED = "skip_thought_signature_validator"


def _described(name: str, methods: list[str], read: int, write: int, **more: Any) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "Made up.",
        "inputTokenLimit": read,
        "outputTokenLimit": write,
        "supportedGenerationMethods": methods,
        **more,
    }


_ANSWERS = ["generateContent", "countTokens"]

MODELS: dict[str, dict[str, Any]] = {
    name: _described(name, methods, read, write, **more)
    for name, methods, read, write, more in (
        ("gemini-2.5-flash", _ANSWERS, 1048576, 65536, {"temperature": 1, "topP": 0.95, "topK": 64, "thinking": True}),
        ("gemini-2.5-flash-lite", _ANSWERS, 1048576, 65536, {"thinking": True}),
        ("gemini-2.5-pro", _ANSWERS, 1048576, 65536, {"thinking": True}),
        ("gemini-3-pro-preview", _ANSWERS, 1048576, 65536, {"thinking": True}),
        ("gemini-2.5-flash-image", _ANSWERS, 32768, 32768, {}),
        ("gemma-3-27b-it", _ANSWERS, 131072, 8192, {}),
        ("gemini-embedding-001", ["embedContent", "countTokens"], 2048, 1, {}),
        ("imagen-4.0-generate-001", ["predict"], 480, 8192, {}),
    )
}

FAILURES: dict[str, dict[str, Any]] = {
    "quota": status(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
        {"@type": "Help", "links": [{"description": "Learn more", "url": "https://ai.google.dev/"}]},
        {"@type": "RetryInfo", "retryDelay": "712.5s"},
    ),
    "busy": status(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "internal": status(500, "INTERNAL", "An internal error has occurred."),
    "late": status(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    "forbidden": status(403, "PERMISSION_DENIED", "You do not have permission to access this model."),
    "anonymous": status(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "short": status(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
}
"""Models that only fail, with the body of their error."""


class GeminiServer(ChaosServer):
    """See the module. `per_page` models stand on one page of the list."""

    def __init__(self, *, per_page: int = 2) -> None:
        super().__init__()
        self.key = KEY
        self.per_page = per_page
        self._held: asyncio.Event | None = None
        self.add("v1beta", self._api)

    @property
    def base(self) -> str:
        """The base URL."""
        return f"{self.origin}/v1beta"

    def asked(self, method: str) -> list[Seen]:
        """The requests of one method so far, such as `generateContent`."""
        return [seen for seen in self.requests if seen.path.partition("?")[0].endswith(f":{method}")]

    def hold(self) -> None:
        """Streams wait from now on after their first event."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Answers go on."""
        held, self._held = self._held, None
        if held is not None:
            self._loop.call_soon_threadsafe(held.set)

    # ---- routes

    async def _api(self, connection: Connection, seen: Seen) -> None:
        path, _, query = seen.path.removeprefix("/v1beta/").partition("?")
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        assert "key" not in asked, "a key in the address"
        if (given := seen.headers.get("x-goog-api-key")) != self.key:
            return await _fail(connection, _bad_key(given))
        if seen.method == "GET" and path == "models":
            return await self._list(connection, asked)
        name, _, method = path.partition(":")
        found = re.fullmatch(r"models/([^/]+)", name)
        model = unquote(found[1]) if found else name
        if seen.method == "GET" and not method:
            known = MODELS.get(model)
            return await (_json(connection, known) if known else _fail(connection, _unknown(model, "getModel")))
        routes = {
            "generateContent": self._whole,
            "streamGenerateContent": self._stream,
            "countTokens": self._count,
            "batchEmbedContents": self._embed,
        }
        if seen.method != "POST" or method not in routes:
            return await reply(connection, b"<html>404</html>", 404, "Not Found", content_type="text/html")
        if model in FAILURES:
            return await _fail(connection, FAILURES[model])
        if model not in MODELS and model not in ("broken", "broken-plainly"):
            return await _fail(connection, _unknown(model, method))
        try:
            body = json.loads(seen.body)
        except ValueError:
            return await _fail(connection, status(400, "INVALID_ARGUMENT", "Invalid JSON payload received."))
        form = {"countTokens": "CountTokensRequest", "batchEmbedContents": "BatchEmbedContentsRequest"}
        kind = form.get(method, "GenerateContentRequest")
        body = camel(kind, body)
        fault = fault_of(kind, body)
        if fault is None and method in ("generateContent", "streamGenerateContent"):
            fault = _cannot(model, body)
        if fault is not None:
            return await _fail(connection, fault)
        if method == "streamGenerateContent" and asked.get("alt") != "sse":
            pieces = [{**_common(model), "candidates": [{"content": {"parts": [{"text": "x"}]}}]}]
            return await _json(connection, pieces)
        await routes[method](connection, model, body)

    async def _list(self, connection: Connection, asked: dict[str, str]) -> None:
        begin = int(asked.get("pageToken", "0"))
        size = min(int(asked.get("pageSize", "50")), self.per_page)
        listed = list(MODELS.values())[begin : begin + size]
        more = {"nextPageToken": str(begin + size)} if begin + size < len(MODELS) else {}
        await _json(connection, {"models": listed, **more})

    async def _count(self, connection: Connection, model: str, body: dict[str, Any]) -> None:
        counted = sum(len(part["text"].split()) for content in body["contents"] for part in content["parts"])
        await _json(connection, {"totalTokens": counted, "promptTokensDetails": [{"modality": "TEXT"}]})

    async def _embed(self, connection: Connection, model: str, body: dict[str, Any]) -> None:
        if "embedContent" not in MODELS[model]["supportedGenerationMethods"]:
            return await _fail(connection, _unknown(model, "embedContent"))
        if len(body["requests"]) > 100:
            said = "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n"
            return await _fail(connection, status(400, "INVALID_ARGUMENT", said))
        assert all(each["model"] == f"models/{model}" for each in body["requests"])
        texts = ["".join(part["text"] for part in each["content"]["parts"]) for each in body["requests"]]
        await _json(connection, {"embeddings": [{"values": [float(len(text)), 0.5, -1.0]} for text in texts]})

    async def _whole(self, connection: Connection, model: str, body: dict[str, Any]) -> None:
        if _said(body) == "block":
            return await _json(connection, _blocked(model))
        parts, end = _answer(model, body)
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **end}
        if end["finishReason"] == "SAFETY":
            del candidate["content"]
        await _json(connection, {**_common(model), "candidates": [candidate], "usageMetadata": _usage(parts)})

    async def _stream(self, connection: Connection, model: str, body: dict[str, Any]) -> None:
        await connection.packet(head(content_type="text/event-stream", transfer_encoding="chunked"))
        if _said(body) == "block":
            return await connection.send(chunk(_event(_blocked(model))) + END)
        parts, end = _answer(model, body)
        pieces = [piece for part in parts for piece in _pieces(part)] or [{"text": ""}]
        for place, part in enumerate(pieces):
            candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
            if place == len(pieces) - 1:
                candidate.update(end)
            usage = _usage(parts) if place == len(pieces) - 1 else {"promptTokenCount": 11, "totalTokenCount": 11}
            event = {**_common(model), "candidates": [candidate], "usageMetadata": usage}
            await connection.packet(chunk(_event(event)))
            if place == 0 and self._held is not None:
                await self._held.wait()
            if place == 0 and model.startswith("broken"):
                error = FAILURES["busy"]
                late = _event(error) if model == "broken" else json.dumps(error, indent=2).encode() + b"\r\n"
                return await connection.send(chunk(late) + END)
        await connection.send(END)


# ---- what is refused -----------------------------------------------------------------------------------------------


def _bad_key(given: str | None) -> dict[str, Any]:
    if not given:
        said = "Method doesn't allow unregistered callers (callers without established identity)."
        return status(403, "PERMISSION_DENIED", said)
    info = {"@type": "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    return status(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info)


def _unknown(model: str, method: str) -> dict[str, Any]:
    said = f"models/{model} is not found for API version v1beta, or is not supported for {method}."
    return status(404, "NOT_FOUND", said)


def _cannot(model: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """What this model cannot do of what was asked."""
    config = body.get("generationConfig", {})
    missing = ""
    if any(config.get(name) for name in ("presencePenalty", "frequencyPenalty")):
        missing = f"Penalty is not enabled for models/{model}"
    if model.startswith("gemma"):
        for field, what in (("systemInstruction", "Developer instruction"), ("tools", "Function calling")):
            missing = f"{what} is not enabled for models/{model}" if field in body else missing
        for field, what in (("responseMimeType", "JSON mode"), ("thinkingConfig", "Thinking")):
            missing = f"{what} is not enabled for models/{model}" if field in config else missing
    thinking = config.get("thinkingConfig", {})
    if "3" not in model and "thinkingLevel" in thinking:
        missing = "Thinking level is not supported for this model."
    elif model == "gemini-2.5-flash-lite" and thinking.get("includeThoughts") and not thinking.get("thinkingBudget"):
        missing = "Thinking_config.include_thoughts is only enabled when thinking is enabled."
    if model == "gemini-2.5-pro" and thinking.get("thinkingBudget") == 0:
        missing = "Budget 0 is invalid. This model only works in thinking mode."
    if "gemini-3" not in model:
        if "tools" in body and "responseMimeType" in config:
            missing = "Function calling with a response mime type: 'application/json' is unsupported"
        results = [part["functionResponse"] for part in body["contents"][-1]["parts"] if "functionResponse" in part]
        if any("parts" in result for result in results):
            missing = "Multimodal function responses are not supported for this model."
    if model == "gemini-embedding-001":
        return _unknown(model, "generateContent")
    if model == "gemini-3-pro-preview":
        missing = missing or _unsigned(body["contents"])
    return status(400, "INVALID_ARGUMENT", missing) if missing else None


def _unsigned(contents: list[dict[str, Any]]) -> str:
    for place, content in enumerate(contents):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and calls[0].get("thoughtSignature") not in (SIGNATURE, _UNSIGNED):
            return (
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Additional data, function call `default_api:x` , position {place + 1}."
            )
    return ""


# ---- what is answered ----------------------------------------------------------------------------------------------


def _common(model: str) -> dict[str, Any]:
    return {"modelVersion": model, "responseId": "aB3x"}


def _blocked(model: str) -> dict[str, Any]:
    feedback = {"blockReason": "PROHIBITED_CONTENT"}
    return {**_common(model), "promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 11}}


def _usage(parts: list[dict[str, Any]]) -> dict[str, Any]:
    thoughts = 3 if any(part.get("thought") for part in parts) else 0
    usage: dict[str, Any] = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18 + thoughts}
    return {**usage, "thoughtsTokenCount": thoughts} if thoughts else usage


def _said(body: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in body["contents"][-1]["parts"])


def _answer(model: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The parts of the answer, and how it ends."""
    last, said, config = body["contents"][-1]["parts"], _said(body), body.get("generationConfig", {})
    signs = model == "gemini-3-pro-preview"
    end = {"finishReason": "MAX_TOKENS" if config.get("maxOutputTokens") == 1 else "STOP"}
    parts: list[dict[str, Any]] = []
    if config.get("thinkingConfig", {}).get("includeThoughts"):
        parts.append({"text": "Let me see.", "thought": True})
    results = [part["functionResponse"] for part in last if "functionResponse" in part]
    images = [_bytes(part["inlineData"]["data"]) for part in last if "inlineData" in part]
    offered = [each["name"] for tool in body.get("tools", ()) for each in tool["functionDeclarations"]]
    if said == "unsafe":
        return [], {"finishReason": "SAFETY"}
    if said == "garbled":
        words = "Malformed function call: print(default_api.weather(n=0)"
        return [], {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": words}
    if said.startswith("tool:") and said[5:] in offered:
        calls = [{"functionCall": {"name": said[5:], "args": {"n": at, "ü": ["☃"]}}} for at in range(2)]
        if signs:
            calls = [{"functionCall": {**c["functionCall"], "id": f"fc-{at}"}} for at, c in enumerate(calls)]
            calls[0]["thoughtSignature"] = SIGNATURE  # type: ignore[assignment]
        return [*parts, *calls], end
    if config.get("responseMimeType") == "application/json":
        schema = config.get("responseJsonSchema") or config.get("responseSchema") or {}
        said = json.dumps(dict.fromkeys(schema.get("properties", {}), 1))
    elif results:
        said = " ".join(f"{each['name']} said {each['response'].get('output')}" for each in results)
        shown = [_bytes(part["inlineData"]["data"]) for each in results for part in each.get("parts", ())]
        said += f" {[struct.unpack('>II', image[16:24]) for image in shown]}" if shown else ""
    elif images:
        said = f"I see {[struct.unpack('>II', image[16:24]) for image in images]}."
    if model == "gemini-2.5-flash-image":
        drawn = {"mimeType": "image/png", "data": base64.b64encode(png(5, 4)).decode()}
        return [*parts, {"text": said}, {"inlineData": drawn}], end
    return [*parts, {"text": said, "thoughtSignature": SIGNATURE} if signs else {"text": said}], end


def _bytes(text: str) -> bytes:
    """Base64 in either alphabet, as JSON of protocol buffers allows."""
    return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_"))


def _pieces(part: dict[str, Any]) -> list[dict[str, Any]]:
    """A part as it is streamed: text in pieces, its signature on an empty one behind them."""
    if "text" not in part:
        return [part]
    text, kind = part["text"], {"thought": True} if part.get("thought") else {}
    pieces = [{"text": text[at : at + 3], **kind} for at in range(0, len(text), 3)]
    return pieces + ([{"text": "", "thoughtSignature": SIGNATURE}] if "thoughtSignature" in part else [])


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"


async def _json(connection: Connection, value: object) -> None:
    await reply(connection, json.dumps(value, indent=2).encode(), content_type="application/json; charset=UTF-8")


async def _fail(connection: Connection, body: dict[str, Any]) -> None:
    code = body["error"]["code"]
    await reply(connection, json.dumps(body, indent=2).encode(), code, body["error"]["status"])
