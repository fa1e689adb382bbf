"""The user's keys for providers, kept in one private file beside the key for servers of this machine.

The file is JSON, `{"openai": "..."}`, 0600, and replaced as a whole: whoever reads it sees the old keys or the new
ones. Two processes that save at once take turns. A key stands in no error and in no `repr` of anything made here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from lollms_core.errors import ConfigError, InvalidRequest, StorageError
from lollms_runtime.files import open_to_others, private_dir, read_text_strict, write_atomic
from lollms_runtime.keys import key_file
from lollms_runtime.os_lock import try_lock

__all__ = ["provider_key", "provider_key_names", "provider_keys_file", "remove_provider_key", "save_provider_key"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_LONGEST_KEY = 4096
_MAX_BYTES = 1_000_000
_PATIENCE, _PAUSE = 5.0, 0.02  # seconds


def provider_keys_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where the keys are kept, whether there are any or not. Raises `ConfigError` where there is no home folder."""
    path = _path(environ)
    if path is None:
        raise ConfigError(
            "There is no home folder to keep keys in. Name a folder with LOLLMS_HOME, or give the key in the "
            "provider's own environment variable (such as OPENAI_API_KEY)."
        )
    return path


def provider_key(name: str, environ: Mapping[str, str] | None = None) -> str:
    """The key that was saved for a provider; "" when there is none.

    Raises `ConfigError` when others can read the file or it is damaged, `StorageError` when we cannot read it.
    """
    path = _path(environ)
    return "" if path is None else _read(path).get(_tidy(name), "")


def provider_key_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """The providers for which a key is kept, in order. Raises what `provider_key` raises."""
    path = _path(environ)
    return [] if path is None else sorted(_read(path))


def save_provider_key(name: str, key: str, environ: Mapping[str, str] | None = None) -> Path:
    """Keep a provider's key, in the place of an older one; returns the file.

    Raises `InvalidRequest` for what cannot be a name or a key, `ConfigError` without a home folder or where the file
    is damaged or open to others, `StorageError` when it cannot be written.
    """
    name, key = _tidy(name), key.strip()
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "The name of a provider has letters, digits, dots, hyphens and underscores, at most 64, such as openai."
        )
    if not key:
        raise InvalidRequest("The key is empty. Nothing was saved.")
    if not _is_key(key):
        raise InvalidRequest(
            f"This is not a key: a key is one line of at most {_LONGEST_KEY} ASCII characters without blanks. "
            "Nothing was saved."
        )
    path = provider_keys_file(environ)
    with _alone(path):
        _write(path, {**_read(path), name: key})
    return path


def remove_provider_key(name: str, environ: Mapping[str, str] | None = None) -> bool:
    """Forget a provider's key; True when there was one. Raises what `save_provider_key` raises."""
    path = _path(environ)
    if path is None or _tidy(name) not in _read(path):
        return False
    with _alone(path):
        left = _read(path)
        found = left.pop(_tidy(name), None)
        _write(path, left)
    return found is not None


def _path(environ: Mapping[str, str] | None) -> Path | None:
    beside = key_file(environ)
    return None if beside is None else beside.with_name("provider_keys.json")


def _tidy(name: str) -> str:
    return name.strip().lower()


def _read(path: Path) -> dict[str, str]:
    import msgspec

    try:
        if not path.is_file():
            return {}
    except OSError:  # a path too long or a folder that may not be searched holds no key of ours
        return {}
    if others := open_to_others(path):
        raise ConfigError(
            f"{path} holds your keys for providers and is not used, because {others} it. Run: chmod 600 '{path}'. "
            "If somebody else has an account here, make new keys as well."
        )
    try:
        keys = msgspec.json.decode(read_text_strict(path, _MAX_BYTES), type=dict[str, str])
    except (msgspec.DecodeError, RecursionError):
        keys = {"": ""}
    if not all(name and _is_key(key) for name, key in keys.items()):
        raise ConfigError(
            f'{path} does not hold keys as JSON ({{"provider": "key"}}). Correct it, or delete it and set the keys '
            "again with: lollms keys set PROVIDER"
        )
    return keys


def _is_key(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_KEY and text.isascii() and text.isprintable() and " " not in text


def _write(path: Path, keys: Mapping[str, str]) -> None:
    write_atomic(path, json.dumps(dict(sorted(keys.items())), indent=1) + "\n")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process changes the keys in this block. Raises `StorageError` when one does not get on."""
    private_dir(path.parent)
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror}.") from error
    try:
        deadline = time.monotonic() + _PATIENCE
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise StorageError(f"Another process is writing {path} and does not end. Try again.")
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)
