"""Bindings that can be listed without a server: those of the library, and what a configuration names.

Nothing is contacted and no code of a binding that is not ours is run.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from lollms_core.errors import LollmsError

__all__ = ["configured", "library_bindings"]


def library_bindings() -> dict[str, Any]:
    """The bindings of the library by name: `title`, `description`, its usual address, and whether a key is kept."""
    from lollms_client.lollms_llm_binding import LollmsLLMBindingManager

    own = set(LollmsLLMBindingManager.get_bindings_list())
    found = {}
    for described in LollmsLLMBindingManager("llm_bindings").get_binding_descriptions():
        name, told = described["binding_name"], described["input_parameters"]
        defaults = {parameter["name"]: parameter.get("default") for parameter in told}
        found[name] = {
            "title": described["title"],
            "description": described["description"],
            "key": _key_state(name) if any(each["is_secret"] for each in told) else "none",
            "address": defaults.get("host_address") or (_usual_address(name) if name in own else None),
        }
    return {"bindings": found}


def _usual_address(name: str) -> str | None:
    """The address that the class of one of our bindings has, where its `description.yaml` names none."""
    from lollms_client.http_binding import HttpBinding

    module = importlib.import_module(f"lollms_client.llm_bindings.{name}")
    for each in vars(module).values():
        if inspect.isclass(each) and issubclass(each, HttpBinding) and each.__module__ == module.__name__:
            return each.default_address or None
    return None


def _key_state(name: str) -> str:
    """Whether a key is kept for a binding; a file of keys that cannot be used is said elsewhere."""
    from lollms_runtime.provider_keys import provider_key_names

    try:
        return "kept" if name in provider_key_names() else "-"
    except LollmsError:
        return "-"


def configured(config_dir: Path | None) -> dict[str, Any]:
    """The types and instances of a configuration, and what is wrong with them. Raises `ConfigError`."""
    from lollms_cli.bindings_add import configuration
    from lollms_server.core.bindings.discovery import SHIPPED, discover
    from lollms_server.core.bindings.instances import find_instance_file, load_instance

    loaded = configuration(config_dir)
    folders, defaults = loaded.folders, loaded.config.defaults.model_dump()
    places = [SHIPPED, *(f for f in (folders.example_bindings, folders.bindings) if f is not None and f != SHIPPED)]
    cards, faults = discover(places)
    problems = [{"name": fault.name, "reason": fault.told} for fault in faults]
    instances: dict[str, Any] = {}
    for name, kind in loaded.config.bindings_map.items():
        shown: dict[str, Any] = {"type": kind, "state": "configured"}
        try:
            if kind not in cards:
                raise LollmsError(f"there is no binding type {kind}.")
            read = load_instance(find_instance_file(folders.instances, name), cards[kind], loaded.scrubber)
            shown = {**read.public, **shown}
        except LollmsError as error:
            shown["state"] = "faulty"
            problems.append({"name": name, "reason": error.message})
        uses = [key.removesuffix("_binding") for key, chosen in defaults.items() if chosen == name]
        instances[name] = {**shown, "default_for": uses}
    types = {
        name: {
            "display_name": card.display_name,
            "version": card.version,
            "in": list(card.supported_input_modalities),
            "out": list(card.supported_output_modalities),
        }
        for name, card in cards.items()
    }
    return {"binding_types": types, "binding_instances": instances, "problems": problems}
