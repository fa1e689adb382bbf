"""The llama.cpp engine: models in GGUF files, in a supervised child process, behind the ports of both drivers.

`open` and `aopen` are the same steps twice: wait until the engine listens, lease a slot, wait for the turn to have the
prompt read, stream, give the slot back. A request that did not end by itself leaves its slot to the supervisor, which
gives it back when the engine has really left it. So nothing of a cancelled request remains here, and the next one never
waits behind its rest.

Each request has a connection of its own. To this machine that costs a fifth of a millisecond, while kept ones would tie
the engine to one event loop, and llama.cpp's server closes them after so many requests or seconds without a word.
"""

from __future__ import annotations

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
from lollms_runtime.engines.llamacpp_launch import LlamaCppSettings, launch_of, stage_of
from lollms_runtime.engines.slots import Lease, SlotPool, trail_of
from lollms_runtime.engines.supervisor import Endpoint, Policy, State, Supervisor
from lollms_runtime.engines.turns import ReadingGate, Turn
from lollms_runtime.engines.waits import again, await_, closer, closing_async, gone_within, wait
from lollms_runtime.engines.watches import Watches
from lollms_runtime.transport.base import AsyncTransport
from lollms_runtime.transport.http_async import AsyncHttpTransport
from lollms_runtime.transport.http_sync import HttpTransport
from lollms_runtime.upstream import AsyncUpstream, Upstream

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
        wait(ready, cancel)
        waiting = self._slots.lease(trail_of(call.messages))
        try:
            if not waiting.done():
                yield self._queued(waiting)
            lease = wait(waiting, cancel)
        except BaseException:
            self._slots.abandon(waiting)
            raise
        turn = self._turn(call, lease)
        codec = self._codec.reporting(turn.report)
        endpoint: Endpoint | None = None
        ended = False
        try:
            endpoint = wait(self._ready(), cancel)
            while not ended:
                wait(turn.ask(), cancel)
                connection = Cancel(cancel)
                turn.begin(connection.set)
                try:
                    with closing(HttpTransport()) as transport:
                        upstream = Upstream(codec, _at(endpoint, lease.slot), transport, retry=NO_RETRY)
                        with upstream.open(call, connection) as batches:
                            ended = yield from _in_turn(turn, batches, endpoint.watches)
                except Cancelled:
                    if cancel.is_set or not turn.interrupted:
                        raise
                finally:
                    connection.detach()
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
        await await_(ready)
        waiting = self._slots.lease(trail_of(call.messages))
        try:
            if not waiting.done():
                yield self._queued(waiting)
            lease = await await_(waiting)
        except BaseException:
            self._slots.abandon(waiting)
            raise
        turn = self._turn(call, lease)
        codec = self._codec.reporting(turn.report)
        endpoint: Endpoint | None = None
        ended = False
        try:
            endpoint = await await_(self._ready())
            watches = endpoint.watches
            while not ended:
                await await_(turn.ask())
                try:
                    async with closing_async(self._async_transport()) as transport:
                        turn.begin(closer(transport))
                        upstream = AsyncUpstream(codec, _at(endpoint, lease.slot), transport, retry=NO_RETRY)
                        async with upstream.open(call) as batches:
                            async for batch in batches:
                                watches.hear()
                                if not (turn.over or turn.keeps(batch)):
                                    break
                                yield batch
                                if turn.interrupted:
                                    break
                            else:
                                ended = True
                except Cancelled:
                    if not turn.interrupted:
                        raise
        except (TransportError, UpstreamTimeout) as error:
            if endpoint is not None:
                await gone_within(endpoint.gone, _LAST_WORDS)
            _tell(error, endpoint)
        finally:
            turn.end()
            self._give_back(lease.slot, endpoint, ended=ended)

    # ---- what both share ----

    def _turn(self, call: GenerationCall, lease: Lease) -> Turn:
        stage = stage_of(self.settings)
        return Turn(self._gate, long=_is_long(call, lease, stage), stage=stage)

    def _loading(self) -> Batch:
        more = ", again" if self._supervisor.error is not None else ""
        return (Progress("load", f"The model {self.settings.name} is being loaded{more}."),)

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
                f"{self.settings.name} was not started for embeddings. Set `embedding: true` in its configuration; "
                'in Python, llm_binding_config={"embedding": True}.'
            )
        return lambda target: embeddings_request(target, _EMBEDDINGS, texts)

    def _info(self, response: HttpResponse) -> ModelInfo:
        info = parse_props(response, self.settings.name)
        if self.settings.chat_format:
            return msgspec.structs.replace(info, supports_tools=False)
        return info

    def _ask(self, request: Callable[[Target], HttpRequest], parse: Callable[[HttpResponse], T]) -> T:
        endpoint = wait(self._ready(), Cancel())
        try:
            with closing(HttpTransport()) as transport:
                upstream = Upstream(self._codec, endpoint.target, transport, retry=NO_RETRY)
                return parse(upstream.fetch(request(endpoint.target)))
        except (TransportError, UpstreamTimeout) as error:
            with contextlib.suppress(TimeoutError):
                endpoint.gone.result(_LAST_WORDS)
            _tell(error, endpoint)

    async def _aask(self, request: Callable[[Target], HttpRequest], parse: Callable[[HttpResponse], T]) -> T:
        endpoint = await await_(self._ready())
        try:
            async with closing_async(self._async_transport()) as transport:
                upstream = AsyncUpstream(self._codec, endpoint.target, transport, retry=NO_RETRY)
                return parse(await upstream.fetch(request(endpoint.target)))
        except (TransportError, UpstreamTimeout) as error:
            await gone_within(endpoint.gone, _LAST_WORDS)
            _tell(error, endpoint)


_EMBEDDINGS = msgspec.structs.replace(LLAMACPP, embeddings_path="/v1/embeddings")


_CHARACTERS = 3  # of a token: more in most texts and languages, which does no harm


def _is_long(call: GenerationCall, lease: Lease, stage: int) -> bool:
    """Whether more than one stage is to be read, as far as one can tell by looking."""
    new = call.messages[lease.known :]
    if call.tools and not lease.known:
        return True
    return any(message.images for message in new) or sum(len(message.text) for message in new) > _CHARACTERS * stage


def _in_turn(turn: Turn, batches: Iterator[Batch], watches: Watches) -> Generator[Batch, None, bool]:
    """The batches; whether that was all of them, or the request was interrupted and has to ask again."""
    for batch in batches:
        watches.hear()
        if not (turn.over or turn.keeps(batch)):
            return False
        yield batch
        if turn.interrupted:
            return False
    return True


def _at(endpoint: Endpoint, slot: int) -> Target:
    return msgspec.structs.replace(endpoint.target, options={"id_slot": slot})


def _tell(error: LollmsError, endpoint: Endpoint | None) -> NoReturn:
    """Raise what happened to the engine, if anything did; else the error as it came."""
    if endpoint is not None and endpoint.error is not None:
        raise again(endpoint.error) from error
    raise error
