"""Function managers over files that a test writes, without a server."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from lollms_server.core.config import LoadedConfig, load_config
from lollms_server.core.functions import FunctionManager
from lollms_server.core.functions.files import Probe

__all__ = ["configured", "manager_of", "untried", "write_functions"]


async def untried(path: Path) -> None:
    """A probe that lets everything pass, for tests that are not about it."""


def write_functions(folder: Path, **files: str) -> Path:
    """Write `<name>.py` files into the user's folder of functions below `folder`."""
    place = folder / "personal_functions"
    place.mkdir(exist_ok=True)
    for name, text in files.items():
        (place / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return place


def configured(folder: Path, **limits: int) -> LoadedConfig:
    """A configuration in `folder`."""
    place = folder / "lollms_configs"
    (place / "bindings").mkdir(parents=True, mode=0o700, exist_ok=True)
    place.chmod(0o700)
    main = place / "main_config.yaml"
    main.write_text(json.dumps({"security": {"allowed_api_keys": []}, "limits": limits}, indent=1), encoding="utf-8")
    main.chmod(0o600)
    return load_config(place, environ={})


async def manager_of(folder: Path, *, probe: Probe = untried, limits: dict[str, int] | None = None) -> FunctionManager:
    """A manager that has loaded what lies in `folder`, and the shipped functions."""
    manager = FunctionManager(configured(folder, **(limits or {})), probe=probe)
    await manager.start()
    await manager.settled()
    return manager
