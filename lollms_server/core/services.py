"""What the routes work with: one object, made with the application and alive as long as it."""

from __future__ import annotations

from dataclasses import dataclass

from lollms_server.core.binding_manager import BindingManager
from lollms_server.core.config import LoadedConfig
from lollms_server.core.delivery import Patience
from lollms_server.core.requests import Registry
from lollms_server.core.scheduler import Scheduler

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running server. `version` is the program's."""

    loaded: LoadedConfig
    manager: BindingManager
    scheduler: Scheduler
    registry: Registry
    patience: Patience
    version: str
