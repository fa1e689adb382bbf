"""`lollms "prompt"`: ask a model once and show the answer as it comes."""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from lollms_cli.completing import complete_files
from lollms_cli.options import (
    BINDING,
    HIDE_REASONING,
    HOST,
    MODEL,
    PARAMETERS,
    QUIET,
    SCHEMA,
    SYSTEM,
    WithParameters,
)
from lollms_cli.output import Output, one_line
from lollms_cli.showing import Afterwards, Shower, asking, say_remarks, usage_words
from lollms_core.errors import LollmsError

if TYPE_CHECKING:
    from lollms_client import LollmsClient
    from lollms_core.text.json_schema import SchemaChecker
    from lollms_core.types import Reply

__all__ = ["open_client", "prompt", "read_options", "read_piped", "read_prompt", "utf8"]

_LIKE = 0.8
_NEVER = ("streaming_callback", "callback", "raise_errors")
"""Names that the library has for what no command line can give."""


@click.command(cls=WithParameters, short_help="Ask a model once (also without the word prompt).")
@click.argument("words", metavar="[PROMPT]", nargs=-1)
@MODEL
@SYSTEM
@click.option(
    "-a",
    "--attachment",
    "attachments",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_files,
    help="An image or a text file to go with it; - is standard input. May be repeated.",
)
@PARAMETERS
@SCHEMA
@click.option("-x", "--extract", is_flag=True, help="Print only the first fenced code block of the answer.")
@BINDING
@HOST
@click.option("--no-stream", is_flag=True, help="Show the answer when it is complete.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole reply as one JSON object.")
@click.option("-u", "--usage", is_flag=True, help="Say how many tokens and seconds it took.")
@HIDE_REASONING
@QUIET
def prompt(words: tuple[str, ...], **flags: Any) -> int:
    """Ask a model once. What is piped in stands before the prompt.

    The answer goes to standard output, everything else to standard error. Who answers is --binding, else the server of
    --host or LOLLMS_HOST, else a running one on this machine whose key is known, else the embedded engine.
    """
    return _run(words, _Flags(**flags))


class _Flags(NamedTuple):
    """What was said besides the prompt, as the help describes it."""

    model: str | None
    system: str
    attachments: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    schema: str | None
    extract: bool
    binding: str | None
    host: str | None
    no_stream: bool
    as_json: bool
    usage: bool
    hide_reasoning: bool
    quiet: bool


def _run(words: tuple[str, ...], flags: _Flags) -> int:
    if flags.schema is not None and flags.extract:
        raise click.UsageError("--schema gives JSON and -x a code block: choose one.")
    output = Output(quiet=flags.quiet)
    arguments = read_options(flags.options)
    limit = arguments.get("max_tokens", arguments.get("n_predict"))
    text, checker = _question(words, flags, arguments)
    from lollms_cli.backend import choose_backend, in_words_of_the_command

    backend = choose_backend(flags.host, flags.model, flags.binding)
    output.note(f"lollms: {backend.sentence}")
    after = Afterwards(extract=flags.extract, checker=checker)
    whole = flags.as_json or flags.no_stream or flags.extract
    show = Shower(output, live=not whole, as_json=flags.as_json, reasoning=not flags.hide_reasoning, after=after)
    start = time.monotonic()
    # only a lollms server is asked for a whole answer: elsewhere streaming lets Ctrl-C keep what came
    streamed = not (flags.no_stream and backend.is_server)
    try:
        with asking(), open_client(backend.arguments) as client:
            reply = _ask(client, show, text, arguments, streamed=streamed)
            show.finish(reply)
    except LollmsError as error:
        raise in_words_of_the_command(error, backend) from error
    say_remarks(output, reply, limit)
    if flags.usage:
        output.message(f"lollms: {usage_words(reply, time.monotonic() - start)}")
    if after.problem:
        output.message(f"lollms: error: {one_line(after.problem)}")
        return 1
    return 0


def _question(words: tuple[str, ...], flags: _Flags, arguments: dict[str, Any]) -> tuple[str, SchemaChecker | None]:
    """The text to send, and who checks the answer; what else is sent is put into `arguments`."""
    arguments["system"] = utf8(flags.system)
    checker = None
    if flags.schema is not None:
        from lollms_cli.schemas import read_schema
        from lollms_core.text.json_schema import SchemaChecker

        arguments["schema"] = read_schema(utf8(flags.schema))
        checker = SchemaChecker(arguments["schema"])
    if not flags.attachments:
        return read_prompt(words), checker
    from lollms_cli.attachments import read_attachments

    if flags.attachments.count("-") > 1:
        raise click.UsageError("-a - stands for standard input, which can be attached only once.")
    attached = read_attachments(flags.attachments)
    if attached.images:
        arguments["images"] = attached.images
    return read_prompt(words, attached.texts, piped="-" not in flags.attachments), checker


def read_prompt(words: Iterable[str], attached: Iterable[str] = (), *, piped: bool = True) -> str:
    """Standard input, where something is `piped` in, attached texts, and the words, parted by empty lines.

    Raises `UsageError` when there is nothing.
    """
    parts = [read_piped() if piped else "", *attached, utf8(" ".join(words))]
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise click.UsageError('There is no prompt. Write it behind the command: lollms "Tell me a joke."')
    return text


def utf8(text: str) -> str:
    """An argument as text. Bytes that the locale could not read arrive as surrogates; they are tried as UTF-8."""
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    try:
        return os.fsencode(text).decode()
    except UnicodeError as error:
        raise click.UsageError("The prompt is not valid UTF-8 text.") from error


def read_piped() -> str:
    """What is piped in; "" when nothing is. Raises `UsageError` for what is not UTF-8 text."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"What is piped in is not UTF-8 text (byte {error.start}).") from error
    except OSError:  # standard input was closed
        return ""


def read_options(options: Iterable[tuple[str, str]], taken: Iterable[str] = ()) -> dict[str, Any]:
    """Parameters by name; a value that is JSON is what it says, anything else is text.

    A name that nobody knows is passed on, because a plug-in may know it; one that is nearly a known name is a mistake,
    and so are those that are `taken` for what is said otherwise.
    """
    from lollms_core.types import Params

    known = [*(name for name in Params.__struct_fields__ if name != "extra"), "n_predict"]
    params: dict[str, Any] = {}
    for key, text in options:
        name = key.replace("-", "_")
        if not name.isidentifier():
            raise click.UsageError(f"{key!r} is not the name of a parameter. Known are: {', '.join(known)}.")
        near = difflib.get_close_matches(name, known, 1, _LIKE)
        if name in (*taken, *_NEVER):
            raise click.UsageError(f"{key!r} is no parameter of a model; the flags of this command say what there is.")
        if name not in known and near:
            raise click.UsageError(f"There is no parameter {key!r}. Did you mean {near[0]!r}?")
        params[name] = _value(utf8(text))
    return params


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return text


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def open_client(arguments: dict[str, Any]) -> LollmsClient:
    """A client with the arguments of a `Backend`; use it in a `with` block."""
    from lollms_client import LollmsClient

    return LollmsClient(**arguments)


def _ask(client: LollmsClient, show: Shower, text: str, arguments: dict[str, Any], *, streamed: bool) -> Reply:
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
