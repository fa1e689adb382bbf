"""A stand-in for Hugging Face on a real socket, as its public API references describe it.

`with HuggingFaceServer() as face:` starts it. It has three addresses:

    face.origin                      an Inference Endpoint that runs Text Generation Inference, with a chat route
    face.url("embedder")             an Inference Endpoint that embeds
    face.url("hf-inference")         models with a path of their own, as the router has them

What a model answers is what it was asked: the last turn of the user. `tool:NAME` makes it call a tool: over the chat
route in the protocol's way, over text generation by writing a call as the prompt says. `wait` begins an answer that
never ends; `break` one that fails in the middle. Parameters are refused as Text Generation Inference refuses them.
Texts and models named after an error are answered with it: `loading`, `overloaded`, `quota`, `failing`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, reply, stream_head
from tests.support.openai_server import answering

__all__ = ["INFO", "LISTED", "HuggingFaceServer"]

INFO = {
    "model_id": "org/teller",
    "model_sha": "e985a63",
    "model_pipeline_tag": "text-generation",
    "max_concurrent_requests": 128,
    "max_best_of": 2,
    "max_stop_sequences": 4,
    "max_input_tokens": 1023,
    "max_total_tokens": 2048,
    "validation_workers": 2,
    "version": "3.0.0",
    "router": "text-generation-router",
}

LISTED = {
    "object": "list",
    "data": [
        {
            "id": "org/chatter",
            "object": "model",
            "created": 1754000000,
            "owned_by": "org",
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "providers": [
                {"provider": "fast", "status": "live", "context_length": 32768, "supports_tools": False},
                {"provider": "large", "status": "live", "context_length": 131072, "supports_tools": True},
                {"provider": "gone", "status": "error", "context_length": 1024, "supports_tools": True},
            ],
        },
        {
            "id": "org/plain",
            "object": "model",
            "created": 1754000001,
            "owned_by": "org",
            "providers": [{"provider": "fast", "status": "live"}],
        },
    ],
}
"""What the router lists."""

ERRORS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "loading": (503, {"error": "Model org/loading is currently loading", "estimated_time": 20.5}),
    "overloaded": (429, {"error": "Model is overloaded", "error_type": "overloaded"}),
    "quota": (402, {"error": "You have exceeded your monthly included credits for Inference Providers."}),
    "failing": (424, {"error": "Request failed during generation: CUDA", "error_type": "generation"}),
}
_UNKNOWN = {
    "message": "The requested model 'nobody' is not supported by any provider you have enabled.",
    "type": "invalid_request_error",
    "param": "model",
    "code": "model_not_supported",
}


class HuggingFaceServer(ChaosServer):
    """See the module. With `key`, requests without it are refused."""

    def __init__(self, *, key: str = "") -> None:
        super().__init__()
        self.key = key
        for place in ("", "v1", "info", "health", "embedder", "hf-inference"):
            self.add(place, self._route)

    @override
    def __enter__(self) -> HuggingFaceServer:
        super().__enter__()
        return self

    async def _route(self, connection: Connection, seen: Seen) -> None:
        if self.key and seen.headers.get("authorization") != f"Bearer {self.key}":
            return await _json(connection, {"error": "Invalid username or password."}, 401)
        path = seen.path.rstrip("/")
        if seen.method == "GET":
            if path.endswith("/health"):
                return await reply(connection, b"", content_type="text/plain")
            found = {"/info": INFO, "/v1/models": {"object": "list", "data": [{"id": "org/teller"}]}}.get(path)
            return await _json(connection, found or {"error": "Not Found"}, 404 if found is None else 200)
        try:
            body = json.loads(seen.body)
        except ValueError:
            return await reply(connection, b"Failed to parse the request body as JSON", 400, "Bad Request")
        if path.endswith("/chat/completions"):
            return await self._chat(connection, seen, body)
        if path.endswith(("/embedder", "/pipeline/feature-extraction")):
            return await _embed(connection, path, body)
        if path and not path.startswith("/hf-inference/models/"):
            return await _json(connection, {"error": "Not Found"}, 404)
        await self._generate(connection, path.rpartition("/")[2], body)

    # ---- chat

    async def _chat(self, connection: Connection, seen: Seen, body: dict[str, Any]) -> None:
        last = body["messages"][-1]["content"]
        if body.get("model") == "nobody":
            return await _json(connection, {"error": _UNKNOWN}, 400)
        if problem := _wrong(body, {"max_tokens": "max_tokens"}):
            return await _json(connection, {"error": problem, "error_type": "validation"}, 422)
        if isinstance(last, str) and last in ERRORS:
            return await _json(connection, *ERRORS[last][::-1])
        if last == "wait" and body.get("stream"):
            choice = {"index": 0, "delta": {"role": "assistant", "content": "w"}, "finish_reason": None}
            await connection.packet(stream_head())
            await connection.packet(chunk(_event({"model": body.get("model", ""), "choices": [choice]})))
            return await connection.forever()
        at = seen.path.index("/chat/completions")
        plain = copy.copy(seen)
        plain.path = f"/v1{seen.path[at:]}"
        await answering(connection, plain)

    # ---- text generation

    async def _generate(self, connection: Connection, model: str, body: dict[str, Any]) -> None:
        if not isinstance(body.get("inputs"), str):
            told = b"Failed to deserialize the JSON body"
            return await reply(connection, told, 422, "Unprocessable", content_type="text/plain")
        parameters = body.get("parameters") or {}
        asked = _asked(body["inputs"])
        if model == "nobody":
            return await _json(connection, {"error": "Model org/nobody does not exist"}, 404)
        for name in (model, asked):
            if name in ERRORS:
                return await _json(connection, *ERRORS[name][::-1])
        if model == "old" and (unknown := [name for name in parameters if name in ("typical_p", "details")]):
            said = f"The following `model_kwargs` are not used by the model: {unknown[:1]} (note: typos)"
            return await _json(connection, {"error": said}, 400)
        if problem := _wrong(parameters, {"max_tokens": "max_new_tokens"}):
            return await _json(connection, {"error": problem, "error_type": "validation"}, 422)
        text, finish = _answer(body["inputs"], asked), "eos_token"
        if parameters.get("grammar"):
            text = json.dumps(dict.fromkeys(parameters["grammar"]["value"]["properties"], 1))
        if parameters.get("max_new_tokens") == 1:
            finish = "length"
        for stop in parameters.get("stop") or ():
            if stop in text:
                text, finish = text[: text.index(stop) + len(stop)], "stop_sequence"
        tokens = [text[at : at + 3] for at in range(0, len(text), 3)]
        details = {"finish_reason": finish, "generated_tokens": len(tokens), "seed": parameters.get("seed")}
        if parameters.get("return_full_text"):
            text = body["inputs"] + text
        if not body.get("stream"):
            whole: dict[str, Any] = {"generated_text": text}
            if parameters.get("details"):
                listed = [_token(at, each) for at, each in enumerate(tokens)]
                whole["details"] = {**details, "prefill": [], "tokens": listed}
            return await _json(connection, [whole] if model or "list" in asked else whole)
        await connection.packet(stream_head())
        for at, each in enumerate(tokens):
            event = {"index": at + 1, "token": _token(at, each), "generated_text": None, "details": None}
            await connection.packet(chunk(_event(event)))
            if asked == "wait":
                return await connection.forever()
            if asked == "break":
                error = {"error": "Request failed during generation: CUDA", "error_type": "generation"}
                return await connection.send(chunk(_event(error)) + END)
        ending = {"index": len(tokens) + 1, "token": _token(2, "</s>", special=True), "generated_text": text}
        await connection.send(chunk(_event({**ending, "details": details})) + END)


async def _embed(connection: Connection, path: str, body: dict[str, Any]) -> None:
    """Feature extraction: a number for each text, or for each of its words if the model is one for tokens."""
    inputs = body["inputs"]
    texts = [inputs] if isinstance(inputs, str) else inputs
    if any(len(text) > 2000 for text in texts):
        said = "Input validation error: `inputs` must have less than 512 tokens. Given: 600"
        return await _json(connection, {"error": said, "error_type": "validation"}, 413)
    vectors: list[Any] = [[float(len(text)), 0.5, -1.0] for text in texts]
    if "/tokens/" in path:
        vectors = [[[float(len(word))] for word in text.split()] for text in texts]
    await _json(connection, vectors)


# ---- pieces --------------------------------------------------------------------------------------------------------


def _wrong(parameters: dict[str, Any], names: Mapping[str, str]) -> str:
    """What Text Generation Inference says of parameters that it does not take; "" if it takes them."""
    limit = names["max_tokens"]
    above_zero = ("temperature", "repetition_penalty", "top_k", "seed", limit)
    for name in above_zero:
        value = parameters.get(name)
        if value is not None and not (name == "temperature" and limit == "max_tokens") and value <= 0:
            return f"Input validation error: `{name}` must be strictly positive"
    top_p = parameters.get("top_p")
    if top_p is not None and not (0.0 < top_p < 1.0):
        return "Input validation error: `top_p` must be > 0.0 and < 1.0"
    if len(parameters.get("stop") or ()) > 4:
        return "Input validation error: `stop` supports up to 4 stop sequences. Given: 5"
    if (parameters.get(limit) or 0) > 2048:
        return "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3 `inputs` tokens"
    return ""


def _asked(prompt: str) -> str:
    """The last turn of the user; all of a prompt without turns."""
    if "!@>user:" not in prompt:
        return prompt
    return prompt.rpartition("!@>user:\n")[2].partition("\n!@>assistant:")[0]


def _answer(prompt: str, asked: str) -> str:
    offered = [json.loads(line)["name"] for line in re.findall(r'^\{"name":.*"parameters":.*$', prompt, re.MULTILINE)]
    if asked.startswith("tool:") and asked[5:] in offered:
        call = json.dumps({"name": asked[5:], "arguments": {"n": 0, "ü": ["☃"]}}, ensure_ascii=False)
        return f"Let me see.\n<tool_call>\n{call}\n</tool_call>\n<tool_call>\n{call}\n</tool_call>"
    results = re.findall(r"<tool_response>\n(.*)\n</tool_response>", asked)
    if results:
        said = json.loads(results[0])
        return f"{said['name']} said {said['content']}"
    return asked


def _token(number: int, text: str, *, special: bool = False) -> dict[str, Any]:
    return {"id": number, "text": text, "logprob": -0.25, "special": special}


def _event(value: object) -> bytes:
    return b"data:" + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


async def _json(connection: Connection, value: object, code: int = 200) -> None:
    await reply(connection, json.dumps(value).encode(), code, "OK" if code == 200 else "Error")
