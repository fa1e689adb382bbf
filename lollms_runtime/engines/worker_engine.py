"""An engine in a worker, behind the ports of both drivers: what bindings use.

It has the same methods as the llama.cpp engine. A worker does one thing at a time, so requests wait for each other
here, in the order of asking, and are told their position.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from lollms_core.errors import LollmsError, ProtocolError
from lollms_core.types import Batch, Embeddings, GenerationCall, ModelInfo, Progress
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.slots import Lease, SlotPool
from lollms_runtime.engines.supervisor import Policy, State
from lollms_runtime.engines.waits import await_, wait
from lollms_runtime.engines.worker_client import Life, Request, WorkerClient, WorkerLaunch, error_of
from lollms_runtime.engines.worker_frames import Failed, Over, Said, call_to_send, events_of
from lollms_runtime.waiting import item_of

__all__ = ["EngineSettings", "WorkerEngine"]

Answer = Said | Over | Failed
S = TypeVar("S", bound="EngineSettings")


class EngineSettings(Protocol):
    """What every engine's settings say: the model's name, times and restarts, how many requests it works on at once."""

    @property
    def name(self) -> str: ...

    @property
    def policy(self) -> Policy: ...

    @property
    def parallel(self) -> int: ...


class WorkerEngine(Generic[S]):
    """One model in one worker. Safe from any thread and any event loop.

    Nothing is started before `start()` or the first use. An engine that is no longer referred to ends, as it does with
    this process, however that dies.
    """

    def __init__(self, settings: S, launch: WorkerLaunch) -> None:
        self.settings = settings
        self._process_id = os.getpid()
        self._slots = SlotPool(settings.parallel)
        self._client = WorkerClient(launch, settings.policy)
        weakref.finalize(self, self._client.stop, wait=False)

    # ---- its life ----

    @property
    def state(self) -> State:
        """See `WorkerClient.state`."""
        return self._client.state

    @property
    def error(self) -> LollmsError | None:
        """Why it failed or died last; None while all is well."""
        return self._client.error

    @property
    def pid(self) -> int | None:
        """The process id of the worker, while it is ready."""
        return self._client.pid

    @property
    def loaded(self) -> ModelInfo | None:
        """What is known of the model since it was loaded; None before."""
        found = self._client.loaded
        return None if found is None else _converted(found, ModelInfo)

    def start(self) -> None:
        """Begin to load the model, also again after a failure; returns at once."""
        self._client.start()

    def ready(self) -> Future[Life]:
        """A future for the loaded worker; starts it unless it failed. Its error says why there is none."""
        if self._process_id != os.getpid():  # a forked child has a worker of its own
            self._process_id = os.getpid()
            self._slots.begin_anew()
        return self._client.ready()

    def stop(self) -> None:
        """End the process; requests that run end with `InstanceUnavailable`. Returns when nothing is left of it."""
        self._client.stop()

    # ---- generation ----

    @contextlib.contextmanager
    def open(self, call: GenerationCall, cancel: Cancel) -> Iterator[Iterator[Batch]]:
        """The sync port: the batches of the answer, after `Progress` of kind `load` and `queue` where one has to wait.

        Raises, while it is read: `ModelLoadFailed`, `EngineCrashed`, `ContextTooLong`, `UnsupportedFeature`,
        `Cancelled` and other `LollmsError`s.
        """
        steps = self._steps("generate", call_to_send(call), cancel)
        try:
            yield steps
        finally:
            steps.close()

    def _steps(self, what: str, body: Any, cancel: Cancel) -> Generator[Batch, None, Any]:
        ready = self.ready()
        stops = self._client.stops
        if not ready.done():
            yield self._loading()
        wait(ready, cancel)
        waiting = self._slots.lease()
        try:
            if not waiting.done():
                yield self._queued(waiting)
            lease = wait(waiting, cancel)
        except BaseException:
            self._slots.abandon(waiting)
            raise
        frames: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        with self._asking(lease) as asking:
            life = wait(self._client.ready(stops), cancel)
            with cancel.undoing(lambda: frames.put(None)):
                asking.begin(life, what, body, frames.put)
                while (frame := item_of(frames)) is not None:
                    if isinstance(frame, Over):
                        return frame.result
                    if batch := _batch(frame):
                        yield batch
                cancel.check()
        return None

    @contextlib.asynccontextmanager
    async def aopen(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        """The async port: as `open`; cancelling the task stops the request."""
        steps = self._asteps("generate", call_to_send(call), [])
        try:
            yield steps
        finally:
            await steps.aclose()

    async def _asteps(self, what: str, body: Any, results: list[Any]) -> AsyncGenerator[Batch, None]:
        """As `_steps`; the result goes into a list, since a coroutine that yields can return none."""
        ready = self.ready()
        stops = self._client.stops
        if not ready.done():
            yield self._loading()
        await await_(ready)
        waiting = self._slots.lease()
        try:
            if not waiting.done():
                yield self._queued(waiting)
            lease = await await_(waiting)
        except BaseException:
            self._slots.abandon(waiting)
            raise
        frames: asyncio.Queue[Answer] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def take(frame: Answer) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(frames.put_nowait, frame)

        with self._asking(lease) as asking:
            asking.begin(await await_(self._client.ready(stops)), what, body, take)
            while True:
                frame = await frames.get()
                if isinstance(frame, Over):
                    results.append(frame.result)
                    return
                if batch := _batch(frame):
                    yield batch

    @contextlib.contextmanager
    def _asking(self, lease: Lease) -> Iterator[_Asking]:
        """One request, stopped when the block is left before its end; the slot goes back when the worker is done."""
        asking = _Asking(lambda: self._slots.release(lease.slot))
        try:
            yield asking
        finally:
            asking.end()

    def _loading(self) -> Batch:
        return (Progress("load", f"The model {self.settings.name} is being loaded."),)

    def _queued(self, waiting: Future[Lease]) -> Batch:
        return (Progress("queue", "Waiting for another request to end.", position=self._slots.position(waiting)),)

    # ---- tokens, embeddings, facts: each for threads and for coroutines ----

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, without markers of its beginning or end."""
        return _converted(self._ask("tokenize", {"text": text}), list[int])

    async def atokenize(self, text: str, *, markers: bool = False) -> list[int]:
        """As `tokenize`; with `markers` the text is read as special tokens, such as `model_info` names them."""
        return _converted(await self._aask("tokenize", {"text": text, "markers": markers}), list[int])

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        return _converted(self._ask("detokenize", list(tokens)), str)

    async def adetokenize(self, tokens: Sequence[int]) -> str:
        """As `detokenize`."""
        return _converted(await self._aask("detokenize", list(tokens)), str)

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        return _converted(self._ask("count", text), int)

    async def acount_tokens(self, text: str) -> int:
        """As `count_tokens`."""
        return _converted(await self._aask("count", text), int)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text."""
        return _converted(self._ask("embed", list(texts)), Embeddings)

    async def aembed(self, texts: Sequence[str]) -> Embeddings:
        """As `embed`."""
        return _converted(await self._aask("embed", list(texts)), Embeddings)

    def model_info(self) -> ModelInfo:
        """What is known of the model, without waiting for requests that run. Waits for it to load."""
        wait(self.ready(), Cancel())
        return self.loaded or ModelInfo(self.settings.name)

    async def amodel_info(self) -> ModelInfo:
        """As `model_info`."""
        await await_(self.ready())
        return self.loaded or ModelInfo(self.settings.name)

    def _ask(self, what: str, body: Any) -> Any:
        steps = self._steps(what, body, Cancel())
        while True:
            try:
                next(steps)
            except StopIteration as over:
                return over.value

    async def _aask(self, what: str, body: Any) -> Any:
        results: list[Any] = []
        async with contextlib.aclosing(self._asteps(what, body, results)) as steps:
            async for _ in steps:
                pass
        return results[0]


class _Asking:
    """A request from its lease to its end. `free` gives the lease back."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free = free
        self._life: Life | None = None
        self._request: Request | None = None

    def begin(self, life: Life, what: str, body: Any, sink: Callable[[Answer], None]) -> None:
        self._request = life.ask(what, body, sink, self._free)
        self._life = life

    def end(self) -> None:
        """The caller has left: the worker gives the lease back when it has stopped, or did already."""
        if self._life is None or self._request is None:
            self._free()  # it was never asked
        else:
            self._life.stop(self._request)


def _batch(frame: Answer) -> Batch:
    """The events of a frame. Raises the error that it tells of."""
    if isinstance(frame, Failed):
        raise error_of(frame)
    return events_of(frame) if isinstance(frame, Said) else ()


T = TypeVar("T")


def _converted(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"The engine gave an answer of another form: {error}") from error
