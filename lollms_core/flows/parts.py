"""Many calls that have nothing to do with each other: the parts of one piece of work, several at once.

A part that fails is tried once more, and then left out and reported. What would go wrong with every part ends the work
at once, and so do three failed parts in a row; both stop the calls that are still running.

The flows of the parts may run on threads. Each writes to its own place alone; what they all look at are single values
that are written in one go. So the result is the same in whatever order the parts end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import msgspec

from lollms_core.errors import (
    AccessDenied,
    AuthFailed,
    CallbackFailed,
    Cancelled,
    ConfigError,
    ConnectFailed,
    ContextTooLong,
    InstanceUnavailable,
    InternalError,
    InvalidRequest,
    LollmsError,
    MissingDependency,
    ModelLoadFailed,
    NotFound,
    RedirectRefused,
    StorageError,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.flows.base import Emit, Flow, ask, emit, together
from lollms_core.flows.spending import Spending
from lollms_core.flows.steps import warn
from lollms_core.text.chunking import cut_at
from lollms_core.types import Batch, Event, GenerationCall, Notice, Progress, ReceiptItem, Reply

__all__ = ["CUT", "IN_A_ROW", "Board", "Job", "Quiet", "all_done", "answered", "ends_all", "snippet", "without_context"]

CUT = {
    "length": "was cut off at the limit of its tokens",
    "content_filter": "was cut off by the content filter of the backend",
}
"""What is said of an answer that is not whole, by its finish reason."""

IN_A_ROW = 3
"""Failed parts after which no other is tried."""

_HALVINGS = 4  # how often a part is halved that does not fit the context
_SNIPPET = 100
_FOR_ALL = (
    AccessDenied,
    AuthFailed,
    CallbackFailed,
    ConfigError,
    ConnectFailed,
    InstanceUnavailable,
    InternalError,
    InvalidRequest,
    MissingDependency,
    ModelLoadFailed,
    NotFound,
    RedirectRefused,
    StorageError,
    UnsupportedFeature,
)
_OF_THE_TEXT = ("content_filter", "content_policy_violation")


class Job(msgspec.Struct, frozen=True):
    """One part: its `id`, the `name` of its step, how it is called (`part 3`), its text, and the call for a text.

    The text is made when it is needed, so that not all of them are held at once. What does not fit the context of the
    model is halved, and each half asked for. `lost` says what becomes of it when it fails.
    """

    id: str
    name: str
    called: str
    text: Callable[[], str]
    asked: Callable[[str], GenerationCall]
    lost: str = "is left out, because it failed"


class Outcome:
    """What has come of a part: its text, else its error; the replies without their texts; remarks for the receipt."""

    __slots__ = ("error", "remarks", "replies", "text")

    def __init__(self) -> None:
        self.text = ""
        self.error: LollmsError | None = None
        self.replies: list[Reply | None] = []
        self.remarks: list[ReceiptItem] = []


class Board:
    """Where all parts stand. `before` is how much of all the work was done before them, from 0 to 1."""

    def __init__(self, jobs: Sequence[Job], before: float) -> None:
        self.jobs = jobs
        self.outcomes = [Outcome() for _ in jobs]
        self.ends_with: LollmsError | None = None
        self._before = before
        self._ended: list[int] = []

    @property
    def fraction(self) -> float:
        """How much of all the work is done; something is left for what comes after the parts."""
        return self._before + (1 - self._before) * len(self._ended) / (len(self.jobs) + 1)

    def has_ended(self, place: int) -> None:
        """A part has come to its end, one way or the other."""
        self._ended.append(place)

    def row(self, place: int) -> LollmsError | None:
        """The first error of the failed parts in a row that a part belongs to, when they are too many."""
        for first in range(max(0, place - IN_A_ROW + 1), place + 1):
            errors = [each.error for each in self.outcomes[first : first + IN_A_ROW]]
            if len(errors) == IN_A_ROW and None not in errors:
                return errors[0]
        return None

    def settle(self, spending: Spending) -> None:
        """Add what the parts have cost, in their order."""
        for outcome in self.outcomes:
            for reply in outcome.replies:
                spending.add(reply)
            for remark in outcome.remarks:
                spending.note(remark)


class Quiet:
    """Shows of a part that something goes on; its text and thoughts would be mixed up with those of the others."""

    enough = False

    def feed(self, batch: Batch) -> Batch:
        return [
            event
            for event in batch
            if isinstance(event, Notice) or (isinstance(event, Progress) and event.kind != "prefill")
        ]


def all_done(board: Board, limit: int) -> Flow[None]:
    """Do all parts, at most `limit` at once; what came of them is on the board.

    Costs one call for each part, at most two for one that fails, and for one that is halved those of its halves. Raises
    the error that all parts would have, the first one of three parts in a row that fail, and that of the first part
    where none succeeds. After `Cancelled` the board has what is finished.
    """
    flows = [_done(board, place) for place in range(len(board.jobs))]
    try:
        if limit > 1:
            yield from together(flows, limit)
        else:
            for flow in flows:
                yield from flow
    except Cancelled:
        if board.ends_with is not None:
            raise board.ends_with from None
        raise
    errors = [each.error for each in board.outcomes]
    if errors and errors[0] is not None and None not in errors:
        raise errors[0]


def answered(call: GenerationCall, view: Any, replies: list[Reply | None]) -> Flow[Reply]:
    """One call; what it cost joins `replies`, also where it fails. Raises `UpstreamFailed` for an empty answer."""
    try:
        reply = yield from ask(call, view)
    except LollmsError as error:
        replies.append(_cost(error.partial))
        raise
    replies.append(_cost(reply))
    if not reply.text.strip():
        why = ", which its content filter held back" if reply.finish_reason == "content_filter" else ""
        raise UpstreamFailed(f"The model answered with nothing{why}.", upstream_code="empty_answer")
    return reply


def ends_all(error: LollmsError) -> bool:
    """Whether an error would come again with any other text."""
    if isinstance(error, ContextTooLong) or error.upstream_code in _OF_THE_TEXT:
        return False
    return isinstance(error, _FOR_ALL)


def snippet(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text[: 4 * _SNIPPET].split())
    return line if len(line) <= _SNIPPET else f"{line[:_SNIPPET]}…"


def without_context(reply: Reply) -> Reply:
    """A reply that does not say that the backend takes no size of the context, for where nobody but we asked for it."""
    names = ("ctx_size", "context_size", "num_ctx")
    return msgspec.structs.replace(reply, receipt=tuple(item for item in reply.receipt if item.name not in names))


# ---- one part


def _done(board: Board, place: int) -> Flow[None]:
    if board.ends_with is not None:
        return
    job, outcome = board.jobs[place], board.outcomes[place]
    yield Emit(_Step(board, "step_start", job.name, {"id": job.id, "of": len(board.jobs)}))
    yield from _tried(board, job, outcome)
    board.has_ended(place)
    if outcome.error is not None and (error := board.row(place)) is not None:
        raise _end(board, error)
    yield Emit(_Step(board, "step_end", job.name, {"id": job.id, "summary_snippet": snippet(outcome.text)}))


def _tried(board: Board, job: Job, outcome: Outcome) -> Flow[None]:
    for is_last in (False, True):
        try:
            outcome.text = yield from _asked(job, job.text(), outcome, _HALVINGS)
        except Cancelled:
            raise
        except LollmsError as error:
            if ends_all(error):
                raise _end(board, error) from error
            if is_last or isinstance(error, ContextTooLong) or error.upstream_code in _OF_THE_TEXT:
                outcome.error = error
                break
            yield from warn(f"{_begin(job.called)} failed and is tried again: {error}", id=job.id)
        else:
            return
    yield from warn(f"{_begin(job.called)} {job.lost}: {outcome.error}", id=job.id)


def _asked(job: Job, text: str, outcome: Outcome, halvings: int) -> Flow[str]:
    try:
        reply = yield from answered(job.asked(text), Quiet(), outcome.replies)
    except ContextTooLong:
        if not halvings or len(text) < 2:
            raise
    else:
        if words := CUT.get(reply.finish_reason):
            outcome.remarks.append(ReceiptItem(job.id, "clamped", f"the answer to {job.called} {words}"))
            yield from warn(f"The answer to {job.called} {words}.", id=job.id)
        return reply.text.strip()
    words = f"{_begin(job.called)} does not fit the model's context and is read in two pieces."
    yield from emit(Notice("info", words, {"id": job.id, "action": "halved"}))
    middle = cut_at(text, len(text) // 3, max(len(text) * 2 // 3, len(text) // 3 + 1))
    if middle >= len(text):
        raise ContextTooLong(f"One character of {job.called} does not fit the model's context.")
    first = yield from _asked(job, text[:middle], outcome, halvings - 1)
    second = yield from _asked(job, text[middle:], outcome, halvings - 1)
    return f"{first}\n\n{second}"


def _end(board: Board, error: LollmsError) -> Cancelled:
    """End the work with an error: a stop is what all other parts that run are told."""
    board.ends_with = board.ends_with or error
    return Cancelled("Another part of the work has ended it.")


def _cost(reply: Reply | None) -> Reply | None:
    """What a reply cost, without what it says."""
    if reply is None:
        return None
    return Reply(usage=reply.usage, model=reply.model, receipt=reply.receipt, finish_reason=reply.finish_reason)


def _begin(words: str) -> str:
    return words[:1].upper() + words[1:]


class _Step(Sequence[Event]):
    """A step with how much is done when it is shown. Said earlier, steps of two threads could be shown going back."""

    def __init__(self, board: Board, kind: str, name: str, data: dict[str, Any]) -> None:
        self._board = board
        self._said = (kind, name, data)
        self._events: tuple[Event, ...] = ()

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        if not self._events:
            kind, name, data = self._said
            self._events = (Progress(kind, name, self._board.fraction, data=data),)
        return self._events[index]

    def __len__(self) -> int:
        return 1
