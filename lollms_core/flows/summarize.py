"""Long texts: the same work on every part, and then one result of all.

A text that fits in one call is answered with one. Else each chunk is summarised, several at once where the backend
allows that, and the summaries are made into one. Where they do not fit in one call themselves, they are first put
together in groups, as often as it takes: so a text of any length comes to an end, and what that costs can be reckoned
before (`calls_for`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from lollms_core.errors import Cancelled, ContextTooLong, InvalidRequest, LollmsError
from lollms_core.flows.base import Flow, emit
from lollms_core.flows.chunks import Chunk, Measure, chunked, cut_to
from lollms_core.flows.long_plan import AROUND, HEAD, LEAST, UNSURE, Extent, groups, room_in
from lollms_core.flows.parts import CUT, Board, Job, all_done, answered, ends_all, snippet, without_context
from lollms_core.flows.spending import Spending
from lollms_core.flows.steps import mention, step_end, step_start, warn
from lollms_core.flows.summary_words import PROCESS, SUMMARIZE, of_a_part, of_results, of_the_whole, told
from lollms_core.types import Batch, Done, GenerationCall, Message, Notice, ReceiptItem, Reply, TextDelta

__all__ = ["processed", "summary"]

_MOST_NAMED = 10  # missing parts that the text names; the receipt has all


class _Manner(msgspec.Struct, frozen=True):
    """How one kind of work is told."""

    task: str
    short: str
    doing: str
    ending: str


_SUMMARY = _Manner(SUMMARIZE, "Text is short enough for a single summary.", "Summarizing", "Writing the final summary")
_ANY_TASK = _Manner(PROCESS, "Text is short enough to be read at once.", "Reading", "Writing the final answer")


def summary(call: GenerationCall, text: str, task: str = "", extent: Extent = Extent()) -> Flow[Reply]:  # noqa: B008
    """Summarise a text of any length; `task` says on what to look. The messages of `call` are its system message.

    The user sees the steps, and the final summary as it is written. A part that fails twice is left out: a warning, the
    receipt and the end of the text say so; summaries that cannot be put together are used as they are, as much as fits.
    Costs no call for a blank text, one for a text that fits in one chunk, else `calls_for` the chunks; a call that
    fails is made once more. All prompts together have the tokens of the text, of the overlaps, of all summaries but the
    last, and some 150 for each call.

    Raises `InvalidRequest` for sizes that make no sense, `ContextTooLong` where the task alone fills the context, what
    would go wrong with every part, and where three parts in a row fail or all do, the error of the first. What is
    finished by then is in `partial`, as after `Cancelled`.
    """
    return _Long(call, text, task, extent, _SUMMARY).run()


def processed(call: GenerationCall, text: str, task: str = "", extent: Extent = Extent()) -> Flow[Reply]:  # noqa: B008
    """Do any task with a text of any length (extract, answer, list); all else is as in `summary`."""
    return _Long(call, text, task, extent, _ANY_TASK).run()


# ---- the work


class _Item(msgspec.Struct, frozen=True):
    """A result, of the parts from `first` to `last`."""

    first: int
    last: int
    text: str

    @property
    def heading(self) -> str:
        name = told(self.first, self.last)
        return f"{name[:1].upper()}{name[1:]}:\n"

    @property
    def shown(self) -> str:
        return f"{self.heading}{self.text}"


class _Long:
    """One long text on its way."""

    def __init__(self, call: GenerationCall, text: str, task: str, extent: Extent, manner: _Manner) -> None:
        system = tuple(message for message in call.messages if message.role == "system")
        self._call = msgspec.structs.replace(call, messages=system, tools=(), schema=None)
        self._text = text
        self._task = task.strip() or manner.task
        self._extent = extent
        self._manner = manner
        self._measure = Measure()
        self._spending = Spending()
        self._items: list[_Item] = []
        self._missing: list[tuple[int, int, LollmsError]] = []
        self._final = ""
        self._done = 0.0
        self._room = 0  # tokens of text in one call, and of all that is beside it
        self._beside = 0
        self._sizes_told: list[tuple[str, str, int]] = []  # what was made smaller, for texts of parts
        self._has_parts = True  # whether there is room for any
        self._level = 0  # how often results were put together

    def run(self) -> Flow[Reply]:
        """See `summary`."""
        if not isinstance(self._text, str):
            raise InvalidRequest(f"The text is a {type(self._text).__name__}; it must be a text.", param="text")
        if not self._text or self._text.isspace():
            return Reply()
        try:
            yield from self._look()
            chunks = yield from self._chunks((self._has_parts and self._extent.chunk) or self._room)
            if len(chunks) == 1:
                reply = yield from self._at_once(chunks[0].tokens)
                if reply is not None:
                    return (yield from self._ended(reply))
                self._sizes_told.clear()
                chunks = yield from self._chunks(max(1, chunks[0].tokens // 2))
            yield from self._tell_sizes()
            yield from self._map(chunks)
            return (yield from self._ended((yield from self._synthesis())))
        except LollmsError as error:
            best = self._final.strip() or "\n\n".join(each.text for each in self._items)
            error.partial = self._reply(best, "cancelled" if isinstance(error, Cancelled) else "error")
            raise

    # ---- sizes

    def _look(self) -> Flow[None]:
        """Find out how much fits in one call."""
        extent = self._extent
        for name, value, least in (
            ("chunk_size_tokens", extent.chunk, 1),
            ("overlap_tokens", extent.overlap, 0),
            ("ctx_size", extent.context, 1),
        ):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise InvalidRequest(f"{name} is {value!r}; it must be a whole number from {least} on.", param=name)
        prompt = max(
            (yield from self._prompt(of_results(self._task, "", last=True))),
            (yield from self._prompt(of_a_part(self._task, "", 1000, 1000))),
        )
        self._room = self._room_beside(prompt)
        if self._room < LEAST and not (yield from self._fits_at_once()):
            raise ContextTooLong(
                f"The task alone has about {prompt} tokens, of a context of {extent.context}. Shorten it, or give a "
                "larger ctx_size if the model has one.",
                param="ctx_size",
            )

    def _prompt(self, words: str) -> Flow[int]:
        """The tokens of a prompt, with all that stands around it."""
        system = "\n".join(message.text for message in self._call.messages)
        return AROUND + (yield from self._measure.tokens(f"{system}\n{words}"))

    def _room_beside(self, prompt: int) -> int:
        """The tokens of text for which there is room beside a prompt."""
        room = room_in(self._extent.context, prompt, self._call.params.max_tokens)
        self._beside = self._extent.context - room
        return room if self._measure.exact else int(room * UNSURE)

    def _fits_at_once(self) -> Flow[bool]:
        """Whether a text can be read as a whole in a context that is too small for the words about parts."""
        room = self._room_beside((yield from self._prompt(of_the_whole(self._task, ""))))
        if not room or len(self._text) > LEAST * room or (yield from self._measure.tokens(self._text)) > room:
            return False
        self._room = room
        self._has_parts = False
        return True

    def _chunks(self, wanted: int) -> Flow[tuple[Chunk, ...]]:
        size = min(wanted, self._room)
        if size < wanted:
            why = f"parts of {wanted} tokens do not fit the context: {size}"
            self._sizes_told.append(("chunk_size_tokens", why, size))
        overlap = min(self._extent.overlap, size // 2)
        if overlap < self._extent.overlap and size == wanted:
            why = f"an overlap of {self._extent.overlap} tokens is more than half of a part: {overlap}"
            self._sizes_told.append(("overlap_tokens", why, overlap))
        return (yield from chunked(self._text, size, overlap, self._measure)).parts

    def _tell_sizes(self) -> Flow[None]:
        """Say what the sizes of the parts are, where they are not as asked for."""
        if not self._measure.exact:
            why = "the backend cannot count tokens, so the sizes of the parts are estimates"
            self._spending.note(ReceiptItem("chunk_size_tokens", "rewritten", why))
        for name, reason, size in self._sizes_told:
            self._spending.note(ReceiptItem(name, "clamped", reason))
            told = {"name": name, "action": "clamped", "tokens": size}
            yield from emit(Notice("info", f"{name} was clamped: {reason}", told))

    # ---- the calls

    def _asked(self, words: str, tokens: int) -> GenerationCall:
        """A call with this prompt, for text of so many tokens; it asks for as much context as it needs."""
        params = self._call.params
        if params.ctx_size is None:  # a backend that is told nothing may have less than it could, and cut silently
            context = self._extent.context
            params = msgspec.structs.replace(params, ctx_size=min(context, (self._beside + tokens) * 5 // 4))
        return msgspec.structs.replace(self._call, messages=(*self._call.messages, Message.user(words)), params=params)

    def _at_once(self, tokens: int) -> Flow[Reply | None]:
        """The answer to a text that fits; None where the backend says that it does not."""
        yield from mention(self._manner.short)
        try:
            return (yield from self._answer(of_the_whole(self._task, self._text), tokens))
        except ContextTooLong:
            if self._final.strip() or not self._has_parts:
                raise
            return None

    def _map(self, chunks: Sequence[Chunk]) -> Flow[None]:
        """The result of each chunk."""
        count, largest = len(chunks), max(chunk.tokens for chunk in chunks)

        def job(place: int) -> Job:
            number = place + 1
            return Job(
                f"chunk_{number}",
                f"{self._manner.doing} part {number} of {count}",
                told(number, number),
                functools.partial(chunks[place].of, self._text),
                lambda text: self._asked(of_a_part(self._task, text, number, count), largest),
            )

        self._items = [_Item(place + 1, place + 1, "") for place in range(count)]
        yield from self._all(
            [job(place) for place in range(count)], [range(place, place + 1) for place in range(count)]
        )

    def _all(self, jobs: Sequence[Job], spans: Sequence[range]) -> Flow[None]:
        """Do jobs, each of which gives one result for those at its places; all others stay as they are.

        Where a job fails, the results that it was given stay, too, as one; there are none of a part of the text.
        """
        items = self._items
        board = Board(jobs, self._done)
        try:
            yield from all_done(board, self._extent.parallel)
        finally:
            board.settle(self._spending)
            kept: dict[int, _Item] = dict(enumerate(items))
            for span, outcome in zip(spans, board.outcomes, strict=True):
                first, last = items[span[0]].first, items[span[-1]].last
                if not outcome.text and outcome.error is None:  # it has not come to its end
                    continue
                for place in span:
                    del kept[place]
                text = outcome.text or "\n\n".join(items[place].text for place in span if items[place].text)
                if text:
                    kept[span[0]] = _Item(first, last, text)
                elif outcome.error is not None:
                    self._missing.append((first, last, outcome.error))
                    self._spending.note(ReceiptItem(told(first, last), "dropped", str(outcome.error)))
            self._items = [item for _, item in sorted(kept.items()) if item.text]
        self._done = board.fraction

    def _synthesis(self) -> Flow[Reply]:
        """One result of all; where they do not fit together, of what groups of them come to."""
        room = self._room
        while True:
            sizes = yield from self._sizes(room)
            while sum(sizes) > room:
                yield from self._merge(sizes, room)
                sizes = yield from self._sizes(room)
            words = of_results(self._task, self._joined(range(len(self._items))), last=True)
            yield from step_start(self._manner.ending, "final_synthesis", self._done)
            try:
                reply = yield from self._answer(words, sum(sizes))
            except ContextTooLong:
                room = min(room, sum(sizes)) // 2
                if self._final.strip() or room < LEAST or len(self._items) == 1:
                    raise
                yield from warn("The results do not fit the model's context together and are first put in groups.")
            else:
                found = snippet(reply.text)
                yield from step_end(self._manner.ending, "final_synthesis", 1.0, summary_snippet=found)
                return reply

    def _sizes(self, room: int) -> Flow[list[int]]:
        """The tokens of all results, in one number where they fit. One too large to go with another is shortened."""
        sizes = [HEAD + self._measure.guess(each.shown) for each in self._items]
        if sum(sizes) <= room:  # a guess, which is the worse the less the text was like its summaries
            whole = yield from self._measure.tokens(self._joined(range(len(self._items))))
            if whole <= room:
                return [whole]
        for place, item in enumerate(self._items):
            sizes[place] = HEAD + (yield from self._measure.tokens(item.shown))
        if sum(sizes) > room:
            for place, size in enumerate(sizes):
                if size > room // 2:
                    sizes[place] = yield from self._shorten(place, room // 2)
        return sizes

    def _shorten(self, place: int, most: int) -> Flow[int]:
        """Cut a result down to a size; returns the size that it has then."""
        item = self._items[place]
        name, why = f"the result of {told(item.first, item.last)}", "was too long to be put together with others"
        self._spending.note(ReceiptItem(name, "clamped", f"it {why} and was shortened"))
        yield from warn(f"{name[:1].upper()}{name[1:]} {why} and is shortened.")
        text = yield from cut_to(item.text, most - HEAD, self._measure, item.heading)
        item = self._items[place] = _Item(item.first, item.last, text or item.text[:1])
        return HEAD + (yield from self._measure.tokens(item.shown))

    def _merge(self, sizes: Sequence[int], room: int) -> Flow[None]:
        """Put the results together in groups, as large as fit."""
        self._level = level = self._level + 1
        items, spans = self._items, [each for each in groups(sizes, room) if len(each) > 1]
        if not spans:
            raise ContextTooLong("The results of two parts do not fit the model's context together.", param="ctx_size")

        def job(number: int, span: range) -> Job:
            called = told(items[span[0]].first, items[span[-1]].last)
            return Job(
                f"synthesis_{level}_{number}",
                f"Putting {called} together",
                called,
                functools.partial(self._joined, span),
                lambda results: self._asked(of_results(self._task, results, last=False), room),
                "could not be put together, and as much as fits is used as it is",
            )

        yield from self._all([job(number, span) for number, span in enumerate(spans, 1)], spans)

    def _joined(self, span: range) -> str:
        return "\n\n".join(self._items[place].shown for place in span)

    # ---- the answer

    def _answer(self, words: str, tokens: int) -> Flow[Reply]:
        """The call whose text is shown; made once more when it fails before anything was."""
        replies: list[Reply | None] = []
        view = _Shown()
        try:
            for is_last in (False, True):
                try:
                    return (yield from answered(self._asked(words, tokens), view, replies))
                except (Cancelled, ContextTooLong):
                    self._final = view.text
                    raise
                except LollmsError as error:
                    self._final = view.text
                    if is_last or view.text.strip() or ends_all(error):
                        raise
                    yield from warn(f"The answer failed and is asked for again: {error}")
        finally:
            for reply in replies:
                self._spending.add(reply)
        raise AssertionError("the second time returns or raises")

    def _ended(self, last: Reply) -> Flow[Reply]:
        """The whole reply: what is missing is said at its end, and what it cost, all calls together."""
        text = last.text
        if self._missing:
            note = f"\n\n[{_said_missing(self._missing)}]"
            text += note
            yield from emit(TextDelta(note))
        if words := CUT.get(last.finish_reason):
            self._spending.note(ReceiptItem("final_synthesis", "clamped", f"it {words}"))
            yield from warn(f"The text {words}.", id="final_synthesis", finish_reason=last.finish_reason)
        reply = self._reply(text, last.finish_reason, last.thoughts)
        yield from emit(Done(reply.finish_reason, reply.usage, reply.model, reply.receipt))
        return reply

    def _reply(self, text: str, finish_reason: str, thoughts: str = "") -> Reply:
        """A text with all that was spent."""
        reply = self._spending.reply(text, finish_reason, thoughts=thoughts)
        return without_context(reply) if self._call.params.ctx_size is None else reply


class _Shown:
    """Shows the final answer; its end comes with what all calls have cost."""

    enough = False

    def __init__(self) -> None:
        self.text = ""

    def feed(self, batch: Batch) -> Batch:
        self.text += "".join(event.text for event in batch if isinstance(event, TextDelta))
        return [event for event in batch if not isinstance(event, Done)]


def _said_missing(missing: Sequence[tuple[int, int, LollmsError]]) -> str:
    """Which parts are missing, and why."""
    each = [f"{told(first, last)} ({error})" for first, last, error in sorted(missing, key=lambda it: it[0])]
    more = f"; and {len(each) - _MOST_NAMED} more" if len(each) > _MOST_NAMED else ""
    return f"Missing here, because the model gave no result for it: {'; '.join(each[:_MOST_NAMED])}{more}"
