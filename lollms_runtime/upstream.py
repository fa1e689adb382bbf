"""From a call to batches of events over the network: a codec, a target and a transport put together.

`Upstream` is the sync port of the drivers, `AsyncUpstream` the async one. Both do the same steps: the codec's exchange
of preparing requests, the request itself, its errors, its reader, and another try where the policy allows one. Whether
and when to try again is decided in one place (`_Tries`); nothing is tried again once an event was delivered.

An answer that is complete (`reader.finished`) is still read to the end of its body, so that the connection can serve
the next request, but not waited for: some servers keep the line open behind their last event.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Collection, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from lollms_core.errors import LollmsError, TransportError, UpstreamTimeout
from lollms_core.protocols.base import Codec, HttpRequest, HttpResponse, Reader, Sleep, Target
from lollms_core.protocols.lessons import Lesson, lesson_of
from lollms_core.protocols.retry import RetryPolicy
from lollms_core.types import Batch, GenerationCall
from lollms_runtime.cancel import Cancel
from lollms_runtime.lesson_book import LessonBook
from lollms_runtime.transport.base import AsyncResponse, AsyncTransport, Response, Transport
from lollms_runtime.transport.limits import ERROR_BODY_BYTES

__all__ = ["AsyncUpstream", "Upstream"]

_LEAST = 0.01  # seconds that the last try has at least
_TAIL = 0.1  # seconds in which the body must end after the answer is complete
_LESSONS = 4  # refusals in a row that are learned from


class _Tries:
    """The tries of one call: when to make the next one, and what an error says about where it came from."""

    def __init__(self, policy: RetryPolicy, target: Target, lessons: LessonBook | None = None, model: str = "") -> None:
        self._policy = policy
        self._plain = target
        self._lessons = lessons
        self._model = model
        self._learned = 0
        self._heeded: Collection[Lesson] = ()  # with which this try was sent
        self._taught: tuple[str, Lesson] | None = None  # the words of the last refusal, and what was learned from it
        self.optional: Collection[str] = ()
        self._provider = target.provider
        self._total = target.timeouts.total
        self._start = time.monotonic()
        self._made = 0
        self.delivered = False

    @property
    def target(self) -> Target:
        """Where this try goes, with what is known about the model."""
        target = self._plain if self._lessons is None else self._lessons.told(self._plain, self._model)
        self._heeded = target.lessons
        return target

    def limited(self, request: HttpRequest) -> HttpRequest:
        """The request of this try, which has only the time that is left of the call."""
        total = request.timeouts.total
        if total is None or not (self._made or self._learned):
            return request
        left = max(total - (time.monotonic() - self._start), _LEAST)
        timeouts = msgspec.structs.replace(request.timeouts, total=left)
        return msgspec.structs.replace(request, timeouts=timeouts)

    def pause(self, error: LollmsError) -> float:
        """Seconds to wait before the next try; raises the error if there is none."""
        if self._teaches(error):
            return 0.0
        self._made += 1
        error.provider = error.provider or self._provider
        elapsed = time.monotonic() - self._start
        delay = self._policy.delay(error, self._made, elapsed, self.delivered, random.random())  # noqa: S311
        if delay is None or (self._total is not None and elapsed + delay >= self._total):
            raise error
        return delay

    def _teaches(self, error: LollmsError) -> bool:
        """Whether a refusal says how to ask, so that the call is made again at once.

        The same refusal again means that what was learned from it is wrong.
        """
        if self._lessons is None or self.delivered or self._learned >= _LESSONS:
            return False
        if self._taught is not None and error.message == self._taught[0]:
            self._lessons.forget(self._plain, self._model, self._taught[1])
            self._learned = _LESSONS
            return False
        # Another call may have learned it while this one was on its way: it is news to this one all the same.
        lesson = lesson_of(error, self.optional, self._heeded)
        if lesson is not None:
            self._learned += 1
            self._taught = (error.message, lesson)
            self._lessons.learn(self._plain, self._model, lesson)
        return lesson is not None


def _is_good(status: int) -> bool:
    return 200 <= status < 300


class Upstream:
    """One backend for threads: `open` is a port of the sync driver."""

    def __init__(
        self,
        codec: Codec,
        target: Target,
        transport: Transport,
        *,
        retry: RetryPolicy | None = None,
        lessons: LessonBook | None = None,
    ) -> None:
        self._codec = codec
        self._target = target
        self._transport = transport
        self._lessons = lessons or LessonBook()
        self._retry = retry or getattr(codec, "retry", None) or RetryPolicy()

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        """The batches of the answer. Raises, while they are read, what the transport and the codec raise."""
        batches = self._batches(call, cancel)
        try:
            yield batches
        finally:
            batches.close()

    def fetch(self, request: HttpRequest, cancel: Cancel | None = None) -> HttpResponse:
        """A whole small reply. Raises the codec's error for a status that is not 2xx; tries again as `open` does."""
        stop = cancel or Cancel()
        tries = _Tries(self._retry, self._target)
        while True:
            try:
                response = self._whole(tries.limited(request), stop)
                if not _is_good(response.status):
                    raise self._codec.error(response, self._target)
                return response
            except LollmsError as error:
                delay = tries.pause(error)
            _sleep(delay, stop)

    def _batches(self, call: GenerationCall, cancel: Cancel) -> Generator[Batch, None, None]:
        tries = _Tries(self._retry, self._target, self._lessons, call.model)
        while True:
            try:
                yield from self._attempt(call, cancel, tries)
                return
            except LollmsError as error:
                delay = tries.pause(error)
            _sleep(delay, cancel)

    def _attempt(self, call: GenerationCall, cancel: Cancel, tries: _Tries) -> Generator[Batch, None, None]:
        target = tries.target
        request = tries.limited(self._prepared(call, target, cancel))
        tries.optional = request.optional
        with self._transport.open(request, cancel) as response:
            if not _is_good(response.status):
                raise self._codec.error(_read(response), target)
            reader = self._codec.reader(call, response.headers.get("content-type", ""), target, request.receipt)
            for batch in _events(reader, response):
                tries.delivered = True
                yield batch

    def _prepared(self, call: GenerationCall, target: Target, cancel: Cancel) -> HttpRequest:
        exchange = self._codec.prepare(call, target)
        try:
            step = next(exchange)
            while True:
                if isinstance(step, Sleep):
                    _sleep(step.seconds, cancel)
                    step = next(exchange)
                else:
                    step = exchange.send(self._whole(step, cancel))
        except StopIteration as end:
            request: HttpRequest = end.value
            return request
        finally:
            exchange.close()

    def _whole(self, request: HttpRequest, cancel: Cancel) -> HttpResponse:
        with self._transport.open(request, cancel) as response:
            return _read(response)


def _events(reader: Reader, response: Response) -> Generator[Batch, None, None]:
    for data in response.chunks():
        batch = reader.feed(data)
        if batch:
            yield batch
        if reader.error is not None:
            raise reader.error
        if reader.finished:
            response.hurry(_TAIL)
    if batch := reader.close():
        yield batch


def _read(response: Response) -> HttpResponse:
    """The whole body; of an error reply its beginning."""
    if _is_good(response.status):
        return HttpResponse(response.status, response.headers, b"".join(response.chunks()))
    body = b""
    with contextlib.suppress(TransportError, UpstreamTimeout):  # what counts is the status, however its body ends
        for data in response.chunks():
            body += data
            if len(body) >= ERROR_BODY_BYTES:
                break
    return HttpResponse(response.status, response.headers, body[:ERROR_BODY_BYTES])


def _sleep(seconds: float, cancel: Cancel) -> None:
    woken = threading.Event()
    with cancel.undoing(woken.set):
        woken.wait(seconds)


class AsyncUpstream:
    """One backend for coroutines: `open` is a port of the async driver."""

    def __init__(
        self,
        codec: Codec,
        target: Target,
        transport: AsyncTransport,
        *,
        retry: RetryPolicy | None = None,
        lessons: LessonBook | None = None,
    ) -> None:
        self._codec = codec
        self._target = target
        self._transport = transport
        self._lessons = lessons or LessonBook()
        self._retry = retry or getattr(codec, "retry", None) or RetryPolicy()

    def open(self, call: GenerationCall) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """See `Upstream.open`."""
        return _Answer(self, call)

    async def fetch(self, request: HttpRequest) -> HttpResponse:
        """See `Upstream.fetch`."""
        tries = _Tries(self._retry, self._target)
        while True:
            try:
                response = await self._whole(tries.limited(request))
                if not _is_good(response.status):
                    raise self._codec.error(response, self._target)
                return response
            except LollmsError as error:
                delay = tries.pause(error)
            await asyncio.sleep(delay)

    async def _prepared(self, call: GenerationCall, target: Target) -> HttpRequest:
        exchange = self._codec.prepare(call, target)
        try:
            step = next(exchange)
            while True:
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    step = next(exchange)
                else:
                    step = exchange.send(await self._whole(step))
        except StopIteration as end:
            request: HttpRequest = end.value
            return request
        finally:
            exchange.close()

    async def _whole(self, request: HttpRequest) -> HttpResponse:
        async with self._transport.open(request) as response:
            return await _aread(response)


class _Answer:
    """The answer to one call of an `AsyncUpstream`: a context manager and, inside of it, the iterator of its batches.

    A class, because an async generator costs more, and needs a context manager around it to be closed in time.
    """

    def __init__(self, upstream: AsyncUpstream, call: GenerationCall) -> None:
        self._upstream = upstream
        self._call = call
        self._tries = _Tries(upstream._retry, upstream._target, upstream._lessons, call.model)
        self._exchange: AbstractAsyncContextManager[AsyncResponse] | None = None
        self._response: AsyncResponse | None = None  # of this try; `_reader` and `_chunks` belong to it
        self._reader: Reader
        self._chunks: AsyncIterator[bytes] | None = None
        self._over = False

    async def __aenter__(self) -> _Answer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        await self._leave(error)

    def __aiter__(self) -> _Answer:
        return self

    async def __anext__(self) -> Batch:
        while not self._over:
            try:
                batch = await self._next()
            except LollmsError as error:
                self._over = True  # unless there is another try
                await self._leave(error)
                delay = self._tries.pause(error)
                self._over = False
            else:
                if batch:
                    self._tries.delivered = True
                    return batch
                self._over = True
                await self._leave(None)
                break
            await asyncio.sleep(delay)
        raise StopAsyncIteration

    async def _next(self) -> Batch:
        """The next batch of this try; an empty one at its end."""
        response = self._response or await self._begin()
        reader = self._reader
        while self._chunks is not None:
            if reader.error is not None:
                raise reader.error
            if reader.finished:
                response.hurry(_TAIL)
            try:
                data = await self._chunks.__anext__()
            except StopAsyncIteration:
                self._chunks = None
                return reader.close()
            if batch := reader.feed(data):
                return batch
        return ()

    async def _begin(self) -> AsyncResponse:
        """Send the request, and see what kind of answer comes."""
        upstream, call, tries = self._upstream, self._call, self._tries
        target = tries.target
        request = tries.limited(await upstream._prepared(call, target))
        tries.optional = request.optional
        exchange = upstream._transport.open(request)
        response = await exchange.__aenter__()
        self._exchange = exchange
        if not _is_good(response.status):
            raise upstream._codec.error(await _aread(response), target)
        kind = response.headers.get("content-type", "")
        self._reader = upstream._codec.reader(call, kind, target, request.receipt)
        self._chunks = response.chunks()
        self._response = response
        return response

    async def _leave(self, error: BaseException | None) -> None:
        """End the exchange of this try."""
        exchange, self._exchange, self._response = self._exchange, None, None
        if exchange is not None:
            await exchange.__aexit__(type(error) if error is not None else None, error, None)


async def _aread(response: AsyncResponse) -> HttpResponse:
    """See `_read`."""
    if _is_good(response.status):
        return HttpResponse(response.status, response.headers, b"".join([data async for data in response.chunks()]))
    body = b""
    with contextlib.suppress(TransportError, UpstreamTimeout):
        async for data in response.chunks():
            body += data
            if len(body) >= ERROR_BODY_BYTES:
                break
    return HttpResponse(response.status, response.headers, body[:ERROR_BODY_BYTES])
