"""Who answers: the named binding or server, else a running local one whose key we have, else the embedded engine.

The model is that of `-m`, else LOLLMS_MODEL, else the default that `lollms models default` keeps. A default belongs to
the binding it was chosen with, and the file of a model is of no use to a server that was named.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lollms_cli.address import base_url, default_port
from lollms_cli.defaults import YOUR_DEFAULT, Default, default_model
from lollms_cli.server_calls import Health, health, named_or_local
from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    KeyMissing,
    LollmsError,
    ModelNotFound,
    NotFound,
    Refused,
    UnknownBinding,
    UnknownModel,
)

__all__ = [
    "Backend",
    "check_binding",
    "choose_backend",
    "in_words_of_the_command",
    "is_on_this_machine",
    "server_address",
    "server_key",
]

_NANO = "lollms-nano"
_ENGINES = ("pythonllamacpp", "llamacpp")


class Backend(NamedTuple):
    """`sentence` says which one it is; `arguments` are those of `LollmsClient`.

    `by_default` is the default that chose its model or its binding, if one did.
    """

    sentence: str
    arguments: dict[str, Any]
    by_default: Default = Default()

    @property
    def brief(self) -> str:
        """Who answers, in a few words: for narrow terminals."""
        model = self.arguments.get("model_name")
        if self.is_engine:
            return f"{Path(str(model)).name} on this machine"
        return self.sentence.removeprefix("using ")

    @property
    def place(self) -> str:
        """Whose models it has: the sentence without what it says of a model."""
        if self.is_engine:
            return "models of this machine"
        where = self.arguments.get("host_address")
        return f"models of {where if self.is_server else self.arguments['binding_name']}"

    @property
    def is_engine(self) -> bool:
        """Whether a model runs on this machine for this command alone."""
        return self.arguments.get("binding_name") in _ENGINES

    @property
    def is_server(self) -> bool:
        """Whether it is a lollms server, and not an engine of this process."""
        return bool(self.arguments.get("binding_name") == "lollms")


def choose_backend(host: str | None, model: str | None, binding: str | None = None) -> Backend:
    """Choose, in the order above; a model of "" is none, and asks for no default.

    Raises `KeyMissing` (a named server, no key), `InvalidRequest` (a bad address), `ModelNotFound` (a path that leads
    to no model file), `UnknownBinding`, and `ConfigError` where the kept default cannot be read.
    """
    default = default_model() if model is None else Default()
    used = Default(source=default.source)
    if default.binding and binding is None and server_address(host) is None:
        binding = default.binding
        used = used._replace(binding=binding)
    if default.model and _fits(default, host, binding):
        model = default.model
        used = used._replace(model=model)
    try:
        chosen = _named(binding, host, model) if binding else _found(host, model)
    except LollmsError as error:
        raise _with_default(error, used) from error
    if used.model:
        chosen = chosen._replace(sentence=f"{chosen.sentence}, model {model} ({used.source})")
    return chosen._replace(by_default=used)


def check_binding(name: str) -> None:
    """Raises `UnknownBinding` where there is no client binding of that name."""
    from lollms_client.lollms_llm_binding import LollmsLLMBindingManager

    there = LollmsLLMBindingManager("llm_bindings").get_available_bindings()
    if name in there:
        return
    from lollms_client.binding_folders import missing_folder

    near = difflib.get_close_matches(name, there, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UnknownBinding(f"There is no binding {name!r}. {hint}There are: {', '.join(there)}.{missing_folder()}")


def _fits(default: Default, host: str | None, binding: str | None) -> bool:
    """Whether a default model is meant for who answers."""
    if binding is not None and default.binding and default.binding != binding:
        return False
    if binding is not None and not default.binding and default.source != "LOLLMS_MODEL":
        return False
    return server_address(host) is None or not _is_model_file(default.model)


def _named(binding: str, host: str | None, model: str | None) -> Backend:
    check_binding(binding)
    if binding == "lollms":
        address = named_or_local(host)
        return _server(address, server_key(address), model)
    if binding in _ENGINES:
        if host:
            raise InvalidRequest(f"The binding {binding} runs models on this machine: leave --host out.")
        chosen = _embedded(model)
        return Backend(
            chosen.sentence.replace("the embedded engine", f"the binding {binding}"),
            {**chosen.arguments, "binding_name": binding},
        )
    where = f" at {host.rpartition('@')[2]}" if host else ""  # before an @ there may be a password
    arguments = {"binding_name": binding, "host_address": host or None, "model_name": model or ""}
    return Backend(f"using the binding {binding}{where}", arguments)


def _found(host: str | None, model: str | None) -> Backend:
    """Choose where no binding was named."""
    address = server_address(host)
    if address is not None:
        return _server(address, server_key(address), model)
    if model and _is_here(model):
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
        return _embedded(model, f"a server runs at {address}, but no key for it is known here (LOLLMS_API_KEY); ")
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
    """An error of the library, which speaks of a constructor's arguments, in words for whoever typed a command.

    Where a default may be what is wrong, it is named, and how to be rid of it.
    """
    return _with_default(_in_words(error, backend), backend.by_default)


def _with_default(error: LollmsError, used: Default) -> LollmsError:
    """The error; one that the default may have caused says so."""
    caused = isinstance(error, UnknownModel) and used.model
    if not caused and not (isinstance(error, (UnknownBinding, Refused, KeyMissing)) and used.binding):
        return error
    name = used.model if caused else used.binding
    undo = "lollms models default --unset" if used.source == YOUR_DEFAULT else f"unset {used.source}"
    source = "your default" if used.source == YOUR_DEFAULT else f"the default of {used.source}"
    return type(error)(f"{error} {name} is {source}; to have none any more: {undo}", status=error.status)


def _in_words(error: LollmsError, backend: Backend) -> LollmsError:
    if not backend.is_server:
        return _of_binding(error, str(backend.arguments.get("binding_name", "")))
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
    if isinstance(error, UnknownModel) and model and _is_other_file(model):
        return UnknownModel(
            f"{model} here is not the file of a model (*.gguf), and the server at {address} says: {error}"
        )
    if isinstance(error, UnknownModel) and model and _looks_like_a_file(model):
        return UnknownModel(f"There is no file {model} here, and the server at {address} says: {error}")
    return error


def _of_binding(error: LollmsError, binding: str) -> LollmsError:
    """An error of a named binding; where a key is wanted, how to keep one."""
    if isinstance(error, (AuthFailed, KeyMissing)) and binding not in _ENGINES and "keys set" not in str(error):
        return type(error)(f"{error} Keep the right key with: lollms keys set {binding}", status=error.status)
    if isinstance(error, Refused):
        return Refused(str(error).replace("as host_address", "with --host"))
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


def _is_here(model: str) -> bool:
    """Whether the model is a file of this machine, by its path or by the name under which it was pulled."""
    if _is_model_file(model):
        return True
    from lollms_runtime.models import find_pulled

    return find_pulled(model) is not None


def is_on_this_machine(model: str) -> bool:
    """Whether the embedded engine can run the model: the one that comes along, a file, or one that was pulled."""
    return model == _NANO or _is_here(model)


def _is_path(model: str) -> bool:
    """Whether the text can only be meant as a path of this machine; `org/model` may be a name that a server knows."""
    slashed = "/" in model or os.sep in model
    return slashed and (model.startswith(("/", "./", "../", "~")) or model.lower().endswith(".gguf"))


def _looks_like_a_file(model: str) -> bool:
    return "/" in model or os.sep in model or model.lower().endswith(".gguf")


def _is_other_file(model: str) -> bool:
    """Whether the text is the path of a file that is no model."""
    try:
        return not model.lower().endswith(".gguf") and Path(model).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


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
    if name != _NANO and not _is_here(name) and _looks_like_a_file(name):
        raise _no_such_file(name)
    about = " (a smoke-test model; `lollms doctor` says how to get a real one)" if name == _NANO else ""
    path = str(Path(name).expanduser()) if _is_model_file(name) else name
    return Backend(
        f"{reason}using the embedded engine with {name}{about}", {"binding_name": "pythonllamacpp", "model_name": path}
    )
