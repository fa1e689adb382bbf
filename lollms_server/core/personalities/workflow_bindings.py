"""The bindings and functions that the script of a personality sees: the documented methods, for one request.

A script gets faces and never the parts of the server themselves. So whatever it asks is counted, waits for its turn,
ends with the request, and cannot change which model another request talks to. It may ask from a thread with an event
loop of its own. Of an answer it gets the documented items, in the same form from every binding.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from typing_extensions import override

from lollms_core.errors import LollmsError
from lollms_core.flows.base import Flow
from lollms_core.protocols.lollms_input import InputData, InputItem, messages_of
from lollms_core.protocols.lollms_wire import reply_output
from lollms_core.types import Event, GenerationCall, Message, Params, Reply, TextDelta
from lollms_server.core.bindings import Binding
from lollms_server.core.bindings.adapter import translated
from lollms_server.core.bindings.instances import Card
from lollms_server.core.parameters import read_parameters
from lollms_server.core.personalities.workflow_asking import scripts_fault
from lollms_server.core.personalities.workflow_calls import Calls, ScriptCall
from lollms_server.core.personalities.workflow_flows import ScriptTool, places_of, run_flow
from lollms_server.core.personalities.workflow_operations import ScriptOperations
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.scheduler import GPU

__all__ = ["Answer", "ScriptBinding", "ScriptBindings", "ScriptFunctions", "ScriptResources"]

T = TypeVar("T")

_KINDS = {"text": "ttt", "image": "tti", "audio": "tts", "video": "ttv"}
_NO_EFFECT = ("debug", "raise_errors")  # arguments of the client's operations; here errors are always raised
_LEFT_OUT = ("user_prompt", "system_context")


class Answer(list[dict[str, Any]]):
    """The items of an answer, each with `type`, `data`, `mime_type`, `thoughts` and `metadata`; `str()` is its text."""

    @property
    def text(self) -> str:
        """All its text."""
        return "".join(item["data"] for item in self if item["type"] == "text" and isinstance(item["data"], str))

    def __str__(self) -> str:
        return self.text


class ScriptBinding(ScriptOperations):
    """One binding instance. What a script leaves out of a call is taken from its request: the model, the parameters."""

    def __init__(self, calls: Calls, name: str, binding: Binding) -> None:
        self._calls = calls
        self._binding = binding
        self._model = calls.call.model if name == calls.instance else str(binding.default_model_name or "")
        self.binding_instance_name = name
        self.binding_type_name = binding.binding_type_name
        self.default_model_name = binding.default_model_name

    @property
    def model_name(self) -> str:
        """The model that is asked when a call names none."""
        return self._model

    # ---- generation

    async def generate(
        self,
        prompt: str,
        params: Mapping[str, Any] | None = None,
        request_info: Mapping[str, Any] | None = None,
        multimodal_data: Sequence[Any] | None = None,
    ) -> Answer:
        """Ask once, and wait for the whole answer.

        `params` are those of the request when they are left out, with its `system_message`; else they are all that is
        sent. `multimodal_data` are input items or dictionaries, images for example; earlier turns of the conversation
        among them (`context["input_data"]`) come before the prompt. Raises the errors of the project.
        """
        return await self._calls.here(self._whole(self._call(prompt, params, request_info, False, multimodal_data)))

    async def generate_stream(
        self,
        prompt: str,
        params: Mapping[str, Any] | None = None,
        request_info: Mapping[str, Any] | None = None,
        multimodal_data: Sequence[Any] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """The same in documented chunks, as they come; the last one, `final`, holds the items of the answer."""
        call = self._call(prompt, params, request_info, True, multimodal_data)
        asked = await self._calls.here(self._begun(call))
        try:
            while (events := await self._calls.here(asked.next())) is not None:
                for event in events:
                    yield _chunk(event)
            yield _final(await self._calls.here(asked.reply()))
        finally:
            with contextlib.suppress(RuntimeError):  # the generator is thrown away when no loop runs any more
                await self._calls.here(asked.stop())

    async def _whole(self, call: _Call) -> Answer:
        asked = await self._begun(call)
        try:
            return _answer(await asked.reply())
        finally:
            await asked.stop()

    async def _begun(self, call: _Call) -> ScriptCall:
        return await self._calls.ask(self.binding_instance_name, call.call, call.kind, call.items)

    def _call(
        self,
        prompt: str,
        params: Mapping[str, Any] | None,
        request_info: Mapping[str, Any] | None,
        stream: bool,
        data: Sequence[Any] | None,
    ) -> _Call:
        """Raises ValueError and TypeError for what cannot be sent: the script is at fault then, not its caller."""
        if not isinstance(prompt, str):
            raise TypeError(f"a prompt is text, not {type(prompt).__name__}")
        info = request_info or {}
        chosen, system = self._params(params)
        items = [_input(item) for item in data or ()]
        turns = [item for item in items if item.type != "text" or item.role not in _LEFT_OUT]
        turns.append(InputItem("text", "user_prompt", prompt))
        with scripts_fault():
            messages = messages_of(turns)
        before = (Message.system(system),) if system else ()
        # The name of a model in the request's own information is one of the request's own binding.
        foreign = info.get("binding_instance_name") not in (None, self.binding_instance_name)
        model = self._model if foreign else str(info.get("model_name") or self._model)
        call = GenerationCall((*before, *messages), model, chosen, stream)
        return _Call(call, self._kind(info, foreign), tuple(turns))

    def _params(self, given: Mapping[str, Any] | None) -> tuple[Params, str]:
        asked = self._calls.call
        if given is None:
            return asked.params, "\n\n".join(m.text for m in asked.messages if m.role == "system" and m.text)
        with scripts_fault():
            read = read_parameters(given)
        return read.params, read.system_message

    def _kind(self, info: Mapping[str, Any], foreign: bool) -> str:
        """The type of generation: that of the request, or what another instance is there for."""
        outputs = self.get_supported_output_modalities()
        if self.binding_instance_name == self._calls.instance or "text" in outputs:
            asked = None if foreign else info.get("generation_type")
            return str(asked or self._calls.context.generation_type)
        return next((_KINDS[output] for output in outputs if output in _KINDS), "ttt")

    # ---- operations of several calls

    @override
    def _question(
        self, prompt: str, params: Mapping[str, Any], images: Sequence[Any] | None = None, system: str | None = None
    ) -> GenerationCall:
        if "callback" in params or "streaming_callback" in params:
            raise TypeError("an operation of a script has no callback: the caller of the request sees its steps")
        defaults, usual = self._params(None)
        chosen, own = self._params({name: value for name, value in params.items() if name not in _NO_EFFECT})
        call = self._call(prompt, {}, None, self._calls.call.stream, images).call
        before = (own or usual) if system is None else system
        messages = (*((Message.system(before),) if before else ()), *call.messages)
        return msgspec.structs.replace(call, messages=messages, params=chosen.over(defaults))

    @override
    async def _run(self, call: GenerationCall, flow: Flow[T], tools: Mapping[str, ScriptTool] | None = None) -> T:
        return await run_flow(self._calls, self.binding_instance_name, call.model, flow, tools)

    @property
    @override
    def _at_once(self) -> int:
        return places_of(self._calls, self.binding_instance_name, self._binding, self._model)

    @override
    async def _context_size(self, given: int | None) -> int:
        wanted = self._params(None)[0].ctx_size if given is None else given
        if wanted is not None:
            return wanted
        info: Any = None
        with contextlib.suppress(LollmsError):
            info = await self.get_model_info()
        size = info.get("context_size") if isinstance(info, Mapping) else None
        return size if isinstance(size, int) and size > 0 else self._binding.default_sizes[0]

    # ---- the other documented methods

    @property
    def supports_streaming(self) -> bool:
        """Whether the binding itself answers in pieces."""
        return self._binding.supports_streaming

    @property
    def is_model_loaded(self) -> bool:
        """Whether a model is ready."""
        return self._binding.is_model_loaded

    def get_supported_input_modalities(self) -> list[str]:
        """What may be put in."""
        with translated(self._binding):
            return list(self._binding.get_supported_input_modalities())

    def get_supported_output_modalities(self) -> list[str]:
        """What can come out."""
        with translated(self._binding):
            return list(self._binding.get_supported_output_modalities())

    def supports_input_role(self, data_type: str, role: str) -> bool:
        """Whether an input item of this type may have this role."""
        with translated(self._binding):
            return self._binding.supports_input_role(data_type, role)

    def get_resource_requirements(self, model_name: str | None = None) -> dict[str, Any]:
        """`gpu_required` and `estimated_vram_mb`."""
        with translated(self._binding):
            return self._binding.get_resource_requirements(model_name or self._model or None)

    async def load_model(self, model_name: str) -> bool:
        """The calls of this script that follow ask for this model. It is loaded when it is asked, and for all."""
        self._model = model_name
        return True

    async def unload_model(self) -> bool:
        """Nothing: others may be using the model."""
        return True

    async def list_available_models(self) -> list[dict[str, Any]]:
        """The models of the instance."""
        return await self._do(self._binding.list_available_models())

    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        """What is known of a model."""
        return await self._do(self._binding.get_model_info(model_name or self._model or None))

    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        """The tokens of a text. Raises `UnsupportedFeature`."""
        return await self._do(self._binding.tokenize(text, add_bos, add_eos, model_name or self._model or None))

    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        """The text of tokens. Raises `UnsupportedFeature`."""
        return await self._do(self._binding.detokenize(tokens, model_name or self._model or None))

    async def count_tokens(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> int:
        """How many tokens a text has. Raises `UnsupportedFeature`."""
        return await self._do(self._binding.count_tokens(text, add_bos, add_eos, model_name or self._model or None))

    async def health_check(self) -> tuple[bool, str]:
        """Whether the backend can be used, and a sentence."""
        return await self._do(self._binding.health_check())

    async def _do(self, work: Awaitable[T]) -> T:
        async def done() -> T:
            await self._calls.binding(self.binding_instance_name)
            with translated(self._binding):
                return await work

        try:
            return await self._calls.here(done())
        finally:
            if asyncio.iscoroutine(work):
                work.close()  # it may never have begun


class ScriptBindings:
    """The instances that are loaded, for `context["binding_manager"]`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def get_binding(self, name: str) -> ScriptBinding | None:
        """An instance by its name, also one that is not well just now; None when it is not loaded."""
        binding = self._calls.peek(name)
        return None if binding is None else ScriptBinding(self._calls, name, binding)

    def list_binding_instances(self) -> dict[str, Mapping[str, Any]]:
        """The loaded instances, with the settings that are not secret."""
        return self._calls.house.manager.active()

    def list_binding_types(self) -> dict[str, dict[str, Any]]:
        """The types that there are."""
        return {name: _card(card) for name, card in self._calls.house.manager.types.items()}


class ScriptFunctions:
    """The functions of the server, for `context["function_manager"]`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._manager = calls.house.functions

    def names(self) -> list[str]:
        """The names of all functions."""
        return self._manager.names()

    async def execute_function(self, name: str, args: Mapping[str, Any] | None = None) -> tuple[bool, Any]:
        """Call a function: (True, what it returned), or (False, a sentence that says what was wrong)."""
        return await self._calls.here(self._manager.execute_function(name, dict(args or {})))


class ScriptResources:
    """The graphics card, for `context["resource_manager"]`, with the settings of the configuration."""

    def __init__(self, calls: Calls) -> None:
        settings = calls.house.loaded.config.resource_manager
        self._calls = calls
        self._manager = ResourceManager(settings.model_dump(), calls.house.scheduler)
        self.gpu_strategy = settings.gpu_strategy
        self.gpu_limit = settings.gpu_limit
        self.queue_timeout = settings.queue_timeout

    @contextlib.asynccontextmanager
    async def acquire_gpu_resource(self, task_name: str = "unnamed_task") -> AsyncIterator[None]:
        """Waits for the card and holds it inside the block; with the end of the request it is given back.

        Raises `QueueTimeout`.
        """
        context, scheduler = self._calls.context, self._calls.house.scheduler
        done = await self._calls.here(self._calls.hold(scheduler.lease([GPU], key=context.key, request_id=context.id)))
        try:
            yield
        finally:
            self._calls.soon(done.set)

    def get_status(self) -> dict[str, Any]:
        """The strategy, its limit, and how many tasks hold the card or wait for it."""
        return self._manager.get_status()


class _Call(msgspec.Struct, frozen=True):
    call: GenerationCall
    kind: str
    items: tuple[InputData, ...]


def _input(item: Any) -> InputItem:
    """An item as scripts have it: a model of ours, or a dictionary. Raises ValueError."""
    if hasattr(item, "model_dump"):
        item = item.model_dump()
    if not isinstance(item, Mapping) or not isinstance(item.get("type"), str) or not isinstance(item.get("data"), str):
        raise ValueError("multimodal_data must hold input items, each with type, role and data as text")
    kind, mime, metadata = item["type"], item.get("mime_type"), item.get("metadata")
    role = item.get("role") or ("user_message" if kind == "text" else f"input_{kind}")
    return InputItem(kind, str(role), item["data"], mime, dict(metadata) if isinstance(metadata, Mapping) else None)


def _answer(reply: Reply) -> Answer:
    items: Iterable[dict[str, Any]] = msgspec.to_builtins(reply_output(reply))
    return Answer({**item, "metadata": item["metadata"] or {}} for item in items)


def _chunk(event: Event) -> dict[str, Any]:
    text = getattr(event, "text", "")
    said, thought = (text, None) if isinstance(event, TextDelta) else ("", text)
    return {"type": "chunk", "content": said, "thoughts": thought, "metadata": {}}


def _final(reply: Reply) -> dict[str, Any]:
    return {"type": "final", "content": _answer(reply), "thoughts": None, "metadata": {}}


def _card(card: Card) -> dict[str, Any]:
    return {
        "type_name": card.type_name,
        "display_name": card.display_name,
        "version": card.version,
        "author": card.author,
        "description": card.description,
        "supports_streaming": card.supports_streaming,
        "supported_input_modalities": list(card.supported_input_modalities),
        "supported_output_modalities": list(card.supported_output_modalities),
    }
