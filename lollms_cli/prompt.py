"""`lollms "prompt"`: ask a model once and show the answer as it comes."""

from __future__ import annotations

import difflib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click
from typing_extensions import override

from lollms_cli.output import Output
from lollms_core.errors import LollmsError

if TYPE_CHECKING:
    from lollms_client import LollmsClient
    from lollms_core.types import Event, Reply, ReplyFold

__all__ = ["prompt", "read_options", "read_prompt"]

_LIKE = 0.8


class _Prompt(click.Command):
    """The command, which sees `-o temperature=1` before the next word is taken for the value."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        for flag, word in pairwise(args[:end]):
            key, sign, value = word.partition("=")
            if flag in ("-o", "--option") and sign and key:
                raise click.UsageError(f"Write a blank in the place of the =: {flag} {key} {value or 'VALUE'}", ctx)
        return super().parse_args(ctx, args)


@click.command(cls=_Prompt, short_help="Ask a model once (also without the word prompt).")
@click.argument("words", metavar="[PROMPT]", nargs=-1)
@click.option("-m", "--model", metavar="MODEL", help="A model of the server, or the path of a GGUF file.")
@click.option("-s", "--system", metavar="TEXT", default="", help="The system prompt.")
@click.option(
    "-o", "--option", "options", nargs=2, multiple=True, metavar="KEY VALUE", help="A parameter, e.g. temperature 0.2."
)
@click.option("--host", metavar="ADDRESS", help="The server: host, host:port or URL (or LOLLMS_HOST).")
@click.option("--no-stream", is_flag=True, help="Show the answer when it is complete.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole reply as one JSON object.")
@click.option("-u", "--usage", is_flag=True, help="Say how many tokens and seconds it took.")
@click.option("-R", "--hide-reasoning", is_flag=True, help="Do not show the model's reasoning.")
@click.option("-q", "--quiet", is_flag=True, help="No remarks on standard error, only errors.")
def prompt(
    words: tuple[str, ...],
    model: str | None,
    system: str,
    options: tuple[tuple[str, str], ...],
    host: str | None,
    no_stream: bool,
    as_json: bool,
    usage: bool,
    hide_reasoning: bool,
    quiet: bool,
) -> None:
    """Ask a model once. What is piped in stands before the prompt.

    The answer goes to standard output, everything else to standard error. The server is --host or LOLLMS_HOST, else a
    running one on this machine whose key is known, else the embedded engine answers.
    """
    output = Output(quiet=quiet)
    params = read_options(options)
    text = read_prompt(words)
    from lollms_cli.backend import choose_backend, in_words_of_the_command

    backend = choose_backend(host, model)
    output.note(f"lollms: {backend.sentence}")
    show = _Show(output, live=not (as_json or no_stream), as_json=as_json, reasoning=not hide_reasoning)
    start = time.monotonic()
    # the local engine streams in any case, so that Ctrl-C keeps what came; a server is asked for what was said
    streamed = not (no_stream and backend.is_server)
    try:
        with _terminated_like_interrupted(), _client(backend.arguments) as client:
            reply = _ask(client, show, text, {"system": _utf8(system), **params}, streamed=streamed)
            show.finish(reply)
    except LollmsError as error:
        raise in_words_of_the_command(error, backend) from error
    _remarks(output, reply, params.get("max_tokens", params.get("n_predict")))
    if usage:
        output.message(f"lollms: {_usage(reply, time.monotonic() - start)}")


def read_prompt(words: Iterable[str]) -> str:
    """Standard input, where something is piped in, and the words. Raises `UsageError` when both are empty."""
    parts = [_piped(), _utf8(" ".join(words))]
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise click.UsageError('There is no prompt. Write it behind the command: lollms "Tell me a joke."')
    return text


def _utf8(text: str) -> str:
    """An argument as text. Bytes that the locale could not read arrive as surrogates; they are tried as UTF-8."""
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    try:
        return os.fsencode(text).decode()
    except UnicodeError as error:
        raise click.UsageError("The prompt is not valid UTF-8 text.") from error


def _piped() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"What is piped in is not UTF-8 text (byte {error.start}).") from error
    except OSError:  # standard input was closed
        return ""


def read_options(options: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Parameters by name; a value that is JSON is what it says, anything else is text.

    A name that nobody knows is passed on, because a plug-in may know it; one that is nearly a known name is a mistake.
    """
    from lollms_core.types import Params

    known = [*(name for name in Params.__struct_fields__ if name != "extra"), "n_predict"]
    params: dict[str, Any] = {}
    for key, text in options:
        name = key.replace("-", "_")
        if not name.isidentifier():
            raise click.UsageError(f"{key!r} is not the name of a parameter. Known are: {', '.join(known)}.")
        near = difflib.get_close_matches(name, known, 1, _LIKE)
        if name not in known and near:
            raise click.UsageError(f"There is no parameter {key!r}. Did you mean {near[0]!r}?")
        params[name] = _value(_utf8(text))
    return params


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return text


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def _client(arguments: dict[str, Any]) -> LollmsClient:
    from lollms_client import LollmsClient

    return LollmsClient(**arguments)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """While the block runs, SIGTERM unwinds it, so that an embedded engine does not outlive us; the code is 143."""

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ask(client: LollmsClient, show: _Show, text: str, arguments: dict[str, Any], *, streamed: bool) -> Reply:
    if not streamed:
        return client.complete(text, **arguments)
    try:
        with client.stream(text, **arguments) as running:
            for batch in running.batches():
                show.batch(batch)
            return running.result()
    except KeyboardInterrupt:
        show.interrupted()
        raise
    except LollmsError:
        show.broken()
        raise


class _Show:
    """Shows a reply while it comes (`live`) or when it is there."""

    def __init__(self, output: Output, *, live: bool, as_json: bool, reasoning: bool) -> None:
        from lollms_core.types import ReplyFold

        self._output = output
        self._live = live
        self._reasoning = reasoning
        self._fold: ReplyFold = ReplyFold()
        self._as_json = as_json

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
        if self._as_json:
            self._output.line(_as_json(reply))
            return
        if not self._live:
            if self._reasoning:
                self._output.thought(reply.thoughts)
            self._output.answer(reply.text)
        self._output.end_answer()


def _as_json(reply: Reply) -> str:
    import msgspec

    shown = {
        "text": reply.text,
        "thoughts": reply.thoughts,
        "tool_calls": reply.tool_calls,
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "usage": reply.usage,
        "receipt": reply.receipt,
    }
    return msgspec.json.encode(shown).decode()


def _remarks(output: Output, reply: Reply, limit: object) -> None:
    """What to know about a reply besides its text; `limit` is the `max_tokens` that was asked for, if any."""
    for item in reply.receipt:
        output.note(f"lollms: {item.name} was {item.action}: {item.reason}")
    if reply.finish_reason == "length":
        output.note(f"lollms: {_why_it_stopped(reply, limit)}")


def _why_it_stopped(reply: Reply, limit: object) -> str:
    """Which limit ended an answer, as far as the count of its tokens tells."""
    count = reply.usage.completion_tokens if reply.usage is not None else None
    if not isinstance(limit, int) or limit < 1 or count is None:
        return (
            "the answer stopped at a limit: that of its tokens, which -o max_tokens NUMBER raises, or the model's "
            "context, which holds prompt and answer and is not changed by it"
        )
    if count >= limit:
        return f"the answer stopped at its limit of {limit} tokens (-o max_tokens NUMBER raises it)"
    return (
        f"the answer stopped after {count} tokens, before max_tokens: the model's context, which holds prompt and "
        "answer, is full, or the server's own limit was reached. A higher max_tokens does not help"
    )


def _usage(reply: Reply, seconds: float) -> str:
    usage = reply.usage
    counts = "token counts unknown"
    if usage is not None:
        counts = f"{_count(usage.prompt_tokens)} tokens in, {_count(usage.completion_tokens)} out"
    return f"{counts}, {seconds:.2f} s, model {reply.model or 'unknown'}"


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)
