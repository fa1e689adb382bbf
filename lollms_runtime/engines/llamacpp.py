"""The llama.cpp engine: models in GGUF files, in a supervised child process, behind the ports of both drivers.

`open` and `aopen` are the same steps twice: wait until the engine listens, lease a slot, wait for the turn to have the
prompt read, stream, give the slot back. A request that did not end by itself leaves its slot to the supervisor, which
gives it back when the engine has really left it. So nothing of a cancelled request remains here, and the next one never
waits behind its rest.

Each request has a connection of its own. To this machine that costs a fifth of a millisecond, while kept ones would tie
the engine to one event loop, and llama.cpp's server closes them after so many requests or seconds without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import NoReturn, TypeVar

import msgspec

from lollms_core.errors import Cancelled, LollmsError, TransportError, UnsupportedFeature, UpstreamTimeout
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.dialects import LLAMACPP
from lollms_core.protocols.llamacpp import (
    LlamaCppCodec,
    detokenize_request,
    parse_props,
    parse_text,
    parse_tokens,
    props_request,
    tokenize_request,
)
from lollms_core.protocols.openai import embeddings_request, parse_embeddings
from lollms_core.protocols.retry import NO_RETRY
from lollms_core.types import Batch, Embeddings, GenerationCall, ModelInfo, Progress
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.llamacpp_launch import STAGE, LlamaCppSettings, launch_of
from lollms_runtime.engines.slots import Lease, SlotPool, trail_of
from lollms_runtime.engines.supervisor import Endpoint, Policy, State, Supervisor
from lollms_runtime.engines.turns import ReadingGate, Turn
from lollms_runtime.transport.base import AsyncTransport
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.upstream import AsyncUpstream, Upstream
from lollms_runtime.waiting import result_of

__all__ = ["LlamaCppEngine", "LlamaCppSettings", "Policy"]

T = TypeVar("T")
_LAST_WORDS = 1.0  # seconds in which a dead process is noticed after its connections broke


class LlamaCppEngine:
    """One model in one supervised process. Safe from any thread and any event loop.

    Nothing is started before `start()` or the first use. An engine that is no longer referred to ends, as it does with
    this process, however that dies.
    """

    def __init__(
        self, settings: LlamaCppSettings, async_transport: Callable[[], AsyncTransport] = AsyncHttpTransport
    ) -> None:
        """`async_transport` makes what coroutines ask the engine through."""
        self.settings = settings
        self._async_transport = async_transport
        self._process_id = os.getpid()
        self._slots = SlotPool(settings.slots)
        self._gate = ReadingGate()
        self._supervisor = Supervisor(launch_of(settings), settings.policy, self._slots.forget)
        self._codec = LlamaCppCodec(images=settings.image_projector is not None, tools=not settings.chat_format)
        weakref.finalize(self, self._supervisor.stop, wait=False)

    # ---- its life ----

    @property
    def state(self) -> State:
        """`stopped` (not started yet, or stopped), `loading`, `ready` or `failed`."""
        return self._supervisor.state

    @property
    def error(self) -> LollmsError | None:
        """Why it failed, or why it was restarted while it is loading again."""
        return self._supervisor.error

    @property
    def pid(self) -> int | None:
        """The process id of the engine, while it is ready."""
        return self._supervisor.pid

    def start(self) -> None:
        """Begin to load the model, also again after a failure; returns at once."""
        self._supervisor.start()

    def ready(self) -> Future[Target]:
        """A future for the place where the engine listens; starts it if need be. Its error says why there is none."""
        future: Future[Target] = Future()

        def settled(ready: Future[Endpoint]) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if (error := ready.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(ready.result().target)

        self._ready().add_done_callback(settled)
        return future

    def stop(self) -> None:
        """End the process; streams that run end with `InstanceUnavailable`. Returns when nothing is left of it."""
        self._supervisor.stop()

    def _ready(self) -> Future[Endpoint]:
        if self._process_id != os.getpid():  # a forked child has an engine and slots of its own
            self._process_id = os.getpid()
            self._slots.begin_anew()
            self._gate.begin_anew()
        if self._supervisor.state != "failed":
            self._supervisor.start()
        return self._supervisor.ready()

    # ---- generation, for threads ----

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        """The sync port: the batches of the answer, after `Progress` of kind `load` and `queue` where one has to wait.

        Raises, while it is read: `ModelLoadFailed`, `EngineCrashed`, `ContextTooLong`, `UnsupportedFeature`,
        `Cancelled` and other `LollmsError`s.
        """
        steps = self._steps(call, cancel)
        try:
            yield steps
        finally:
            steps.close()

    def _steps(self, call: GenerationCall, cancel: Cancel) -> Generator[Batch, None, None]:
        ready = self._ready()
        if not ready.done():
            yield self._loading()
        _wait(ready, cancel)
        waiting = self._slots.lease(trail_of(call.messages))
        try:
            if not waiting.done():
                yield self._queued(waiting)
            lease = _wait(waiting, cancel)
        except BaseException:
            self._slots.abandon(waiting)
            raise
        turn = Turn(self._gate, long=_is_long(call, lease))
        endpoint: Endpoint | None = None
        ended = False
        try:
            endpoint = _wait(self._ready(), cancel)
            while not ended:
                _wait(turn.ask(), cancel)
                turn.begin()
                with closing(HttpTransport()) as transport:
                    upstream = Upstream(self._codec, _at(endpoint, lease.slot), transport, retry=NO_RETRY)
                    with upstream.open(call, cancel) as batches:
                        ended = yield from _in_turn(turn, batches)
        except (TransportError, UpstreamTimeout) as error:
            if endpoint is not None:
                with contextlib.suppress(TimeoutError):
                    endpoint.gone.result(_LAST_WORDS)
            _tell(error, endpoint)
        finally:
            turn.end()
            self._give_back(lease.slot, endpoint, ended=ended)

    # ---- generation, for coroutines ----

    @contextlib.asynccontextmanager
    async def aopen(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """The async port: as `open`; cancelling the task stops the request."""
        steps = self._asteps(call)
        try:
            yield steps
        finally:
            await steps.aclose()

    async def _asteps(self, call: GenerationCall) -> AsyncGenerator[Batch, None]:
        ready = self._ready()
        if not ready.done():
            yield self._loading()
        await _await(ready)
        waiting = self._slots.lease(trail_of(call.messages))
        try:
            if not waiting.done():
                yield self._queued(waiting)
            lease = await _await(waiting)
        except BaseException:
            self._slots.abandon(waiting)
            raise
        turn = Turn(self._gate, long=_is_long(call, lease))
        endpoint: Endpoint | None = None
        ended = False
        try:
            endpoint = await _await(self._ready())
            while not ended:
                await _await(turn.ask())
                turn.begin()
                async with _closing(self._async_transport()) as transport:
                    upstream = AsyncUpstream(self._codec, _at(endpoint, lease.slot), transport, retry=NO_RETRY)
                    async with upstream.open(call) as batches:
                        async for batch in batches:
                            if not turn.over:
                                turn.pause(batch)
                            yield batch
                            if not turn.over and turn.makes_way():
                                break
                        else:
                            ended = True
        except (TransportError, UpstreamTimeout) as error:
            if endpoint is not None:
                await _gone_within(endpoint, _LAST_WORDS)
            _tell(error, endpoint)
        finally:
            turn.end()
            self._give_back(lease.slot, endpoint, ended=ended)

    # ---- what both share ----

    def _loading(self) -> Batch:
        again = ", again" if self._supervisor.error is not None else ""
        return (Progress("load", f"The model {self.settings.name} is being loaded{again}."),)

    def _queued(self, waiting: Future[Lease]) -> Batch:
        return (Progress("queue", "Waiting for another request to end.", position=self._slots.position(waiting)),)

    def _give_back(self, slot: int, endpoint: Endpoint | None, *, ended: bool) -> None:
        if ended:
            self._supervisor.answered()
        if ended or endpoint is None:
            self._slots.release(slot)
        else:
            self._supervisor.watch(endpoint, slot, functools.partial(self._slots.release, slot))

    # ---- tokens, embeddings, facts: each for threads and for coroutines ----

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, without markers of its beginning or end."""
        return self._ask(lambda target: tokenize_request(target, text), parse_tokens)

    async def atokenize(self, text: str, *, markers: bool = False) -> list[int]:
        """As `tokenize`; with `markers` the text is read as special tokens, such as `model_info` names them."""
        return await self._aask(lambda target: tokenize_request(target, text, markers=markers), parse_tokens)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        return self._ask(lambda target: detokenize_request(target, tokens), parse_text)

    async def adetokenize(self, tokens: Sequence[int]) -> str:
        """As `detokenize`."""
        return await self._aask(lambda target: detokenize_request(target, tokens), parse_text)

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.tokenize(text))

    async def acount_tokens(self, text: str) -> int:
        """As `count_tokens`."""
        return len(await self.atokenize(text))

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text. Raises `UnsupportedFeature` unless the settings say `embedding`."""
        return self._ask(self._embedding_request(texts), parse_embeddings)

    async def aembed(self, texts: Sequence[str]) -> Embeddings:
        """As `embed`."""
        return await self._aask(self._embedding_request(texts), parse_embeddings)

    def model_info(self) -> ModelInfo:
        """The model's name, the context that one conversation has, and what the model can do."""
        return self._ask(props_request, self._info)

    async def amodel_info(self) -> ModelInfo:
        """As `model_info`."""
        return await self._aask(props_request, self._info)

    def _embedding_request(self, texts: Sequence[str]) -> Callable[[Target], HttpRequest]:
        if not self.settings.embedding:
            raise UnsupportedFeature(
                f"{self.settings.name} was not started for embeddings. Set `embedding: true` in its configuration."
            )
        return lambda target: embeddings_request(target, _EMBEDDINGS, texts)

    def _info(self, response: HttpResponse) -> ModelInfo:
        info = parse_props(response, self.settings.name)
        if self.settings.chat_format:
            return msgspec.structs.replace(info, supports_tools=False)
        return info

    def _ask(self, request: Callable[[Target], HttpRequest], parse: Callable[[HttpResponse], T]) -> T:
        endpoint = _wait(self._ready(), Cancel())
        try:
            with closing(HttpTransport()) as transport:
                upstream = Upstream(self._codec, endpoint.target, transport, retry=NO_RETRY)
                return parse(upstream.fetch(request(endpoint.target)))
        except (TransportError, UpstreamTimeout) as error:
            with contextlib.suppress(TimeoutError):
                endpoint.gone.result(_LAST_WORDS)
            _tell(error, endpoint)

    async def _aask(self, request: Callable[[Target], HttpRequest], parse: Callable[[HttpResponse], T]) -> T:
        endpoint = await _await(self._ready())
        try:
            async with _closing(self._async_transport()) as transport:
                upstream = AsyncUpstream(self._codec, endpoint.target, transport, retry=NO_RETRY)
                return parse(await upstream.fetch(request(endpoint.target)))
        except (TransportError, UpstreamTimeout) as error:
            await _gone_within(endpoint, _LAST_WORDS)
            _tell(error, endpoint)


_EMBEDDINGS = msgspec.structs.replace(LLAMACPP, embeddings_path="/v1/embeddings")


_SHORT = 3 * STAGE  # characters that make one stage: more in most texts and languages, which does no harm


def _is_long(call: GenerationCall, lease: Lease) -> bool:
    """Whether more than one stage is to be read, as far as one can tell by looking."""
    new = call.messages[lease.known :]
    if call.tools and not lease.known:
        return True
    return any(message.images for message in new) or sum(len(message.text) for message in new) > _SHORT


def _in_turn(turn: Turn, batches: Iterator[Batch]) -> Generator[Batch, None, bool]:
    """The batches; whether that was all of them, or the request has to make way."""
    for batch in batches:
        turn.pause(batch)
        yield batch
        if turn.over:
            break
        if turn.makes_way():
            return False
    yield from batches
    return True


def _at(endpoint: Endpoint, slot: int) -> Target:
    return msgspec.structs.replace(endpoint.target, options={"id_slot": slot})


def _tell(error: LollmsError, endpoint: Endpoint | None) -> NoReturn:
    """Raise what happened to the engine, if anything did; else the error as it came."""
    if endpoint is not None and endpoint.error is not None:
        raise _again(endpoint.error) from error
    raise error


def _again(error: LollmsError) -> LollmsError:
    """An error of its own for each request, since each gets its own `partial` and traceback."""
    return type(error)(error.message, param=error.param)


def _wait(future: Future[T], cancel: Cancel) -> T:
    """The result of a future, waited for by a thread. Raises `Cancelled`, and the future's error afresh."""
    try:
        with cancel.undoing(lambda: _cancel(future)):
            return result_of(future)
    except LollmsError as error:
        raise error if isinstance(error, Cancelled) else _again(error) from None
    finally:
        future.cancel()  # a future that nobody waits for any more


def _cancel(future: Future[T]) -> None:
    future.cancel()


async def _await(future: Future[T]) -> T:
    """As `_wait`, for a coroutine."""
    try:
        return await asyncio.wrap_future(future)
    except LollmsError as error:
        raise _again(error) from None


async def _gone_within(endpoint: Endpoint, seconds: float) -> None:
    """Wait until the engine is known to be dead, at most so long."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(gone.set)

    endpoint.gone.add_done_callback(tell)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await gone.wait()


@contextlib.asynccontextmanager
async def _closing(transport: AsyncTransport) -> AsyncIterator[AsyncTransport]:
    try:
        yield transport
    finally:
        await transport.close()
