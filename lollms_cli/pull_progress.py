"""How far a transfer is: a bar for people, a line per ten percent for logs, nothing with `--quiet`."""

from __future__ import annotations

from lollms_cli.output import Output
from lollms_cli.progress import Bar, Lines, Shown
from lollms_runtime.models.part_file import in_bytes

__all__ = ["progress_of"]

_UNKNOWN_STEP = 100_000_000  # bytes for which a line is written when the size of the file is not known


def progress_of(output: Output, name: str, *, terminal: bool) -> Shown:
    """What shows the progress of a file in bytes: on a terminal a bar, elsewhere lines; nothing if output is quiet."""
    if output.quiet:
        return Shown()
    if not terminal:
        return Lines(output, name, _stage, _words)
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    words = TextColumn("{task.description}", markup=False)
    return Bar(output, name, (words, BarColumn(bar_width=None), DownloadColumn(), Speed(), TimeRemainingColumn()))


def _stage(done: int, total: int | None) -> int:
    return done * 10 // total if total else done // _UNKNOWN_STEP


def _words(done: int, total: int | None) -> str:
    return f"{_stage(done, total) * 10} % of {in_bytes(total)}" if total else in_bytes(done)
