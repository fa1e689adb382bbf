"""The flags that several commands have: one wording, one kind of completion, one hint for a common mistake."""

from __future__ import annotations

from itertools import pairwise

import click
from typing_extensions import override

from lollms_cli.completing import complete_bindings, complete_files, complete_models

__all__ = [
    "BINDING",
    "HIDE_REASONING",
    "HOST",
    "MODEL",
    "PARAMETERS",
    "QUIET",
    "SAID_AS_JSON",
    "SCHEMA",
    "SERVER",
    "SYSTEM",
    "WithParameters",
]

MODEL = click.option(
    "-m",
    "--model",
    metavar="MODEL",
    shell_complete=complete_models,
    help="A model of the server or binding, one that was pulled, or the path of a GGUF file.",
)
SYSTEM = click.option("-s", "--system", metavar="TEXT", default="", help="The system prompt.")
PARAMETERS = click.option(
    "-o", "--option", "options", nargs=2, multiple=True, metavar="KEY VALUE", help="A parameter, e.g. temperature 0.2."
)
BINDING = click.option(
    "-b",
    "--binding",
    metavar="NAME",
    shell_complete=complete_bindings,
    help="The client binding, such as ollama or openai; --host is its server then.",
)
HOST = click.option("--host", metavar="ADDRESS", help="The server: host, host:port or URL (or LOLLMS_HOST).")
HIDE_REASONING = click.option("-R", "--hide-reasoning", is_flag=True, help="Do not show the model's reasoning.")
SERVER = click.option(
    "--host", metavar="ADDRESS", help="The server: host, host:port or URL (else LOLLMS_HOST, else this machine)."
)
SAID_AS_JSON = click.option("--json", "json_", is_flag=True, help="Print what the server says as JSON.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="No remarks on standard error, only errors.")
SCHEMA = click.option(
    "--schema",
    metavar="SCHEMA",
    shell_complete=complete_files,
    help="The shape: a file, a JSON Schema, a template, or fields such as 'name, age int, email: description'.",
)


class WithParameters(click.Command):
    """A command with `PARAMETERS`, which sees `-o temperature=1` before the next word is taken for the value."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        for flag, word in pairwise(args[:end]):
            key, sign, value = word.partition("=")
            if flag in ("-o", "--option") and sign and key:
                raise click.UsageError(f"Write a blank in the place of the =: {flag} {key} {value or 'VALUE'}", ctx)
        return super().parse_args(ctx, args)
