"""From documented bindings to events: what `generate` and `generate_stream` return, in batches.

A documented binding gets exactly the arguments its signature names, may answer in any of the documented forms, and may
raise anything. Here its forms become events and its exceptions errors of ours, so that the rest of the server knows one
kind of binding only. An exception's text can hold anything, a path or a key for example; it goes to the log, and to the
caller only when the binding says with a ValueError that the caller is at fault.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from lollms_core.errors import (
    ConnectFailed,
    EngineError,
    InvalidRequest,
    LollmsError,
    UnknownModel,
    UnsupportedFeature,
    UpstreamTimeout,
)
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import (
    Batch,
    Done,
    Event,
    GenerationCall,
    ImagePart,
    Media,
    Message,
    Notice,
    Progress,
    TextDelta,
    ThoughtDelta,
    ToolCallDelta,
    Usage,
)
from lollms_server.core.requests import CURRENT

if TYPE_CHECKING:
    from lollms_server.core.bindings import Binding

__all__ = ["Adapter", "documented_arguments", "output_items", "translated"]

_log = logging.getLogger(__name__)
_MAX_SAID = 500
_MEDIA = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}


class Adapter:
    """Runs calls on one documented binding."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._gate = _ModelGate(binding)

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """The batches of one call; leaving the block ends the work."""
        batches = self._batches(call)
        async with contextlib.aclosing(batches):
            yield batches

    async def _batches(self, call: GenerationCall) -> AsyncGenerator[Batch, None]:
        binding = self._binding
        model = call.model or str(binding.default_model_name or "")
        if not model:
            raise InvalidRequest(
                f"Name a model: binding instance {binding.binding_instance_name!r} has no default_model.",
                param="model_name",
            )
        with translated(binding):
            if not self._gate.is_ready(model):
                yield (Progress("load", f"Loading model {model}."),)
            async with self._gate.using(model):
                arguments = documented_arguments(call, model, binding.binding_instance_name)
                reader = _Chunks(model)
                streaming = call.stream and binding.supports_streaming
                result = _call(binding.generate_stream if streaming else binding.generate, arguments)
                if inspect.isawaitable(result):
                    result = await result
                if hasattr(result, "__aiter__"):
                    async with contextlib.aclosing(result) if hasattr(result, "aclose") else contextlib.nullcontext():
                        async for chunk in result:
                            if batch := reader.feed(chunk):
                                yield batch
                else:
                    yield reader.whole(result)
                yield reader.end()


class _ModelGate:
    """Requests for the loaded model run together; one for another model waits for them. First come, first served."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._door = asyncio.Lock()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._model = ""
        self._inside = 0

    def is_ready(self, model: str) -> bool:
        return self._model == model and self._binding.is_model_loaded

    @contextlib.asynccontextmanager
    async def using(self, model: str) -> AsyncIterator[None]:
        """The binding has this model loaded inside the block. Raises `UnknownModel` when it cannot load it."""
        async with self._door:
            if not self.is_ready(model):
                await self._nobody.wait()
                self._model = ""
                if not await self._binding.load_model(model):
                    raise UnknownModel(f"The model {model!r} could not be loaded.", param="model_name")
                self._model = model
            self._inside += 1
            self._nobody.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._nobody.set()


# ---- what goes in --------------------------------------------------------------------------------------------------


def documented_arguments(call: GenerationCall, model: str, instance: str) -> dict[str, Any]:
    """The arguments of the documented `generate` for a call.

    `prompt` is the user's text; with a history it is the whole conversation in the lollms text format. The messages
    stand in `request_info` too, in the chat-completions format.
    """
    context = CURRENT.get()
    system = "\n\n".join(m.text for m in call.messages if m.role == "system" and m.text)
    turns = [m for m in call.messages if m.role != "system"]
    params = {**call.params.given(), **call.params.extra}
    if "stop" in params:
        params["stop"] = list(params["stop"])
    if "ctx_size" in params:
        params["context_size"] = params.pop("ctx_size")
    if system:
        params["system_message"] = system
    images = [image for message in turns for image in message.images]
    return {
        "prompt": turns[-1].text if len(turns) == 1 else "".join(map(_turn_text, turns)).strip(),
        "params": params,
        "request_info": {
            "request_id": context.id if context is not None else "",
            "generation_type": context.generation_type if context is not None else "ttt",
            "personality": None,
            "functions": [],
            "binding_instance_name": instance,
            "model_name": model,
            "messages": [_chat_message(message) for message in call.messages],
        },
        "multimodal_data": [_image_item(image) for image in images],
    }


def _turn_text(message: Message) -> str:
    return f"!@>{message.role}:\n{message.text}\n"


def _chat_message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    return said


def _image_item(image: ImagePart) -> dict[str, Any]:
    data = base64.b64encode(image.data).decode("ascii")
    return {"type": "image", "role": "input_image", "data": data, "mime_type": image.mime, "metadata": {}}


def _call(method: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call with the arguments that the signature names; the first two may have other names."""
    parameters = inspect.signature(method).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return method(**arguments)
    slots = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    values = list(arguments.values())[: len(slots)]
    named = {p.name: arguments[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in arguments}
    return method(*values, **named)


# ---- what comes out ------------------------------------------------------------------------------------------------


def output_items(result: Any) -> list[dict[str, Any]]:
    """Whatever a documented `generate` returns as a list of items with `type` and `data`."""
    if result is None:
        return []
    if isinstance(result, str):
        return [{"type": "text", "data": result}]
    if isinstance(result, Mapping):
        return [_item(result)]
    if isinstance(result, Sequence) and not isinstance(result, bytes | bytearray):
        return [item for each in result for item in output_items(each)]
    if hasattr(result, "model_dump"):
        return [_item(result.model_dump())]
    raise TypeError(f"a binding returned {type(result).__name__} instead of text, a dictionary or a list of them")


def _item(given: Mapping[str, Any]) -> dict[str, Any]:
    if "type" in given and "data" in given:
        return dict(given)
    rest = {name: value for name, value in given.items() if name in ("thoughts", "metadata", "mime_type")}
    if "text" in given:
        return {"type": "text", "data": given["text"], **rest}
    for kind in _MEDIA:
        if f"{kind}_base64" in given:
            return {"type": kind, "data": given[f"{kind}_base64"], **rest}
    return {"type": "json", "data": dict(given)}


class _Chunks:
    """The chunks of one answer, as events. Text is looked through for thoughts unless the chunk brings them itself."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._splitter = ThoughtSplitter()
        self._said = False
        self._thought = False
        self._calls = 0
        self._done = Done(model=model)

    def feed(self, chunk: Any) -> list[Event]:
        """The events of one chunk of `generate_stream`."""
        if hasattr(chunk, "model_dump"):
            chunk = chunk.model_dump()
        if isinstance(chunk, str):
            return self._text(chunk)
        if not isinstance(chunk, Mapping):
            raise TypeError(f"a binding streamed {type(chunk).__name__} instead of text or a dictionary")
        kind, content = chunk.get("type", "chunk"), chunk.get("content")
        if kind == "chunk":
            thoughts = chunk.get("thoughts")
            return [*self._thoughts(thoughts), *self._text(content or "", split=thoughts is None)]
        if kind == "final":
            self._note(chunk.get("metadata"))
            return self._items(output_items(content))
        return self._other(str(kind), content, chunk)

    def whole(self, result: Any) -> list[Event]:
        """The events of a whole answer."""
        return self._items(output_items(result))

    def end(self) -> list[Event]:
        """What is left when the answer is complete."""
        return [*self._splitter.close(), self._done]

    def _text(self, text: Any, *, split: bool = True) -> list[Event]:
        if not isinstance(text, str):
            raise TypeError(f"a binding answered {type(text).__name__} where text belongs")
        if not text:
            return []
        self._said = True
        return list(self._splitter.feed(text)) if split else [TextDelta(text)]

    def _thoughts(self, thoughts: Any) -> list[Event]:
        if not isinstance(thoughts, str) or not thoughts:
            return []
        self._thought = True
        return [ThoughtDelta(thoughts)]

    def _items(self, items: list[dict[str, Any]]) -> list[Event]:
        """A text that was streamed already is not said twice."""
        said, thought = self._said, self._thought
        events: list[Event] = []
        for item in items:
            self._note(item.get("metadata"))
            kind, data = item["type"], item["data"]
            if kind == "text":
                thoughts = item.get("thoughts")
                events += [] if thought else self._thoughts(thoughts)
                events += [] if said else self._text(data if data is not None else "", split=not thoughts)
            elif kind in _MEDIA:
                events.append(Media(_decoded(data), str(item.get("mime_type") or _MEDIA[kind])))
            elif kind == "json":
                events += [] if said else self._text(msgspec.json.encode(data).decode(), split=False)
            else:
                events += self._other(str(kind), data, item)
        return events

    def _other(self, kind: str, content: Any, whole: Mapping[str, Any]) -> list[Event]:
        if kind == "error":
            _log.warning("A binding reported an error: %s", str(content)[:_MAX_SAID])
            raise EngineError("The binding reported an error; the server's log has its words.")
        if kind == "function_call" and isinstance(content, Mapping):
            index, self._calls = self._calls, self._calls + 1
            arguments = msgspec.json.encode(content.get("arguments") or {}).decode()
            name = str(content.get("name") or "")
            return [ToolCallDelta(index, str(content.get("id") or f"call_{index}"), name, arguments)]
        self._note(whole.get("metadata"))
        return [Notice("info", str(content))] if content else []

    def _note(self, metadata: Any) -> None:
        """Take usage, model and finish reason out of a chunk's metadata, under the names that are in use."""
        if not isinstance(metadata, Mapping):
            return
        before = self._done
        usage = metadata.get("usage")
        reason = metadata.get("finish_reason")
        model = metadata.get("model_used") or metadata.get("model")
        self._done = Done(
            finish_reason=str(reason) if reason else before.finish_reason,
            usage=_usage(usage) if isinstance(usage, Mapping) else before.usage,
            model=str(model) if model else before.model,
        )


def _decoded(data: Any) -> bytes:
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise EngineError("The binding answered with media that are not valid Base64.") from error


def _usage(given: Mapping[str, Any]) -> Usage:
    def count(*names: str) -> int | None:
        for name in names:
            value = given.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
        return None

    return Usage(
        count("prompt_tokens", "input_tokens"), count("completion_tokens", "output_tokens"), count("total_tokens")
    )


# ---- what goes wrong -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def translated(binding: Binding) -> Iterator[None]:
    """What third-party code raises inside the block, as one of our errors."""
    name = binding.binding_instance_name
    try:
        yield
    except (LollmsError, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise EngineError(f"Binding instance {name!r} gave up its work.") from error  # nobody asked for it
    except NotImplementedError as error:
        raise UnsupportedFeature(f"Binding instance {name!r} cannot do this.") from error
    except ValueError as error:
        raise InvalidRequest(f"Binding instance {name!r} refuses the request: {str(error)[:_MAX_SAID]}") from error
    except TimeoutError as error:
        raise UpstreamTimeout(f"Binding instance {name!r} took too long.") from error
    except ConnectionError as error:
        raise ConnectFailed(f"Binding instance {name!r} cannot reach its backend.") from error
    except (Exception, SystemExit) as error:
        _log.exception("Binding instance %r failed.", name)
        raise EngineError(f"Binding instance {name!r} failed with {type(error).__name__}.") from error
