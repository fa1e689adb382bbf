"""How far a transfer is: a bar for people, a line per ten percent for logs, nothing with `--quiet`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import override

from lollms_cli.output import Output, one_line
from lollms_runtime.models.part_file import in_bytes

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Shown", "progress_of"]

_UNKNOWN_STEP = 100_000_000  # bytes for which a line is written when the size of the file is not known
_PER_SECOND = 10


class Shown:
    """Shows nothing. `update` gets the bytes that are here and those of the whole file, None if nobody said."""

    def __enter__(self) -> Shown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def update(self, done: int, total: int | None) -> None:
        """How far it is."""

    def say(self, sentence: str) -> None:
        """A remark in between."""

    def end(self) -> None:
        """Leave the terminal as it was; may be called twice."""


class _Lines(Shown):
    """A line for each ten percent that is new."""

    def __init__(self, output: Output, name: str) -> None:
        self._output = output
        self._name = name
        self._last: int | None = None

    @override
    def update(self, done: int, total: int | None) -> None:
        step = done * 10 // total if total else done // _UNKNOWN_STEP
        if self._last is not None and step != self._last:
            of = f"{step * 10} % of {in_bytes(total)}" if total else f"{in_bytes(done)}"
            self._output.note(f"{self._name}: {of}")
        self._last = step

    @override
    def say(self, sentence: str) -> None:
        self._output.note(f"{self._name}: {one_line(sentence)}")


class _Bar(Shown):
    """A bar on standard error."""

    def __init__(self, output: Output, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Speed

        self._output = output
        self._bar: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            Speed(),
            TimeRemainingColumn(),
            console=Console(stderr=True, emoji=False, markup=False, highlight=False),
            refresh_per_second=_PER_SECOND,
            expand=True,
        )
        self._task: TaskID = self._bar.add_task(one_line(name), total=None)

    @override
    def __enter__(self) -> Shown:
        self._bar.start()
        return self

    @override
    def update(self, done: int, total: int | None) -> None:
        self._bar.update(self._task, completed=done, total=total)

    @override
    def say(self, sentence: str) -> None:
        self._bar.console.print(one_line(sentence), soft_wrap=True)

    @override
    def end(self) -> None:
        self._bar.stop()


def progress_of(output: Output, name: str, *, terminal: bool) -> Shown:
    """What shows the progress of a file: on a terminal a bar, elsewhere lines; nothing if the output is quiet."""
    if output.quiet:
        return Shown()
    return _Bar(output, name) if terminal else _Lines(output, name)
