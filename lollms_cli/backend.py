"""Who answers a prompt: the named server, else a running local one whose key we have, else the embedded engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lollms_cli.address import base_url, default_port
from lollms_cli.server_calls import Health, health
from lollms_core.errors import AuthFailed, KeyMissing, LollmsError, ModelNotFound, NotFound, Refused, UnknownModel

__all__ = ["Backend", "choose_backend", "in_words_of_the_command", "server_address", "server_key"]

_NANO = "lollms-nano"


class Backend(NamedTuple):
    """`sentence` says which one it is; `arguments` are those of `LollmsClient`."""

    sentence: str
    arguments: dict[str, Any]

    @property
    def is_server(self) -> bool:
        """Whether it is a lollms server, and not an engine of this process."""
        return bool(self.arguments.get("binding_name") == "lollms")


def choose_backend(host: str | None, model: str | None) -> Backend:
    """Choose, in the order above.

    Raises `KeyMissing` (a named server, no key), `InvalidRequest` (a bad address) and `ModelNotFound` (a path that
    leads to no model file).
    """
    address = server_address(host)
    if address is not None:
        return _server(address, server_key(address), model)
    if model and _is_model_file(model):
        return _embedded(model)
    if model and _is_path(model):
        raise _no_such_file(model)
    address = f"http://127.0.0.1:{default_port()}"
    found = health(address)
    if found is None:
        asked_for = os.environ.get("LOLLMS_PORT", "").strip()
        return _embedded(model, f"no lollms server answers at {address} (LOLLMS_PORT); " if asked_for else "")
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


def in_words_of_the_command(error: LollmsError, backend: Backend) -> LollmsError:
    """An error of the library, which speaks of a constructor's arguments, in words for whoever typed a command."""
    if not backend.is_server:
        return error
    address, model = backend.arguments["host_address"], backend.arguments["model_name"]
    if isinstance(error, Refused):
        return Refused(
            f"No lollms server answers at {address}. Start one there with `lollms serve`, or name a running one with "
            "--host or LOLLMS_HOST."
        )
    if isinstance(error, AuthFailed) and error.status in (401, 403):
        return AuthFailed(_key_words(address, backend.arguments["service_key"]), status=error.status)
    if isinstance(error, NotFound) and (path := urlsplit(address).path):
        return NotFound(
            f"{address}/api/v1/generate was asked, and there is nothing. An address is only host:port or "
            f"scheme://host:port; leave out {path}, unless a proxy has lollms under it."
        )
    if isinstance(error, UnknownModel) and model and _looks_like_a_file(model):
        return UnknownModel(f"There is no file {model} here, and the server at {address} says: {error}")
    return error


def _key_words(address: str, key: str | None) -> str:
    from lollms_runtime.keys import key_file

    if not key:
        return f"The server at {address} needs a key. Set it with: export LOLLMS_API_KEY=..."
    if os.environ.get("LOLLMS_API_KEY", "").strip():
        return f"The server at {address} refuses the key of LOLLMS_API_KEY. Set the right one there, or unset it."
    return f"The server at {address} refuses the key of {key_file()}. Set the right one with: export LOLLMS_API_KEY=..."


def _known_key(address: str) -> str:
    from lollms_runtime.keys import key_for

    return key_for(address)


def _is_model_file(model: str) -> bool:
    try:
        return model.lower().endswith(".gguf") and Path(model).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _is_path(model: str) -> bool:
    """Whether the text can only be meant as a path of this machine; `org/model` may be a name that a server knows."""
    slashed = "/" in model or os.sep in model
    return slashed and (model.startswith(("/", "./", "../", "~")) or model.lower().endswith(".gguf"))


def _looks_like_a_file(model: str) -> bool:
    return "/" in model or os.sep in model or model.lower().endswith(".gguf")


def _no_such_file(model: str) -> ModelNotFound:
    shown = model if len(model) <= 300 else model[:300] + "..."
    try:
        there = Path(model).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        there = False
    if there:
        return ModelNotFound(f"{shown} is not the file of a model: it must be a file whose name ends with .gguf.")
    return ModelNotFound(f"There is no file {shown}. Give -m the path of a GGUF file that exists.")


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
    if name != _NANO and not _is_model_file(name) and _looks_like_a_file(name):
        raise _no_such_file(name)
    about = " (a smoke-test model; `lollms doctor` says how to get a real one)" if name == _NANO else ""
    path = str(Path(name).expanduser()) if _is_model_file(name) else name
    return Backend(
        f"{reason}using the embedded engine with {name}{about}", {"binding_name": "pythonllamacpp", "model_name": path}
    )
