"""`lollms stop ID`: end a running or waiting request of a server."""

from __future__ import annotations

import click

from lollms_cli.output import Output
from lollms_core.errors import InvalidRequest, KeyRejected, NotFound, UpstreamError

__all__ = ["stop"]

_ID_LETTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")


@click.command(short_help="End a request of a server, running or waiting.")
@click.argument("request_id", metavar="ID")
@click.option(
    "--host", metavar="ADDRESS", help="The server: host, host:port or URL (else LOLLMS_HOST, else this machine)."
)
def stop(request_id: str, host: str | None) -> None:
    """End the request ID on a server, running or waiting.

    Every answer carries its id in the header X-Request-ID.
    """
    from lollms_cli.address import default_port
    from lollms_cli.backend import server_address, server_key
    from lollms_cli.server_calls import request

    if not request_id or not set(request_id) <= _ID_LETTERS:
        raise InvalidRequest("A request id has only letters, digits and hyphens.")
    address = server_address(host) or f"http://127.0.0.1:{default_port()}"
    response = request("DELETE", f"{address}/api/v1/requests/{request_id}", key=server_key(address))
    if response.status == 204:
        Output().message(f"lollms: stopped {request_id}")
    elif response.status == 404:
        raise NotFound(f"The server at {address} runs no request {request_id}: it has ended, or never was.")
    elif response.status in (401, 403):
        raise KeyRejected(f"The server at {address} refuses this key. Set the right one in LOLLMS_API_KEY.")
    else:
        raise UpstreamError(f"The server at {address} answered with status {response.status}.", status=response.status)
