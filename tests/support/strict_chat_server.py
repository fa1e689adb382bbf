"""A strict stand-in for each provider of the chat protocol, as a mode of the chaos server.

    with ChaosServer() as chaos:
        address = strict(chaos, "groq")          # takes the key `KEY`, and answers as Groq does

It refuses, in the provider's own form, a wrong path, query or key header (also a key where none belongs), any field
that the reference does not list, too many stops, schemas and images that the provider does not take, and ids of tool
calls that it did not give. The answer is the last message; `tool:NAME` calls that tool for two cities; the model
`thinker` thinks first; `busy` is overloaded (429, with Retry-After) and `breaks` breaks in the middle of its answer.
Azure has its filters, too: what they found stands in chunks of their own, `filtered` is a prompt that they stop, and
there is no deployment `nobody`. Perplexity calls tools in words if its prompt says how.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.support.chaos_modes import END, chunk, reply, stream_head
from tests.support.strict_chat_rules import RULES, Rules

if TYPE_CHECKING:
    from tests.support.chaos import ChaosServer, Connection, Seen

__all__ = ["CITIES", "KEY", "THOUGHT", "USAGE", "base_path", "strict"]

KEY = "key-of-the-stand-in"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
THOUGHT = "Let me see."
CITIES = ["Zürich", "Bern"]
_IDS = ["D681PevKs", "aBc4567zZ"]
_BASES = {
    "azure_openai": "",
    "azure_openai_v1": "/openai/v1",
    "deepseek": "",
    "groq": "/openai/v1",
    "novita_ai": "/openai/v1",
    "open_router": "/api/v1",
    "openwebui": "/api",
    "perplexity": "",
}
_SAFE = {"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
_NOBODY = {"id": "", "object": "", "created": 0, "model": ""}  # a chunk of Azure's filters
_AZURE_REFUSES = {
    "filtered": (
        400,
        "prompt",
        "The response was filtered due to the prompt triggering our policy.",
    ),
    "nobody": (404, "deployment", "The API deployment for this resource does not exist."),
}
_COMMENTS = {"open_router": b": OPENROUTER PROCESSING\n\n", "deepseek": b": keep-alive\n\n"}


class Refusal(Exception):
    """What the stand-in does not take: a status, the field, and words."""

    def __init__(self, status: int, field: str, words: str) -> None:
        super().__init__(words)
        self.status, self.field, self.words = status, field, words


def base_path(name: str) -> str:
    """What an address of the provider has behind its host."""
    return _BASES.get(name, "/v1")


def strict(chaos: ChaosServer, name: str, key: str = KEY) -> str:
    """Add the stand-in for a provider; returns the address to give to its binding."""
    rules = RULES[name]

    async def answer(connection: Connection, seen: Seen) -> None:
        try:
            await _answered(connection, seen, name, rules, key)
        except Refusal as refusal:
            more = {"retry_after": "2"} if refusal.status == 429 else {}
            await reply(connection, _error(refusal, rules.errors), refusal.status, "No", **more)

    return chaos.add(name, answer) + base_path(name)


async def _answered(connection: Connection, seen: Seen, name: str, rules: Rules, key: str) -> None:
    path, _, query = seen.path.removeprefix(f"/{name}{base_path(name)}").partition("?")
    _check_key(seen, rules, key)
    model = ""
    if name == "azure_openai":
        if not re.fullmatch(r"api-version=\d{4}-\d\d-\d\d(-preview)?", query):
            raise Refusal(404, "api-version", "Resource not found")
        deployment = re.fullmatch(r"/openai/deployments/([^/]+)(/chat/completions|/embeddings)", path)
        model, path = (unquote(deployment[1]), deployment[2]) if deployment else ("", path)
    elif query:
        raise Refusal(404, "query", "Not Found")
    if seen.method == "GET" and rules.models and path == rules.models:
        entries = [{"id": "one", "object": "model", "created": 1, "owned_by": "us", **_capabilities(name)}]
        return await _json(connection, entries if name == "together" else {"object": "list", "data": entries})
    if seen.method != "POST" or path not in ("/chat/completions", "/embeddings"):
        raise Refusal(404, "path", "Not Found")
    body = seen.json()
    if name != "azure_openai":
        model = body.get("model", "")
    if path == "/embeddings":
        if not rules.embeddings:
            raise Refusal(404, "path", "Not Found")
        return await _embedded(connection, body)
    _check_body(body, name, rules)
    if name.startswith("azure") and model in _AZURE_REFUSES:
        raise Refusal(*_AZURE_REFUSES[model])
    if model == "busy":
        raise Refusal(429, "", "Rate limit reached")
    if body.get("stream"):
        return await _streamed(connection, body, name, rules, model)
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "usage": USAGE}
    message, finish = _message(body, rules, model)
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    if name.startswith("azure"):
        choice |= _SAFE
        whole["prompt_filter_results"] = [{"prompt_index": 0, **_SAFE}]
    await _json(connection, {**whole, "choices": [choice]})


# ---- what is refused -----------------------------------------------------------------------------------------------


def _check_key(seen: Seen, rules: Rules, key: str) -> None:
    sent = {name: seen.headers[name] for name in ("authorization", "api-key", "x-api-key") if name in seen.headers}
    wanted = {rules.key: f"Bearer {key}" if rules.key == "authorization" else key}
    if sent != (wanted if key else {}):
        raise Refusal(401, "", "Invalid API Key")


def _check_body(body: dict[str, Any], name: str, rules: Rules) -> None:
    for field in body:
        if field not in rules.fields.split():
            if name == "mistral":
                raise Refusal(422, field, "Extra inputs are not permitted")
            raise Refusal(400, field, f"property '{field}' is unsupported")
    if "stream_options" in body and not body.get("stream"):
        raise Refusal(400, "stream_options", "only with stream")
    if rules.stops is not None and len(body.get("stop", ())) > rules.stops:
        raise Refusal(400, "stop", "too many stop sequences")
    held = body.get("response_format")
    if held and (held["type"] not in rules.formats or (held["type"] == "json" and "schema" not in held)):
        raise Refusal(400, "response_format", "This response_format type is unavailable now")
    for message in body["messages"]:
        _check_message(message, name, rules, bool(body.get("tools")))
    roles = [message["role"] for message in body["messages"]]
    if name == "perplexity":
        _check_turns(roles)
    if name == "mistral":
        if ("tool", "user") in pairwise(roles):
            raise Refusal(400, "messages", "Unexpected role 'user' after role 'tool'")
        if roles[-1] == "assistant" and body["messages"][-1].get("prefix") is not True:
            raise Refusal(400, "messages", "Expected last role User or Tool (or Assistant with prefix True)")
        if any(m["role"] == "assistant" and not (m.get("content") or m.get("tool_calls")) for m in body["messages"]):
            raise Refusal(400, "messages", "Assistant message must have either content or tool_calls, but not none.")


def _check_turns(roles: list[str]) -> None:
    """As Perplexity wants them: instructions first, then turns of the user and of the assistant by turns."""
    while roles[:1] == ["system"]:
        roles = roles[1:]
    if any(role != ("user", "assistant")[place % 2] for place, role in enumerate(roles)) or len(roles) % 2 == 0:
        raise Refusal(400, "messages", "user or tool message(s) should alternate with assistant message(s)")


def _check_message(message: dict[str, Any], name: str, rules: Rules, tools: bool) -> None:
    known = {
        "role",
        "content",
        "name",
        "prefix",
        "tool_calls",
        "tool_call_id",
        "reasoning_details",
        "reasoning_content",
    }
    returned = {"open_router": {"reasoning_details"}, "deepseek": {"reasoning_content"}}.get(name, set())
    if extra := set(message) - known | (set(message) & {"reasoning_details", "reasoning_content"}) - returned:
        raise Refusal(400, sorted(extra)[0], "unknown field of a message")
    if isinstance(message.get("content"), list) and not rules.images:
        raise Refusal(400, "content", "unknown variant `image_url`, expected `text`")
    calls = message.get("tool_calls", ())
    ids = [call["id"] for call in calls] + ([message["tool_call_id"]] if message["role"] == "tool" else [])
    if name == "mistral" and not all(re.fullmatch("[a-zA-Z0-9]{9}", each) for each in ids):
        raise Refusal(400, "id", "Tool call id must be a-z, A-Z, 0-9, with a length of 9.")
    if name == "deepseek" and tools and message["role"] == "assistant" and "reasoning_content" not in message:
        raise Refusal(400, "reasoning_content", "Missing `reasoning_content` field in the assistant message")


def _error(refusal: Refusal, form: str) -> bytes:
    status, field, words = refusal.status, refusal.field, refusal.words
    code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status, "unsupported_parameter" if field else None)
    if form == "azure" and field == "prompt":
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
        told = {"message": words, "type": None, "param": field, "code": "content_filter", "status": status}
        return json.dumps({"error": {**told, "innererror": inner}}).encode()
    azure = {401: "401", 404: "DeploymentNotFound" if field == "deployment" else "404", 429: "429"}
    kind = "BadRequestError" if status == 400 else "invalid_request_error"
    flat = {"object": "error", "message": words, "type": kind, "param": field or None, "code": status}
    forms: dict[str, Any] = {
        "openai": {"error": {"message": words, "type": "invalid_request_error", "param": field or None, "code": code}},
        "azure": {"error": {"code": azure.get(status, code), "message": words}},
        "numbered": {"error": {"code": status, "message": words, "metadata": {}}, "user_id": "user_1"},
        "detail": {"detail": [{"loc": ["body", field], "msg": words, "type": "extra_forbidden"}]}
        if status == 422
        else {"message": words, "request_id": "r1"},
        "xai": {"code": "Client specified an invalid argument", "error": words},
        "reason": {"code": status, "reason": "INVALID_REQUEST_BODY", "message": words, "metadata": {}},
        "engine": {"error": {"message": words, "type": kind, "param": field or None, "code": status}},
        "flat": flat,
        "sentence": {"detail": words},
        "text": {"error": words},
    }
    return json.dumps(forms[form]).encode()


# ---- what is answered ----------------------------------------------------------------------------------------------


def _message(body: dict[str, Any], rules: Rules, model: str) -> tuple[dict[str, Any], str]:
    """The assistant's message, and why it ends."""
    last = body["messages"][-1]
    said = last["content"] if isinstance(last["content"], str) else "an image"
    if body.get("response_format"):
        said = '{"n": 1}'
    message: dict[str, Any] = {"content": said}
    if model == "thinker":
        message |= _thoughts(said, rules.thoughts)
    if said.startswith("tool:") and "tools" not in rules.fields.split() and "<tool_call>" in str(body["messages"][0]):
        calls = [json.dumps({"name": said[5:], "arguments": {"city": city}}, ensure_ascii=False) for city in CITIES]
        return {"content": "".join(f"\n<tool_call>\n{call}\n</tool_call>" for call in calls)}, "stop"
    if said.startswith("tool:") and body.get("tools"):
        message["content"] = None
        message["tool_calls"] = [_call(index, said[5:]) for index in range(len(CITIES))]
        return message, "tool_calls"
    return message, "stop"


def _thoughts(said: str, form: str) -> dict[str, Any]:
    detail = {"type": "reasoning.text", "text": THOUGHT, "signature": "sig", "format": "f", "index": 0}
    forms: dict[str, dict[str, Any]] = {
        "none": {},
        "tags": {"content": f"<think>{THOUGHT}</think>{said}"},
        "reasoning": {"reasoning": THOUGHT},
        "reasoning_content": {"reasoning_content": THOUGHT},
        "details": {"reasoning": THOUGHT, "reasoning_details": [detail]},
        "parts": {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
                {"type": "text", "text": said},
            ]
        },
    }
    return forms[form]


def _call(index: int, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps({"city": CITIES[index]}, ensure_ascii=False)}
    return {"id": _IDS[index], "type": "function", "function": function}


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    thoughts = {key: value for key, value in message.items() if key.startswith("reasoning")}
    deltas: list[dict[str, Any]] = [{"content": "", **thoughts}] if thoughts else []
    content = message["content"]
    if isinstance(content, list):
        deltas += [{"content": [part]} for part in content]
    elif content:
        deltas += [{"content": content[at : at + 3]} for at in range(0, len(content), 3)]
    for index, call in enumerate(message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        deltas.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        pieces = (arguments[:5], arguments[5:])
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
    return deltas


async def _streamed(connection: Connection, body: dict[str, Any], name: str, rules: Rules, model: str) -> None:
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    message, finish = _message(body, rules, model)
    wanted = (body.get("stream_options") or {}).get("include_usage")
    every = {"usage": USAGE} if rules.usage == "every" else {}
    comment = _COMMENTS.get(name, b"")
    if name == "mistral" and "tool_calls" in message:  # whole, never in pieces
        deltas = [{"content": "", "tool_calls": [{**c, "index": n} for n, c in enumerate(message["tool_calls"])]}]
    else:
        deltas = _deltas(message)
    await connection.packet(stream_head())
    more = _SAFE if name.startswith("azure") else {}
    if more:
        await connection.packet(chunk(_event({**_NOBODY, "choices": [], "prompt_filter_results": [more]})))
    for delta in [{"role": "assistant", "content": ""}, *deltas]:
        choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
        await connection.packet(chunk(comment + _event({**common, "choices": [choice], **every})))
    if model == "breaks":
        broken = {"error": {"message": "The engine died", "type": "server_error", "code": 502}}
        return await connection.send(chunk(_event(broken)) + END)
    last: dict[str, Any] = every or ({"usage": USAGE} if rules.usage == "last" else {})
    if name == "groq":
        last = {"x_groq": {"id": "req_1", "usage": USAGE}}
    end = _event({**common, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": finish}], **last})
    if more:  # of a filter that runs beside the answer
        checked = {"index": 0, "finish_reason": None, **more, "content_filter_offsets": {"check_offset": 9}}
        end += _event({**_NOBODY, "choices": [checked], "usage": None})
    if wanted:
        end += _event({**common, "choices": [], "usage": USAGE})
    if rules.done:
        end += b"data: [DONE]\n\n"
    await connection.send(chunk(end) + END)


async def _embedded(connection: Connection, body: dict[str, Any]) -> None:
    texts = body["input"]
    vectors = [{"object": "embedding", "index": at, "embedding": [len(text)]} for at, text in enumerate(texts)]
    await _json(
        connection, {"id": "embd-1", "object": "list", "data": vectors, "model": body.get("model"), "usage": USAGE}
    )


def _capabilities(name: str) -> dict[str, Any]:
    return {"type": "base", "capabilities": {"function_calling": True}} if name == "mistral" else {}


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


async def _json(connection: Connection, value: object) -> None:
    await reply(connection, json.dumps(value).encode())
