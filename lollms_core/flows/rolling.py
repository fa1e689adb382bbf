"""Long texts, one part after another: a memory goes from chunk to chunk, and the answer is made of it at the end.

A call gets the memory and one chunk, never what was said before, so the cost grows with the length of the text alone.
The memory must stay small, and models do not always see to that: one that has grown is condensed by a call of its own,
so that the end of a text is read like its beginning. What cannot be had (a chunk that fails twice, a memory that comes
back empty) is said aloud, and the memory from before it is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from lollms_core.errors import Cancelled, ContextTooLong, InvalidRequest, LollmsError, UpstreamFailed
from lollms_core.flows.base import Flow, emit, tool
from lollms_core.flows.long_plan import LEAST
from lollms_core.flows.parts import CUT, ends_all, snippet
from lollms_core.flows.rolling_memory import Memory, Source
from lollms_core.flows.rolling_plan import Sizes
from lollms_core.flows.rolling_words import Task, marked, merging
from lollms_core.flows.steps import mention, step_end, step_start, warn
from lollms_core.types import Done, GenerationCall, ReceiptItem, Reply, TextDelta, ToolCall

__all__ = ["READ_FILE", "deep_analysis", "rolling_summary"]

READ_FILE = "read_file"
"""The tool that gives the text of a file: `{"path": ...}`."""

_READING = 0.95  # of all the work, where it is not known before how much there is to read
_FINAL = "final_synthesis"
_SHOWN = 200


def rolling_summary(call: GenerationCall, text: str, task: Task, sizes: Sizes) -> Flow[Reply]:
    """Read a text chunk by chunk with a memory, then make the answer of the memory; "" for a text of spaces alone.

    `call` says whom to ask, and how; of its messages only those of the system are kept. The memory is hidden from the
    user, who sees a step for each chunk and the answer as it comes.

    Costs one call for each chunk and one for the answer; one more whenever the memory has to be condensed (at most once
    for a chunk), and one for a call that failed or was cut off. Each call has at most as many tokens as the context,
    its answer included; a memory has at most a quarter of them, and at most `MOST_OF_A_REPLY` where the call has no
    limit. An error, `Cancelled` too, carries the answer so far, or the memory so far, as its `partial`.

    Raises `InvalidRequest` for what makes no sense, `ContextTooLong` where the instructions leave no room, what the
    backend raises for every chunk alike, and `UpstreamFailed` where the model wrote nothing at all.
    """
    _check_text(text, "text")
    if not text.strip():
        return Reply()
    work = _Work(call, task)
    memory = work.memory
    try:
        yield from memory.begin(sizes)
        done = yield from memory.read(text, Source())
        work.check_found()
        words = task.concluding(marked("memory", memory.text))
        return (yield from work.conclude(words, memory.tokens, done))
    except LollmsError as error:
        error.partial = work.so_far(error)
        raise


def deep_analysis(
    call: GenerationCall, text: str | None, files: Sequence[str], task: Task, sizes: Sizes
) -> Flow[Reply]:
    """Read a text and files, each with a memory of its own, for the task's question; then one answer of all findings.

    A file is asked for with the tool `read_file`, just before it is read, so that one of them at a time is in memory.
    One that cannot be read is reported, and the others are analysed. The names of files, without their folders, are
    told to the model.

    Costs and raises as `rolling_summary`, with the chunks of all sources together; where the findings of many sources
    are too much for one call, groups of them are put together first, with one hidden call for each. Raises
    `InvalidRequest` without a question, or with neither text nor files, and the first error of a file when nothing
    could be read.
    """
    _check_text(task.query, "query")
    if not task.query.strip():
        raise InvalidRequest("There is no question. Say what to look for in the text or the files.", param="query")
    if text is None and not files:
        raise InvalidRequest("There is nothing to analyse. Give a text, or the paths of files.", param="text")
    _check_text(text or "", "text")
    work = _Work(call, task)
    sources = [Source()] if text and text.strip() else []
    sources += [Source(number, path) for number, path in enumerate(files, 1)]
    if not sources:
        return Reply()
    try:
        yield from work.memory.begin(sizes)
        for place, each in enumerate(sources):
            begin, end = (_READING * at / len(sources) for at in (place, place + 1))
            source = msgspec.structs.replace(each, begin=begin, end=end)
            yield from work.look_through((yield from work.contents(source)) if source.number else text or "", source)
        if not work.has_read:
            return work.nothing()
        work.check_found()
        return (yield from work.conclude_from_findings())
    except LollmsError as error:
        error.partial = work.so_far(error)
        raise


def _check_text(text: str, param: str) -> None:
    if not isinstance(text, str):
        raise InvalidRequest(f"The {param} is a {type(text).__name__}; it must be a text.", param=param)


class _Finding(msgspec.Struct, frozen=True):
    """What was found in a source; `tokens` are those of `shown`, its form in a prompt."""

    name: str
    text: str
    tokens: int = 0

    @property
    def shown(self) -> str:
        return marked("findings", f"Source: {self.name}\n\n{self.text}")


class _Work:
    """The parts of the work. `has_read` says whether there was anything in what could be read."""

    def __init__(self, call: GenerationCall, task: Task) -> None:
        self._task = task
        self._findings: list[_Finding] = []
        self._answer = ""
        self._unreadable: LollmsError | None = None
        self._merged = 0  # how often findings were put together
        self.memory = Memory(call, task)
        self.has_read = False

    # ---- sources

    def contents(self, source: Source) -> Flow[str]:
        """The text of a file; "" for one that cannot be read, which the user is told."""
        try:
            return (yield from tool(ToolCall(f"file_{source.number}", READ_FILE, {"path": source.path})))
        except Cancelled:
            raise
        except LollmsError as error:
            self._unreadable = self._unreadable or error
            self.memory.missing.append(f"file {source.number} ({error})")
            self.memory.spending.note(ReceiptItem(source.path[:_SHOWN], "dropped", str(error)))
            yield from warn(str(error), file=source.path)
            return ""

    def look_through(self, text: str, source: Source) -> Flow[None]:
        """Read a source, keep what was found, and leave an empty memory for the next one."""
        if not text.strip():
            return
        self.has_read = True
        memory = self.memory
        yield from memory.read(text, source)
        if memory.text:
            yield from self._keep(source.name, memory.text)
        memory.forget()

    def _keep(self, name: str, text: str) -> Flow[None]:
        self._findings.append((yield from self._finding(name, text)))

    def _finding(self, name: str, text: str) -> Flow[_Finding]:
        found = _Finding(name, text)
        return msgspec.structs.replace(found, tokens=(yield from self.memory.measure.tokens(found.shown)))

    def check_found(self) -> None:
        """Raises where nothing was found: an answer would be made up."""
        if not (self.memory.text or self._findings):
            raise self.memory.failure or UpstreamFailed("The model wrote nothing about any part of the text.")

    def nothing(self) -> Reply:
        """What there is where all sources are empty. Raises the error of one that could not be read."""
        if self._unreadable is not None:
            raise self._unreadable
        return self.memory.reply("", "stop")

    # ---- findings

    def conclude_from_findings(self) -> Flow[Reply]:
        """The answer; where the findings are longer than it seemed, they are put together once more."""
        most = self.memory.room.material
        while True:
            yield from self._merge(most)
            findings, tokens = _joined(self._findings), sum(each.tokens for each in self._findings)
            try:
                return (yield from self.conclude(self._task.concluding(findings), tokens, _READING))
            except ContextTooLong:
                most = min(most, tokens) // 2
                if self._answer or len(self._findings) == 1 or most < LEAST:
                    raise
            yield from warn("The findings do not fit the model's context together and are put together first.")

    def _merge(self, most: int) -> Flow[None]:
        """Put findings together until they have at most so many tokens. Costs one call for each group."""
        while len(self._findings) > 1 and sum(each.tokens for each in self._findings) > most:
            merged = list[_Finding]()
            for group in _grouped(self._findings, most):
                if len(group) == 1:
                    merged += group
                    continue
                self._merged += 1
                step = f"merge_{self._merged}"
                yield from step_start("Putting findings together.", step, _READING)
                words = functools.partial(merging, limit=self.memory.room.reply, query=self._task.query)
                text = yield from self.memory.condensed(_joined(group), words)
                merged.append((yield from self._finding("several sources", text)))
                yield from step_end("The findings are together.", step, _READING)
            self._findings = merged

    # ---- the answer

    def conclude(self, words: str, tokens: int, begin: float) -> Flow[Reply]:
        """The answer, shown as it comes; `tokens` are those of the notes in the words."""
        yield from step_start("Writing the answer.", _FINAL, begin)
        reply = yield from self._conclusion(words, self.memory.answer_limit(tokens))
        self._answer = reply.text
        if not reply.text.strip():
            self._answer = self._known()
            yield from self.memory.note("the answer", "dropped", "the model wrote none, so these are its notes")
            yield from emit(TextDelta(self._answer))
        elif self._task.is_prose and self.memory.missing:
            note = f"\n\n[Missing here, because it could not be read: {'; '.join(self.memory.missing)}]"
            self._answer += note
            yield from emit(TextDelta(note))
        if words_of_it := CUT.get(reply.finish_reason):
            yield from self.memory.note("the answer", "clamped", f"it {words_of_it}")
        yield from step_end("The answer is complete.", _FINAL, 1.0, summary_snippet=snippet(self._answer))
        whole = self.memory.reply(self._answer, reply.finish_reason, reply.thoughts)
        yield from emit(Done(whole.finish_reason, whole.usage, whole.model, whole.receipt))
        return whole

    def _conclusion(self, words: str, limit: int | None) -> Flow[Reply]:
        """One call; where it fails before anything was shown, one more."""
        again = False
        while True:
            try:
                return (yield from self.memory.ask(words, limit))
            except LollmsError as error:
                self._answer = error.partial.text if error.partial is not None else ""
                if again or self._answer or isinstance(error, (Cancelled, ContextTooLong)) or ends_all(error):
                    raise
                again = True
                problem = str(error)
            yield from mention(f"The answer ended with an error and is asked for again: {problem}")

    def so_far(self, error: LollmsError) -> Reply:
        """What there is: the answer as far as it came, else what was found."""
        reason = "cancelled" if isinstance(error, Cancelled) else "error"
        return self.memory.reply(self._answer or self._known(), reason)

    def _known(self) -> str:
        texts = (
            [each.text for each in self._findings]
            if len(self._findings) == 1
            else [f"{each.name}:\n\n{each.text}" for each in self._findings]
        )
        return "\n\n".join(filter(None, [*texts, self.memory.text]))


def _joined(findings: Sequence[_Finding]) -> str:
    return "\n\n".join(each.shown for each in findings)


def _grouped(findings: Sequence[_Finding], most: int) -> list[list[_Finding]]:
    """Neighbours that fit one call together, at least two where there are two, so that each round has fewer."""
    groups: list[list[_Finding]] = []
    tokens = 0
    for each in findings:
        if not groups or (tokens + each.tokens > most and len(groups[-1]) > 1):
            groups.append([])
            tokens = 0
        groups[-1].append(each)
        tokens += each.tokens
    return groups
