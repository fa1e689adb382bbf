"""The one seam through which logs, metrics, traces and the journal see what the drivers do.

An observer must not block and must not raise; it is called on the caller's thread or event loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from lollms_core.errors import EngineCrashed, InternalError, LollmsError, ModelLoadFailed
from lollms_core.types import Batch, GenerationCall, Reply

__all__ = ["NOTHING", "LogObserver", "Observer", "Observers"]


class Observer:
    """Does nothing; subclasses override what they care about."""

    def started(self, call: GenerationCall) -> None:
        """A model is about to be asked."""

    def delivered(self, call: GenerationCall, batch: Batch) -> None:
        """Events came from the model, before any view. Calls that run at once are told apart by their identity."""

    def finished(self, call: GenerationCall, reply: Reply) -> None:
        """The model's answer is complete."""

    def failed(self, call: GenerationCall, error: BaseException) -> None:
        """The call ended with an error, or was cancelled."""


NOTHING = Observer()
_BROKEN = (EngineCrashed, ModelLoadFailed, InternalError)


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._all = tuple(observers)

    def started(self, call: GenerationCall) -> None:
        for each in self._all:
            each.started(call)

    def delivered(self, call: GenerationCall, batch: Batch) -> None:
        for each in self._all:
            each.delivered(call, batch)

    def finished(self, call: GenerationCall, reply: Reply) -> None:
        for each in self._all:
            each.finished(call, reply)

    def failed(self, call: GenerationCall, error: BaseException) -> None:
        for each in self._all:
            each.failed(call, error)


class LogObserver(Observer):
    """Logs one line per model call: its model, tokens, seconds and outcome; never any content.

    A call that failed because something broke, such as the engine, is a warning.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._log = logger
        self._starts: dict[int, float] = {}  # by the identity of the calls that run

    def started(self, call: GenerationCall) -> None:
        self._starts[id(call)] = time.monotonic()

    def finished(self, call: GenerationCall, reply: Reply) -> None:
        usage = reply.usage
        self._log.info(
            "model=%s finish=%s prompt_tokens=%s completion_tokens=%s seconds=%.3f",
            reply.model or call.model or "-",
            reply.finish_reason,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
            self._seconds(call),
        )

    def failed(self, call: GenerationCall, error: BaseException) -> None:
        code = error.code if isinstance(error, LollmsError) else type(error).__name__
        level = logging.WARNING if isinstance(error, _BROKEN) else logging.INFO
        self._log.log(level, "model=%s failed=%s seconds=%.3f", call.model or "-", code, self._seconds(call))

    def _seconds(self, call: GenerationCall) -> float:
        now = time.monotonic()
        return now - self._starts.pop(id(call), now)
