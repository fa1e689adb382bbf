"""One request on its way: its clock, and what its failures mean. Both transports have these.

Time-outs are deadlines: a server that sends one byte of its headers per second must not renew our patience with each.
And a cancellation must know the connection of an exchange at every moment, also before there is a response.
"""

from __future__ import annotations

import ssl
import threading
import time
from typing import Literal, Protocol

from typing_extensions import override

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport import failures
from lollms_runtime.transport.http11 import NotHttp
from lollms_runtime.transport.pace import Pace
from lollms_runtime.waiting import LOOK

__all__ = ["Exchange", "Line", "ThreadExchange"]


class Line(Protocol):
    """A connection as its exchange sees it."""

    @property
    def ended(self) -> bool:
        """Whether the other side has closed it."""
        ...

    @property
    def kept(self) -> bool:
        """Whether it has served an earlier exchange."""
        ...

    def shut_down(self) -> None:
        """Break it: whoever waits for it is woken."""
        ...


class Exchange:
    """One request on its way: its clock, and the connection it uses."""

    def __init__(self, request: HttpRequest) -> None:
        self.url = request.url
        self._times = request.timeouts
        self._phase: Literal["connect", "headers", "body"] = "connect"
        self._wire: Line | None = None
        self._aborted = False
        self._answered = False
        self._pace = Pace()
        start = time.monotonic()
        self._end = None if self._times.total is None else start + self._times.total
        self._deadline = start + self._times.connect
        self.hurried = False

    # ---- stopping

    def abort(self) -> None:
        """End the exchange: whatever is done next for it fails."""
        self._aborted = True
        if self._wire is not None:
            self._wire.shut_down()

    def uses(self, wire: Line) -> None:
        """This is the connection to shut down from now on. Raises `Cancelled` if it is too late for that."""
        if self._aborted:
            raise failures.stopped()
        self._wire = wire

    def end(self) -> None:
        """The connection may serve others now, so `abort` must not touch it any more."""
        self._wire = None

    def check(self) -> None:
        """Raise `Cancelled` if it was aborted: the connection has ended then, but not the answer."""
        if self._aborted:
            raise failures.stopped()

    # ---- time

    def sends(self) -> None:
        """There is a connection: what counts now is the time until the headers have come."""
        if self._phase == "connect":
            self._phase = "headers"
            self._deadline = time.monotonic() + self._times.first_byte

    def reads_body(self) -> None:
        """The headers have come: what counts now is the time between two reads."""
        self._phase = "body"

    def hurry(self, seconds: float) -> None:
        """The answer is complete: from now on only so many seconds count, for all that is still to be read."""
        if not self.hurried:
            self.hurried = True
            self._end = time.monotonic() + seconds

    @property
    def should_rest(self) -> float:
        """For how many seconds chunks should gather before the next read, since they come so fast (see `pace`)."""
        return self._pace.rest if self._phase == "body" and not self.hurried else 0.0

    def took(self, size: int, began: float, now: float, *, rested: bool) -> None:
        """A read that began at `began` gave so many bytes `now`, by the monotonic clock."""
        self._answered = True
        self._pace.took(size, began, now, rested=rested)

    def patience(self) -> float:
        """Seconds that the next wait may take. Raises the time-out of the phase when none are left."""
        if self._phase == "body":
            if self._end is None:
                return self._times.idle
            left = min(self._times.idle, self._end - time.monotonic())
        else:
            last = self._deadline if self._end is None else min(self._deadline, self._end)
            left = last - time.monotonic()
        if left <= 0:
            raise self._expired()
        return left

    def _expired(self) -> LollmsError:
        times = self._times
        if self.hurried:
            return failures.idle_timeout(self.url, times.idle)
        if times.total is not None and self._end is not None and time.monotonic() >= self._end - 0.001:
            return failures.total_timeout(self.url, times.total)
        if self._phase == "connect":
            return failures.connect_timeout(self.url, times.connect)
        if self._phase == "headers":
            return failures.first_byte_timeout(self.url, times.first_byte)
        return failures.idle_timeout(self.url, times.idle)

    # ---- errors

    def failed(self, error: Exception) -> LollmsError:
        """What an error of the socket or of the HTTP parser means for this exchange."""
        if self._aborted:
            return failures.stopped()
        if isinstance(error, TimeoutError) and error.errno is None:  # ours; with a number it is the network's
            return self._expired()
        if isinstance(error, NotHttp) and not (self._wire is None or self._wire.ended):
            return failures.malformed(self.url)
        if self._phase == "body":
            return failures.truncated(self.url)
        stale = self._wire is not None and self._wire.kept and not self._answered
        return failures.went_stale(self.url) if stale else failures.closed_early(self.url)

    def not_connected(self, error: Exception) -> LollmsError:
        """The same for an error while the connection is made."""
        if self._aborted:
            return failures.stopped()
        if isinstance(error, TimeoutError) and getattr(error, "errno", None) is None:
            return self._expired()
        if isinstance(error, ConnectionRefusedError):
            return failures.refused(self.url)
        if isinstance(error, ssl.SSLError):
            return failures.untrusted(self.url, error)
        return failures.unreachable(self.url, error if isinstance(error, OSError) else None)


class ThreadExchange(Exchange):
    """An exchange of a thread, which any other thread may abort."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self._lock = threading.Lock()
        self._woken = threading.Event()

    @override
    def abort(self) -> None:
        """Wake the thread that works on this exchange; whatever it does next fails. Safe from any thread."""
        with self._lock:
            super().abort()
        self.wake()

    @override
    def uses(self, wire: Line) -> None:
        with self._lock:
            super().uses(wire)

    @override
    def end(self) -> None:
        with self._lock:
            super().end()

    def wake(self) -> None:
        """Something has happened that `wait` waits for."""
        self._woken.set()

    def wait(self) -> None:
        """Wait for `wake`. Raises `Cancelled`, or the time-out of the phase."""
        while not self._woken.wait(min(self.patience(), LOOK)):
            pass
        self._woken.clear()
        if self._aborted:
            raise failures.stopped()

    def rest(self, seconds: float) -> None:
        """Let chunks gather. Raises `Cancelled`."""
        if self._woken.wait(seconds) and self._aborted:
            raise failures.stopped()
