"""Whose prompt is read: llama.cpp's server fills each batch with prompts in the order of its slots.

So a long prompt in slot 0 keeps everybody else's prompt waiting until it is read, be it for minutes. Requests that are
already answering get their step in each batch; only reading knows no turns. They are taken here instead.

Short prompts, which fit into a batch, are read together. A long one is read alone, and after each stage, if somebody
waits, it makes way: its connection is closed, the slot keeps what was read, and the request is sent again when its next
turn has come, where reading goes on. The line is served in the order of asking, so that nobody waits for more than one
stage of each request before it. As long as nobody waits, all this costs is one lock.

Whoever reads a stream may stop pulling at any time, and its turn would last as long. So a turn is paused while its
reader has the word, and a paused turn is taken by the next one who asks.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from lollms_core.types import Batch, Progress

__all__ = ["ReadingGate", "Turn"]


class ReadingGate:
    """At most one long prompt, or any number of short ones, at a time. Safe from any thread."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Nobody reads and nobody waits: for a forked child."""
        self._lock = threading.Lock()
        self._short = 0
        self._long = False
        self._paused: Turn | None = None
        self._waiting: deque[tuple[Future[None], bool]] = deque()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def enter(self, *, long: bool) -> Future[None]:
        """A future for a turn, in the order of asking. End it with `leave`, or give the future to `abandon`."""
        future: Future[None] = Future()
        with self._lock:
            if self._paused is not None:
                self._paused, self._long = None, False
            if self._waiting or not self._has_room(long):
                self._waiting.append((future, long))
                return future
            self._take(long)
        future.set_running_or_notify_cancel()
        future.set_result(None)
        return future

    def leave(self, *, long: bool) -> None:
        """A turn is over."""
        with self._lock:
            if long:
                self._long = False
            else:
                self._short -= 1
        self._admit()

    def pause(self, turn: Turn) -> bool:
        """The long turn may be taken from now on; False if somebody waits for it already."""
        with self._lock:
            if self._waiting:
                return False
            self._paused = turn
            return True

    def resume(self, turn: Turn) -> bool:
        """Whether nobody has taken the turn since it was paused; it cannot be taken any more."""
        with self._lock:
            if self._paused is not turn:
                return False
            self._paused = None
            return True

    def turns_out_long(self) -> bool:
        """A short turn becomes a long one, unless others read or wait: whether it did."""
        with self._lock:
            if self._short > 1 or self._waiting:
                return False
            self._short, self._long = 0, True
            return True

    def abandon(self, future: Future[None], *, long: bool) -> None:
        """Stop waiting; a turn that was given in the same moment is over."""
        if not future.cancel():
            future.result()
            self.leave(long=long)
            return
        with self._lock:
            self._waiting = deque(waiter for waiter in self._waiting if waiter[0] is not future)
        self._admit()

    def _has_room(self, long: bool) -> bool:
        return not self._long and not (long and self._short)

    def _take(self, long: bool) -> None:
        if long:
            self._long = True
        else:
            self._short += 1

    def _admit(self) -> None:
        """Let in from the head of the line who can be let in."""
        while True:
            with self._lock:
                if not self._waiting or not self._has_room(self._waiting[0][1]):
                    return
                future, long = self._waiting.popleft()
                running = future.set_running_or_notify_cancel()
                if running:
                    self._take(long)
            if running:
                future.set_result(None)


class Turn:
    """One request on its way through the gate; `long` is a guess, which the first report of progress corrects.

    `over` says that the prompt is read, so that nothing here matters any more.
    """

    def __init__(self, gate: ReadingGate, *, long: bool) -> None:
        self.over = False
        self._gate = gate
        self._long = long
        self._held = False
        self._paused = False
        self._read = 0.0
        self._forgetful = False
        self._future: Future[None] | None = None

    def ask(self) -> Future[None]:
        """The future to wait for before the request is sent; `end` must follow, whatever becomes of it."""
        self._future = self._gate.enter(long=self._long)
        return self._future

    def begin(self) -> None:
        """The future has come true."""
        self._future, self._held = None, True

    def pause(self, batch: Batch) -> None:
        """Look at what the engine sent, before the reader gets it."""
        for event in batch:
            if not isinstance(event, Progress):
                self.over = True
                self.end()
                return
            fraction = event.fraction or 0.0
            # A slot that lost what was read would begin from the start at every turn and never come to an end.
            self._forgetful |= fraction < self._read
            self._read = max(self._read, fraction)
        if not self._held or self._forgetful:
            return
        if not self._long and self._gate.turns_out_long():
            self._long = True
        if self._long and self._gate.pause(self):
            self._paused = True
        else:
            self.end()
            self._long = True

    def makes_way(self) -> bool:
        """The reader is back: whether the request is to be closed now and sent again at its next turn."""
        if self._paused:
            self._paused = False
            self._held = self._gate.resume(self)
        return not (self._held or self.over)

    def end(self) -> None:
        """Give up the turn, or the place in the line; does nothing without either."""
        future, self._future = self._future, None
        if future is not None:
            self._gate.abandon(future, long=self._long)
        if self._paused:
            self._paused = False
            self._held = self._gate.resume(self)
        if self._held:
            self._held = False
            self._gate.leave(long=self._long)
