"""What `lollms doctor` says of a running server: whether it answers, takes our key, and has its models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from lollms_cli.findings import Check
from lollms_cli.server_calls import Health, health, request
from lollms_core.errors import LollmsError

__all__ = ["check_server"]

_LISTS = {"binding": "list_bindings", "personality": "list_personalities", "functions": "list_functions"}
_REASON = 500  # characters of a server's sentence that are shown


def check_server(host: str | None) -> Iterator[Check]:
    """The server that was named, which must be there, or the one of this machine, which may be."""
    from lollms_cli.address import default_port
    from lollms_cli.backend import server_address

    named = server_address(host)
    address = named or f"http://127.0.0.1:{default_port()}"
    found = health(address)
    if found is None and named:
        yield Check("bad", "server", f"none answers at {address}; start one there with: lollms serve")
    elif found is None:
        yield Check("note", "server", f"none runs at {address}; start one with: lollms serve")
    else:
        models = f", models {found.models}" if found.models and found.models != "failed" else ""
        yield Check("ok", "server", f"{address} answers, version {found.version}{models}")
        yield from _running(address, found)


def _running(address: str, found: Health) -> Iterator[Check]:
    from lollms_runtime.keys import key_file, key_for

    key = key_for(address)
    if found.api_key_required and not key:
        yield Check("bad", "server", f"{address} wants a key, and none is known here: export LOLLMS_API_KEY=...")
        return
    if found.api_key_required:
        source = "LOLLMS_API_KEY" if os.environ.get("LOLLMS_API_KEY", "").strip() else str(key_file())
        check = _key_check(address, key, source)
        yield check
        if check.state == "bad":
            return
    problems = list(_problems(address, key))
    for problem in problems:
        yield Check("bad", "server", f"{address}: {problem}")
    if found.models == "failed" and not any(problem.startswith("binding ") for problem in problems):
        yield Check("bad", "server", f"{address}: models failed; the server's log says why")


def _key_check(address: str, key: str, source: str) -> Check:
    """Whether the server takes the key, by asking for something that needs it and costs nothing."""
    try:
        status = request("GET", f"{address}/api/v1/get_default_bindings", key=key).status
    except LollmsError as error:
        return Check("bad", "server", f"{address} could not be asked with the key of {source}: {error}")
    if status in (401, 403):
        return Check("bad", "server", f"{address} refuses the key of {source}; put the right one there")
    if status == 429:
        return Check("bad", "server", f"{address} takes no more keys for now (too many were wrong); wait a minute")
    if status != 200:
        return Check("bad", "server", f"{address} answers with status {status} when it is asked with the key")
    return Check("ok", "server", f"{address} accepts the key of {source}")


def _problems(address: str, key: str) -> Iterator[str]:
    """What the server could not load, or what is not well, each with its place and reason as far as it says."""
    for kind, route in _LISTS.items():
        found = _ask(f"{address}/api/v1/{route}", key).get("problems")
        for problem in found if isinstance(found, list) else []:
            if isinstance(problem, dict):
                file, line = problem.get("file"), problem.get("line")
                place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
                yield f"{kind} {problem.get('name')}: {place}{str(problem.get('reason'))[:_REASON]}"


def _ask(url: str, key: str) -> dict[str, Any]:
    """What a route answers, also where it is an error; {} for nothing that can be read."""
    try:
        return msgspec.json.decode(request("GET", url, key=key).body, type=dict[str, Any])
    except (LollmsError, msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
