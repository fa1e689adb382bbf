"""A running request can be listed and stopped; a stop keeps what has come, and never hits what comes after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lollms_core.errors import (
    Cancelled,
    InstanceUnavailable,
    LollmsError,
    NotFound,
    RequestIdInUse,
    TooManyRequests,
    TotalTimeout,
)
from lollms_core.flows.answer import answer
from lollms_core.types import Batch, GenerationCall, Message, TextDelta
from lollms_runtime.async_drive import adrive
from lollms_server.core.requests import CURRENT, Registry, RequestContext, StopReason

CALL = GenerationCall((Message.user("x"),))


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(limited())


class Ports:
    """Says two words, then nothing for ever; `closed` when it was left."""

    def __init__(self, context: RequestContext) -> None:
        self.context = context
        self.closed = asyncio.Event()
        self.said = asyncio.Event()

    @asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        async with self.context.stoppable():
            try:
                yield self._batches()
            finally:
                self.closed.set()

    async def _batches(self) -> AsyncIterator[Batch]:
        yield (TextDelta("two "),)
        yield (TextDelta("words"),)
        self.said.set()
        await asyncio.Event().wait()

    async def tool(self, call: object, sink: object) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


async def nowhere(batch: Batch) -> None:
    pass


async def generate(context: RequestContext, ports: Ports) -> None:
    async with context.working():
        await adrive(answer(CALL), ports, nowhere)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("deleted", Cancelled), ("disconnected", Cancelled), ("stalled", Cancelled), ("revoked", Cancelled),
     ("shutdown", InstanceUnavailable), ("deadline", TotalTimeout)],
)  # fmt: skip
def test_a_stop_keeps_what_has_come(reason: StopReason, kind: type[LollmsError]) -> None:
    async def work() -> None:
        context = RequestContext("r" * 16)
        ports = Ports(context)
        task = asyncio.create_task(generate(context, ports))
        await ports.said.wait()
        context.cancel(reason)
        context.cancel("deleted")  # a second stop changes nothing
        with pytest.raises(kind) as caught:
            await task
        assert caught.value.partial is not None
        assert caught.value.partial.text == "two words"
        assert caught.value.request_id == "r" * 16
        assert ports.closed.is_set()
        assert not task.cancelled()

    run(work)


def test_cancelling_the_task_itself_is_still_a_cancellation() -> None:
    async def work() -> None:
        context = RequestContext("r")
        ports = Ports(context)
        task = asyncio.create_task(generate(context, ports))
        await ports.said.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ports.closed.is_set()

    run(work)


def test_a_deadline_stops_the_work() -> None:
    async def work() -> None:
        context = RequestContext("r", deadline=asyncio.get_running_loop().time() + 0.02)
        with pytest.raises(TotalTimeout):
            await generate(context, Ports(context))

    run(work)


def test_a_stop_before_the_start_prevents_it() -> None:
    async def work() -> None:
        context = RequestContext("r")
        context.cancel("deleted")
        with pytest.raises(Cancelled):
            await generate(context, Ports(context))

    run(work)


def test_a_stop_at_the_last_moment_does_not_hit_what_follows() -> None:
    async def work() -> None:
        context = RequestContext("r")
        async with context.working():
            context.cancel("deleted")  # the work ends before the task waits again
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    run(work)


def test_the_running_request_is_known_inside_its_work_only() -> None:
    async def work() -> None:
        context = RequestContext("r")
        async with context.working():
            assert CURRENT.get() is context
        assert CURRENT.get() is None

    run(work)


def test_an_id_is_used_once_at_a_time() -> None:
    async def work() -> None:
        registry = Registry()
        context = RequestContext("same")
        with registry.registered(context):
            with pytest.raises(RequestIdInUse):
                registry.register(RequestContext("same"))
            assert [each.request_id for each in registry.snapshot()] == ["same"]
        with registry.registered(RequestContext("same")):
            assert len(registry) == 1
        assert len(registry) == 0

    run(work)


def test_a_full_and_a_closed_registry_take_no_more() -> None:
    async def work() -> None:
        registry = Registry(bound=1)
        with registry.registered(RequestContext("a")):
            with pytest.raises(TooManyRequests):
                registry.register(RequestContext("b"))
        registry.close()
        with pytest.raises(InstanceUnavailable):
            registry.register(RequestContext("c"))

    run(work)


def test_requests_are_stopped_by_id_and_by_key() -> None:
    async def work() -> None:
        registry = Registry()
        contexts = [RequestContext(f"r{i}", key="k" if i else "other") for i in range(3)]
        for context in contexts:
            registry.register(context)
        with pytest.raises(NotFound):
            registry.cancel("unknown")
        assert registry.cancel_all("revoked", key="k") == 2
        registry.cancel("r0")
        assert [context.stop_reason for context in contexts] == ["deleted", "revoked", "revoked"]

    run(work)
