"""Cards of binding types and the files of their instances.

A card is the `binding_card.yaml` of a binding folder; its `instance_schema` says what an instance may be configured
with. An instance file is found by listing the instances' folder: a name is compared with what is there and never made
into a path. An instance hands its binding the declared settings only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from lollms_core.config.schema import SchemaPath, Section, parse_schema, public_view, suggestion, validate
from lollms_core.errors import ConfigError, NotFound
from lollms_runtime.files import open_to_others
from lollms_runtime.secrets import Scrubber
from lollms_runtime.yaml_file import YamlFile, load_yaml

__all__ = [
    "CARD_NAME",
    "Card",
    "Instance",
    "InstanceFiles",
    "find_instance_file",
    "load_card",
    "load_instance",
    "text_digest",
]

CARD_NAME = "binding_card.yaml"
_OWN_FIELDS = ("type", "binding_instance_name")
_READABLE = (".yaml", ".yml")
_OTHER_FORMATS = (".toml", ".json", ".db", ".sqlite", ".sqlite3")
_ENCRYPTED = "gAAAA"
_MAX_TEXT = 20_000
_MAX_LIST = 200


@dataclass(frozen=True)
class Card:
    """What a binding type says about itself; `folder` is where its code lies, `digest` a hash of the card's text."""

    type_name: str
    display_name: str
    version: str
    author: str
    description: str
    requirements: tuple[str, ...]
    supports_streaming: bool
    documentation_url: str | None
    supported_input_modalities: tuple[str, ...]
    supported_output_modalities: tuple[str, ...]
    schema: Section
    folder: Path
    file: Path
    digest: str


@dataclass(frozen=True)
class Instance:
    """A configured instance: its settings with defaults, and which of them are secret.

    `settings` holds everything the schema declares, and always `type` and `binding_instance_name`. `repr` shows only
    what may be shown.
    """

    name: str
    type: str
    settings: dict[str, Any] = field(repr=False)
    secret_paths: frozenset[SchemaPath]
    public: Mapping[str, Any]
    file: Path
    notices: tuple[str, ...] = ()


def _text(document: YamlFile, name: str, default: str = "") -> str:
    value = document.values.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise document.error((name,), f"must be text of at most {_MAX_TEXT} characters.")
    return value


def _texts(document: YamlFile, name: str) -> tuple[str, ...]:
    value = document.values.get(name) or []
    if not isinstance(value, list) or len(value) > _MAX_LIST or not all(isinstance(item, str) for item in value):
        raise document.error((name,), f"must be a list of at most {_MAX_LIST} texts.")
    return tuple(value)


def load_card(folder: Path) -> Card:
    """Read the card of a binding folder. Raises ConfigError with file, line and field."""
    document = load_yaml(folder / CARD_NAME)
    type_name = _text(document, "type_name")
    if not type_name.isidentifier() or len(type_name) > 128:
        raise document.error(("type_name",), "must be given: a name of letters, digits and '_', such as my_binding.")
    raw = document.values.get("instance_schema")
    if not isinstance(raw, dict):
        raise document.error(("instance_schema",), "must be given: a mapping of setting names to their types.")
    try:
        schema = parse_schema(raw)
    except ConfigError as error:
        place, _, sentence = error.message.partition(": ")
        raise document.error(_nearest(document, place), sentence) from error
    streaming = document.values.get("supports_streaming", False)
    if not isinstance(streaming, bool):
        raise document.error(("supports_streaming",), "must be true or false.")
    url = document.values.get("documentation_url")
    return Card(
        type_name=type_name,
        display_name=_text(document, "display_name", type_name),
        version=_text(document, "version"),
        author=_text(document, "author"),
        description=_text(document, "description"),
        requirements=_texts(document, "requirements"),
        supports_streaming=streaming,
        documentation_url=url if isinstance(url, str) else None,
        supported_input_modalities=_texts(document, "supported_input_modalities"),
        supported_output_modalities=_texts(document, "supported_output_modalities"),
        schema=schema,
        folder=folder,
        file=folder / CARD_NAME,
        digest=text_digest(document.text),
    )


def text_digest(text: str) -> str:
    """The hash by which an unchanged card is known."""
    return hashlib.sha256(text.encode()).hexdigest()


def _nearest(document: YamlFile, dotted: str) -> tuple[str | int, ...]:
    """The path of a schema error, cut back to what is written in the file when it is not."""
    path: tuple[str | int, ...] = tuple(part for part in dotted.split(".") if part)
    while path and path not in document.lines:
        path = path[:-1]
    return path


class InstanceFiles:
    """The files in the folder of the instances, listed once for many names, when the first is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, list[str]] | None = None  # of the files, by their names without extension

    def find(self, name: str) -> Path:
        """The file of an instance: the one whose name without extension is `name`.

        Raises NotFound when there is none, and ConfigError for two of them or a format this version does not read.
        """
        folder = self._folder
        if self._names is None:
            self._names = _listed(folder)
        entries = [folder / each for each in self._names.get(name, ())]
        found = [entry for entry in entries if entry.suffix in _READABLE]
        if len(found) > 1:
            raise ConfigError(f"{found[0]}: the instance is described twice, also in {found[1].name}; keep one file.")
        if found:
            return found[0]
        if other := [entry for entry in entries if entry.suffix in _OTHER_FORMATS]:
            raise ConfigError(f"{other[0]}: this version reads YAML only. Convert the file to YAML.")
        raise NotFound(
            f"There is no file {name}.yaml in {folder}. Create it, or take the instance out of bindings_map."
        )


def _listed(folder: Path) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    try:
        for entry in sorted(os.listdir(folder)):
            listed.setdefault(PurePath(entry).stem, []).append(entry)
    except OSError as error:
        raise ConfigError(f"{folder}: the folder of the instances cannot be read: {error.strerror}.") from error
    return listed


def find_instance_file(folder: Path, name: str) -> Path:
    """The file of one instance; see `InstanceFiles.find`."""
    return InstanceFiles(folder).find(name)


def load_instance(path: Path, card: Card, scrubber: Scrubber | None = None) -> Instance:
    """Read and check an instance file against the schema of its binding's card.

    The values of secret settings become known to `scrubber`, also when the file turns out to be wrong. Raises
    ConfigError with file, line and field, and never with a value.
    """
    for place in (path.parent, path):
        if open_to_others(place) == "everybody can write":
            raise ConfigError(
                f"{place}: everybody can write here, and an instance names the program and the server that are used. "
                f"Run: chmod o-w '{place}'"
            )
    document = load_yaml(path)
    if document.text.lstrip().startswith(_ENCRYPTED):
        raise document.error((), "the file is encrypted, and this version cannot read encrypted settings.")
    result = validate(card.schema, document.values)
    if scrubber is not None:
        scrubber.add(*(value for secret in result.secrets for value in _texts_at(document.values, secret)))
    wrong = [
        document.place((name,), "the value is encrypted, and this version cannot read encrypted settings.")
        for name, value in document.values.items()
        if isinstance(value, str) and value.startswith(_ENCRYPTED)
    ]
    if wrong := wrong or [document.place(place, sentence) for place, sentence in result.errors]:
        raise ConfigError("\n".join(wrong))
    for own, expected in zip(_OWN_FIELDS, (card.type_name, path.stem), strict=True):
        if document.values.get(own, expected) != expected:
            raise document.error((own,), f"must be {expected}, as in bindings_map and in the name of the file.")
    for name, value in result.values.items():
        if isinstance(value, str) and _holds_more_than_a_place(value):
            raise document.error(
                (name,), "must be a plain address: no user name, no '?' and no '#'. A key has a setting of its own."
            )
    own_values = {"type": card.type_name, "binding_instance_name": path.stem}
    return Instance(
        name=path.stem,
        type=card.type_name,
        settings={**result.values, **own_values},
        secret_paths=result.secrets,
        public={**public_view(card.schema, result.values), **own_values},
        file=path,
        notices=tuple(_notices(document, card, result.unknown, path, bool(result.secrets))),
    )


def _holds_more_than_a_place(text: str) -> bool:
    """Whether a text is an address with a part that may hold a key; addresses are shown in listings and logs."""
    if not text.startswith(("http://", "https://")):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return True
    return "@" in parts.netloc or bool(parts.query or parts.fragment)


def _texts_at(values: Any, path: SchemaPath) -> list[str]:
    """The texts that stand at a path, also inside a list or mapping there."""
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list):
        return [text for item in values for text in _texts_at(item, ())]
    return [] if values is None or isinstance(values, bool) else [str(values)]


def _notices(document: YamlFile, card: Card, unknown: tuple[SchemaPath, ...], path: Path, secrets: bool) -> list[str]:
    notices = []
    for place in unknown:
        if place[-1] not in _OWN_FIELDS or len(place) > 1:
            hint = suggestion(place[-1], list(card.schema.fields))
            notices.append(document.place(place, f"is not a setting of {card.type_name} and is left out.{hint}"))
    if secrets and (others := open_to_others(path)):
        notices.append(f"{path}: {others} this. Run: chmod 0600 '{path}'")
    return notices
