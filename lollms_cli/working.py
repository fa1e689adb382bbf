"""Work that takes several calls of a model: who stops it, what it shows, and what it has cost.

Ctrl-C stops such work as a callback does: it ends where it is and gives what there is. So nothing that came is lost,
although the text of the answer may not have begun.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from typing_extensions import override

from lollms_cli.output import Output
from lollms_cli.showing import asking, usage_words
from lollms_client.lollms_types import MSG_TYPE
from lollms_core.errors import Cancelled, LollmsError, UnsupportedFeature
from lollms_core.flows.spending import Spending
from lollms_core.types import GenerationCall, Reply
from lollms_runtime.observe import Observer

__all__ = ["Costs", "Work", "say_costs", "working"]

Show = Callable[[str, MSG_TYPE, Mapping[str, Any]], None]
Callback = Callable[..., bool]


class Work:
    """One piece of work on its way. `stopped` says whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.stopped = False
        self._in_callback = False
        self._error: Exception | None = None

    def shown_by(self, show: Show) -> Callback:
        """The streaming callback that shows with `show`; what that raises is kept, and the work is stopped."""

        def callback(
            chunk: str, kind: MSG_TYPE, params: Mapping[str, Any] | None = None, metadata: object = None
        ) -> bool:
            if self.stopped or self._error is not None:
                return False
            self._in_callback = True
            try:
                show(chunk, kind, params or {})
            except Exception as error:
                self._error = error
            finally:
                self._in_callback = False
            return not self.stopped and self._error is None

        return callback

    def press(self) -> None:
        """Ctrl-C. Raises `Cancelled` in whatever waits; a callback tells it by its result instead."""
        self.stopped = True
        if not self._in_callback:
            raise Cancelled("Stopped on request.")

    def check(self) -> None:
        """Raises what the callback has raised."""
        if self._error is not None:
            raise self._error


@contextmanager
def working() -> Iterator[Work]:
    """The block in which the work is done. An error of the callback is raised at its end, in the place of others."""
    work = Work()
    with asking(work.press):
        try:
            yield work
        except LollmsError:
            work.check()
            raise
    work.check()


class Costs(Observer):
    """Adds up what all the calls have cost, also those that run at once.

    `answers` is how many of them have come to an end with a text.
    """

    def __init__(self) -> None:
        self.answers = 0
        self._lock = threading.Lock()
        self._spending = Spending()
        self._last = Reply()

    @property
    def calls(self) -> int:
        """How often a model was asked."""
        return self._spending.calls

    @property
    def last(self) -> Reply:
        """The reply that ended last."""
        return self._last

    @override
    def finished(self, call: GenerationCall, reply: Reply) -> None:
        with self._lock:
            self._spending.add(reply)
            self._last = reply
            if reply.text.strip() and reply.finish_reason not in ("cancelled", "error"):
                self.answers += 1

    @override
    def failed(self, call: GenerationCall, error: BaseException) -> None:
        if isinstance(error, UnsupportedFeature):  # that was sent nowhere
            return
        with self._lock:
            self._spending.add(error.partial if isinstance(error, LollmsError) else None)

    def reply(self, text: str, finish_reason: str = "", unsaid: Collection[str] = ()) -> Reply:
        """All of it as one reply, which ended as the last call did where nothing else is said.

        Its receipt is without what is `unsaid`: parameters that nobody but the library has set.
        """
        with self._lock:
            reason = finish_reason or self._last.finish_reason
            reply = self._spending.reply(text, reason, thoughts=self._last.thoughts)
        kept = tuple(item for item in reply.receipt if item.name not in unsaid)
        return msgspec.structs.replace(reply, receipt=kept)


def say_costs(output: Output, costs: Costs, reply: Reply, seconds: float) -> None:
    """Calls, tokens, seconds and model, in a line."""
    calls = "1 call" if costs.calls == 1 else f"{costs.calls} calls"
    output.message(f"lollms: {calls}, {usage_words(reply, seconds)}")
