"""What the routes work with: one object, made with the application and alive as long as it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from lollms_runtime.alarm import Alarm
from lollms_server.core.bindings.manager import BindingManager
from lollms_server.core.config import LoadedConfig
from lollms_server.core.functions import FunctionManager
from lollms_server.core.personalities import PersonalityManager
from lollms_server.core.reloading import Reloader
from lollms_server.core.requests import Registry
from lollms_server.core.scheduler import Scheduler

__all__ = ["Patience", "Services"]


class Patience(msgspec.Struct, frozen=True):
    """Seconds: before a caller's leaving is watched for, of silence before a comment, of not reading before a drop."""

    watch_after: float = 0.05
    silence: float = 15.0
    stalled: float = 60.0


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running server. `version` is the program's; `alarm` serves the many short waits of requests."""

    loaded: LoadedConfig
    manager: BindingManager
    personalities: PersonalityManager
    functions: FunctionManager
    scheduler: Scheduler
    registry: Registry
    reloader: Reloader
    patience: Patience
    version: str
    alarm: Alarm = field(default_factory=Alarm)
