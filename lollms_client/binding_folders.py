"""Folders that hold bindings: where they are looked for, what a binding's `description.yaml` says, and who may write.

A binding is a folder with an `__init__.py`. It is code that runs with the rights of the user, so one that everybody can
write is refused, with the folder it lies in. Nothing here imports a binding, and a description never shows a secret.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lollms_core.errors import ConfigError, StorageError, UnknownBinding

__all__ = [
    "bindings_in",
    "check_writers",
    "described",
    "described_defaults",
    "missing_folder",
    "secret_names",
    "user_folders",
]

DESCRIPTION = "description.yaml"
_VARIABLE = "LOLLMS_BINDINGS_DIR"


def bindings_in(folder: Path) -> dict[str, Path]:
    """The binding folders in a folder, by name; none when it cannot be read. Names are looked up here, never joined."""
    try:
        found = [each for each in folder.iterdir() if os.path.isfile(each / "__init__.py")]
    except OSError:
        return {}
    return {each.name: each for each in found if not each.name.startswith(("_", "."))}


def user_folders(environ: Mapping[str, str] | None = None) -> list[Path]:
    """The user's own folders of bindings: LOLLMS_BINDINGS_DIR, and `llm_bindings` beside the user's key file."""
    from lollms_runtime.keys import key_file

    env = os.environ if environ is None else environ
    folders = []
    if named := env.get(_VARIABLE):
        folders.append(Path(named).expanduser().absolute())
    if (key := key_file(env)) is not None:
        folders.append(key.parent / "llm_bindings")
    return folders


def missing_folder(environ: Mapping[str, str] | None = None) -> str:
    """A sentence, with a blank in front, for the error of a binding that is not found: LOLLMS_BINDINGS_DIR names no
    folder. "" where it does, or is not set.
    """
    named = (os.environ if environ is None else environ).get(_VARIABLE)
    if not named or Path(named).expanduser().is_dir():
        return ""
    return f" {_VARIABLE} names {named}, and there is no such folder."


def check_writers(folder: Path) -> None:
    """Raises `UnknownBinding` when everybody can write the folder a binding lies in, its folders, or its code.

    Who can write a folder can put code into it; so all of them count, and `__pycache__`, from which Python takes what
    is compiled already, with them.
    """
    from lollms_runtime.files import open_to_others
    from lollms_runtime.third_party import places_of_code

    try:
        for place in (folder.parent, folder, *places_of_code(folder)):
            if open_to_others(place) == "everybody can write":
                raise UnknownBinding(
                    f"{place}: everybody can write here, so the binding {folder.name!r} is not run. "
                    f"Run: chmod o-w '{place}'",
                    param="binding_name",
                )
    except (OSError, StorageError) as error:
        raise UnknownBinding(f"The LLM binding in {folder} cannot be read: {error}", param="binding_name") from error


def described(folder: Path) -> dict[str, Any]:
    """What a binding's `description.yaml` says of it, with what is missing filled in.

    `binding_name`, `title`, `author`, `creation_date`, `last_update_date`, `description`, and `input_parameters`, each
    with `name`, `type`, `description`, `mandatory`, `default` and `is_secret`; whatever else stands there is kept. With
    `dialect`, the name of a row of the table of dialects, the parameters that all providers of that protocol have need
    not be listed. The default of a secret is left empty. When the file is missing or cannot be used, everything is
    filled in; why is logged.
    """
    values = _read(folder)
    parameters = _parameters(folder, values.get("input_parameters")) if values else _usual_parameters()
    rest = {name: value for name, value in values.items() if name != "input_parameters" and value is not None}
    fallback = {
        "binding_name": folder.name,
        "title": folder.name,
        "author": "Unknown",
        "creation_date": "N/A",
        "last_update_date": "N/A",
        "description": f"The binding {folder.name}; nothing more is known of it.",
    }
    shown = {name: _without_secrets(value) for name, value in rest.items()}
    return {**fallback, **shown, "binding_name": folder.name, "input_parameters": _without_secrets(parameters)}


def described_defaults(folder: Path) -> dict[str, Any]:
    """The defaults that a binding's `description.yaml` gives its `input_parameters`, by name; secrets have none."""
    parameters = _parameters(folder, _read(folder).get("input_parameters"))
    return {each["name"]: each["default"] for each in parameters if each["default"] is not None and not _secret(each)}


def secret_names(folder: Path) -> frozenset[str]:
    """The names of the parameters that a binding's `description.yaml` marks as secret."""
    parameters = _parameters(folder, _read(folder).get("input_parameters"))
    return frozenset(each["name"] for each in parameters if each["is_secret"])


def _read(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION
    if not file.is_file():
        return {}
    from lollms_runtime.yaml_file import load_yaml

    try:
        values = load_yaml(file).values
    except ConfigError as error:
        _warn("The description of the LLM binding %r is not used. %s", folder.name, error.message)
        return {}
    if "dialect" not in values:
        return values
    from lollms_client.provider_parameters import completed

    return completed(values)


def _parameters(folder: Path, given: object) -> list[dict[str, Any]]:
    """The parameters of a list in a description; what is none is left out."""
    if given is None:
        return []
    entries = given if isinstance(given, list) else [given]
    usable = [each for each in entries if isinstance(each, dict) and isinstance(each.get("name"), str)]
    if len(usable) < len(entries) or entries is not given:
        _warn("%s: input_parameters must be a list of entries that have a name.", folder / DESCRIPTION)
    usual = {"type": "str", "description": "", "mandatory": False, "default": None, "is_secret": False}
    return [{**usual, **each} for each in usable]


def _usual_parameters() -> list[dict[str, Any]]:
    usual = {"type": "str", "description": "", "mandatory": False, "default": ""}
    names = ("model_name", "host_address", "models_path", "service_key")
    return [{"name": name, **usual, "is_secret": name == "service_key"} for name in names]


def _without_secrets(value: Any) -> Any:
    """A list of parameters without the defaults of the secret ones; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [{**each, "default": ""} if isinstance(each, dict) and _secret(each) else each for each in value]


def _secret(parameter: Mapping[str, Any]) -> bool:
    return bool(parameter.get("is_secret")) and "default" in parameter


def _warn(words: str, *values: object) -> None:
    logging.getLogger("lollms_client").warning(words, *values)
