"""One generation as the server runs it: who is asked, what is needed for it, and the run itself.

The order is always the same: the request is registered, waits for its lease, runs, gives the lease back and is
forgotten, all before the last byte of its answer leaves. So when a caller has its answer, nothing of it is left here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from lollms_core.errors import LollmsError, UnsupportedFeature
from lollms_core.flows.answer import answer
from lollms_core.types import Batch, GenerationCall, Progress, ReceiptItem, Reply, ToolCall
from lollms_runtime.drive import Sink, adrive
from lollms_server.core.bindings import Binding
from lollms_server.core.requests import Registry, RequestContext
from lollms_server.core.scheduler import GPU, Scheduler, instance_resource

__all__ = ["BindingPorts", "Work", "resources_of"]


def resources_of(instance: str, binding: Binding, model: str) -> frozenset[str]:
    """What a call holds while it runs: a place in the instance where those are counted, and the card if it needs it."""
    needed = set()
    if binding.capacity is not None:
        needed.add(instance_resource(instance))
    if binding.get_resource_requirements(model or None).get("gpu_required"):
        needed.add(GPU)
    return frozenset(needed)


class Work(msgspec.Struct, frozen=True):
    """One generation, ready to run."""

    call: GenerationCall
    binding: Binding
    context: RequestContext
    resources: frozenset[str]
    registry: Registry
    scheduler: Scheduler
    receipt: tuple[ReceiptItem, ...] = ()

    async def run(self, sink: Sink) -> Reply:
        """Do it: `sink` gets queue positions and the model's batches, the result is the whole reply.

        Raises the errors of the project; an error of the model call, a stop included, carries the partial reply.
        """
        context = self.context
        lease = self.scheduler.lease(
            self.resources, key=context.key, request_id=context.id, on_position=self._position(sink)
        )
        try:
            self.registry.register(context)
            try:
                async with context.working(), lease:
                    context.position = None
                    ports = BindingPorts(self.binding, context)
                    reply = await adrive(answer(self.call), ports, sink, context.observer)
            finally:
                self.registry.release(context)
        except LollmsError as error:
            if error.partial is not None:
                error.partial = self._completed(error.partial)
            raise
        return self._completed(reply)

    def _completed(self, reply: Reply) -> Reply:
        """The reply with what only the server knows: the model where the backend named none, and its own receipt."""
        if reply.model and not self.receipt:
            return reply
        return msgspec.structs.replace(
            reply, model=reply.model or self.call.model, receipt=self.receipt + reply.receipt
        )

    def _position(self, sink: Sink) -> Callable[[int], Awaitable[None]]:
        async def moved(position: int) -> None:
            self.context.position = position
            await sink((Progress("queue", "Waiting for a free place.", position=position),))

        return moved


class BindingPorts:
    """The ports of the async driver over one binding, for one request."""

    def __init__(self, binding: Binding, context: RequestContext) -> None:
        self._binding = binding
        self._context = context

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Ask the binding; a stop of the request leaves as an error that keeps the partial reply."""
        return _Asked(self._context, self._binding.open(call))

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        """The server runs no tools: a model's tool calls go to the caller."""
        raise UnsupportedFeature(f"The server does not run tools; {call.name!r} is for the caller to run.")

    async def count(self, text: str) -> int:
        """The length in tokens by the binding's own tokenizer."""
        return await self._binding.count_tokens(text, model_name=self._context.model or None)


class _Asked:
    """A binding's block, inside of which the request can be stopped (see `RequestContext.stoppable`)."""

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
