"""Running code that others wrote, so that it can neither end the server nor hold it for ever.

Such code may raise anything. An exception becomes one of our errors, with the exception's own text in the log and not
in the answer, because it can hold a path or a key; only a ValueError says that the caller is at fault, and is repeated.
`SystemExit` and `KeyboardInterrupt` must not leave a task, for they would end the event loop; they are caught inside.

It may also go on when it is told to stop. Each piece of work is therefore a task of its own: it is told again and again
for a while, and then cut off, which is to say that nobody calls it any more. So the request and all that it holds come
to an end, and the server can stop. What blocks runs on a thread, one at a time for each binding, because its writer
thought of one caller; a thread cannot be cut off, and is left to itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lollms_core.errors import (
    ConnectFailed,
    EngineError,
    InvalidRequest,
    LollmsError,
    UnsupportedFeature,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from lollms_server.core.bindings import Binding

__all__ = ["ForeignWork", "OneAtATime", "Put", "awaited", "in_pieces", "run_foreign", "translated", "typed_error"]

T = TypeVar("T")
Put: TypeAlias = Callable[[Any], Awaitable[None]]

_log = logging.getLogger(__name__)
_MAX_SAID = 500
_AGAIN = 1.0  # seconds between two requests to stop
_END = object()


# ---- what goes wrong -----------------------------------------------------------------------------------------------


def typed_error(instance: str, error: BaseException) -> LollmsError:
    """The error of ours for whatever the code of an instance raised; what it says stays in the log."""
    if isinstance(error, LollmsError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return EngineError(f"Binding instance {instance!r} gave up its work.")
    if isinstance(error, NotImplementedError):
        return UnsupportedFeature(f"Binding instance {instance!r} cannot do this.")
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError | json.JSONDecodeError):
        words = f"Binding instance {instance!r} refuses the request: {str(error)[:_MAX_SAID]}"
        return InvalidRequest(words, status=400)  # as other backends refuse, so that a flow may ask in another way
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"Binding instance {instance!r} took too long.")
    if isinstance(error, ConnectionError):
        return ConnectFailed(f"Binding instance {instance!r} cannot reach its backend.")
    _log.error("Binding instance %r failed.", instance, exc_info=error)
    return EngineError(f"Binding instance {instance!r} failed with {type(error).__name__}.")


class translated:  # noqa: N801  it reads like a function, and every request passes it
    """`with translated(binding): ...` gives what third-party code raises inside the block as one of our errors."""

    __slots__ = ("_binding",)

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, LollmsError | GeneratorExit):
            return
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or task.cancelling():
                return
            # Otherwise nobody asked for it.
        raise typed_error(self._binding.binding_instance_name, error) from error


# ---- work in a task of its own -------------------------------------------------------------------------------------


class ForeignWork:
    """`async with ForeignWork(work, ...) as running: while pieces := await running.pieces(): ...`

    `work` is given a function to await with each piece; a few pieces at most wait for a slow reader. Leaving the block
    tells the work to stop and waits for that, `grace` seconds at most; then it is cut off. What
    cannot even be closed goes into `endless`.
    """

    def __init__(
        self, work: Callable[[Put], Coroutine[Any, Any, None]], instance: str, grace: float, endless: list[object]
    ) -> None:
        self._steps = _Steps(work(self._put), endless)
        self._instance = instance
        self._grace = grace
        self._room = asyncio.Semaphore(16)
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._error: LollmsError | None = None
        self._leaving = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ForeignWork:
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    async def _run(self) -> None:
        try:
            await self._steps
        except BaseException as error:
            if self._leaving and isinstance(error, asyncio.CancelledError):
                raise
            self._error = typed_error(self._instance, error)
            self._error.__cause__ = error if error is not self._error else None
        finally:
            self._queue.put_nowait(_END)

    async def _put(self, piece: Any) -> None:
        await self._room.acquire()
        self._queue.put_nowait(piece)

    async def pieces(self) -> list[Any]:
        """What has come since the last time, at least one piece; none at the end. Raises what the work ended with."""
        pieces = [await self._queue.get()]
        while pieces[-1] is not _END and not self._queue.empty():
            pieces.append(self._queue.get_nowait())
        if pieces[-1] is _END:
            pieces.pop()
            if pieces:
                self._queue.put_nowait(_END)
            elif self._error is not None:
                raise self._error
        for _ in pieces:
            self._room.release()
        return pieces

    async def __aexit__(self, *exc: object) -> None:
        self._leaving = True
        task = self._task
        if task is None or task.done():
            return
        end = asyncio.get_running_loop().time() + self._grace
        try:
            while not task.done() and (left := end - asyncio.get_running_loop().time()) > 0:
                task.cancel()
                await asyncio.wait({task}, timeout=min(left, _AGAIN))
        finally:
            if not task.done():
                _log.error(
                    "Binding instance %r goes on %g s after it was told to stop; it is cut off.",
                    self._instance,
                    self._grace,
                )
                self._steps.cut = True
                task.cancel()
                await asyncio.wait({task})


class _CutOff(BaseException):
    """Raised in work that is cut off, where it stands. Not seen by anybody else."""


class _Steps:
    """Awaits a coroutine step by step; once `cut`, the next step is its last.

    It is ended by an exception and not by `close`, which in some versions of Python does not reach what stands inside
    an async generator, and leaves that behind as running for ever. A coroutine that goes on even so stays as it is, in
    `endless`: that keeps it from the garbage collector, which would close it again and complain.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], endless: list[object]) -> None:
        self._coroutine = coroutine
        self._endless = endless
        self.cut = False

    def __await__(self) -> Generator[Any, None, None]:
        steps = self._coroutine
        error: BaseException | None = None
        while True:
            try:
                waited = steps.send(None) if error is None else steps.throw(error)
            except StopIteration:
                return
            try:
                yield waited
                error = None
            except BaseException as thrown:
                if self.cut or isinstance(thrown, GeneratorExit):
                    self._end()
                    raise
                error = thrown

    def _end(self) -> None:
        inner: list[Any] = []
        each: Any = self._coroutine
        while inspect.iscoroutine(each):
            inner.append(each)
            each = each.cr_await
        with contextlib.suppress(BaseException):  # whatever it says to that, it has ended or stands still
            self._coroutine.throw(_CutOff())
        left = [each for each in inner if inspect.getcoroutinestate(each) == inspect.CORO_SUSPENDED]
        if left:
            _log.error("It does not end when it is cut off either, and stands still in %s.", left[-1].__qualname__)
        self._endless += left


async def run_foreign(method: Callable[[], Any], instance: str, grace: float, endless: list[object]) -> Any:
    """The result of one call of foreign code, asynchronous or not. Raises errors of ours."""

    async def work(put: Put) -> None:
        await put(await awaited(method()))

    async with ForeignWork(work, instance, grace, endless) as running:
        (result,) = await running.pieces()
        return result


async def awaited(result: Any) -> Any:
    """What a function gave, or the result of that where it is to be awaited."""
    return await result if inspect.isawaitable(result) else result


async def in_pieces(result: Any, threads: OneAtATime) -> AsyncIterator[Any]:
    """The pieces of any iterator. One that is not asynchronous is asked on a thread."""
    if hasattr(result, "__aiter__"):
        async with contextlib.aclosing(result) if hasattr(result, "aclose") else contextlib.nullcontext():
            async for piece in result:
                yield piece
        return
    pieces, ended = iter(result), False
    try:
        while (piece := await threads.run(lambda: next(pieces, _END))) is not _END:
            yield piece
        ended = True
    finally:
        if not ended and hasattr(pieces, "close"):
            threads.run_later(pieces.close)  # which nobody waits for: its thread may be busy for long


# ---- threads -------------------------------------------------------------------------------------------------------


class OneAtATime:
    """Runs blocking functions on threads, one after the other in the order of asking. Used on one event loop.

    A thread cannot be stopped: when its caller leaves it goes on, and the next one still waits for it.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._later: set[asyncio.Task[None]] = set()

    def run_later(self, function: Callable[[], object]) -> None:
        """Run a function when it is its turn; what it raises goes to the log."""

        async def work() -> None:
            try:
                await self.run(function)
            except asyncio.CancelledError:
                raise
            except BaseException:
                _log.exception("A binding failed when it was told to stop.")

        task = asyncio.get_running_loop().create_task(work())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result; whatever it raises is raised here."""
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Callable[[], T]] = loop.create_future()
        context = contextvars.copy_context()

        def ended(result: Callable[[], T]) -> None:
            self._turn.release()
            if not outcome.done():
                outcome.set_result(result)

        def work() -> None:
            result = _outcome_of(lambda: context.run(function))
            with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
                loop.call_soon_threadsafe(ended, result)

        try:
            # Its end is waited for by nobody but the next one, not even by the end of the program.
            threading.Thread(target=work, name="binding", daemon=True).start()
        except BaseException:
            self._turn.release()
            raise
        return (await outcome)()


def _outcome_of(function: Callable[[], T]) -> Callable[[], T]:
    """A function that returns what this one does, or raises it: not every exception can be that of a future."""
    try:
        value = function()
    except BaseException as error:
        caught = RuntimeError("StopIteration") if isinstance(error, StopIteration) else error

        def failed() -> T:
            raise caught

        return failed
    return lambda: value
