"""Keeps one engine process alive: starts it, waits until it listens, starts it again when it dies, and ends it.

One thread, the monitor, makes every decision, so that the order of events is the order of its loop. Everybody else only
looks at what it has published under the lock (`state`, `error`), waits for a future, or leaves a wish and wakes it.

    stopped --start--> loading --listens--> ready --dies--> loading (after a pause) ...
                          |                                    |
                          +--cannot load--> failed <--too often in a row--+

A child that says why it cannot load, or ends by itself before it listens, would say the same again: that is `failed` at
once. A child that a signal ended is started again after 1, 2, 4 ... seconds; an answer that a request has really had
sets the count back to zero, five deaths in a row mean `failed`. `start()` tries again from there.

A request that was cancelled is watched until the engine works on it no longer (see `watches`). An engine that does not
let go of it, or gives no sign of life for too long, is killed and started again: nothing else would free its slot.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal, TypeAlias

import msgspec

from lollms_core.errors import EngineCrashed, EngineError, InstanceUnavailable, LollmsError, ModelLoadFailed
from lollms_core.protocols.base import Target, Timeouts
from lollms_runtime.engines.child import Child, Command
from lollms_runtime.engines.watches import Watches, asked

__all__ = ["Endpoint", "Launch", "Policy", "State", "Supervisor"]

_log = logging.getLogger(__name__)

State: TypeAlias = Literal["stopped", "loading", "ready", "failed"]

_HEALTH_PAUSE = 0.05
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.1  # seconds between two looks at a slot that should become idle
_PORT_TRIES = 3
_LOG_PREFIX = re.compile(r"^[\d.]+ [A-Z] +(?:\S+ +)?(?=\S+:)")  # time, level and module
_TELLING = ("llama_model_load:", "gguf_init", "read:", "cannot run", "error:", "error while handling")


class Policy(msgspec.Struct, frozen=True):
    """Seconds, and the number of deaths in a row after which the engine is left alone.

    `cancel` and `silence` are the patience with an engine after a request was cancelled: with one that answers but does
    not let go of the request, and with one that gives no sign of life. A stage of a long prompt or an image, during
    which nothing is answered, takes minutes on a slow machine.
    """

    load: float = 600.0
    first_pause: float = 1.0
    longest_pause: float = 60.0
    deaths: int = 5
    cancel: float = 10.0
    silence: float = 300.0


class Launch(msgspec.Struct, frozen=True):
    """What to run: `command` makes a fresh one for each start and may raise a `LollmsError`; `name` is for messages."""

    name: str
    command: Callable[[], Command]
    key: str
    timeouts: Timeouts = Timeouts(connect=5.0, first_byte=600.0, idle=600.0)


class Endpoint:
    """A listening engine. `gone` is done when its process has ended; `error` then says how."""

    def __init__(self, target: Target, pid: int, watches: Watches) -> None:
        self.target = target
        self.pid = pid
        self.watches = watches
        self.gone: Future[None] = Future()
        self.error: LollmsError | None = None


class _Bell:
    """How one monitor is woken and told to stop. A restart makes a new monitor with a bell of its own."""

    def __init__(self) -> None:
        self.stopping = False
        self._event = threading.Event()

    def ring(self) -> None:
        self._event.set()

    def wait(self, seconds: float | None) -> bool:
        """Whether it rang within that time."""
        rang = self._event.wait(seconds)
        self._event.clear()
        return rang


class Supervisor:
    """Safe from any thread. `on_start` is called by the monitor each time a fresh engine listens."""

    def __init__(
        self, launch: Launch, policy: Policy | None = None, on_start: Callable[[], None] | None = None
    ) -> None:
        self._launch = launch
        self._policy = policy or Policy()
        self._on_start = on_start or (lambda: None)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._bell = _Bell()
        self._monitor: threading.Thread | None = None
        self._state: State = "stopped"
        self._error: LollmsError | None = None
        self._endpoint: Endpoint | None = None
        self._waiters: list[Future[Endpoint]] = []
        self._deaths = 0
        self._ports_taken = 0

    # ---- for everybody ----

    @property
    def state(self) -> State:
        return self._state

    @property
    def error(self) -> LollmsError | None:
        """Why the engine failed, or died last; None while all is well."""
        return self._error

    @property
    def pid(self) -> int | None:
        """The process id of the engine that listens."""
        endpoint = self._endpoint
        return endpoint.pid if endpoint is not None else None

    def start(self) -> None:
        """Begin to load, unless that has been done; returns at once. A forked child gets an engine of its own."""
        if self._process_id != os.getpid():
            self._begin_anew()
        with self._lock:
            if self._state in ("loading", "ready"):
                return
            self._state, self._error, self._deaths, self._ports_taken = "loading", None, 0, 0
            previous, self._bell = self._monitor, _Bell()
            self._monitor = threading.Thread(
                target=self._run, args=(self._bell, previous), daemon=True, name=f"engine-monitor-{self._launch.name}"
            )
            self._monitor.start()

    def ready(self) -> Future[Endpoint]:
        """A future of your own for the listening engine, or the error because of which there is none."""
        future: Future[Endpoint] = Future()
        with self._lock:
            endpoint, error = self._endpoint, self._error
            if endpoint is None and self._state == "loading":
                self._waiters.append(future)
                return future
        if endpoint is not None:
            future.set_result(endpoint)
        else:
            future.set_exception(error or self._not_running())
        return future

    def answered(self) -> None:
        """A request has had its answer: the engine works."""
        self._deaths = 0

    def watch(self, endpoint: Endpoint, slot: int, done: Callable[[], None]) -> None:
        """Call `done` as soon as that engine has left the slot or is dead; one that does not leave it is ended."""
        if not endpoint.watches.add(slot, done):
            done()
            return
        with self._lock:
            self._bell.ring()

    def stop(self, *, wait: bool = True) -> None:
        """End the engine; afterwards nothing of it is left. Streams that run end with an error."""
        if self._process_id != os.getpid():
            return
        with self._lock:
            monitor = self._monitor
            waiters = self._settle("stopped")
            self._bell.stopping = True
            self._bell.ring()
        _refuse(waiters, self._not_running())
        if wait and monitor is not None and monitor is not threading.current_thread():
            monitor.join()

    def _settle(
        self, state: State, *, error: LollmsError | None = None, endpoint: Endpoint | None = None
    ) -> list[Future[Endpoint]]:
        """Publish how things stand, for good or for now; returns those who waited for it. The lock is held."""
        self._state, self._error, self._endpoint = state, error, endpoint
        waiters, self._waiters = self._waiters, []
        return waiters

    def _not_running(self) -> LollmsError:
        return InstanceUnavailable(f"The engine of {self._launch.name} is not running: it was stopped.")

    # ---- the monitor ----

    def _run(self, bell: _Bell, previous: threading.Thread | None) -> None:
        if previous is not None:
            previous.join()
        error: LollmsError | None = None
        try:
            while not bell.stopping and error is None:
                error = self._one_life(bell) or self._pause(bell)
        except Exception as defect:  # a monitor that ends without a word would leave everybody waiting
            error = EngineError(f"The supervision of {self._launch.name} failed: {type(defect).__name__}: {defect}.")
        with self._lock:
            if bell.stopping:
                return
            waiters = self._settle("failed", error=error)
        if error is not None and not waiters:  # else those who waited are told
            _log.error("%s", error)
        _refuse(waiters, error or self._not_running())

    def _pause(self, bell: _Bell) -> LollmsError | None:
        """Wait before the next start, longer after each death; an error when there were too many."""
        policy, name, deaths = self._policy, self._launch.name, self._deaths
        if deaths == 0:
            return None
        if deaths >= policy.deaths:
            return EngineCrashed(
                f"The engine of {name} died {deaths} times in a row and is not started again. The last time: "
                f"{self._error} Check the model file and the memory that is free, or use another model, then restart."
            )
        until = time.monotonic() + min(policy.first_pause * 2.0 ** (deaths - 1), policy.longest_pause)
        while not bell.stopping and (left := until - time.monotonic()) > 0:
            bell.wait(left)
        return None

    def _one_life(self, bell: _Bell) -> LollmsError | None:
        """Start the engine once and stay with it until its end. An error means that there is no point in another."""
        try:
            child = Child(self._launch.command(), bell.ring)
        except LollmsError as error:
            return error
        except OSError as error:
            return EngineError(f"The engine of {self._launch.name} cannot be started: {error}.")
        try:
            port = self._port_of(child, bell)
            if port is not None:
                self._stay(child, port, bell)
        except LollmsError as error:
            return error
        finally:
            child.end()
        return None

    def _port_of(self, child: Child, bell: _Bell) -> int | None:
        """Wait until the engine listens; None when it died in a way that may be tried again. Raises `EngineError`s."""
        name, command = self._launch.name, child.command
        deadline = time.monotonic() + self._policy.load
        while not bell.stopping:
            if child.exit_code is not None:
                self._died_loading(child)
                return None
            if time.monotonic() > deadline:
                seconds = self._policy.load
                raise ModelLoadFailed(f"{name} was not loaded within {seconds:g} seconds. Use a smaller model.")
            if command.port is not None:
                # Only our own engine knows our key: another server that has taken the port meanwhile refuses it.
                answer = asked(command.port, self._launch.key, "/props")
                if answer is not None and answer[0] == 200:
                    return command.port
                bell.wait(_HEALTH_PAUSE)
            elif child.answer is not None:
                port = child.answer.get("port")
                if isinstance(port, int):
                    return port
                raise ModelLoadFailed(_cannot_load(name, child))
            else:
                bell.wait(max(0.0, deadline - time.monotonic()))
        return None

    def _died_loading(self, child: Child) -> None:
        port, code = child.command.port, child.exit_code
        if port is not None and self._ports_taken < _PORT_TRIES and _in_use(port):
            self._ports_taken += 1
            return
        if code is not None and code >= 0:
            raise ModelLoadFailed(_cannot_load(self._launch.name, child))
        self._deaths += 1
        self._error = EngineCrashed(f"The engine of {self._launch.name} died while loading ({child.died_of}).")

    def _stay(self, child: Child, port: int, bell: _Bell) -> None:
        """Publish the engine, look after the watches, and return when it has ended or must."""
        launch, policy = self._launch, self._policy
        target = Target(
            f"http://127.0.0.1:{port}", launch.key, provider="llama.cpp", model=launch.name, timeouts=launch.timeouts
        )
        watches = Watches(target, cancel=policy.cancel, silence=policy.silence)
        endpoint = Endpoint(target, child.pid, watches)
        self._on_start()
        with self._lock:
            if bell.stopping:
                return
            waiters = self._settle("ready", endpoint=endpoint)
        for waiter in waiters:
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(endpoint)
        stuck, look = "", _FIRST_LOOK
        while not bell.stopping and child.exit_code is None:
            rang = bell.wait(look if watches and not stuck else None)
            look = _FIRST_LOOK if rang else min(2 * look, _LAST_LOOK)
            if watches and not stuck and (stuck := watches.look()):
                child.kill()
        self._over(endpoint, child, bell, stuck)

    def _over(self, endpoint: Endpoint, child: Child, bell: _Bell, stuck: str) -> None:
        """The engine is dead, or is about to be stopped: say so to everybody who uses it.

        `stuck` says why it was killed, '' if it was not.
        """
        name = self._launch.name
        error: LollmsError
        if bell.stopping:
            error = InstanceUnavailable(f"The engine of {name} was stopped while it was answering.")
        elif stuck:
            error = EngineCrashed(
                f"The engine of {name} {stuck} and was ended. It is being restarted: send the request again."
            )
        else:
            self._deaths += 1
            error = EngineCrashed(
                f"The engine of {name} died ({child.died_of}). It is being restarted: send the request again."
            )
        with self._lock:
            endpoint.error = error
            if not bell.stopping:
                self._state, self._error, self._endpoint = "loading", error, None
        if not bell.stopping:
            _log.warning("%s", error)  # while no request uses it, nobody else would say so
        endpoint.gone.set_result(None)
        endpoint.watches.close()


def _refuse(waiters: list[Future[Endpoint]], error: LollmsError) -> None:
    for waiter in waiters:
        if waiter.set_running_or_notify_cancel():
            waiter.set_exception(error)


def _cannot_load(name: str, child: Child) -> str:
    lines = list(dict.fromkeys(_LOG_PREFIX.sub("", line) for line in child.log()))
    telling = [line for line in lines if line.startswith(_TELLING)]
    said = " | ".join((telling or lines)[-3:]) or child.died_of
    return (
        f"{name} cannot be loaded. Check that the file is complete and a model that llama.cpp knows, and that there is "
        f"memory enough. The engine said: {said}"
    )


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
