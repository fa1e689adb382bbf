"""The user's own key for servers on this machine, kept in one private file.

A first start of the server writes it, the command line and the Python client read it. It goes only to loopback
addresses: a key that is sent because it happened to lie there must never leave the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lollms_core.errors import ConfigError
from lollms_core.safety.hosts import is_loopback, parse_address
from lollms_runtime.files import open_to_others, private_dir, read_text_strict, write_atomic

__all__ = ["forget", "key_file", "key_for", "remember_key", "stored_key"]

_VARIABLE = "LOLLMS_API_KEY"
_MAX_BYTES = 4096


def key_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where the user's key is kept: in LOLLMS_HOME, else in the user's configuration folder; None without a home."""
    env = os.environ if environ is None else environ
    if own := env.get("LOLLMS_HOME"):
        return Path(own) / "api_key"
    places = [env.get("XDG_CONFIG_HOME"), env.get("APPDATA") if os.name == "nt" else None]
    if home := env.get("HOME") or env.get("USERPROFILE"):
        places.append(os.path.join(home, ".config"))
    for place in places:
        if place and os.path.isabs(place):
            return Path(place) / "lollms" / "api_key"
    return None


def stored_key(environ: Mapping[str, str] | None = None) -> str:
    """The key in the user's key file; "" when there is none.

    Raises ConfigError when other users can read the file, and StorageError when we cannot.
    """
    path = key_file(environ)
    try:
        if path is None or not path.is_file():
            return ""
    except OSError:  # a path too long or a folder that may not be searched holds no key of ours
        return ""
    if others := open_to_others(path):
        raise ConfigError(
            f"{path} holds your API key and is not used, because {others} it. Run: chmod 600 '{path}'. "
            "If somebody else has an account here, make a new key as well."
        )
    key = read_text_strict(path, _MAX_BYTES).strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{path} does not hold one API key on one line. Delete it or correct it.")
    return key


def _is_this_machine(host_address: str) -> bool:
    try:
        return is_loopback(parse_address(host_address).host)
    except ValueError:
        return False


def key_for(host_address: str, explicit: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """The key to send to a server: `explicit`, else LOLLMS_API_KEY, else for this machine the user's key file.

    `host_address` is a host, host:port or URL. Returns "" when there is none. Raises ConfigError when the key file
    is readable by other users.
    """
    if explicit:
        return explicit
    env = os.environ if environ is None else environ
    if from_environment := env.get(_VARIABLE, "").strip():
        return from_environment
    return stored_key(env) if _is_this_machine(host_address) else ""


def remember_key(key: str, environ: Mapping[str, str] | None = None, *, replace: bool = True) -> Path | None:
    """Keep a key in the user's key file (0600) and return its path; None where there is no home folder.

    Without `replace` an existing file stays, and FileExistsError is raised. Raises StorageError.
    """
    path = key_file(environ)
    if path is None:
        return None
    private_dir(path.parent)
    write_atomic(path, f"{key}\n", exclusive=not replace)
    return path


def forget(environ: Mapping[str, str] | None = None) -> bool:
    """Delete the user's key file; True when there was one."""
    path = key_file(environ)
    if path is None:
        return False
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
