"""Showing replies: as they come or whole, with what is to be said about them besides their text.

`Shower` shows one reply; `asking` is the block in which a model is asked, where Ctrl-C undoes what runs, and
`unwinding` one in which other signals do.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from lollms_cli.output import Output
from lollms_cli.progress import can_draw

if TYPE_CHECKING:
    from lollms_core.text.json_schema import SchemaChecker
    from lollms_core.types import Event, Reply

__all__ = ["Afterwards", "Shower", "asking", "reply_as_json", "say_remarks", "unwinding", "usage_words"]


@contextmanager
def unwinding() -> Iterator[None]:
    """A block that SIGTERM and a terminal that goes away leave as an exception does, with code 128 + the signal.

    So no engine outlives us, and a terminal is left as it was found.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # what nohup has set to be ignored stays so
    before = {each: signal.signal(each, unwind) for each in numbers if signal.getsignal(each) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupted() -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def asking(first: Callable[[], None] = _interrupted) -> Iterator[None]:
    """The block in which a model is asked; it is `unwinding` too.

    The first Ctrl-C raises KeyboardInterrupt in it, or calls `first`, so that what runs is ended and what came stays; a
    second one quits at once with code 130, whatever is still being undone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            _quit()
        pressed = True
        first()

    with unwinding():
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _quit() -> NoReturn:
    """End at once; a bar may have hidden the cursor."""
    if can_draw():
        with suppress(OSError):
            os.write(2, b"\x1b[?25h")
    os._exit(130)


class Afterwards:
    """What is done with the text of a complete reply: `extract` its first code block, or let a `checker` look at it.

    `problem` is then a sentence on what is wrong with the text, "" for nothing; `found` what stands in the JSON form.
    """

    def __init__(self, *, extract: bool = False, checker: SchemaChecker | None = None) -> None:
        self._extract = extract
        self._checker = checker
        self.problem = ""
        self.remark = ""
        self.found: dict[str, Any] = {}

    def text(self, reply: Reply) -> str:
        """The text to show for a reply."""
        if self._checker is not None:
            try:
                self.found = {"object": self._checker.value(reply.text)}
            except ValueError as error:
                self.found = {"object": None}
                self.problem = f"The answer has not the shape of --schema: {error}."
        if not self._extract:
            return reply.text
        from lollms_core.text.code_blocks import extract_code_blocks

        blocks = extract_code_blocks(reply.text)
        if not blocks:
            self.remark = "there is no code block in the answer; this is all of it"
            self.found = {"code": None}
            return reply.text
        if not blocks[0]["is_complete"]:
            self.remark = "the code block is not complete"
        self.found = {"code": blocks[0]["content"]}
        return str(blocks[0]["content"])


class Shower:
    """Shows a reply while it comes (`live`) or when it is there."""

    def __init__(
        self, output: Output, *, live: bool, as_json: bool, reasoning: bool, after: Afterwards | None = None
    ) -> None:
        from lollms_core.fold import ReplyFold

        self._output = output
        self._live = live
        self._reasoning = reasoning
        self._fold: ReplyFold = ReplyFold()
        self._as_json = as_json
        self._after = after or Afterwards()

    def batch(self, batch: Iterable[Event]) -> None:
        """Show the events of one batch."""
        from lollms_core.types import Notice, Progress, TextDelta, ThoughtDelta

        events = tuple(batch)
        self._fold.add(events)
        for event in events:
            if isinstance(event, Notice):
                self._output.note(f"lollms: {event.text}")
            elif isinstance(event, Progress) and event.position:
                self._output.note(f"lollms: waiting, {event.position} before you")
        if not self._live:
            return
        # one write for each run of text: a batch may hold hundreds of events
        if self._reasoning:
            self._output.thought("".join(e.text for e in events if isinstance(e, ThoughtDelta)))
        self._output.answer("".join(e.text for e in events if isinstance(e, TextDelta)))

    def interrupted(self) -> None:
        """Ctrl-C: what came stays, on a line that is ended."""
        if self._live:
            self._output.end_answer()
        else:
            self.finish(self._fold.done("cancelled"))

    def broken(self) -> None:
        """An error ended the answer: its line ends, so that the error stands on its own."""
        if self._live:
            self._output.end_answer()

    def finish(self, reply: Reply) -> None:
        """The reply is complete."""
        text = self._after.text(reply)
        if self._as_json:
            self._output.line(reply_as_json(reply, **self._after.found))
            return
        if not self._live:
            if self._reasoning:
                self._output.thought(reply.thoughts)
            self._output.answer(text)
        self._output.end_answer()
        if self._after.remark:
            self._output.note(f"lollms: {self._after.remark}")


def reply_as_json(reply: Reply, **more: Any) -> str:
    """A reply as one JSON object on one line, with `more` fields at its end."""
    import msgspec

    shown = {
        "text": reply.text,
        "thoughts": reply.thoughts,
        "tool_calls": reply.tool_calls,
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "usage": reply.usage,
        "receipt": reply.receipt,
        **more,
    }
    return msgspec.json.encode(shown).decode()


def say_remarks(output: Output, reply: Reply, limit: object, raised_by: str = "-o max_tokens NUMBER") -> None:
    """What to know about a reply besides its text.

    `limit` is the `max_tokens` that was asked for, if any, `raised_by` what a user types to raise it.
    """
    for item in reply.receipt:
        output.note(f"lollms: {item.name} was {item.action}: {item.reason}")
    if reply.finish_reason == "length":
        output.note(f"lollms: {_why_it_stopped(reply, limit, raised_by)}")


def _why_it_stopped(reply: Reply, limit: object, raised_by: str) -> str:
    """Which limit ended an answer, as far as the count of its tokens tells."""
    count = reply.usage.completion_tokens if reply.usage is not None else None
    if not isinstance(limit, int) or limit < 1 or count is None:
        return (
            f"the answer stopped at a limit: that of its tokens, which {raised_by} raises, or the model's "
            "context, which holds prompt and answer and is not changed by it"
        )
    if count >= limit:
        return f"the answer stopped at its limit of {limit} tokens ({raised_by} raises it)"
    return (
        f"the answer stopped after {count} tokens, before max_tokens: the model's context, which holds prompt and "
        "answer, is full, or the server's own limit was reached. A higher max_tokens does not help"
    )


def usage_words(reply: Reply, seconds: float) -> str:
    """Tokens, seconds and model of a reply, in a line."""
    usage = reply.usage
    counts = "token counts unknown"
    if usage is not None:
        counts = f"{_count(usage.prompt_tokens)} tokens in, {_count(usage.completion_tokens)} out"
    return f"{counts}, {seconds:.2f} s, model {reply.model or 'unknown'}"


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)
