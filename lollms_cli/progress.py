"""How far something is that takes its time: a bar for people, a few lines for logs, nothing with `--quiet`.

What is counted is up to who counts: bytes of a transfer (`lollms_cli.pull_progress`), or steps of a longer work.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lollms_cli.output import Output, one_line

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

__all__ = ["Bar", "Lines", "Shown", "can_draw", "show_step", "steps_of"]

_PER_SECOND = 10
_WIDE = 60  # columns from which there is room for the time


class Shown:
    """Shows nothing. `update` gets how much is done and how much there is, None if nobody said."""

    def __enter__(self) -> Shown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def update(self, done: int, total: int | None) -> None:
        """How far it is."""

    def step(self, words: str) -> None:
        """What is done now, for people who watch."""

    def say(self, sentence: str, about: str = "") -> None:
        """A remark in between; `about` names what it is about, where that is not all of the work."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the block runs, the terminal is free for something else."""
        yield

    def end(self) -> None:
        """Leave the terminal as it was; may be called twice."""


class Lines(Shown):
    """A line when what `stage` makes of done and total has changed; `words` makes the line of the same two."""

    def __init__(
        self,
        output: Output,
        name: str,
        stage: Callable[[int, int | None], int],
        words: Callable[[int, int | None], str],
    ) -> None:
        self._output = output
        self._name = name
        self._stage = stage
        self._words = words
        self._last: int | None = None
        self._ended = False

    @override
    def update(self, done: int, total: int | None) -> None:
        stage = self._stage(done, total)
        if self._last is not None and stage != self._last and not self._ended:
            self._output.note(f"{self._name}: {self._words(done, total)}")
        self._last = stage

    @override
    def say(self, sentence: str, about: str = "") -> None:
        name = f"lollms: {about}" if about else self._name
        self._output.note(f"{name}: {one_line(sentence)}")

    @override
    def end(self) -> None:
        self._ended = True  # the answer comes now, and nothing may stand in its midst


class Bar(Shown):
    """A bar on standard error; a `passing` one is taken away at its end."""

    def __init__(self, output: Output, name: str, columns: Sequence[ProgressColumn], *, passing: bool = False) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._output = output
        self._bar: Progress = Progress(
            *columns,
            console=Console(stderr=True, emoji=False, markup=False, highlight=False),
            refresh_per_second=_PER_SECOND,
            transient=passing,
            expand=True,
        )
        self._task: TaskID = self._bar.add_task(one_line(name), total=None)
        self._drawn = False
        self._is_away = False

    @override
    def __enter__(self) -> Shown:
        self._drawn = True
        self._bar.start()
        return self

    @override
    def update(self, done: int, total: int | None) -> None:
        self._come_back()
        self._bar.update(self._task, completed=done, total=total)

    @override
    def step(self, words: str) -> None:
        self._come_back()
        self._bar.update(self._task, description=one_line(words))

    @override
    def say(self, sentence: str, about: str = "") -> None:
        line = one_line(f"{about}: {sentence}" if about else sentence)
        if self._drawn:
            self._bar.console.print(line, soft_wrap=True)
        else:
            self._output.note(line)

    @override
    @contextmanager
    def away(self) -> Iterator[None]:
        drawn = self._drawn or self._is_away
        self.end()
        yield
        self._is_away = drawn  # until there is something new to show

    @override
    def end(self) -> None:
        self._drawn = self._is_away = False
        self._bar.stop()

    def _come_back(self) -> None:
        if self._is_away:
            self._is_away = False
            self.__enter__()


def can_draw() -> bool:
    """Whether somebody looks at standard error, on a terminal that can draw."""
    try:
        return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def steps_of(output: Output, name: str) -> Shown:
    """What shows the progress of work on a text: on a terminal a bar that goes at the end, elsewhere lines.

    Nothing where the output is quiet.
    """
    if output.quiet:
        return Shown()
    if not can_draw():
        return Lines(output, f"lollms: {name}", _quarters, lambda done, total: f"{_quarters(done, total) * 25} %")
    from shutil import get_terminal_size

    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    width = get_terminal_size().columns
    fitting = Column(no_wrap=True, overflow="ellipsis", max_width=width * 2 // 3)
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False, table_column=fitting)]
    columns += [BarColumn(bar_width=None), TaskProgressColumn()]
    return Bar(output, name, [*columns, TimeElapsedColumn()] if width >= _WIDE else columns, passing=True)


def _quarters(done: int, total: int | None) -> int:
    return done * 4 // total if total else 0


def show_step(progress: Shown, kind: str, words: str, params: Mapping[str, Any], about: str = "") -> None:
    """Show an event that is no part of an answer, as a streaming callback gets it; `kind` is without `MSG_TYPE_`.

    Steps of the work move the bar; progress of another kind, such as a model that is being loaded, is only named.
    `about` is what a remark is about, where that is not all of the work.
    """
    if kind.startswith("STEP"):
        fraction = params.get("fraction")
        if "id" in params and isinstance(fraction, (int, float)):
            progress.update(round(fraction * 1000), 1000)
        progress.step(words)
    elif kind == "INFO" and params.get("position"):
        progress.say(f"waiting, {params['position']} before you")
    elif kind == "INFO" and "kind" in params:
        progress.step(words)
    elif kind in ("INFO", "WARNING"):
        progress.say(words, about)
