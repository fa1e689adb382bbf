"""One answer of a model over a real socket, through either driver, port and transport."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import NamedTuple

from lollms_core.errors import Cancelled, LollmsError
from lollms_core.flows.answer import answer
from lollms_core.protocols.base import Codec, HttpRequest, HttpResponse, Target, Timeouts
from lollms_core.protocols.dialects import OPENAI
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.retry import NO_RETRY, RetryPolicy
from lollms_core.types import Batch, Event, GenerationCall, Message, Reply, ToolCall
from lollms_runtime.async_drive import Sink, adrive
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps, drive
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.upstream import AsyncUpstream, Upstream

__all__ = ["CALL", "KINDS", "Outcome", "answer_of", "call", "cancelled", "fetch", "target"]

KINDS = ["threads", "coroutines"]

QUICK = Timeouts(connect=2, first_byte=0.1, idle=0.1, total=10)


def call(stream: bool = True) -> GenerationCall:
    return GenerationCall((Message.user("Hi"),), model="chaos", stream=stream)


CALL = call()


def target(url: str, timeouts: Timeouts = QUICK) -> Target:
    return Target(url, key="sk-canary", provider="chaos", timeouts=timeouts)


class Outcome(NamedTuple):
    """What was shown, and how it ended: with a reply or an error."""

    shown: tuple[Event, ...]
    reply: Reply | None
    error: LollmsError | None

    @property
    def text(self) -> str:
        """The text of the reply, or of the part that came."""
        whole = self.reply if self.error is None else self.error.partial
        assert whole is not None
        return whole.text


class _Ports:
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def open(self, call: GenerationCall, cancel: Cancel) -> AbstractContextManager[Iterator[Batch]]:
        return self._upstream.open(call, cancel)

    def tool(self, call: ToolCall, cancel: Cancel) -> Steps[str]:
        raise AssertionError("no tool is called")

    def count(self, text: str) -> int:
        raise AssertionError("nothing is counted")


class _AsyncPorts:
    def __init__(self, upstream: AsyncUpstream) -> None:
        self._upstream = upstream

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        return self._upstream.open(call)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError("no tool is called")

    async def count(self, text: str) -> int:
        raise AssertionError("nothing is counted")


def answer_of(
    kind: str,
    url: str,
    asked: GenerationCall = CALL,
    *,
    codec: Codec | None = None,
    retry: RetryPolicy = NO_RETRY,
    then: Callable[[], object] = lambda: None,
    timeouts: Timeouts = QUICK,
    until: int | None = None,
) -> Outcome:
    """Ask, and collect everything; or leave after `until` events, then call `then` while the transport is open."""
    chosen, there = codec or ChatCodec(OPENAI), target(url, timeouts)
    shown: list[Event] = []
    if kind == "threads":
        transport = HttpTransport()
        steps = drive(answer(asked), _Ports(Upstream(chosen, there, transport, retry=retry)), Cancel())
        try:
            while until is None or len(shown) < until:
                shown.extend(next(steps))
            steps.close()
            then()
            return Outcome(tuple(shown), None, None)
        except StopIteration as end:
            return Outcome(tuple(shown), end.value, None)
        except LollmsError as error:
            return Outcome(tuple(shown), None, error)
        finally:
            transport.close()

    async def work() -> Outcome:
        transport = AsyncHttpTransport()
        ports = _AsyncPorts(AsyncUpstream(chosen, there, transport, retry=retry))

        async def sink(batch: Batch) -> None:
            shown.extend(batch)
            if until is not None and len(shown) >= until:
                raise Cancelled("The reader has left.")

        try:
            reply = await adrive(answer(asked), ports, sink)
            return Outcome(tuple(shown), reply, None)
        except LollmsError as error:
            await asyncio.to_thread(then)
            return Outcome(tuple(shown), None, error)
        finally:
            await transport.close()

    return asyncio.run(work())


def cancelled(
    kind: str,
    url: str,
    when: Callable[[], object],
    then: Callable[[], object],
    *,
    codec: Codec | None = None,
    retry: RetryPolicy = NO_RETRY,
) -> float:
    """Ask, cancel from outside once `when` has returned, call `then`; seconds until the work had ended."""
    chosen, there = codec or ChatCodec(OPENAI), target(url, Timeouts(first_byte=20, idle=20))
    if kind == "threads":
        transport, cancel = HttpTransport(), Cancel()
        ended: list[BaseException | None] = []

        def run() -> None:
            try:
                with Upstream(chosen, there, transport, retry=retry).open(CALL, cancel) as batches:
                    for _ in batches:
                        pass
                ended.append(None)
            except LollmsError as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        when()
        start = time.monotonic()
        cancel.set()
        thread.join()
        seconds = time.monotonic() - start
        assert isinstance(ended[0], Cancelled), ended
        then()
        transport.close()
        return seconds

    async def read(upstream: AsyncUpstream) -> None:
        async with upstream.open(CALL) as batches:
            async for _ in batches:
                pass

    async def work() -> float:
        transport = AsyncHttpTransport()
        task = asyncio.create_task(read(AsyncUpstream(chosen, there, transport, retry=retry)))
        await asyncio.to_thread(when)
        start = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        seconds = time.monotonic() - start
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.to_thread(then)
        await transport.close()
        return seconds

    return asyncio.run(work())


def fetch(kind: str, request: HttpRequest, retry: RetryPolicy = NO_RETRY) -> HttpResponse:
    """A small complete request."""
    codec, there = ChatCodec(OPENAI), target(request.url)
    if kind == "threads":
        transport = HttpTransport()
        try:
            return Upstream(codec, there, transport, retry=retry).fetch(request)
        finally:
            transport.close()

    async def work() -> HttpResponse:
        transport = AsyncHttpTransport()
        try:
            return await AsyncUpstream(codec, there, transport, retry=retry).fetch(request)
        finally:
            await transport.close()

    return asyncio.run(work())
