"""`lollms stop ID`: end a running or waiting request of a server."""

from __future__ import annotations

import click

from lollms_cli.options import SERVER
from lollms_cli.output import Output
from lollms_core.errors import InvalidRequest, NotFound

__all__ = ["stop"]

_ID_LETTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")


@click.command(short_help="End a request of a server, running or waiting.")
@click.argument("request_id", metavar="ID")
@SERVER
def stop(request_id: str, host: str | None) -> None:
    """End the request ID on a server, running or waiting.

    Every answer carries its id in the header X-Request-ID; `lollms ps` lists those under way.
    """
    from lollms_cli.server_calls import ask_server, named_or_local

    if not request_id or not set(request_id) <= _ID_LETTERS:
        raise InvalidRequest("A request id has only letters, digits and hyphens.")
    address = named_or_local(host)
    try:
        ask_server("DELETE", address, f"requests/{request_id}")
    except NotFound as error:
        raise NotFound(f"The server at {address} runs no request {request_id}: it has ended, or never was.") from error
    Output().message(f"lollms: stopped {request_id}")
