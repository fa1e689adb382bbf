"""From documented bindings to events: how the documented methods are called for a request.

A documented binding loads one model at a time. The gate lets requests for the loaded model run together, and one for
another model waits for them, so that nobody's model is switched while it works.

It gets exactly the arguments that its signature names. `params` are those that somebody set, with the sizes of the
model under them; what was put in besides the conversation comes as it was sent, in `multimodal_data`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from lollms_core.errors import EngineError, InvalidRequest, LollmsError, UnknownModel
from lollms_core.protocols.lollms_input import HISTORY_ROLES, InputData
from lollms_core.types import Batch, Event, GenerationCall, ImagePart, Message, Progress
from lollms_server.core.bindings.answers import AnswerReader, output_items
from lollms_server.core.bindings.foreign import ForeignWork, Put, awaited, in_pieces, run_foreign, translated
from lollms_server.core.bindings.sync_methods import threads_of
from lollms_server.core.requests import CURRENT, RequestContext

if TYPE_CHECKING:
    from lollms_server.core.bindings import Binding

__all__ = ["Adapter", "LoadedModel", "documented_arguments", "output_items", "read_answer", "translated"]

_log = logging.getLogger(__name__)
_INFO_SECONDS = 10.0


class LoadedModel(NamedTuple):
    """The model that a binding has loaded, and its sizes in tokens."""

    name: str
    context_size: int
    max_output_tokens: int


class Adapter:
    """Runs calls on one documented binding. What does not stop is cut off after `grace` seconds."""

    def __init__(self, binding: Binding, grace: float = 10.0) -> None:
        self._binding = binding
        self._grace = grace
        self._endless: list[object] = []
        self._gate = _ModelGate(self)

    @property
    def binding(self) -> Binding:
        """The binding."""
        return self._binding

    @property
    def has_model(self) -> bool:
        """Whether a model is loaded, as far as is known."""
        return self._gate.has_model

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """The batches of one call; leaving the block ends the work."""
        batches = self._batches(call)
        async with contextlib.aclosing(batches):
            yield batches

    @contextlib.asynccontextmanager
    async def ready(self, model: str) -> AsyncIterator[LoadedModel]:
        """The binding has this model loaded inside the block. Raises `UnknownModel` when it cannot load it.

        For those who have no lease. Who loads a model stands in the door, and may need the card for it; so whoever
        holds the card and waits at the door would wait for ever, if the card was not always taken first.
        """
        async with contextlib.AsyncExitStack() as held:
            try:
                loaded = await held.enter_async_context(self._gate.using(model, may_load=not self._needs_card(model)))
            except _MustLoad:
                if self._binding.resource_manager is not None:
                    await held.enter_async_context(self._binding.resource_manager.acquire_gpu_resource("load"))
                loaded = await held.enter_async_context(self._gate.using(model))
            yield loaded

    def _needs_card(self, model: str) -> bool:
        return bool(self._binding.get_resource_requirements(model).get("gpu_required"))

    def has_another(self, model: str) -> bool:
        """Whether a model is loaded and it is not this one."""
        return self._gate.has_another(model)

    async def run(self, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """The result of a method of the binding, of those arguments that it takes. Raises errors of ours."""
        instance = self._binding.binding_instance_name
        return await run_foreign(lambda: _call(method, given, named), instance, self._grace, self._endless)

    async def _batches(self, call: GenerationCall) -> AsyncGenerator[Batch, None]:
        binding = self._binding
        model = call.model or str(binding.default_model_name or "")
        if not model:
            raise InvalidRequest(
                f"Name a model: binding instance {binding.binding_instance_name!r} has no default_model.",
                param="model_name",
            )
        if not self._gate.is_ready(model):
            yield (Progress("load", f"Loading model {model}."),)
        async with self._gate.using(model) as loaded:
            reader = AnswerReader(model)
            instance = binding.binding_instance_name
            async with ForeignWork(self._work(call, loaded), instance, self._grace, self._endless) as running:
                while pieces := await running.pieces():
                    batch, failure = read_answer(reader, pieces, instance)
                    if batch:
                        yield batch
                    if failure is not None:
                        raise failure
            yield reader.end()

    def _work(self, call: GenerationCall, loaded: LoadedModel) -> Callable[[Put], Coroutine[Any, Any, None]]:
        """What puts out `(is a chunk, content)` for all that the binding answers."""
        binding = self._binding
        arguments = documented_arguments(call, loaded, binding.binding_instance_name)

        async def work(put: Put) -> None:
            method = binding.generate_stream if call.stream and binding.supports_streaming else binding.generate
            result = await awaited(_call(method, (), arguments))
            if hasattr(result, "__aiter__") or hasattr(result, "__next__"):
                async with contextlib.aclosing(in_pieces(result, threads_of(binding))) as pieces:  # type: ignore[type-var]
                    async for chunk in pieces:
                        await put((True, chunk))
            else:
                await put((False, result))

        return work


def read_answer(
    reader: AnswerReader, pieces: Sequence[tuple[bool, Any]], instance: str
) -> tuple[list[Event], LollmsError | None]:
    """The events of `(is a chunk, content)`, and the error they end with; what cannot be read is a binding's fault."""
    events: list[Event] = []
    for is_chunk, piece in pieces:
        try:
            events += reader.feed(piece) if is_chunk else reader.whole(piece)
        except LollmsError as error:
            return events, error
        except Exception as error:
            _log.error("Binding instance %r answered in no documented form.", instance, exc_info=error)
            return events, EngineError(f"Binding instance {instance!r} answered in no documented form.")
        if reader.failure is not None:
            return events, reader.failure
    return events, None


class _MustLoad(Exception):
    """Another model is loaded."""


class _ModelGate:
    """Requests for the loaded model run together; one for another model waits for them. First come, first served."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._binding = adapter.binding
        self._door = asyncio.Lock()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._loaded: LoadedModel | None = None
        self._tells = False  # whether the binding says itself that a model is loaded
        self._inside = 0

    @property
    def has_model(self) -> bool:
        return self._loaded is not None and self.is_ready(self._loaded.name)

    def has_another(self, model: str) -> bool:
        return self._loaded is not None and self._loaded.name != model

    def is_ready(self, model: str) -> bool:
        if self._loaded is None or self._loaded.name != model:
            return False
        return not self._tells or self._has_model()

    def _has_model(self) -> bool:
        with translated(self._binding):
            return bool(self._binding.is_model_loaded)

    @contextlib.asynccontextmanager
    async def using(self, model: str, *, may_load: bool = True) -> AsyncIterator[LoadedModel]:
        async with self._door:
            if self._loaded is None or not self.is_ready(model):
                if not may_load:
                    raise _MustLoad
                await self._nobody.wait()
                self._loaded = None
                await self._load(model)
                self._loaded = await self._measured(model)
            loaded = self._loaded
            self._inside += 1
            self._nobody.clear()
        try:
            yield loaded
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._nobody.set()

    async def _load(self, model: str) -> None:
        sentence = f"The model {model!r} could not be loaded."
        try:
            done = await self._adapter.run(self._binding.load_model, model)
        except EngineError as error:
            if type(error) is not EngineError:
                raise
            raise UnknownModel(sentence, param="model_name") from error
        if done is not None and not done:  # a writer may forget the return
            raise UnknownModel(sentence, param="model_name")
        self._tells = self._has_model()

    async def _measured(self, model: str) -> LoadedModel:
        """The sizes of a model that was just loaded, as the binding states them, else those of the configuration."""
        info: Any = None
        try:
            async with asyncio.timeout(_INFO_SECONDS):
                info = await self._adapter.run(self._binding.get_model_info, model)
        except (LollmsError, TimeoutError) as error:
            _log.debug("No sizes are known of model %r: %s", model, error)
        stated = info if isinstance(info, Mapping) else {}
        context_size, most = self._binding.default_sizes
        return LoadedModel(
            model, _size(stated.get("context_size")) or context_size, _size(stated.get("max_output_tokens")) or most
        )


def _size(given: Any) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else None


# ---- what goes in --------------------------------------------------------------------------------------------------


class _InputItem(dict[str, Any]):
    """An item of input: a dictionary whose entries can be read as attributes, since both are in use."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """The plain dictionary."""
        return dict(self)


def documented_arguments(call: GenerationCall, loaded: LoadedModel, instance: str) -> dict[str, Any]:
    """The arguments of the documented `generate` for a call.

    `prompt` is the user's text; with a history it is the whole conversation in the lollms text format. The messages
    stand in `request_info` too, in the chat-completions format.
    """
    context = CURRENT.get()
    system = "\n\n".join(m.text for m in call.messages if m.role == "system" and m.text)
    turns = [m for m in call.messages if m.role != "system"]
    params: dict[str, Any] = {"context_size": loaded.context_size, "max_tokens": loaded.max_output_tokens}
    params |= {**call.params.given(), **call.params.extra}
    if "stop" in params:
        params["stop"] = list(params["stop"])
    if "ctx_size" in params:
        params["context_size"] = params.pop("ctx_size")
    if system:
        params["system_message"] = system
    return {
        "prompt": turns[-1].text if len(turns) == 1 else "".join(map(_turn_text, turns)).strip(),
        "params": params,
        "request_info": _request_info(call, loaded.name, instance, context),
        "multimodal_data": _further_input(call, context),
    }


def _request_info(call: GenerationCall, model: str, instance: str, context: RequestContext | None) -> dict[str, Any]:
    info: dict[str, Any] = {
        "request_id": context.id if context is not None else "",
        "generation_type": context.generation_type if context is not None else "ttt",
        "personality": context.personality if context is not None else None,
        "functions": list(context.functions) if context is not None else [],
        "binding_instance_name": instance,
        "model_name": model,
        "messages": [_chat_message(message) for message in call.messages],
    }
    if call.tools:
        info["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
            }
            for tool in call.tools
        ]
    if call.schema is not None:
        info["response_schema"] = dict(call.schema)
    return info


def _further_input(call: GenerationCall, context: RequestContext | None) -> list[dict[str, Any]]:
    """What was put in besides the texts of the conversation: as it was sent, where the call is the request's own."""
    images = [image for message in call.messages for image in message.images]
    if context is None or not _is_of(call, context.items):
        return [_image_item(image) for image in images]
    return [
        _InputItem(
            type=item.type, role=item.role, data=item.data, mime_type=item.mime_type, metadata=dict(item.metadata or {})
        )
        for item in context.items
        if item.type != "text" or item.role not in HISTORY_ROLES
    ]


def _is_of(call: GenerationCall, items: Sequence[InputData]) -> bool:
    """Whether the call asks what the items ask; a script may ask something else for the same request."""
    asked = [item.data for item in items if item.type == "text" and item.role == "user_prompt"]
    said = {message.text for message in call.messages if message.role == "user"}
    return bool(items) and (not asked or any(text in said for text in asked))


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


def _image_item(image: ImagePart) -> _InputItem:
    data = base64.b64encode(image.data).decode("ascii")
    return _InputItem(type="image", role="input_image", data=data, mime_type=image.mime, metadata={})


def _call(method: Callable[..., Any], given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Call with `given`, and with those of `named` that the signature takes.

    They go by place, so that a writer may give them other names; by name where the signature has them in another order.
    """
    parameters = list(inspect.signature(method).parameters.values())
    slots = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][len(given) :]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    documented = list(named)
    if any(p.name in named and documented.index(p.name) != place for place, p in enumerate(slots)):
        by_place = 0
    elif any(p.kind is p.VAR_POSITIONAL for p in parameters):
        by_place = len(named)
    else:
        by_place = len(slots)
    rest = documented[by_place:]
    wanted = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    by_name = {name: named[name] for name in rest if takes_all or name in wanted}
    return method(*given, *list(named.values())[:by_place], **by_name)
