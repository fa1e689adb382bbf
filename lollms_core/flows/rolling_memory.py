"""The memory that goes from chunk to chunk of a long text, and the calls that write it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec

from lollms_core.errors import Cancelled, ContextTooLong, LollmsError, UpstreamFailed
from lollms_core.flows.base import Flow, View, ask
from lollms_core.flows.chunks import Measure, cut_to
from lollms_core.flows.parts import IN_A_ROW, Quiet, ends_all, snippet, without_context
from lollms_core.flows.rolling_plan import Room, Sizes, planned, room_for
from lollms_core.flows.rolling_words import Task, condensing
from lollms_core.flows.spending import Spending
from lollms_core.flows.steps import mention, step_end, step_start, warn
from lollms_core.text.chunking import cut_at
from lollms_core.types import GenerationCall, Message, ReceiptItem, Reply

__all__ = ["Memory", "Source"]

_HALVINGS = 3  # of a chunk that is too long for the context after all
_NAME = 80  # characters of a file's name
_FULL = 0.75  # of the limit of the memory: what it may have when there is more to read


class Source(msgspec.Struct, frozen=True):
    """What is read: the text (number 0) or a file; `begin` and `end` are fractions of all the work."""

    number: int = 0
    path: str = ""
    begin: float = 0.0
    end: float = 0.0

    @property
    def name(self) -> str:
        """What the model is told, which need not know where on this machine a file is."""
        if not self.number:
            return "the text"
        last = self.path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        return f"file {self.number} ({' '.join(last.split())[:_NAME]})"

    def step(self, number: int) -> str:
        """The id of the step for a chunk, counted from 1."""
        return f"file_{self.number}_chunk_{number}" if self.number else f"chunk_{number}"

    def fraction(self, done: int, total: int) -> float:
        """How much of all the work is done with so many of the chunks."""
        return self.begin + (self.end - self.begin) * done / total


class Memory:
    """What is known of a text that is being read; whom to ask, and what it has cost.

    Attributes: `text`, with `tokens`, is the memory itself; `room` is known when the work has begun; `missing` says
    what could not be read, and why; `failure` is the error of the first chunk that failed, of those in a row.
    """

    def __init__(self, call: GenerationCall, task: Task) -> None:
        self._call = msgspec.structs.replace(call, messages=tuple(m for m in call.messages if m.role == "system"))
        self.task = task
        self.measure = Measure()
        self.spending = Spending()
        self.room = Room(0, 0, 0, 0, 0)
        self.text = ""
        self.tokens = 0
        self.missing: list[str] = []
        self.failure: LollmsError | None = None
        self._in_a_row = 0
        self._chose_context = False
        self._has_taken = False  # whether anything was read so far

    def begin(self, sizes: Sizes) -> Flow[None]:
        """Find out what there is room for; the calls ask the backend for as much context as that."""
        self.room = room = yield from room_for(self._call, self.task, sizes, self.measure)
        if room.is_less:
            words = f"chunks of {sizes.chunk} tokens do not fit the context beside the memory; they have {room.chunk}"
            yield from self.note("chunk_size", "clamped", words)
        self._chose_context = self._call.params.ctx_size is None
        if self._chose_context:  # a backend that is told nothing may have less than it could, and cut silently
            params = msgspec.structs.replace(self._call.params, ctx_size=room.needed)
            self._call = msgspec.structs.replace(self._call, params=params)

    # ---- asking

    def ask(self, words: str, limit: int | None, view: View | None = None) -> Flow[Reply]:
        """One call, whose answer has at most `limit` tokens."""
        params = msgspec.structs.replace(self._call.params, max_tokens=limit)
        messages = (*self._call.messages, Message.user(words))
        try:
            reply = yield from ask(msgspec.structs.replace(self._call, messages=messages, params=params), view)
        except LollmsError as error:
            self.spending.add(error.partial)
            raise
        self.spending.add(reply)
        return reply

    def ask_hidden(self, words: str) -> Flow[Reply]:
        """One call for notes, of which the user sees nothing."""
        return (yield from self.ask(words, self.room.reply, Quiet()))

    def answer_limit(self, material: int) -> int | None:
        """The caller's limit of an answer, as far as there is room for it beside `material` tokens."""
        wanted = self._call.params.max_tokens
        return None if wanted is None else max(1, min(wanted, self.room.needed - self.room.prompt - material))

    def reply(self, text: str, finish_reason: str, thoughts: str = "") -> Reply:
        """A reply of this text with all that was spent."""
        reply = self.spending.reply(text, finish_reason, thoughts=thoughts)
        return without_context(reply) if self._chose_context else reply

    # ---- reading

    def read(self, text: str, source: Source) -> Flow[float]:
        """Read all of a text; returns how much of all the work is done then.

        Costs one call for each chunk, and what is said in `rolling_summary`. Raises only what every chunk would end
        with, and `Cancelled`.
        """
        chunks = yield from planned(text, self.room, self.measure)
        total = len(chunks)
        source = source if source.end else msgspec.structs.replace(source, end=total / (total + 1))
        data = {"file": source.path} if source.number else {}
        of_file = f" of {source.name}" if source.number else ""
        for number, chunk in enumerate(chunks, 1):
            place, step = f"chunk {number} of {total}{of_file}", source.step(number)
            yield from step_start(f"Reading {place}.", step, source.fraction(number - 1, total), **data)
            problem = yield from self._taken_in(chunk.of(text), place)
            yield from self._shorten(_FULL if number < total else 1)
            facts = {"error": problem} if problem else {"summary_snippet": snippet(self.text)}
            yield from step_end(f"Read {place}.", step, source.fraction(number, total), **data, **facts)
        return source.end

    def forget(self) -> None:
        """Begin anew, for another source."""
        self.text, self.tokens = "", 0

    def _taken_in(self, chunk: str, place: str) -> Flow[str]:
        """As `_take_in`; what does not fit the context in any way is left out, if other chunks did fit."""
        try:
            return (yield from self._take_in(chunk, place, _HALVINGS))
        except ContextTooLong as error:
            if not self._has_taken:
                raise
            self._has_failed(error, place)
            return (yield from self._keep(place, f"it does not fit the context: {error}"))

    def _take_in(self, chunk: str, place: str, halvings: int) -> Flow[str]:
        """Update the memory with a chunk; returns what was wrong where that failed, "" where it did not.

        One that is longer than it seemed, where nobody counts as the model does, is read in halves.
        """
        try:
            return (yield from self._update(chunk, place))
        except ContextTooLong:
            if not halvings or len(chunk) < 2:
                raise
        yield from mention(f"The context is too small for {place}, which is read in two parts.")
        middle = cut_at(chunk, 0, len(chunk) // 2)
        if middle >= len(chunk):
            raise ContextTooLong(f"One character of {place} does not fit the model's context.")
        problem = yield from self._take_in(chunk[:middle], f"part 1 of 2 of {place}", halvings - 1)
        yield from self._shorten(_FULL)
        second = yield from self._take_in(chunk[middle:], f"part 2 of 2 of {place}", halvings - 1)
        return problem or second

    def _update(self, chunk: str, place: str) -> Flow[str]:
        """Take in what fits one call; it is asked for twice at most."""
        problem, cut, is_cut = "", "", False
        failure: LollmsError | None = None
        for is_last in (False, True):
            words = self.task.updating(self.text, chunk, place, self.room.reply, shorter=is_cut)
            try:
                reply = yield from self.ask_hidden(words)
            except (Cancelled, ContextTooLong):
                raise
            except LollmsError as error:
                if ends_all(error):
                    raise
                failure, is_cut, problem = error, False, f"it ended with an error: {error}"
            else:
                failure = None
                is_cut = reply.finish_reason == "length"
                if not is_cut:
                    return (yield from self._take(reply, place))
                cut, problem = reply.text.strip() or cut, "it was cut off at its limit"
            if not is_last:
                yield from warn(f"The memory is written again after {place}: {problem}.")
        if not cut:
            self._has_failed(failure or UpstreamFailed("The model wrote nothing before it came to its limit."), place)
            return (yield from self._keep(place, problem))
        yield from self.note(place, "clamped", "the memory was cut off at its limit, and its end may be missing")
        yield from self._set(cut)
        return ""

    def _has_failed(self, failure: LollmsError, place: str) -> None:
        """A chunk is left out. Raises the first error of too many in a row."""
        self._in_a_row += 1
        self.failure = failure if self._in_a_row == 1 or self.failure is None else self.failure
        self.missing.append(f"{place} ({failure})")
        if self._in_a_row >= IN_A_ROW:
            raise self.failure

    def _take(self, reply: Reply, place: str) -> Flow[str]:
        """A whole answer is the memory from now on, if it is one."""
        text = reply.text.strip()
        if reply.finish_reason == "content_filter":
            problem = "it was held back by the content filter of the backend"
            self.missing.append(f"{place} ({problem})")
            return (yield from self._keep(place, problem))
        if not text:
            return (yield from self._keep(place, "it came back empty"))
        yield from self._set(text)
        return ""

    def _keep(self, place: str, problem: str) -> Flow[str]:
        """There is no new memory, so the one before it is kept."""
        yield from self.note(place, "dropped", f"the memory is still the one from before it, since {problem}")
        return problem

    def _set(self, text: str) -> Flow[None]:
        self.text, self._has_taken = text, True
        self._in_a_row = 0
        self.tokens = yield from self.measure.tokens(text)

    # ---- keeping it small

    def condensed(self, text: str, words: Callable[[str], str]) -> Flow[str]:
        """What the model makes of notes that have grown too long, within the limit whatever it does.

        `words` are what it is told of notes. Costs one call, and one more where that fails.
        """
        text = yield from self._cut(text, self.room.material)
        for is_last in (False, True):
            try:
                reply = yield from self.ask_hidden(words(text))
            except Cancelled:
                raise
            except LollmsError as error:
                if ends_all(error):
                    raise
                problem = f"it ended with an error: {error}"
                if isinstance(error, ContextTooLong):
                    text = yield from self._cut(text, self.room.material // 2)
            else:
                shorter = reply.text.strip()
                if shorter and reply.finish_reason not in ("length", "content_filter"):
                    text = min(shorter, text, key=len)
                    break
                problem = "it was cut off at its limit" if shorter else "it came back empty"
            if not is_last:
                yield from warn(f"Notes are condensed once more: {problem}.")
        return (yield from self._cut(text, self.room.reply))

    def _shorten(self, share: float) -> Flow[None]:
        """See to it that the memory has at most that share of its limit."""
        if self.tokens > self.room.reply * share:
            yield from mention("The memory has grown too long and is condensed.")
            words = functools.partial(condensing, limit=self.room.reply, query=self.task.query)
            yield from self._set((yield from self.condensed(self.text, words)))

    def _cut(self, text: str, limit: int) -> Flow[str]:
        """A model that does not keep to the limit is held to it: what comes next has to fit the context."""
        short = yield from cut_to(text, limit, self.measure)
        if short != text:
            yield from self.note("notes", "clamped", f"they were too long and were cut to {limit} tokens")
        return short

    def note(self, name: str, action: str, words: str) -> Flow[None]:
        """Tell the user, and the receipt, of something that was not done as asked."""
        self.spending.note(ReceiptItem(name, action, words))
        yield from warn(f"{name}: {words.rstrip('.')}.", name=name)
