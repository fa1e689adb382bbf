"""The model calls that the script of a personality makes.

Each call is a task of its own, with its own lease: the scripted request itself holds nothing, so that a script that
thinks for a long time keeps nobody waiting. A call is read to its end whether or not the script reads along, within a
limit: two scripts that each read one stream slowly and want the model of the other must not wait for each other. All
calls end with the run they belong to, also when the script will not hear of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from lollms_core.errors import UnsupportedFeature, WorkflowFailed
from lollms_core.flows.answer import answer
from lollms_core.protocols.lollms_input import InputData
from lollms_core.types import (
    Batch,
    Event,
    GenerationCall,
    Notice,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    Usage,
)
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.observe import LogObserver
from lollms_server.core.bindings import Binding
from lollms_server.core.requests import CURRENT, LOG, RequestContext
from lollms_server.core.resources import resources_of
from lollms_server.core.scheduler import GPU, Lease

if TYPE_CHECKING:
    from lollms_server.core.services import Services

__all__ = ["Calls", "ScriptCall"]

T = TypeVar("T")

_ROOM = 1_000_000
_STOPPED = 0.1


class Calls:
    """The calls of one run. `call` is what the request asks of `binding`, `show` sends events to the caller.

    `usage` and `receipt` add up over the calls that are complete, `receipt` also over the operations; `model` is what
    answered the last call.
    """

    def __init__(
        self,
        call: GenerationCall,
        instance: str,
        binding: Binding,
        context: RequestContext,
        house: Services,
        show: Sink,
    ) -> None:
        self.call = call
        self.instance = instance
        self.context = context
        self.house = house
        self.usage: Usage | None = None
        self.receipt: tuple[ReceiptItem, ...] = ()
        self.model = ""
        self._cards = 0  # that the script holds itself
        self._binding = binding
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def here(self, work: Awaitable[T]) -> T:
        """The result of work that belongs to the server's event loop, from whichever loop the script awaits it."""

        async def awaited() -> T:
            return await work

        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(awaited(), self._loop))

    def soon(self, function: Callable[[], object]) -> None:
        """Call a function on the server's event loop."""
        self._loop.call_soon_threadsafe(function)

    def peek(self, name: str) -> Binding | None:
        """A binding if it is loaded; the one of the request stays the same."""
        return self._binding if name == self.instance else self.house.manager.peek(name)

    async def binding(self, name: str) -> Binding:
        """A binding as it is now; the one of the request stays the same. Raises `NotFound`, `InstanceUnavailable`."""
        binding = self._binding if name == self.instance else await self.house.manager.get(name)
        if not any(each is binding for each in self.context.uses):
            self.context.uses += (binding,)
        return binding

    async def ask(self, instance: str, call: GenerationCall, kind: str, items: Sequence[InputData]) -> ScriptCall:
        """Begin a call; `kind` is the type of generation, `items` the input beside the conversation."""
        await self._open()
        about = self.about(instance, call, kind, items)
        asked = ScriptCall(self.show, stream=call.stream)
        task = self._loop.create_task(self._answered(instance, call, about, asked))
        asked.begin(task)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return asked

    async def hold(self, lease: Lease) -> asyncio.Event:
        """Take a lease for the script; it is given back when the event is set, and with the end of the run."""
        held: asyncio.Future[None] = self._loop.create_future()
        done = asyncio.Event()

        async def holding() -> None:
            async with lease:
                self._cards += 1
                try:
                    if not held.done():
                        held.set_result(None)
                    await done.wait()
                finally:
                    self._cards -= 1

        await self._open()
        task = self._loop.create_task(holding())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait([held, task], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            await task
        return done

    async def close(self) -> None:
        """Stop all calls; returns when their leases are given back."""
        self._closed = True
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work of several calls. It ends with the run, and with whoever waits for it."""
        try:
            await self._open()
        except asyncio.CancelledError:
            work.close()
            raise
        task = self._loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # who waited for it may be gone

    @contextlib.asynccontextmanager
    async def leased(self, instance: str, call: GenerationCall, about: RequestContext) -> AsyncIterator[Binding]:
        """A binding that may be asked inside the block, as soon as there is a place for the call.

        Raises `NotFound`, `InstanceUnavailable`, `QueueTimeout`, and `WorkflowFailed` where it would wait for ever.
        """
        await self._open()
        binding = await self.binding(instance)
        resources = resources_of(instance, binding, call.model)
        if self.has_card and GPU in resources:
            raise WorkflowFailed("The script asks a model that needs the graphics card while it holds the card itself.")
        lease = self.house.scheduler.lease(
            resources,
            key=self.context.key,
            request_id=self.context.id,
            on_position=self._moved,
        )
        mine = CURRENT.set(about)  # in this task only
        try:
            async with lease:
                self.context.position = None
                yield binding
        finally:
            CURRENT.reset(mine)

    def about(
        self, instance: str, call: GenerationCall, kind: str = "ttt", items: Sequence[InputData] = ()
    ) -> RequestContext:
        """What documented bindings are told of a call; `kind` and `items` as in `ask`."""
        about = RequestContext(
            self.context.id,
            key=self.context.key,
            observer=LogObserver(LOG),
            instance=instance,
            model=call.model,
            stream=call.stream,
            generation_type=kind,
        )
        about.personality, about.functions, about.items = self.context.personality, self.context.functions, items
        return about

    def add(self, reply: Reply, model: str) -> None:
        """One more call is complete; `model` is what it asked for. What its receipt says is told by `note`."""
        self.usage = reply.usage if self.usage is None else self.usage + reply.usage
        self.model = reply.model or model or self.model

    def note(self, reply: Reply) -> None:
        """What was not done as asked; that of the calls of a flow stands in its reply, without what it asked itself."""
        self.receipt += tuple(item for item in reply.receipt if item not in self.receipt)

    @property
    def has_card(self) -> bool:
        """Whether the script itself holds the graphics card."""
        return self._cards > 0

    async def show(self, batch: Batch) -> None:
        """Let the caller see how a call gets on; what the model says is for the script."""
        shown = tuple(event for event in batch if isinstance(event, Progress | Notice))
        if shown:
            await self._show(shown)

    async def _answered(self, instance: str, call: GenerationCall, about: RequestContext, asked: ScriptCall) -> Reply:
        async with self.leased(instance, call, about) as binding:
            reply = await adrive(answer(call), _Direct(binding), asked.take, about.observer)
        self.add(reply, call.model)
        self.note(reply)
        return reply if reply.model else msgspec.structs.replace(reply, model=call.model)

    async def _open(self) -> None:
        """Raises when the run is over."""
        if self._closed:
            # A script that catches everything must not run in circles on the event loop.
            await asyncio.sleep(_STOPPED)
            raise asyncio.CancelledError("the request has ended")

    async def _moved(self, position: int) -> None:
        self.context.position = position
        await self._show((Progress("queue", "Waiting for a free place.", position=position),))


class ScriptCall:
    """One call under way; `show` lets the caller see how it gets on."""

    def __init__(self, show: Sink, *, stream: bool) -> None:
        self._show = show
        self._stream = stream
        self._said: deque[Event] = deque()
        self._unread = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[Reply] | None = None

    def begin(self, task: asyncio.Task[Reply]) -> None:
        """To be called once, with the task that answers."""
        self._task = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Reply]) -> None:
        self._changed.set()
        if not task.cancelled():
            task.exception()  # the script may have lost interest

    async def take(self, batch: Batch) -> None:
        """The sink of the answer."""
        await self._show(batch)
        if not self._stream:
            return
        for event in batch:
            if isinstance(event, TextDelta | ThoughtDelta):
                self._said.append(event)
                self._unread += len(event.text)
        self._changed.set()
        while self._unread > _ROOM:
            self._changed.clear()
            await self._changed.wait()

    async def next(self) -> list[Event] | None:
        """What has been said since the last time; None when that was all. Raises what the call ends with."""
        if self._task is None:
            raise RuntimeError("the call has not begun")
        while not self._said and not self._task.done():
            self._changed.clear()
            await self._changed.wait()
        if not self._said:
            await self.reply()
            return None
        events, self._unread = list(self._said), 0
        self._said.clear()
        self._changed.set()
        return events

    async def reply(self) -> Reply:
        """The whole answer. Raises what the call ends with; being cancelled here cancels the call."""
        if self._task is None:
            raise RuntimeError("the call has not begun")
        return await self._task

    async def stop(self) -> None:
        """End the call, if it is not over."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


class _Direct:
    """The ports of the async driver over one binding."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        return self._binding.open(call)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise UnsupportedFeature(f"A script runs its functions itself; {call.name!r} is not run for it.")

    async def count(self, text: str) -> int:
        return await self._binding.count_tokens(text)
