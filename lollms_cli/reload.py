"""`lollms reload`: let a running server take up changed instances, personalities and functions."""

from __future__ import annotations

import click

from lollms_cli.options import SAID_AS_JSON, SERVER
from lollms_cli.output import Output

__all__ = ["reload"]

_SECONDS = 600.0


@click.command(short_help="Let a server take up changed files.")
@SAID_AS_JSON
@SERVER
def reload(json_: bool, host: str | None) -> int:
    """Let a running server take up changed instances, personalities and functions, without a restart.

    A version that does not load replaces nothing: it is said on standard error, and the exit code is 1.
    """
    from lollms_cli.server_calls import ask_server, named_or_local
    from lollms_cli.tables import as_json, as_table, say_problems
    from lollms_core.protocols.base import Timeouts

    patient = Timeouts(connect=5.0, first_byte=_SECONDS, idle=10.0, total=_SECONDS)
    said = ask_server("POST", named_or_local(host), "reload", "loaded", timeouts=patient)
    output = Output()
    failed = said.get("failed")
    if json_:
        as_json(output, said)
    else:
        rows = [(word, name) for word in ("loaded", "kept") for name in said.get(word) or []]
        if rows or not failed:
            as_table(output, ("state", "name"), rows, "lollms: there is nothing to reload.")
        say_problems(output, failed)
    return 1 if failed else 0
