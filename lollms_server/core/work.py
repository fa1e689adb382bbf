"""One request as the server runs it: its plan is made, what it needs is waited for, and it runs.

The order is always the same: the request is registered, checked, waits for its lease, runs, gives the lease back and
is forgotten, all before the last byte of its answer leaves. So when a caller has its answer, nothing of it is left
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import msgspec

from lollms_core.errors import KeyRejected, LollmsError
from lollms_core.types import Batch, GenerationCall, Progress, Reply, ToolCall
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.observe import LogObserver
from lollms_server.core.asked import Asked
from lollms_server.core.bindings import Binding
from lollms_server.core.plan import Plan, Source, prepare
from lollms_server.core.requests import LOG, RequestContext
from lollms_server.core.services import Services

__all__ = ["SourcePorts", "Work", "work_of"]


def work_of(asked: Asked, state: Mapping[str, Any], house: Services) -> Work:
    """The work that a request asks for; `state` is what the guard knows of the request."""
    context = RequestContext(
        str(state["request_id"]),
        key=str(state.get("key_id", "-")),
        observer=LogObserver(LOG),
        instance=asked.binding_name or "",
        model=asked.model_name or "",
        stream=asked.stream,
        generation_type=asked.generation_type,
    )
    return Work(asked, context, house)


class Work(msgspec.Struct, frozen=True):
    """One request, ready to run. Nothing of it is checked before it runs, so that also its checks can be stopped."""

    asked: Asked
    context: RequestContext
    house: Services

    async def run(self, sink: Sink) -> Reply:
        """Do it: `sink` gets queue positions and the model's batches, the result is the whole reply.

        Raises the errors of the project; an error of the model call, a stop included, carries the partial reply.
        """
        context, house = self.context, self.house
        house.registry.register(context)
        plan: Plan | None = None
        try:
            if not house.loaded.keys.allows(context.key):  # it was taken away while the body was on its way
                raise KeyRejected("The key of this request is no longer valid.")
            async with context.working():
                plan = await prepare(self.asked, context, house)
                if plan.resources:
                    lease = house.scheduler.lease(
                        plan.resources, key=context.key, request_id=context.id, on_position=self._position(sink)
                    )
                    async with lease:
                        context.position = None
                        reply = await self._answer(plan, sink)
                else:  # the registry has counted it, and there is nothing to wait for
                    reply = await self._answer(plan, sink)
        except LollmsError as error:
            if plan is not None and error.partial is not None:
                error.partial = _completed(error.partial, plan)
            raise
        finally:
            house.registry.release(context)
        return _completed(reply, plan)

    def _answer(self, plan: Plan, sink: Sink) -> Awaitable[Reply]:
        ports = SourcePorts(plan.source, self.context, self.house)
        if plan.seconds is not None:
            self.context.end_at(asyncio.get_running_loop().time() + plan.seconds)
            sink = _stoppable(sink, self.context)
        return adrive(plan.flow, ports, sink, self.context.observer)

    def _position(self, sink: Sink) -> Callable[[int], Awaitable[None]]:
        async def moved(position: int) -> None:
            self.context.position = position
            await sink((Progress("queue", "Waiting for a free place.", position=position),))

        return moved


def _stoppable(sink: Sink, context: RequestContext) -> Sink:
    """The sink of a flow that also shows something between its calls: a stop there is an error of ours, too."""

    async def shown(batch: Batch) -> None:
        async with context.stoppable():
            await sink(batch)

    return shown


def _completed(reply: Reply, plan: Plan) -> Reply:
    """The reply with what only the server knows: the model where the backend named none, and its own receipt."""
    if reply.model and not plan.receipt:
        return reply
    return msgspec.structs.replace(reply, model=reply.model or plan.model, receipt=plan.receipt + reply.receipt)


class SourcePorts:
    """The ports of the async driver over whoever answers, for one request."""

    def __init__(self, source: Source, context: RequestContext, house: Services) -> None:
        self._source = source
        self._context = context
        self._house = house

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask; a stop of the request leaves as an error that keeps the partial reply."""
        return _Asked(self._context, self._source.open(call))

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        """Run one of the server's functions; its result as JSON text."""
        try:
            return await self._house.functions.run_tool(call)
        except asyncio.CancelledError as error:
            self._context.translate(error)
            raise

    async def count(self, text: str) -> int:
        """The length in tokens, by the tokenizer of the first binding that the request works with."""
        binding = next(each for each in self._context.uses if isinstance(each, Binding))
        return (await binding.token_count(text, self._context.model or None)).count


class _Asked:
    """The block of an answer, inside of which the request can be stopped (see `RequestContext.stoppable`)."""

    __slots__ = ("_block", "_context")

    def __init__(self, context: RequestContext, block: AbstractAsyncContextManager[AsyncIterator[Batch]]) -> None:
        self._context = context
        self._block = block

    async def __aenter__(self) -> AsyncIterator[Batch]:
        try:
            return await self._block.__aenter__()
        except asyncio.CancelledError as error:
            self._context.translate(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            if await self._block.__aexit__(kind, error, trace):
                return True
        except asyncio.CancelledError as other:
            self._context.translate(other)
            raise
        self._context.translate(error)
        return None
