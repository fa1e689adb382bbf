"""uvicorn, the way this house runs it.

Stopping has an order. The first signal closes the door: nothing new is accepted, and what runs may finish. After a
time of grace the rest is stopped through the registry, so that every stream still ends with an error and its `final`.
A second signal does that at once. uvicorn would raise the signal again when it is done, which loses the exit code;
here the caller learns from `forced` how it ended.

SIGHUP means one of two things. A server that was started at a terminal gets it when that terminal closes, and stops.
Any other, such as one started by a service manager, reads the allowed keys again, ends what runs with a key that is
gone, and reloads. A terminal that closes may send the signal twice, so it never counts as a second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any, TypeAlias

import uvicorn
from typing_extensions import override

from lollms_server.core.http_protocol import protocol_class
from lollms_server.core.loop_threads import LoopThreads
from lollms_server.core.services import Services

__all__ = ["GRACE", "HttpServer"]

ASGIApplication: TypeAlias = Callable[..., Awaitable[None]]

GRACE = 30.0
"""Seconds that running requests have when the server stops."""

_AFTER_GRACE = 5
_LAST_WORDS = 2.0
_TICKS_A_SECOND = 10
_COLLECT_IDLE = _TICKS_A_SECOND // 2
_COLLECT = 5 * _TICKS_A_SECOND
_COLLECT_ALL = 60 * _TICKS_A_SECOND
_BUSY = 16  # running requests that would all wait for the collector; what 500 streams begin with takes it 20 ms
_HANGUP: int | None = getattr(signal, "SIGHUP", None)
_log = logging.getLogger(__name__)


class HttpServer(uvicorn.Server):
    """Serves one application. `ready` is called when requests are answered, `say` gets lines for who started it."""

    def __init__(
        self,
        app: ASGIApplication,
        services: Services,
        *,
        grace: float = GRACE,
        ready: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda line: None,
        **settings: Any,
    ) -> None:
        limits = services.loaded.config.limits
        config = uvicorn.Config(
            app,
            http=protocol_class(limits.header_timeout, limits.body_timeout),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive_timeout,
            timeout_graceful_shutdown=int(grace) + _AFTER_GRACE,
            **settings,
        )
        super().__init__(config)
        self._services = services
        self._grace = grace
        self._ready = ready
        self._say = say
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hangups: set[asyncio.Task[None]] = set()
        self.received: list[int] = []

    @property
    def forced(self) -> bool:
        """Whether a second signal cut the stopping short."""
        return self.force_exit

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(LoopThreads())
        await super().startup(sockets)
        if self.started:
            self._ready()

    @override
    async def on_tick(self, counter: int) -> bool:
        """Collect garbage by the clock: a failed request leaves few objects in circles, but they hold its whole prompt.

        The thresholds count objects and not bytes, and `serve` sets them high.
        """
        every = _COLLECT if len(self._services.registry) > _BUSY else _COLLECT_IDLE
        if counter % every == 0:
            gc.collect(2 if counter % _COLLECT_ALL == 0 else 1)
        return await super().on_tick(counter)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        registry = self._services.registry
        registry.close()
        if running := len(registry):
            have = "1 running request has" if running == 1 else f"{running} running requests have"
            self._say(f"Stopping: {have} up to {self._grace:g} s; a second Ctrl-C ends them at once.")
        timer = asyncio.get_running_loop().call_later(self._grace, registry.cancel_all, "shutdown")
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()
            if self.force_exit:
                await self._end_now()

    async def _end_now(self) -> None:
        """What uvicorn leaves behind when it is forced: running requests, and the application.

        Every request has been told to stop, so nearly all of them are over in a moment; one that does not get rid of
        its last words is cut off, and of that there is nothing to report.
        """
        if tasks := set(self.server_state.tasks):
            self._services.registry.cancel_all("shutdown")
            _, late = await asyncio.wait(tasks, timeout=_LAST_WORDS)
            if late:
                with _silence(logging.getLogger("uvicorn.error")):
                    for task in late:
                        task.cancel()
                    await asyncio.wait(late, timeout=_LAST_WORDS)
        await self.lifespan.shutdown()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[int, Any] = {signal.SIGINT: self.handle_exit, signal.SIGTERM: self.handle_exit}
        if _HANGUP is not None:
            loop = asyncio.get_running_loop()
            stops = os.isatty(0) and signal.getsignal(_HANGUP) is not signal.SIG_IGN  # ignored: started with nohup
            reload = lambda *_: loop.call_soon_threadsafe(self._hang_up)  # noqa: E731
            handlers[_HANGUP] = self.handle_exit if stops else reload
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == _HANGUP:
            return
        self.received.append(sig)
        if self.should_exit:
            self.force_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._services.registry.cancel_all, "shutdown")
        self.should_exit = True

    def _hang_up(self) -> None:
        """Take up the changes in the files: keys first, then instances, personalities and functions."""
        task = asyncio.get_running_loop().create_task(self._services.reloader.hangup())
        self._hangups.add(task)
        task.add_done_callback(self._hangups.discard)


@contextlib.contextmanager
def _silence(logger: logging.Logger) -> Iterator[None]:
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
