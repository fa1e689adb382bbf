"""What could not be loaded and why, in a form that may be shown: a name, a sentence, and the place in a file."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lollms_core.errors import LollmsError

__all__ = ["Problem", "ReloadReport", "problem_of"]

_PLACE = re.compile(r"(?P<file>[^\s:][^:\n]*):(?P<line>\d+): (?P<reason>.*)", re.DOTALL)
_FILE = re.compile(r"(?P<file>(?:[A-Za-z]:)?[/\\][^:\n]*?)(?:: (?P<reason>.*)|(?P<rest> could not be .*))", re.DOTALL)
_MAX_REASON = 1000


@dataclass(frozen=True)
class Problem:
    """Something that could not be loaded: its name and a sentence; `file` is a name without folders, `line` counts
    from 1."""

    name: str
    reason: str
    file: str = ""
    line: int | None = None

    @property
    def told(self) -> str:
        """The sentence with its place in front."""
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return place + self.reason

    def __str__(self) -> str:
        return f"{self.name}: {self.told}"


@dataclass(frozen=True)
class ReloadReport:
    """What a reload did: names that are new or changed and now serve, names that stay as they were, and what failed.

    A name whose new version failed stands in `failed`, and in `kept` too if its old version goes on.
    """

    loaded: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: list[Problem] = field(default_factory=list)

    def __add__(self, other: ReloadReport) -> ReloadReport:
        return ReloadReport(self.loaded + other.loaded, self.kept + other.kept, self.failed + other.failed)


def problem_of(name: str, error: BaseException, folder: Path | None = None) -> Problem:
    """The problem that an exception describes, with the place where it arose.

    Errors of ours begin with `file:line:` where they know it; a syntax error carries its place; of any other exception
    it is the last line of its traceback inside `folder`.
    """
    if isinstance(error, LollmsError):
        found = _PLACE.match(error.message) or _FILE.match(error.message)
        if found is None:
            return Problem(name, _short(error.message))
        parts = found.groupdict()
        line, reason = parts.get("line"), parts["reason"] or f"It{parts.get('rest')}"
        return Problem(name, _short(reason), Path(found["file"]).name, int(line) if line else None)
    reason = _short(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    if isinstance(error, SyntaxError) and error.filename:
        return Problem(name, _short(f"SyntaxError: {error.msg}"), Path(error.filename).name, error.lineno)
    for frame in _inside(traceback.extract_tb(error.__traceback__), folder):
        return Problem(name, reason, Path(frame.filename).name, frame.lineno)
    return Problem(name, reason)


def _inside(frames: Iterable[traceback.FrameSummary], folder: Path | None) -> list[traceback.FrameSummary]:
    """The frames in files of the folder, the innermost first."""
    if folder is None:
        return []
    root = folder.resolve()
    return [frame for frame in reversed(list(frames)) if Path(frame.filename).resolve().is_relative_to(root)]


def _short(text: str) -> str:
    text = "; ".join(text.splitlines())
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 1] + "…"
