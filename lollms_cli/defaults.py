"""The model that is used when a command names none: LOLLMS_MODEL, else the one that `lollms models default` keeps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from lollms_core.errors import ConfigError, InvalidRequest

__all__ = ["YOUR_DEFAULT", "Default", "default_model", "defaults_file", "keep_default", "stored_default"]

YOUR_DEFAULT = "your default"
"""Where a model comes from that `lollms models default` keeps."""

_MAX_BYTES = 100_000
_LONGEST = 1000


class Default(NamedTuple):
    """A model and the binding it belongs to, "" for none; `source` says in a word or two where it comes from."""

    model: str = ""
    binding: str = ""
    source: str = ""


def default_model() -> Default:
    """What to use when nothing is named. Raises `ConfigError` for a file that is damaged, `StorageError`."""
    if name := os.environ.get("LOLLMS_MODEL", "").strip():
        return Default(name, "", "LOLLMS_MODEL")
    return stored_default()


def stored_default() -> Default:
    """What is kept in the user's file. Raises as `default_model` does."""
    import msgspec

    from lollms_runtime.files import read_text_strict

    path = defaults_file()
    try:
        if path is None or not path.is_file():
            return Default()
    except OSError:  # a folder that may not be searched keeps nothing of ours
        return Default()
    try:
        kept = msgspec.json.decode(read_text_strict(path, _MAX_BYTES), type=dict[str, str])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be understood: {error}. Set the model again with: lollms models default NAME"
        ) from error
    return Default(kept.get("model", ""), kept.get("binding", ""), YOUR_DEFAULT)


def keep_default(model: str, binding: str = "") -> Path:
    """Keep a model as the default; "" for both forgets it. Returns the file.

    Raises `InvalidRequest`, `ConfigError` without a home folder, and `StorageError`.
    """
    import json

    from lollms_runtime.files import private_dir, write_atomic

    if len(model) > _LONGEST or not model.isprintable() or model != model.strip():
        raise InvalidRequest(f"The name of a model is one line of at most {_LONGEST} characters.")
    path = defaults_file()
    if path is None:
        raise ConfigError(
            "There is no home folder to keep the default in. Name a folder with LOLLMS_HOME, or set LOLLMS_MODEL."
        )
    private_dir(path.parent)
    kept = {name: value for name, value in (("model", model), ("binding", binding)) if value}
    write_atomic(path, json.dumps(kept) + "\n")
    return path


def defaults_file() -> Path | None:
    """Where the default is kept; None without a home folder."""
    from lollms_runtime.keys import key_file

    beside = key_file()
    return None if beside is None else beside.with_name("command_line.json")
