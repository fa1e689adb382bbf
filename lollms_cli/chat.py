"""`lollms chat`: a conversation in the terminal."""

from __future__ import annotations

import shutil
import textwrap
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lollms_cli.completing import complete_files
from lollms_cli.options import BINDING, HIDE_REASONING, HOST, MODEL, PARAMETERS, SCHEMA, SYSTEM, WithParameters
from lollms_cli.output import Output
from lollms_cli.showing import unwinding

if TYPE_CHECKING:
    from lollms_cli.backend import Backend
    from lollms_cli.chat_state import Settings

__all__ = ["chat"]


@click.command(cls=WithParameters, short_help="Talk with a model.")
@MODEL
@SYSTEM
@click.option(
    "-a",
    "--attachment",
    "attachments",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_files,
    help="An image or a text file for the first message. May be repeated.",
)
@PARAMETERS
@SCHEMA
@BINDING
@HOST
@click.option("--no-stream", is_flag=True, help="Show each answer when it is complete.")
@click.option("-u", "--usage", is_flag=True, help="Say how many tokens and seconds each answer took.")
@HIDE_REASONING
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
    with unwinding(), closing(session):
        for name in flags.attachments:
            attach(session, utf8(name))
        lines = lines_of_this_process(output, history=not flags.no_history, models=lambda: session.known_models)
        if lines.person:
            _greet(output, session.backend)
        return converse(session, lines)


def _settings(flags: _Flags) -> Settings:
    from lollms_cli.chat_state import Settings
    from lollms_cli.prompt import read_options, utf8
    from lollms_cli.schemas import read_schema
    from lollms_client.parameters import checked_params
    from lollms_core.text.json_schema import SchemaChecker

    params = read_options(flags.options)
    checked_params(params)  # a wrong value is told before anything is typed
    schema = None if flags.schema is None else read_schema(utf8(flags.schema))
    if schema is not None:
        SchemaChecker(schema)
    return Settings(
        system=utf8(flags.system),
        params=params,
        schema=schema,
        thoughts=not flags.hide_reasoning,
        usage=flags.usage,
        stream=not flags.no_stream,
    )


def _greet(output: Output, backend: Backend) -> None:
    from lollms_cli.chat_commands import NARROW

    width = shutil.get_terminal_size().columns
    words = backend.brief if width < NARROW else backend.sentence
    for line in textwrap.wrap(f"lollms: {words}", max(width - 1, 20), break_long_words=False, break_on_hyphens=False):
        output.note(line)
    name = backend.arguments.get("model_name")
    if backend.is_server:
        output.note(f"{name or 'Its default model'} answers. /? for help, /bye to leave.\n")
    else:
        output.note("/? for help, /bye to leave.\n")
