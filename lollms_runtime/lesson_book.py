"""The lessons of a binding: what each of its models has refused so far. Kept in memory, for as long as the binding."""

from __future__ import annotations

import threading

import msgspec

from lollms_core.protocols.base import Target
from lollms_core.protocols.lessons import Lesson

__all__ = ["LessonBook"]

_MOST_MODELS = 1000


class LessonBook:
    """Lessons by address and model. Any thread may read and write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[Lesson, ...]] = {}

    def known(self, target: Target, model: str) -> tuple[Lesson, ...]:
        """What was learned about a model."""
        return self._known.get((target.base_url, model or target.model), ()) if self._known else ()

    def told(self, target: Target, model: str) -> Target:
        """The target with what was learned about a model."""
        known = self.known(target, model)
        return msgspec.structs.replace(target, lessons=known) if known else target

    def learn(self, target: Target, model: str, lesson: Lesson) -> None:
        """Remember a lesson."""
        at = (target.base_url, model or target.model)
        with self._lock:
            if len(self._known) >= _MOST_MODELS and at not in self._known:
                self._known = {}  # names of models may come from callers
            if lesson not in (known := self._known.get(at, ())):
                self._known = {**self._known, at: (*known, lesson)}

    def forget(self, target: Target, model: str, lesson: Lesson) -> None:
        """Take a lesson back that has not helped."""
        at = (target.base_url, model or target.model)
        with self._lock:
            left = tuple(each for each in self._known.get(at, ()) if each != lesson)
            self._known = {**self._known, at: left}
