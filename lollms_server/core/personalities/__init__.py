"""Personalities: folders with a configuration, and for some of them a script that answers in the model's place."""

from lollms_server.core.personalities.config import PersonalityConfig
from lollms_server.core.personalities.manager import PersonalityManager
from lollms_server.core.personalities.personality import Personality

__all__ = ["Personality", "PersonalityConfig", "PersonalityManager"]
