"""The same mind in three languages: as a binding in this process, and as servers of two public protocols.

Each puts what arrives into the words of `tests.support.knowing`, lets a mind answer, and sends that as its protocol
does. What is not about answers is left to the Ollama and OpenAI servers of the other tests.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from typing_extensions import override

from lollms_core.errors import UnknownModel
from lollms_core.types import Batch, Done, GenerationCall, TextDelta, ToolCall, ToolCallDelta, Usage
from lollms_runtime.async_drive import Sink
from tests.support.chaos import Connection, Seen
from tests.support.chaos_modes import END, chunk, head, reply, stream_head
from tests.support.knowing import Asked, Mind, Said, Turn
from tests.support.ollama_server import OllamaServer, _refused
from tests.support.openai_server import answering
from tests.support.server import PortsBinding

__all__ = ["KnowingOllama", "KnowingOpenAI", "ScriptedBinding"]


class ScriptedBinding(PortsBinding):
    """A binding whose model is a mind in this process. It has one model, `m`."""

    def __init__(self, mind: Mind) -> None:
        super().__init__(_Ports(mind))
        self.mind = mind

    @override
    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[Any]:
        self._check(call.model)
        return super().open(call)

    @override
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        self._check(model_name or "")
        return await super().get_model_info(model_name)

    def _check(self, model: str) -> None:
        if model not in ("", "m"):
            raise UnknownModel(f"There is no model {model!r} here.", param="model_name")

    @property
    def at_work(self) -> bool:
        """Whether an answer is open."""
        assert isinstance(self.ports, _Ports)
        return self.ports.open_answers > 0


class _Ports:
    """The ports of the async driver over a mind."""

    def __init__(self, mind: Mind) -> None:
        self._mind = mind
        self.open_answers = 0

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        turns = tuple(
            Turn(each.role, each.text, tuple(image.data for image in each.images), _names(each.tool_calls))
            for each in call.messages
        )
        tools = tuple(tool.name for tool in call.tools)
        params = {**call.params.given(), **call.params.extra}
        said = self._mind.answer(Asked(turns, call.model, call.stream, params, tools, call.schema))
        self.open_answers += 1
        try:
            yield self._said(said, call)
        finally:
            self.open_answers -= 1

    async def _said(self, said: Said, call: GenerationCall) -> AsyncIterator[Batch]:
        for word in said.words:
            await asyncio.sleep(0)
            yield (TextDelta(word),)
        if said.waits:
            await asyncio.Event().wait()
        if said.call is not None:
            yield (ToolCallDelta(0, "c1", said.call[0], json.dumps(said.call[1])),)
        usage = Usage(said.prompt_tokens, said.tokens, said.prompt_tokens + said.tokens)
        yield (Done(said.finish, usage, call.model),)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError("no tools here")

    async def count(self, text: str) -> int:
        raise AssertionError("nobody counts here")


def _names(calls: Sequence[ToolCall]) -> tuple[str, ...]:
    return tuple(each.name for each in calls)


class Waiting:
    """The connections on which an answer has begun that will not end by itself."""

    def __init__(self) -> None:
        self._connections: list[Connection] = []

    async def here(self, connection: Connection) -> None:
        """Stay until the peer leaves."""
        self._connections.append(connection)
        await connection.forever()

    def any(self) -> bool:
        """Whether a peer still waits."""
        return any(each.is_open() for each in self._connections)


class KnowingOllama(OllamaServer):
    """The Ollama server of the other tests, with a mind in place of its echo."""

    def __init__(self, mind: Mind) -> None:
        super().__init__()
        self.mind = mind
        self.waiting = Waiting()

    @override
    async def _chat(self, connection: Connection, body: dict[str, Any], model: dict[str, Any]) -> None:
        if problem := _refused(body, model):
            return await reply(connection, _encoded({"error": problem}), 400, "Bad Request")
        said = self.mind.answer(_asked_of_ollama(body))
        message: dict[str, Any] = {"role": "assistant", "content": said.text}
        if said.call is not None:
            message["tool_calls"] = [{"function": {"index": 0, "name": said.call[0], "arguments": said.call[1]}}]
        common = {"model": body["model"], "created_at": "2026-01-02T03:04:05Z"}
        finish = "length" if said.finish == "length" else "stop"  # it has no word for tool calls
        end = {"done": True, "done_reason": finish, "prompt_eval_count": said.prompt_tokens, "eval_count": said.tokens}
        if body.get("stream") is False:
            if said.waits:
                await self.waiting.here(connection)
            return await reply(connection, _encoded({**common, "message": message, **end}))
        await connection.packet(head(content_type="application/x-ndjson", transfer_encoding="chunked"))
        parts: list[dict[str, Any]] = [{"role": "assistant", "content": word} for word in said.words]
        parts += [{**message, "content": ""}] if said.call is not None else []
        for part in parts:
            await connection.packet(chunk(_encoded({**common, "message": part, "done": False}) + b"\n"))
        if said.waits:
            await self.waiting.here(connection)
        last = {**common, "message": {"role": "assistant", "content": ""}, **end}
        await connection.send(chunk(_encoded(last) + b"\n") + END)


def _asked_of_ollama(body: Mapping[str, Any]) -> Asked:
    turns = tuple(
        Turn(
            each["role"],
            each.get("content") or "",
            tuple(base64.b64decode(image) for image in each.get("images") or ()),
            tuple(call["function"]["name"] for call in each.get("tool_calls") or ()),
        )
        for each in body["messages"]
    )
    params = dict(body.get("options") or {})
    if "num_predict" in params:
        params["max_tokens"] = params.pop("num_predict")
    return Asked(turns, body["model"], body["stream"], params, _tools(body), body.get("format"))


def _tools(body: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(tool["function"]["name"] for tool in body.get("tools") or ())


class KnowingOpenAI:
    """A mode of the chaos server: the OpenAI protocol of the other tests, with a mind in place of its echo."""

    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.waiting = Waiting()

    async def __call__(self, connection: Connection, seen: Seen) -> None:
        """Answer one request."""
        if not seen.path.endswith("/chat/completions"):
            return await answering(connection, seen)
        body = seen.json()
        if body["model"] not in ("one", "two"):
            error = {"message": f"The model {body['model']!r} does not exist.", "code": "model_not_found"}
            return await reply(connection, _encoded({"error": error}), 404, "Not Found")
        said = self.mind.answer(_asked_of_openai(body))
        usage = {
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.tokens,
            "total_tokens": said.prompt_tokens + said.tokens,
        }
        common = {"id": "chatcmpl-1", "model": body["model"]}
        calls = [] if said.call is None else [_call(*said.call)]
        if not body.get("stream"):
            if said.waits:
                await self.waiting.here(connection)
            message = {"role": "assistant", "content": said.text or None, **({"tool_calls": calls} if calls else {})}
            choice = {"index": 0, "message": message, "finish_reason": said.finish}
            return await reply(connection, _encoded({**common, "choices": [choice], "usage": usage}))
        await connection.packet(stream_head())
        deltas: list[dict[str, Any]] = [{"content": word} for word in said.words]
        deltas += [{"tool_calls": [{"index": 0, **call}]} for call in calls]
        for delta in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            await connection.packet(chunk(_event({**common, "choices": [choice]})))
        if said.waits:
            await self.waiting.here(connection)
        last = {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": said.finish}]}
        counted = {**common, "choices": [], "usage": usage}
        await connection.send(chunk(_event(last) + _event(counted) + b"data: [DONE]\n\n") + END)


def _call(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def _asked_of_openai(body: Mapping[str, Any]) -> Asked:
    names = ("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop")
    return Asked(
        tuple(_turn_of_openai(each) for each in body["messages"]),
        body["model"],
        bool(body.get("stream")),
        {name: body[name] for name in body if name in names},
        _tools(body),
        _schema(body.get("response_format")),
    )


def _schema(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if wanted is None:
        return None
    schema: Mapping[str, Any] = wanted["json_schema"]["schema"]
    return schema


def _turn_of_openai(message: Mapping[str, Any]) -> Turn:
    content = message["content"]
    parts: list[dict[str, Any]] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return Turn(
        message["role"],
        "".join(part["text"] for part in parts if part["type"] == "text"),
        tuple(base64.b64decode(url.partition(";base64,")[2]) for url in urls),
        tuple(call["function"]["name"] for call in message.get("tool_calls") or ()),
    )


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _event(value: object) -> bytes:
    return b"data: " + _encoded(value) + b"\n\n"
