"""`lollms chat`: a conversation in the terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from lollms_cli.completing import complete_bindings, complete_files, complete_models
from lollms_cli.output import Output

if TYPE_CHECKING:
    from lollms_cli.backend import Backend
    from lollms_cli.chat_state import Settings

__all__ = ["chat"]


@click.command(short_help="Talk with a model.")
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    shell_complete=complete_models,
    help="A model of the server or binding, one that was pulled, or the path of a GGUF file.",
)
@click.option("-s", "--system", metavar="TEXT", default="", help="The system prompt.")
@click.option(
    "-a",
    "--attachment",
    "attachments",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_files,
    help="An image or a text file for the first message. May be repeated.",
)
@click.option(
    "-o", "--option", "options", nargs=2, multiple=True, metavar="KEY VALUE", help="A parameter, e.g. temperature 0.2."
)
@click.option(
    "--schema",
    metavar="SCHEMA",
    shell_complete=complete_files,
    help="The shape of the answers: a file, a JSON Schema, or fields such as 'name, age int'.",
)
@click.option(
    "-b",
    "--binding",
    metavar="NAME",
    shell_complete=complete_bindings,
    help="The client binding, such as ollama or openai; --host is its server then.",
)
@click.option("--host", metavar="ADDRESS", help="The server: host, host:port or URL (or LOLLMS_HOST).")
@click.option("--no-stream", is_flag=True, help="Show each answer when it is complete.")
@click.option("-u", "--usage", is_flag=True, help="Say how many tokens and seconds each answer took.")
@click.option("-R", "--hide-reasoning", is_flag=True, help="Do not show the model's reasoning.")
@click.option("-q", "--quiet", is_flag=True, help="No greeting and no remarks, only errors.")
@click.option("--no-history", is_flag=True, help="Neither read nor keep what is typed.")
def chat(**flags: Any) -> int:
    """Talk with a model; /? inside says what there is, /bye or Ctrl-D leaves.

    Answers go to standard output, everything else to standard error. From a pipe each line, or each block between
    three quotes, is one message. Who answers is chosen as by `lollms prompt`.
    """
    return _run(_Flags(**flags))


class _Flags(NamedTuple):
    """What was said on the command line, as the help describes it."""

    model: str | None
    system: str
    attachments: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    schema: str | None
    binding: str | None
    host: str | None
    no_stream: bool
    usage: bool
    hide_reasoning: bool
    quiet: bool
    no_history: bool


def _run(flags: _Flags) -> int:
    from lollms_cli.backend import choose_backend
    from lollms_cli.chat_commands import attach
    from lollms_cli.chat_input import lines_of_this_process
    from lollms_cli.chat_loop import converse
    from lollms_cli.chat_session import Session
    from lollms_cli.prompt import open_client, utf8

    output = Output(quiet=flags.quiet)
    settings = _settings(flags)
    session = Session(
        output, lambda name: choose_backend(flags.host, name, flags.binding), open_client, settings, flags.model
    )
    with _unwound(), closing(session):
        for name in flags.attachments:
            attach(session, utf8(name))
        lines = lines_of_this_process(output, history=not flags.no_history, models=lambda: session.known_models)
        if lines.person:
            _greet(output, session.backend)
        return converse(session, lines)


def _settings(flags: _Flags) -> Settings:
    from lollms_cli.chat_state import Settings
    from lollms_cli.prompt import read_options, utf8
    from lollms_cli.schemas import Checker, read_schema
    from lollms_client.parameters import checked_params

    params = read_options(flags.options)
    checked_params(params)  # a wrong value is told before anything is typed
    schema = None if flags.schema is None else read_schema(utf8(flags.schema))
    if schema is not None:
        Checker(schema)
    return Settings(
        system=utf8(flags.system),
        params=params,
        schema=schema,
        thoughts=not flags.hide_reasoning,
        usage=flags.usage,
        stream=not flags.no_stream,
    )


def _greet(output: Output, backend: Backend) -> None:
    output.note(f"lollms: {backend.sentence}")
    name = backend.arguments.get("model_name")
    if backend.is_server:
        output.note(f"{name or 'Its default model'} answers. /? for help, /bye to leave.\n")
    else:
        output.note("/? for help, /bye to leave.\n")


@contextmanager
def _unwound() -> Iterator[None]:
    """While the block runs, SIGTERM and a terminal that goes away unwind it, so that no engine outlives us."""
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield
        return

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, unwind) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
