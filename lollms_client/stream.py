"""`Stream`: a running generation in the hands of the caller, who pulls its events on its own thread."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

from lollms_core.errors import Cancelled
from lollms_core.types import Batch, Event, TextDelta
from lollms_runtime.cancel import Cancel
from lollms_runtime.drive import Steps

__all__ = ["Stream"]

T = TypeVar("T")


class Stream(Generic[T]):
    """The events of a generation as they come: `for event in stream`, then `stream.result()`, the `Reply`.

    Nothing is sent before the first event is asked for. Iterating raises the `LollmsError` that ends the generation;
    its `partial` has what came. Leaving a `with` block, `close()` and a discarded stream close the connection.

    One thread reads a stream; `cancel()` may be called from any other.
    """

    def __init__(self, steps: Steps[T], cancel: Cancel) -> None:
        self._steps = steps
        self._cancel = cancel
        self._rest: Iterator[Event] = iter(())
        self._results: list[T] = []
        self._error: Exception | None = None
        self._ended = False

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> Event:
        while True:
            for event in self._rest:
                return event
            batch = self._pull()
            if batch is None:
                raise StopIteration
            self._rest = iter(batch)

    def batches(self) -> Iterator[Batch]:
        """The same events, in groups that came together."""
        if rest := tuple(self._rest):
            yield rest
        while (batch := self._pull()) is not None:
            yield batch

    def texts(self) -> Iterator[str]:
        """The text of the answer alone, piece by piece."""
        for event in self:
            if type(event) is TextDelta:
                yield event.text

    def result(self) -> T:
        """Read what is left and return the whole answer. Raises the error that ended the generation."""
        while self._pull() is not None:
            pass
        if not self._results:
            raise self._error or Cancelled("The stream was interrupted.")
        return self._results[0]

    def cancel(self) -> None:
        """Stop the generation, from any thread: the reader gets `Cancelled` and the connection is closed."""
        self._cancel.set()

    def close(self) -> None:
        """Stop the generation and end the stream: iterating gives nothing more, `result()` raises `Cancelled`."""
        self._rest = iter(())
        if self._ended:
            return
        self._cancel.set()
        if (
            inspect.getgeneratorstate(self._steps) == inspect.GEN_RUNNING
        ):  # another thread is reading; the token wakes it
            return
        self._ended = True
        try:
            self._steps.throw(Cancelled("Stopped on request."))
            while True:  # a flow may still show something when it is stopped
                next(self._steps)
        except StopIteration as end:
            self._results.append(end.value)
        except Exception as error:
            self._error = error

    def _pull(self) -> Batch | None:
        if self._ended:
            return None
        try:
            return next(self._steps)
        except StopIteration as end:
            self._ended = True
            self._results.append(end.value)
            return None
        except BaseException as error:
            self._ended = True
            if isinstance(error, Exception):
                self._error = error
            raise

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
