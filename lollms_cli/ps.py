"""`lollms ps`: the requests that a server works on, and those that wait."""

from __future__ import annotations

from typing import Any

import click

from lollms_cli.options import SAID_AS_JSON, SERVER
from lollms_cli.output import Output

__all__ = ["ps"]


@click.command(short_help="List the requests of a server, running and waiting.")
@SAID_AS_JSON
@SERVER
def ps(json_: bool, host: str | None) -> None:
    """List the requests of a server: id, state, instance, model, seconds, place in the queue.

    `lollms stop ID` ends one.
    """
    from lollms_cli.server_calls import ask_server, named_or_local
    from lollms_cli.tables import as_json, as_table

    said = ask_server("GET", named_or_local(host), "queue", "running")
    output = Output()
    if json_:
        as_json(output, said)
        return
    rows: list[tuple[Any, ...]] = []
    for each in _objects(said.get("running")):
        columns = ("binding_name", "model_name", "seconds")
        rows.append((each.get("request_id"), "running", *(each.get(name) for name in columns), None))
    for each in _objects(said.get("waiting")):
        rows.append((each.get("request_id"), "waiting", None, None, None, each.get("position")))
    headings = ("id", "state", "instance", "model", "seconds", "position")
    as_table(output, headings, rows, "lollms: no request runs or waits.")


def _objects(found: object) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
