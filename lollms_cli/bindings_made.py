"""Whether an instance of a type that comes with the server can be made of its settings, found out without a server.

What a card cannot say is checked by the constructors: that an address is one, that a provider is known, that a model is
named. None of them contacts anybody or starts anything. The code of others is never imported here.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING

from lollms_core.errors import ConfigError, LollmsError, MissingDependency

if TYPE_CHECKING:
    from lollms_server.core.bindings import Binding
    from lollms_server.core.bindings.instances import Card, Instance
    from lollms_server.core.config import LoadedConfig

__all__ = ["check_made"]

_HIDDEN = "•••"
_SHOWN = 16  # characters; keys are longer


def check_made(card: Card, instance: Instance, loaded: LoadedConfig) -> None:
    """Make the binding of an instance and let it go; one of a type that is not ours is taken as it is.

    Raises `ConfigError` in the words of the constructor, and `MissingDependency` for a package that is not installed.
    """
    from lollms_server.core.bindings import Surroundings
    from lollms_server.core.bindings.discovery import SHIPPED
    from lollms_server.core.bindings.engine import EngineBinding
    from lollms_server.core.resource_manager import ResourceManager

    if card.folder.parent != SHIPPED:
        return
    try:
        made = _class_of(card)
        binding = made(dict(instance.settings), ResourceManager(loaded.config.resource_manager.model_dump()))
        if isinstance(binding, EngineBinding):  # its settings are read when its engine is made, which starts nothing
            binding.make_engine(Surroundings(loaded.folders.models))
    except MissingDependency:
        raise
    except LollmsError as error:
        raise ConfigError(loaded.scrubber.clean(_without_keys(error.message, instance))) from error


def _class_of(card: Card) -> type[Binding]:
    """The class of a type that comes with the server. Raises `MissingDependency`."""
    from lollms_server.core.bindings import Binding

    try:
        module = importlib.import_module(f"lollms_server.zoos.bindings.{card.folder.name}")
    except ImportError as error:
        if (error.name or "").startswith("lollms"):
            raise
        raise MissingDependency(
            f"{card.type_name} needs the package {error.name!r}, which is not installed."
        ) from error
    found: list[type[Binding]] = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Binding) and each.binding_type_name == card.type_name
    ]
    if not found:
        raise ConfigError(f"{card.folder} has no class for the type {card.type_name}.")
    return found[0]


def _without_keys(words: str, instance: Instance) -> str:
    """Words in which no setting is repeated that may be a key, typed into the wrong place."""
    for name, value in instance.settings.items():
        if not isinstance(value, str) or name in ("type", "binding_instance_name", "default_model"):
            continue
        if "@" in value or (len(value) > _SHOWN and "/" not in value):
            words = words.replace(value, _HIDDEN).replace(value.rstrip("/"), _HIDDEN)
    return words
