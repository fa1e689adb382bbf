"""Keeps one worker alive and asks it: one request at a time, from threads and from coroutines.

    stopped --start--> loading --loaded--> ready --dies, or is killed--> stopped (the next call starts it again)
                          |
                          +--cannot load, or died too often in a row--> failed (until `start`)

A worker has one keeper, a thread that starts the process, watches the times, and is there until its end. A request
that was stopped is over when the worker says so; until then the next one waits. A worker that does not say so within
`Policy.cancel` seconds, or says nothing at all about a request for `Policy.silence` seconds, is killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec

from lollms_core.errors import (
    EngineCrashed,
    EngineError,
    InstanceUnavailable,
    LollmsError,
    ModelLoadFailed,
    error_for_code,
)
from lollms_runtime.engines.child import Command
from lollms_runtime.engines.supervisor import Policy, State
from lollms_runtime.engines.worker_frames import Ask, Failed, Frame, Over, Said, Stop
from lollms_runtime.engines.worker_process import WorkerProcess

__all__ = ["Life", "Request", "WorkerClient", "WorkerLaunch", "error_of"]

_log = logging.getLogger(__name__)


class WorkerLaunch(msgspec.Struct, frozen=True):
    """What to run: `name` is for messages, `command` starts it, `settings` are what it loads.

    `command` and `settings` are called afresh for each start, on a thread, and may raise a `LollmsError`.
    """

    name: str
    command: Callable[[], Command]
    settings: Callable[[], dict[str, Any]]


class Request:
    """Something that was asked. `sink` takes its frames; after the last one, `Over` or `Failed`, `done` is called.

    Both are called from threads of the worker, and must not wait.
    """

    def __init__(self, number: int, sink: Callable[[Said | Over | Failed], None], done: Callable[[], None]) -> None:
        self.number = number
        self.sink = sink
        self.done = done
        self.heard = time.monotonic()
        self.stopped: float | None = None  # since when


class Life:
    """One worker from its start to its end. Safe from any thread."""

    def __init__(self, launch: WorkerLaunch, policy: Policy, wake: Callable[[], None]) -> None:
        self._launch, self._policy, self._wake = launch, policy, wake
        self._lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._count = 0
        self._over: LollmsError | None = None
        self.answered = False
        self.process = WorkerProcess(launch.command(), wake, self._hear)

    def ask(
        self,
        what: str,
        body: Any,
        sink: Callable[[Said | Over | Failed], None],
        done: Callable[[], None] = lambda: None,
    ) -> Request:
        """Ask for something; after the worker's death the answer is a failure. Raises `InvalidRequest`."""
        with self._lock:
            self._count += 1
            request = Request(self._count, sink, done)
            over = self._over
            if over is None:
                self._requests[request.number] = request
        if over is not None:
            _settle(request, over)
            return request
        try:
            self.process.send(Ask(request.number, what, body))
        except LollmsError:
            with self._lock:
                self._requests.pop(request.number, None)
            raise
        self._wake()
        return request

    def stop(self, request: Request) -> None:
        """Let the worker stop working on a request, unless it is over."""
        with self._lock:
            if request.number not in self._requests or request.stopped is not None:
                return
            request.stopped = time.monotonic()
        self.process.send(Stop(request.number))
        self._wake()

    def patience(self) -> tuple[float | None, str]:
        """Seconds until somebody has to look again, None for never; and words for why it has to be killed."""
        now, policy = time.monotonic(), self._policy
        soonest: float | None = None
        with self._lock:
            requests = list(self._requests.values())
        for request in requests:
            limit = policy.load if request.number == 1 else policy.silence
            left = request.heard + limit - now
            if left <= 0:
                return None, f"gave no sign of life for {limit:g} seconds"
            if request.stopped is not None:
                late = request.stopped + policy.cancel - now
                if late <= 0:
                    return None, f"did not let go of a cancelled request within {policy.cancel:g} seconds"
                left = min(left, late)
            soonest = left if soonest is None else min(left, soonest)
        return soonest, ""

    def close(self, error: LollmsError) -> None:
        """It is over: so is everything that was asked."""
        with self._lock:
            self._over = error
            requests, self._requests = list(self._requests.values()), {}
        for request in requests:
            _settle(request, error)

    def _hear(self, frame: Frame) -> None:
        if not isinstance(frame, Said | Over | Failed):
            return
        last = not isinstance(frame, Said)
        with self._lock:
            request = self._requests.pop(frame.id, None) if last else self._requests.get(frame.id)
            self.answered = self.answered or (isinstance(frame, Over) and frame.id > 1)
        if request is None:
            return
        request.heard = time.monotonic()
        request.sink(frame)
        if last:
            request.done()
            self._wake()


class WorkerClient:
    """One worker, started with its first use. Safe from any thread."""

    def __init__(self, launch: WorkerLaunch, policy: Policy | None = None) -> None:
        self.launch = launch
        self._policy = policy or Policy()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process_id = os.getpid()
        self._changed = threading.Condition(threading.RLock())
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()  # each keeper has its own
        self._state: State = "stopped"
        self._error: LollmsError | None = None
        self._life: Life | None = None
        self._loaded: Any = None
        self._waiters: list[Future[Life]] = []
        self._deaths = 0
        self.stops = 0
        """How often it was stopped."""

    @property
    def state(self) -> State:
        """`stopped` (not started yet, stopped, or dead until the next call), `loading`, `ready` or `failed`."""
        return self._state

    @property
    def error(self) -> LollmsError | None:
        """Why it failed or died last; None while all is well."""
        return self._error

    @property
    def pid(self) -> int | None:
        """Its process id while it is ready."""
        life = self._life
        return life.process.pid if life is not None and self._state == "ready" else None

    @property
    def loaded(self) -> Any:
        """What it said when it had loaded the model; None before."""
        return self._loaded

    def start(self) -> None:
        """Begin to load, also again after a failure; returns at once. A forked child gets a worker of its own."""
        if self._process_id != os.getpid():
            self._begin_anew()
        with self._changed:
            if self._state in ("loading", "ready"):
                return
            if self._state == "failed":
                self._deaths = 0
            self._state, self._error, self._stopping = "loading", None, threading.Event()
            work = (self._stopping, self._keeper)
            self._keeper = threading.Thread(
                target=self._keep, args=work, daemon=True, name=f"engine-keeper-{self.launch.name}"
            )
            self._keeper.start()

    def ready(self, stops: int | None = None) -> Future[Life]:
        """A future of your own for the loaded worker, which is started unless it failed; or for why there is none.

        With `stops`, the number when your request came, it is not started again for you after it was stopped since.
        """
        future: Future[Life] = Future()
        if stops is not None and stops != self.stops:
            future.set_exception(self._not_running())
            return future
        if self._process_id != os.getpid() or self._state == "stopped":
            self.start()
        with self._changed:
            life, error = self._life, self._error
            if self._state == "loading":
                self._waiters.append(future)
                return future
        if self._state == "ready" and life is not None:
            future.set_result(life)
        else:
            future.set_exception(error or self._not_running())
        return future

    def stop(self, *, wait: bool = True) -> None:
        """End the worker; afterwards nothing of it is left. What runs ends with an error."""
        if self._process_id != os.getpid():
            return
        with self._changed:
            keeper, waiters = self._keeper, self._settle("stopped", None)
            self._stopping.set()
            self.stops += 1
            self._changed.notify_all()
        _refuse(waiters, self._not_running())
        if wait and keeper is not None and keeper is not threading.current_thread():
            keeper.join()

    def _settle(self, state: State, error: LollmsError | None, life: Life | None = None) -> list[Future[Life]]:
        """Publish how things stand; returns those who waited for it. The lock is held."""
        self._state, self._error, self._life = state, error, life
        waiters, self._waiters = self._waiters, []
        return waiters

    # ---- the keeper

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _keep(self, stopping: threading.Event, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        error: LollmsError | None = None
        failed = False
        try:
            error, failed = self._one_life(stopping)
        except LollmsError as refused:
            error, failed = refused, True
        except OSError as refused:
            error, failed = EngineError(f"The engine of {self.launch.name} cannot be started: {refused}."), True
        except Exception as defect:  # a keeper that ends without a word would leave everybody waiting
            _log.exception("the keeper of a worker")
            error = EngineError(f"The care for {self.launch.name} failed: {type(defect).__name__}: {defect}.")
            failed = True
        with self._changed:
            if stopping.is_set():
                return
            waiters = self._settle("failed" if failed else "stopped", error)
        _refuse(waiters, error or self._not_running())

    def _one_life(self, stopping: threading.Event) -> tuple[LollmsError, bool]:
        """Start the worker and stay with it; why it ended, and whether another one would end the same way."""
        if stopping.is_set():
            return self._not_running(), False
        life = Life(self.launch, self._policy, self._wake)
        loaded: Future[Any] = Future()
        cause: tuple[LollmsError, bool] = (self._not_running(), False)
        try:
            life.ask("load", self.launch.settings(), lambda frame: _loaded(loaded, frame))
            stuck = self._stay(life, loaded, stopping)
            if stuck:
                life.process.kill()
            cause = self._cause(life, loaded, stuck, stopping)
        finally:
            life.process.end()
            life.close(cause[0])
        return cause

    def _stay(self, life: Life, loaded: Future[Any], stopping: threading.Event) -> str:
        """Publish the worker when it has loaded; returns when it has ended or must, with words for why it must."""
        taken = False
        with self._changed:
            while life.process.exit_code is None and not stopping.is_set():
                seconds, stuck = life.patience()
                if stuck:
                    return stuck
                if loaded.done() and not taken:
                    if loaded.exception() is not None:
                        return ""
                    taken, self._loaded = True, loaded.result()
                    for waiter in self._settle("ready", None, life):
                        if waiter.set_running_or_notify_cancel():
                            waiter.set_result(life)
                self._changed.wait(seconds)
        return ""

    def _cause(
        self, life: Life, loaded: Future[Any], stuck: str, stopping: threading.Event
    ) -> tuple[LollmsError, bool]:
        """Why this life is over, and whether another one would end the same way."""
        name, process = self.launch.name, life.process
        if stopping.is_set():
            return InstanceUnavailable(f"The engine of {name} was stopped while it was answering."), False
        if loaded.done() and (refused := loaded.exception()) is not None and isinstance(refused, LollmsError):
            return refused, True
        loading = not loaded.done()
        if loading and stuck:
            return ModelLoadFailed(f"{name} was not loaded: it {stuck}. Use a smaller model."), True
        self._deaths = 1 if life.answered else self._deaths + 1
        if stuck:
            error = EngineCrashed(f"The engine of {name} {stuck} and was ended. The next request starts it again.")
        else:
            when = " while loading" if loading else ""
            process.ended.wait(1.0)
            words = process.last_words
            error = EngineCrashed(
                f"The engine of {name} died{when} ({process.died_of}). The next request starts it again.{words}"
            )
        _log.warning("%s", error)  # while no request uses it, nobody else would say so
        if self._deaths >= self._policy.deaths:
            return EngineCrashed(
                f"The engine of {name} died {self._deaths} times in a row and is not started again. The last time: "
                f"{error} Check the model and the memory that is free, or use another model, then restart."
            ), True
        return error, False

    def _not_running(self) -> LollmsError:
        return InstanceUnavailable(f"The engine of {self.launch.name} is not running: it was stopped.")


def error_of(frame: Failed) -> LollmsError:
    """The error that a worker told of."""
    kind = error_for_code(frame.code) or EngineError
    return kind(frame.message, param=frame.param)


def _loaded(loaded: Future[Any], frame: Said | Over | Failed) -> None:
    if isinstance(frame, Over):
        loaded.set_result(frame.result)
    elif isinstance(frame, Failed) and error_for_code(frame.code) is not EngineCrashed:  # a death is told otherwise
        loaded.set_exception(error_of(frame))


def _settle(request: Request, error: LollmsError) -> None:
    request.sink(Failed(request.number, error.code, error.message, error.param))
    request.done()


def _refuse(waiters: list[Future[Life]], error: LollmsError) -> None:
    for waiter in waiters:
        with contextlib.suppress(RuntimeError):
            if waiter.set_running_or_notify_cancel():
                waiter.set_exception(error)
