"""Who answers a prompt: the named server, else a running local one whose key we have, else the embedded engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from lollms_cli.address import base_url, default_port
from lollms_cli.server_calls import Health, health
from lollms_core.errors import KeyMissing

__all__ = ["Backend", "choose_backend", "server_address", "server_key"]

_NANO = "lollms-nano"


class Backend(NamedTuple):
    """`sentence` says which one it is; `arguments` are those of `LollmsClient`."""

    sentence: str
    arguments: dict[str, Any]


def choose_backend(host: str | None, model: str | None) -> Backend:
    """Choose, in the order above. Raises `KeyMissing` (a named server, no key) and `InvalidRequest` (a bad address)."""
    address = server_address(host)
    if address is not None:
        return _server(address, server_key(address), model)
    if model and _is_model_file(model):
        return _embedded(model)
    address = f"http://127.0.0.1:{default_port()}"
    found = health(address)
    if found is None:
        return _embedded(model)
    key = _known_key(address)
    if not key and found.api_key_required:
        return _embedded(model, f"a server runs at {address}, but LOLLMS_API_KEY holds no key for it; ")
    return _server(address, key, model)


def server_address(host: str | None) -> str | None:
    """The base URL of the server named by `--host` or `LOLLMS_HOST`; None where neither names one."""
    named = host or os.environ.get("LOLLMS_HOST", "")
    return base_url(named) if named.strip() else None


def server_key(address: str) -> str:
    """The key for a server that was named. Raises `KeyMissing` where there is none and the server wants one."""
    key = _known_key(address)
    if key:
        return key
    found: Health | None = health(address)
    if found is not None and not found.api_key_required:
        return ""
    raise KeyMissing(
        f"The server at {address} needs a key, and none is known here. Set it with: export LOLLMS_API_KEY=... "
        "(the server shows its key when it first starts)."
    )


def _known_key(address: str) -> str:
    from lollms_runtime.keys import key_for

    return key_for(address)


def _is_model_file(model: str) -> bool:
    try:
        return model.lower().endswith(".gguf") and Path(model).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _server(address: str, key: str, model: str | None) -> Backend:
    arguments = {
        "binding_name": "lollms",
        "host_address": address,
        "service_key": key or None,
        "model_name": model or "",
    }
    return Backend(f"using the server at {address}", arguments)


def _embedded(model: str | None, reason: str = "") -> Backend:
    name = model or _NANO
    about = " (a smoke-test model; `lollms doctor` says how to get a real one)" if name == _NANO else ""
    path = str(Path(name).expanduser()) if _is_model_file(name) else name
    return Backend(
        f"{reason}using the embedded engine with {name}{about}", {"binding_name": "pythonllamacpp", "model_name": path}
    )
