"""What `lollms doctor` says of the server's configuration: everything that a start would find out, without a start.

The server starts with an instance that cannot be loaded and serves the others, so a valid main configuration alone says
little. Here each instance of `bindings_map` is read as the server would read it: its type, its file against the card
of the type, and for local models whether the file of the model is there. Of the types that come with the server the
binding is made, which checks the rest of its settings and contacts nobody; no code of others is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lollms_cli.findings import LOCAL, Check
from lollms_core.errors import ConfigError, LollmsError, MissingDependency

if TYPE_CHECKING:
    from lollms_runtime.yaml_file import YamlFile
    from lollms_server.core.bindings.instances import Card, Instance
    from lollms_server.core.config import LoadedConfig

__all__ = ["check_configuration"]


def check_configuration(folder: Path | None) -> Iterator[Check]:
    """Whether the server would start with its configuration, and every instance with it."""
    from lollms_cli.serve import config_folder

    place = config_folder(folder).absolute()
    if not any(place.glob("main_config.*")):
        yield Check("note", "configuration", f"none in {place} yet; `lollms serve` writes a first one")
        return
    try:
        from lollms_server.core.config import load_config
    except ImportError as error:
        if (error.name or "").startswith("lollms"):
            raise
        yield Check("note", "configuration", f"{place} was not read: lollms install server")
        return
    from lollms_runtime.yaml_file import load_yaml

    loaded = load_config(place)
    yield Check("ok", "configuration", f"{place} is valid")
    for notice in loaded.notices:
        if "bindings_map" not in notice:  # said below, as the fault that it is
            yield Check("note", "configuration", notice)
    document = load_yaml(loaded.file)
    yield from _defaults(loaded, document)
    yield from _instances(loaded, document)


def _defaults(loaded: LoadedConfig, document: YamlFile) -> Iterator[Check]:
    """Whether a request that names no instance gets one. That the defaults are in bindings_map is seen in loading."""
    config = loaded.config
    if not config.bindings_map:
        sentence = "names no instance, so this server can generate nothing."
        yield Check("bad", "bindings_map", document.place(("bindings_map",), sentence))
    elif config.defaults.ttt_binding is None:
        sentence = "is not set, so each request for text must name its instance."
        yield Check("note", "defaults", document.place(("defaults", "ttt_binding"), sentence))


def _instances(loaded: LoadedConfig, document: YamlFile) -> Iterator[Check]:
    """Every instance: its type, its file, its model."""
    from lollms_server.core.bindings.manager import SHIPPED, discover

    folders = loaded.folders
    places = [SHIPPED, *(f for f in (folders.example_bindings, folders.bindings) if f is not None and f != SHIPPED)]
    cards, problems = discover(places)
    for problem in problems:
        yield from _faults(f"binding folder {problem.name}", problem.told)
    for name, kind in loaded.config.bindings_map.items():
        subject = f"instance {name}"
        card = cards.get(kind)
        if card is None:
            sentence = f"there is no binding type {kind}; there are: {', '.join(sorted(cards))}."
            yield Check("bad", subject, document.place(("bindings_map", name), sentence))
            continue
        try:
            yield from _instance(subject, name, card, loaded)
        except LollmsError as error:
            yield from _faults(subject, error.message)


def _instance(subject: str, name: str, card: Card, loaded: LoadedConfig) -> Iterator[Check]:
    from lollms_cli.bindings_made import check_made
    from lollms_runtime.third_party import missing_requirements
    from lollms_server.core.bindings.instances import find_instance_file, load_instance
    from lollms_server.core.bindings.manager import SHIPPED

    instance = load_instance(find_instance_file(loaded.folders.instances, name), card, loaded.scrubber)
    for notice in instance.notices:
        yield Check("bad" if "is not a setting" in notice else "note", subject, notice)
    shipped = card.folder.parent == SHIPPED
    if not shipped and (lacking := missing_requirements(card.requirements)):
        yield Check("bad", subject, f"{card.type_name} needs packages that are not installed: {', '.join(lacking)}")
    if shipped and card.type_name == LOCAL:
        yield _local_model(subject, instance, loaded.folders.models)
        return
    try:
        check_made(card, instance, loaded)
    except MissingDependency as error:
        yield Check("note", subject, error.message)
    except ConfigError as error:
        raise ConfigError(f"{instance.file}: {error.message}") from error
    yield Check("ok", subject, f"{instance.file} is a valid instance of {card.type_name}")


def _local_model(subject: str, instance: Instance, models: Path) -> Check:
    """Whether the model of an instance is there and looks like one. Raises `LollmsError`."""
    from lollms_runtime.models import check_gguf, find_model

    try:
        from lollms_server.zoos.bindings.llamacpp_binding.settings import settings_of
    except ImportError as error:
        raise MissingDependency(f"the package {error.name!r} is missing: lollms install llamacpp") from error
    settings: Mapping[str, object] = instance.settings
    try:
        model = find_model(str(settings.get("default_model")), models)
    except LollmsError as error:
        raise ConfigError(f"{instance.file}: default_model: {error.message}") from error
    check_gguf(model)
    settings_of(instance.settings, models)
    return Check("ok", subject, f"{instance.file} is valid, its model is {model}")


def _faults(subject: str, message: str) -> Iterator[Check]:
    """One finding for each line of an error."""
    for line in message.splitlines():
        yield Check("bad", subject, line)
