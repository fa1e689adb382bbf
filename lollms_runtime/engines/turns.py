"""Whose prompt is read: llama.cpp's server fills each batch with prompts in the order of its slots.

So a long prompt in slot 0 keeps everybody else's prompt waiting until it is read, be it for minutes. Requests that are
already answering get their step in each batch; only reading knows no turns. They are taken here instead.

Short prompts, which fit into a batch, are read together. A long one is read alone, stage by stage, and makes way as
soon as somebody asks: its connection is closed, the stage that is under way is finished and kept by the slot, and the
request is sent again when its next turn has come, where reading goes on. The line is served in the order of asking, so
that nobody waits for the whole of a request before it. As long as nobody waits, all this costs is a lock.

llama.cpp sees that a connection is closed when it has written its next report, and after each second in which it has
nothing to write. By the time it has seen it after a report, its next stage has begun. So whoever asks waits for the
rest of the stage that is under way, and where a stage takes less than a second, mostly for one more. To wait for the
report before the connection is closed would cost yet another. But the report that a stage has begun must have come
before, or a request that is interrupted again and again would never be read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
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
        self._short: set[Turn] = set()
        self._long: Turn | None = None
        self._under_way = False  # the long one may be interrupted: it has begun a stage, and nobody waited then
        self._waiting: deque[tuple[Future[None], Turn]] = deque()

    def enter(self, turn: Turn) -> Future[None]:
        """A future for a turn, in the order of asking. End it with `leave`, or give the future to `abandon`."""
        future: Future[None] = Future()
        close: Callable[[], None] | None = None
        with self._lock:
            if self._long is not None and self._under_way:
                close = self._long.interrupt()
                self._long, self._under_way = None, False
            if self._waiting or not self._has_room(turn):
                self._waiting.append((future, turn))
                return future
            self._take(turn)
        if close is not None:
            close()
        future.set_running_or_notify_cancel()
        future.set_result(None)
        return future

    def leave(self, turn: Turn) -> bool:
        """A turn is over. False if it was over before, because it was interrupted."""
        with self._lock:
            held = self._drop(turn)
        self._admit()
        return held

    def begins_stage(self, turn: Turn, *, keep: bool) -> bool:
        """The engine has begun a stage of a long prompt that will not be its last. False if the turn is over now.

        Others wait, or a short turn turns out to be a long one while others read. `keep` says that it must not be
        interrupted.
        """
        with self._lock:
            if turn in self._short and len(self._short) == 1:
                self._short.clear()
                self._long = turn
            if self._long is turn and (keep or not self._waiting):
                self._under_way = not keep
                return True
            self._drop(turn)
        self._admit()
        return False

    def abandon(self, future: Future[None], turn: Turn) -> None:
        """Stop waiting; a turn that was given in the same moment is over."""
        if not future.cancel():
            future.result()
            self.leave(turn)
            return
        with self._lock:
            self._waiting = deque(waiter for waiter in self._waiting if waiter[0] is not future)
        self._admit()

    def _has_room(self, turn: Turn) -> bool:
        return self._long is None and not (turn.long and self._short)

    def _take(self, turn: Turn) -> None:
        if turn.long:
            self._long = turn
        else:
            self._short.add(turn)

    def _drop(self, turn: Turn) -> bool:
        """Whether the turn was held; now it is not."""
        if self._long is turn:
            self._long, self._under_way = None, False
            return True
        held = turn in self._short
        self._short.discard(turn)
        return held

    def _admit(self) -> None:
        """Let in from the head of the line who can be let in."""
        while True:
            with self._lock:
                if not self._waiting or not self._has_room(self._waiting[0][1]):
                    return
                future, turn = self._waiting.popleft()
                running = future.set_running_or_notify_cancel()
                if running:
                    self._take(turn)
            if running:
                future.set_result(None)


class Turn:
    """One request on its way through the gate; `long` is a guess, which the engine's first report corrects.

    `stage` is how many tokens make a stage. `over` says that the prompt is read, so that nothing here matters any more;
    `interrupted` that the connection was closed and the request has to ask again.
    """

    def __init__(self, gate: ReadingGate, *, long: bool, stage: int) -> None:
        self.over = False
        self.interrupted = False
        self.long = long
        self._gate = gate
        self._stage = stage
        self._turns = 0
        self._read = 0
        self._forgetful = False
        self._future: Future[None] | None = None
        self._close: Callable[[], None] = lambda: None

    def ask(self) -> Future[None]:
        """The future to wait for before the request is sent; `end` must follow, whatever becomes of it."""
        self._future = self._gate.enter(self)
        return self._future

    def begin(self, close: Callable[[], None]) -> None:
        """The future has come true. `close` ends the connection of this turn; it is called from any thread."""
        self._future, self.interrupted, self._close = None, False, close
        self._turns += 1

    def report(self, read: int, total: int) -> bool:
        """The engine says how many tokens it has read of all. That comes first of all, and after each stage.

        Whether the first report of a turn is news, because a stage was finished after the last turn.
        """
        if self.over or self.interrupted:
            return False
        news = self._turns > 1 and read > self._read
        # A slot that lost what was read would begin from the start at every turn and never come to an end.
        self._forgetful |= read < self._read
        self._read = max(self._read, read)
        self._look(read, total)
        return news

    def _look(self, read: int, total: int) -> None:
        if total - read > self._stage:
            if not self._gate.begins_stage(self, keep=self._forgetful):
                self.interrupt()()
            self.long = True
        elif self.long or read >= total:
            self._finish()  # what is left is being read now, so that whoever asks is in time for the next stage

    def keeps(self, batch: Batch) -> bool:
        """Whether the reader may have this: not the beginning of an answer that will come again."""
        if all(isinstance(event, Progress) for event in batch):
            return True
        if not self.over and not self.interrupted:
            self._finish()
        return not self.interrupted

    def _finish(self) -> None:
        """The prompt is read, unless the turn was taken in the same moment."""
        if self._gate.leave(self):
            self.over = True
        else:
            self.interrupted = True

    def interrupt(self) -> Callable[[], None]:
        """The turn is taken: gives what ends its connection, and no later one."""
        self.interrupted = True
        return self._close

    def end(self) -> None:
        """Give up the turn, or the place in the line; does nothing without either."""
        future, self._future = self._future, None
        if future is not None:
            self._gate.abandon(future, self)
        else:
            self._gate.leave(self)
