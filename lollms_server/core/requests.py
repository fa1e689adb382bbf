"""Running requests: what each one is, and the registry that can list and stop them.

A request is stopped by cancelling its task. Cancelling is abrupt and would lose what the model has said so far, so the
cancellation is turned back into an error of ours where the model call ends (`RequestContext.stoppable`): the drivers
then keep the partial reply, as for any other failure, and the sender can still say how the request ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Literal

import msgspec

from lollms_core.errors import (
    Cancelled,
    InstanceUnavailable,
    LollmsError,
    NotFound,
    RequestIdInUse,
    TooManyRequests,
    TotalTimeout,
)
from lollms_core.protocols.lollms_input import InputData
from lollms_runtime.observe import NOTHING, Observer

__all__ = ["CURRENT", "LOG", "Registry", "RequestContext", "Running", "StopReason"]

StopReason = Literal["disconnected", "deleted", "stalled", "shutdown", "revoked", "deadline"]

LOG = logging.getLogger("lollms_server.requests")
"""One line per model call, and what goes wrong in a request."""

CURRENT: ContextVar[RequestContext | None] = ContextVar("lollms_request", default=None)
"""The request that the running task works for."""


class Running(msgspec.Struct, frozen=True):
    """A running request as others see it; `seconds` since it came, `position` those that wait before it."""

    request_id: str
    instance: str
    model: str
    state: Literal["queued", "running"]
    seconds: float
    stream: bool
    position: int | None = None


class RequestContext:
    """One request while it runs. Made and used on the event loop.

    `key` is the id of the caller's key ("" without keys), `deadline` a moment of the loop's clock or None, `started` a
    moment of the monotonic clock. `loop` may be set by who knows it: to ask for it is a system call in Python 3.11.
    `personality`, `functions` and `items` are those of the body, for the documented bindings; `uses` are the bindings
    that this request works with, which are not stopped under it.
    """

    __slots__ = (
        "_task",
        "_timer",
        "deadline",
        "functions",
        "generation_type",
        "id",
        "instance",
        "items",
        "key",
        "loop",
        "model",
        "observer",
        "personality",
        "position",
        "started",
        "stop_reason",
        "stream",
        "uses",
    )

    def __init__(
        self,
        id: str,
        *,
        key: str = "",
        deadline: float | None = None,
        observer: Observer = NOTHING,
        instance: str = "",
        model: str = "",
        stream: bool = False,
        generation_type: str = "ttt",
    ) -> None:
        self.id = id
        self.key = key
        self.deadline = deadline
        self.observer = observer
        self.instance = instance
        self.model = model
        self.stream = stream
        self.generation_type = generation_type
        self.personality: str | None = None
        self.functions: Sequence[str] = ()
        self.items: Sequence[InputData] = ()
        self.uses: tuple[object, ...] = ()
        self.position: int | None = None
        self.started = time.monotonic()
        self.stop_reason: StopReason | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def end_at(self, moment: float) -> None:
        """Stop the work at this moment of the loop's clock, if it still runs then; the last such moment counts."""
        if self._timer is not None:
            self._timer.cancel()
        self.deadline = moment
        self._timer = asyncio.get_running_loop().call_at(moment, self.cancel, "deadline")

    def cancel(self, reason: StopReason) -> None:
        """Stop the work. The first reason counts; without a running task it is noted for the moment it starts."""
        if self.stop_reason is not None:
            return
        self.stop_reason = reason
        if self._task is not None:
            self._task.cancel()

    def working(self) -> AbstractAsyncContextManager[None]:
        """The current task works for this request: `cancel` interrupts it inside the block, and not after it.

        A stop that was asked for leaves the block as the error that says why.
        """
        return _Working(self)

    def stoppable(self) -> AbstractAsyncContextManager[None]:
        """Around one model call: a stop leaves as an error of ours, so that the driver keeps the partial reply."""
        return _Stoppable(self)

    def translate(self, error: BaseException | None) -> None:
        """Raise the error that says why in place of a cancellation that was our own; else do nothing."""
        if isinstance(error, asyncio.CancelledError) and self._taken_back():
            raise self.stopped() from None

    def _taken_back(self) -> bool:
        """Whether the task's cancellation was our own; it is then no longer pending."""
        if self.stop_reason is None or self._task is None or self._task.cancelling() == 0:
            return False
        return self._task.uncancel() == 0

    async def _absorb(self) -> None:
        """Take a stop that came when the work was just over: it must not interrupt what follows."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not self._taken_back():
                raise
        else:
            self._taken_back()

    def stopped(self) -> LollmsError:
        """The error of a request that was stopped."""
        error: LollmsError
        if self.stop_reason == "shutdown":
            error = InstanceUnavailable("The server is stopping; ask again when it is back.", retry_after=5.0)
        elif self.stop_reason == "revoked":
            error = Cancelled("The key of this request is no longer valid.")
        elif self.stop_reason == "deadline":
            error = TotalTimeout("The request took longer than it may.")
        elif self.stop_reason == "stalled":
            error = Cancelled("The caller did not read the answer.")
        else:
            error = Cancelled("The request was stopped before its end.")
        error.request_id = self.id
        return error

    def running(self) -> Running:
        """This request as others see it."""
        return Running(
            request_id=self.id,
            instance=self.instance,
            model=self.model,
            state="running" if self.position is None else "queued",
            seconds=round(time.monotonic() - self.started, 3),
            stream=self.stream,
            position=self.position,
        )


class _Stoppable:
    """See `RequestContext.stoppable`. A class, because a generator for each request costs several times more."""

    __slots__ = ("_context",)

    def __init__(self, context: RequestContext) -> None:
        self._context = context

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.translate(error)


class _Working:
    """See `RequestContext.working`."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: RequestContext) -> None:
        self._context = context

    async def __aenter__(self) -> None:
        context = self._context
        if context.stop_reason is not None:
            raise context.stopped()
        context._task = asyncio.current_task(context.loop)
        self._token = CURRENT.set(context)
        if context.deadline is not None:
            context.end_at(context.deadline)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context = self._context
        CURRENT.reset(self._token)
        if context._timer is not None:
            context._timer.cancel()
        try:
            context.translate(error)
        finally:
            task = context._task
            if context.stop_reason is not None and task is not None and task.cancelling():
                await context._absorb()
            context._task = None


class Registry:
    """All running requests by id; at most `bound` at once, and `key_bound` of one key, whatever they wait for."""

    def __init__(self, bound: int = 2048, *, key_bound: int | None = None) -> None:
        self._bound = bound
        self._key_bound = bound if key_bound is None else key_bound
        self._keys: dict[str, int] = {}
        self._running: dict[str, RequestContext] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    @contextlib.contextmanager
    def registered(self, context: RequestContext) -> Iterator[RequestContext]:
        """The request is listed inside the block.

        Raises `RequestIdInUse`, `TooManyRequests` when the server is full, `InstanceUnavailable` when it is stopping.
        """
        self.register(context)
        try:
            yield context
        finally:
            self.release(context)

    def register(self, context: RequestContext) -> None:
        """List a request; see `registered` for what it raises."""
        if self._closed:
            context.stop_reason = "shutdown"
            raise context.stopped()
        if context.id in self._running:
            raise RequestIdInUse(f"A request with the id {context.id} is running already; use another id.")
        if len(self._running) >= self._bound:
            raise TooManyRequests(f"The server is busy with {self._bound} requests; try again soon.", retry_after=1.0)
        count = self._keys.get(context.key, 0)
        if count >= self._key_bound:
            words = f"This key already has {count} requests running or waiting; try again soon."
            raise TooManyRequests(words, retry_after=1.0)
        self._keys[context.key] = count + 1
        self._running[context.id] = context

    def release(self, context: RequestContext) -> None:
        """Forget a request; a second time does nothing."""
        if self._running.get(context.id) is context:
            del self._running[context.id]
            count = self._keys.pop(context.key) - 1
            if count:
                self._keys[context.key] = count

    def snapshot(self) -> tuple[Running, ...]:
        """What runs now, oldest first."""
        return tuple(context.running() for context in self._running.values())

    def is_used(self, binding: object) -> bool:
        """Whether a running request works with this binding."""
        return any(used is binding for context in self._running.values() for used in context.uses)

    def cancel(self, request_id: str) -> None:
        """Stop a request by its id. Raises `NotFound`."""
        context = self._running.get(request_id)
        if context is None:
            raise NotFound("No request with this id is running.")
        context.cancel("deleted")

    def cancel_all(self, reason: StopReason, *, key: str | None = None) -> int:
        """Stop every request, or every request of one key; returns how many."""
        chosen = [c for c in self._running.values() if key is None or c.key == key]
        for context in chosen:
            context.cancel(reason)
        return len(chosen)

    def close(self) -> None:
        """Take no more requests."""
        self._closed = True
