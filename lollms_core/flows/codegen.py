"""Code: one block or several, whole although an answer ends early.

The model is asked for code between fences. A block that is not closed when the answer ends, because its tokens were
used up or its fence was forgotten, is continued: the model sees its own answer and is asked to begin with the last
lines once more, by which both parts are joined exactly (see `lollms_core.text.continuation`). The user sees the answer
as it comes, and of a continuation what it adds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import LollmsError, StructuredOutputError
from lollms_core.flows.base import Flow, View, ask, emit
from lollms_core.flows.spending import Spending
from lollms_core.flows.steps import mention, warn
from lollms_core.flows.turns import excerpt, with_words
from lollms_core.flows.views import Hidden
from lollms_core.text.code_blocks import FencedBlock, FenceReader, extract_code_blocks, kind_and_name, split_lines
from lollms_core.text.continuation import anchor, continued, open_block
from lollms_core.types import Attempt, Batch, Event, GenerationCall, Message, Reply, TextDelta

__all__ = ["CONTINUATIONS", "Codes", "code_blocks", "code_text", "codes_so_far", "one_code"]

CONTINUATIONS = 3
"""How often an answer that ended within a block is continued."""

_TAG = 20  # characters of the end of an element that may come in pieces
_CUT = ("length", "error", "cancelled")
_CODE_END = re.compile(r"</code\s{0,9}>", re.IGNORECASE)
_MARKS = re.compile(r"```|~~~|</?code\b", re.IGNORECASE)
_SHELL = {"bash", "sh", "shell", "zsh", "cmd", "bat", "powershell"}
_ASIDE = {*_SHELL, "console", "terminal", "text", "txt", "output"}
"""Blocks that stand beside the code, so that without a wanted language they are not taken for it."""
_ALIASES: tuple[tuple[str, ...], ...] = (
    ("python", "py", "python3"),
    ("javascript", "js", "jsx", "node", "mjs"),
    ("typescript", "ts", "tsx"),
    ("bash", "sh", "shell", "zsh"),
    ("cpp", "c++", "cxx"),
    ("csharp", "c#", "cs"),
    ("yaml", "yml"),
    ("markdown", "md"),
    ("ruby", "rb"),
    ("rust", "rs"),
    ("go", "golang"),
    ("html", "htm"),
    ("kotlin", "kt"),
    ("latex", "tex"),
    ("powershell", "ps1", "pwsh"),
    ("dockerfile", "docker"),
    ("makefile", "make"),
    ("json", "json5", "jsonc"),
)


class Codes(msgspec.Struct, frozen=True):
    """Blocks of code, as `extract_code_blocks` describes them; `reply` has their text, and what it has cost."""

    blocks: tuple[dict[str, Any], ...]
    reply: Reply


def one_code(
    call: GenerationCall, language: str | None = None, form: str = "markdown", template: str | None = None
) -> Flow[Codes]:
    """Ask for one block of code, and return it alone; the text of the reply is its content.

    The call is ended as soon as a block of `language` is closed; without a language, a block that is no command for a
    shell and no output. Where none is, the first script for a shell is taken without a language; else the last block,
    of the language if there is one.

    Costs one call, one more for each continuation, of which there are at most `CONTINUATIONS`, and one more where the
    first answer has no block at all: at most five, each with the tokens that the call allows.

    Raises `StructuredOutputError` where there is no block twice. An error carries the code so far in `partial`, also
    `Cancelled`. A block that is still open after the last continuation comes with `is_complete` False and a warning.
    """
    wanted = f"one block of {language} code" if language else "one block of code"
    work = _Work(call, form, language, one=True, words=_words(wanted, language, form, template))
    yield from work.run()
    block = work.chosen()
    if block is None or not block["content"].strip():
        raise work.given_up()
    return Codes((block,), work.reply())


def code_blocks(
    call: GenerationCall, language: str | None = None, form: str = "markdown", template: str | None = None
) -> Flow[Codes]:
    """As `one_code`, for as many blocks as the model gives, in their order; the text of the reply is its answer.

    Costs the same. An answer that is cut between two blocks is continued as well.
    """
    wanted = f"blocks of {language} code" if language else "blocks of code"
    work = _Work(call, form, language, one=False, words=_words(wanted, language, form, template))
    yield from work.run()
    return Codes(tuple(work.blocks()), work.reply())


def codes_so_far(reply: Reply, form: str = "markdown") -> Codes:
    """What an answer with several blocks comes to when it was stopped."""
    return Codes(tuple(extract_code_blocks(reply.text, form)), reply)


def code_text(text: str, language: str | None = None, form: str = "markdown") -> str:
    """The code in an answer of which one block was wanted; "" where there is none."""
    block = _choice(extract_code_blocks(text, form), language)
    return "" if block is None else str(block["content"])


class _Work:
    """Code on its way; `text` is the answer as though it had been given at once."""

    def __init__(self, call: GenerationCall, form: str, language: str | None, *, one: bool, words: str) -> None:
        extract_code_blocks("", form)  # refuses another form before anything is asked
        self._form = form.lower()
        self._language = language
        self._one = one
        self._call = msgspec.structs.replace(call, messages=with_words(call.messages, words))
        self._spending = Spending()
        self._attempts: list[Attempt] = []
        self._thoughts: list[str] = []
        self._finish = ""
        self.text = ""

    # ---- the calls

    def run(self) -> Flow[None]:
        """Ask, once more where there is no code, and as often as it must be continued."""
        try:
            yield from self._first()
            for _ in range(CONTINUATIONS):
                before = self.text
                if not self._goes_on():
                    return
                yield from mention("The code was cut off and is continued.")
                yield from self._continue()
                if self.text == before:
                    break
        except LollmsError as error:
            self._take_partial(error)
            raise
        if self._goes_on():
            yield from warn("The code may not be complete: the model did not come to its end.")

    def _first(self) -> Flow[None]:
        """The answer; asked for once more where it has no block of code."""
        yield from self._ask(self._call, self._view())
        if self._has_code():
            return
        problem = self._note_none()
        yield from warn(f"The answer could not be used: {problem}. It is asked for again.")
        before = (Message.assistant(excerpt(self.text)),) if self.text.strip() else ()
        again = f"That cannot be used: {problem}. Answer once more, with {_place(self._form)} and nothing else."
        messages = (*self._call.messages, *before, Message.user(again))
        self.text = ""
        yield from self._ask(msgspec.structs.replace(self._call, messages=messages), self._view())
        if not self._has_code():
            raise self.given_up()

    def _has_code(self) -> bool:
        """Whether there is a block; where one is wanted, one that has code, or may still get some."""
        blocks = self.blocks()
        return any(not self._one or not each["is_complete"] or each["content"].strip() for each in blocks)

    def _note_none(self) -> str:
        """Note that the answer has no code; returns why."""
        problem = "its block of code is empty" if self.blocks() else _why_none(self.text, self._finish)
        self._attempts.append(Attempt("prompt", excerpt(self.text), problem, self._finish))
        return problem

    def given_up(self) -> StructuredOutputError:
        """The error of work that has come to no code."""
        problem = self._note_none()
        times = "once" if len(self._attempts) == 1 else "twice"
        error = StructuredOutputError(
            f"The model was asked {times} and gave no block of code. The last time: {problem}."
        )
        error.attempts = tuple(self._attempts)
        error.partial = self._spending.reply(self.text, "error")
        return error

    def _ask(self, call: GenerationCall, view: View | None) -> Flow[None]:
        reply = yield from ask(call, view)
        self._spending.add(reply)
        self.text, self._finish = reply.text, reply.finish_reason
        self._thoughts += filter(None, [reply.thoughts])

    def _continue(self) -> Flow[None]:
        """One continuation; the user is shown what it adds."""
        before, said_end = self.text, self._finish not in _CUT
        turns = (Message.assistant(before), Message.user(self._go_on()))
        asked = msgspec.structs.replace(self._call, messages=(*self._call.messages, *turns))
        reply = yield from ask(asked, Hidden())
        self._spending.add(reply)
        self._thoughts += filter(None, [reply.thoughts])
        self._finish = reply.finish_reason
        if self._adds(reply.text, said_end):
            self.text = self._with(reply.text)
        if self.text != before and self.text.startswith(before):
            yield from emit(TextDelta(self.text[len(before) :]))

    def _adds(self, more: str, said_end: bool) -> bool:
        """Whether a continuation has code. Where the model had said that it was at its end, words alone are none."""
        if not more.strip():
            return False
        if self._is_whole():
            return bool(extract_code_blocks(more, self._form))
        block = open_block(self.text, self._form)
        code = "" if block is None else self.text[block.start :]
        return not said_end or bool(_MARKS.search(more)) or (bool(code) and more.startswith(anchor(code)))

    def _with(self, more: str) -> str:
        known = [(block["type"], block["content"]) for block in self.blocks() if block["is_complete"]]
        theirs = [(block["type"], block["content"]) for block in extract_code_blocks(more, self._form)]
        if known and len(theirs) > len(known) and theirs[: len(known)] == known:
            return more  # all of it once more
        return continued(self.text, more, self._form)

    def _go_on(self) -> str:
        block = open_block(self.text, self._form)
        code = "" if block is None else self.text[block.start :]
        if not code.strip():
            return "Your answer was cut off. Go on exactly where it stopped, and repeat nothing of what is there."
        fence = _fence_around(code)
        last = anchor(code)
        return (
            "Your answer was cut off within a block of code. Continue exactly where it stopped: answer with "
            f"{_place(self._form)} and nothing else. Begin it with these last lines, unchanged, and go on from there "
            f"to the end of the code, without the lines before them:\n{fence}\n{last}\n{fence}"
        )

    def _view(self) -> View | None:
        if not self._one:
            return None
        return _UntilTag(self._language) if self._form == "html" else _UntilFence(self._language)

    # ---- what came

    def blocks(self) -> list[dict[str, Any]]:
        return extract_code_blocks(self.text, self._form)

    def chosen(self) -> dict[str, Any] | None:
        block = _choice(self.blocks(), self._language)
        return None if block is None else {**block, "index": 0}

    def reply(self) -> Reply:
        """What came of it."""
        finish = "stop" if self._finish in ("", "enough") else self._finish
        return self._spending.reply(self._result(), finish, thoughts="\n\n".join(self._thoughts))

    def _result(self) -> str:
        return code_text(self.text, self._language, self._form) if self._one else self.text

    def _goes_on(self) -> bool:
        """Whether the answer has to be continued."""
        if not self._is_whole():
            return True
        return not self._one and self._finish == "length"

    def _is_whole(self) -> bool:
        block = self.chosen() if self._one else next(reversed(self.blocks()), None)
        return block is None or bool(block["is_complete"])

    def _take_partial(self, error: LollmsError) -> None:
        """Leave the code so far with an error, with what had come of a continuation."""
        if isinstance(error, StructuredOutputError):
            return
        partial, more = error.partial, error.partial.text if error.partial else ""
        if partial is not None:
            self._spending.add(partial)
        if more:
            self.text = self._with(more) if self.text and self._adds(more, False) else self.text or more
        error.partial = self._spending.reply(self._result(), partial.finish_reason if partial else "error")


# ---- which block ---------------------------------------------------------------------------------------------------


def _choice(blocks: Sequence[dict[str, Any]], language: str | None) -> dict[str, Any] | None:
    """The block that is wanted: the first closed one of the language, at which a call is ended; else the last.

    Without a language, the first closed script for a shell stands before the last block, which is perhaps its output.
    """
    closed = [block for block in blocks if block["is_complete"] and block["content"].strip()]
    fitting = [block for block in blocks if _is_wanted(block["type"], language)]
    for block in closed:
        if _is_wanted(block["type"], language):
            return block
    for block in closed:
        if not language and not fitting and block["type"].lower() in _SHELL:
            return block
    return fitting[-1] if fitting else blocks[-1] if blocks else None


def _is_wanted(kind: str, language: str | None) -> bool:
    kind = kind.lower()
    if not language:
        return kind not in _ASIDE
    name = language.strip().lower()
    return kind == name or any(kind in names and name in names for names in _ALIASES)


class _UntilFence:
    """Shows all there is until a wanted block is closed. Looks once at every character."""

    def __init__(self, language: str | None) -> None:
        self.enough = False
        self._language = language
        self._reader = FenceReader()
        self._line: list[str] = []
        self._held = ""  # a CR that may be half of a line end

    def feed(self, batch: Batch) -> Batch:
        shown: list[Event] = []
        for event in batch:
            if isinstance(event, TextDelta):
                if self.enough:
                    continue
                self._take(event.text)
            shown.append(event)
        return shown

    def _take(self, text: str) -> None:
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        pieces = split_lines(text.removesuffix("\r"))
        for piece in pieces[:-1]:
            line = "".join([*self._line, piece])
            self._line = []
            found = self._reader.line(line)
            if found is not None and self._is_it(found):
                self.enough = True
        self._line.append(pieces[-1])

    def _is_it(self, found: FencedBlock) -> bool:
        return _is_wanted(kind_and_name(found.info)[0], self._language) and any(map(str.strip, found.lines))


class _UntilTag(_UntilFence):
    """As `_UntilFence`, for elements of HTML."""

    def __init__(self, language: str | None) -> None:
        super().__init__(language)
        self._tail = ""

    @override
    def _take(self, text: str) -> None:
        self._line.append(text)
        self._tail += text
        ends = list(_CODE_END.finditer(self._tail))
        if not ends:
            self._tail = self._tail[-_TAG:]
            return
        whole, self._tail = "".join(self._line), self._tail[ends[-1].end() :]
        for block in extract_code_blocks(whole, "html"):
            if block["is_complete"] and _is_wanted(block["type"], self._language) and block["content"].strip():
                self.enough = True
        self._line = [whole[len(whole) - len(self._tail) :]]


# ---- words ---------------------------------------------------------------------------------------------------------


def _words(wanted: str, language: str | None, form: str, template: str | None) -> str:
    """What the model is told of the form of its answer."""
    told = f"Answer with {wanted}, complete and ready to be used."
    tag = (language or "").strip()
    each = "each block" if "blocks" in wanted else "it"
    if form.lower() == "html":
        name = tag or "name-of-the-language"
        told += f' Put {each} between <pre><code class="language-{name}"> and </code></pre>.'
    else:
        told += f" Put {each} between a line ```{tag or 'name-of-the-language'} and a line ```."
    if "blocks" in wanted:
        told += " Where a block is a file, write the line `file: its name` before it."
    else:
        told += " Write nothing before or after it."
    if template:
        fence = _fence_around(template)
        told += f"\nThe code follows this template; keep its structure and fill it in:\n{fence}\n{template}\n{fence}"
    return told


def _place(form: str) -> str:
    return "the code between <pre><code> and </code></pre>" if form == "html" else "the code between two fences (```)"


def _fence_around(text: str) -> str:
    """A fence that no line of the text closes."""
    longest = max((len(marks) for marks in re.findall(r"`{3,}", text)), default=2)
    return "`" * (longest + 1)


def _why_none(text: str, finish: str) -> str:
    if finish == "content_filter":
        return "it was held back by the content filter of the backend"
    if finish == "length":
        return "it was cut off at the limit of its tokens before any code came"
    return "there is no block of code in it" if text.strip() else "it is empty"
