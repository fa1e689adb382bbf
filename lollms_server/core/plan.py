"""What a request comes down to: who is asked, with what, in which steps, and what must be free for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from lollms_core.errors import InvalidRequest
from lollms_core.flows.agent import tool_loop
from lollms_core.flows.answer import answer
from lollms_core.flows.base import Flow
from lollms_core.types import Batch, GenerationCall, ReceiptItem, Reply
from lollms_server.core.asked import Asked
from lollms_server.core.calls import build_call
from lollms_server.core.personalities.workflow import Workflow
from lollms_server.core.requests import RequestContext
from lollms_server.core.resources import resources_of
from lollms_server.core.services import Services

__all__ = ["Plan", "Source", "prepare"]


class Source(Protocol):
    """Whoever answers a call: a binding, or the script of a personality."""

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]: ...


class Plan(msgspec.Struct, frozen=True):
    """How a request will be answered. `resources` are held during the whole of `flow`.

    `seconds` is how long all of it may take, where it is work of several steps; None for a single call.
    """

    flow: Flow[Reply]
    model: str
    source: Source
    resources: frozenset[str] = frozenset()
    receipt: tuple[ReceiptItem, ...] = ()
    seconds: float | None = None


async def prepare(asked: Asked, context: RequestContext, house: Services) -> Plan:
    """The plan of a request, after all checks; it waits for an instance that is still loading.

    Raises as `build_call` does, `NotFound` for an unknown personality or instance, and `InstanceUnavailable`.
    """
    personality = None if asked.personality is None else house.personalities.get(asked.personality)
    instance, binding = await house.manager.for_request(asked.binding_name, asked.generation_type)
    context.instance, context.uses, context.items = instance, (binding,), asked.input_data
    limits = house.loaded.config.limits
    call, receipt, context.items = await build_call(asked, instance, binding, limits.max_item_bytes, personality)
    context.model = call.model
    if personality is None and not asked.functions:
        return Plan(answer(call), call.model, binding, resources_of(instance, binding, call.model), receipt)
    context.functions = asked.functions or ()
    if personality is not None:
        context.personality = personality.name
        context.functions = personality.functions if asked.functions is None else asked.functions
    if personality is not None and personality.is_scripted:
        script = Workflow(personality, asked, context, house, instance, binding)
        return Plan(answer(call), call.model, script, receipt=receipt)
    resources = resources_of(instance, binding, call.model)
    if not context.functions:
        return Plan(answer(call), call.model, binding, resources, receipt)
    flow = _with_functions(call, context, house)
    return Plan(flow, call.model, binding, resources, receipt, limits.workflow_timeout)


def _with_functions(call: GenerationCall, context: RequestContext, house: Services) -> Flow[Reply]:
    """The model may call functions of the server, which runs them, beside the caller's own tools."""
    offered = house.functions.tools(context.functions)
    names = house.functions.tool_names(context.functions)
    if clash := sorted(names.keys() & {tool.name for tool in call.tools}):
        raise InvalidRequest(f"A tool has the name of a function of the server: {clash[0]}.", param="tools")
    call = msgspec.structs.replace(call, tools=(*offered, *call.tools))
    return tool_loop(call, names, house.loaded.config.limits.max_function_rounds, names)
