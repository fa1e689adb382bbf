"""`Cancel`: one token that stops synchronous work from any thread.

Blocking work registers how it can be undone while it blocks (shut the socket down, kill the child); `set()` runs these
once, at once, and whatever error the blocked call then raises is turned into `Cancelled`. Setting a flag alone is not
enough: a thread blocked in `recv` never looks at it, and closing the file object from another thread does not wake it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from lollms_core.errors import Cancelled

__all__ = ["Cancel", "current_cancel", "current_scope"]

_CURRENT: ContextVar[Cancel | None] = ContextVar("lollms_cancel", default=None)


class Cancel:
    """A cancellation token. A child made with `parent` is set when the parent is; not the other way round."""

    def __init__(self, parent: Cancel | None = None) -> None:
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []
        self._set = False
        self._parent = parent
        if parent is not None:
            parent._add(self.set)

    @property
    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Stop the work. Safe from any thread, any number of times; returns when the undo callbacks have run."""
        with self._lock:
            self._set = True
            undo, self._undo = self._undo, []
        with contextlib.ExitStack() as stack:  # all of them run, also if one raises
            for callback in reversed(undo):
                stack.callback(callback)

    def check(self) -> None:
        """Raise `Cancelled` if the token is set."""
        if self._set:
            raise Cancelled("Stopped on request.")

    def detach(self) -> None:
        """Forget the parent: the work of this child is over."""
        if self._parent is not None:
            self._parent._discard(self.set)

    @contextlib.contextmanager
    def undoing(self, undo: Callable[[], None]) -> Iterator[None]:
        """While the block runs, `set()` calls `undo`; an error the block raises after that becomes `Cancelled`."""
        self._add(undo)
        try:
            yield
        except Exception as error:
            if self._set and not isinstance(error, Cancelled):
                raise Cancelled("Stopped on request.") from error
            raise
        finally:
            self._discard(undo)
        self.check()

    def _add(self, undo: Callable[[], None]) -> None:
        with self._lock:
            if not self._set:
                self._undo.append(undo)
                return
        undo()

    def _discard(self, undo: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._undo.remove(undo)


@contextlib.contextmanager
def current_scope(cancel: Cancel) -> Iterator[None]:
    """While the block runs, `current_cancel()` is this token: for work that goes through code which passes none on."""
    before = _CURRENT.set(cancel)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_cancel() -> Cancel:
    """The token of the work that this code is a part of; a new one, which nobody sets, where there is none."""
    return _CURRENT.get() or Cancel()
