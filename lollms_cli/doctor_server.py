"""What `lollms doctor` says of a running server: whether it answers, takes our key, and has its models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from lollms_cli.findings import LOCAL, Check
from lollms_cli.server_calls import Health, health, request
from lollms_core.errors import LollmsError

__all__ = ["check_server"]

_HELLO = {"type": "text", "role": "user_prompt", "data": "Hello"}
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
    elif found.api_key_required:
        source = "LOLLMS_API_KEY" if os.environ.get("LOLLMS_API_KEY", "").strip() else str(key_file())
        yield _key_check(address, key, source)
    if found.models == "failed":
        faults = list(_failed(address, key))
        for fault in faults:
            yield Check("bad", "server", f"{address}: {fault}")
        if not faults:
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


def _failed(address: str, key: str) -> Iterator[str]:
    """Which instances of a server failed, and why, as far as it says.

    The reason is what a request to the instance is answered with. Instances that work and are not on that machine are
    not asked, because that may cost something.
    """
    configured = _ask(f"{address}/api/v1/list_bindings", key).get("binding_instances")
    active = _ask(f"{address}/api/v1/list_active_bindings", key).get("bindings")
    defaults = _ask(f"{address}/api/v1/get_default_bindings", key).get("defaults")
    if not isinstance(configured, dict) or not isinstance(active, dict) or not isinstance(defaults, dict):
        return
    names = [*configured, *({defaults.get("ttt_binding")} - {None, *configured})]
    for name in names:
        about = active.get(name)
        if isinstance(about, dict) and about.get("type") != LOCAL:
            continue
        question = {"input_data": [_HELLO], "binding_name": name, "parameters": {"max_tokens": 1}}
        said = _ask(f"{address}/api/v1/generate", key, question)
        if reason := said.get("detail"):
            yield f"the instance {name} failed: {str(reason)[:_REASON]}"


def _ask(url: str, key: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a route answers, also where it is an error; {} for nothing that can be read."""
    method, content = ("GET", b"") if body is None else ("POST", msgspec.json.encode(body))
    try:
        return msgspec.json.decode(request(method, url, key=key, body=content).body, type=dict[str, Any])
    except (LollmsError, msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
