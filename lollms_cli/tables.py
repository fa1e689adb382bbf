"""Lists that a command prints: a table for people, lines with tabs for programs, or JSON.

On a terminal the columns are aligned and have headings. In a pipe or a file every row is one line, its fields parted
by tabs, without headings, so that `cut`, `awk` and `while read` work. What a server says is data from outside: no
field can break a line or reach the terminal as a command.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lollms_cli.output import Output, one_line

__all__ = ["as_json", "as_table", "say_problems"]

_MIN_WIDTH = 40


def as_table(output: Output, headings: Sequence[str], rows: Iterable[Sequence[object]], nothing: str) -> None:
    """Print rows on standard output; `nothing` is a sentence for standard error when there are none."""
    fields = [[_field(value) for value in row] for row in rows]
    if not fields:
        output.note(nothing)
    elif output.on_terminal:
        output.answer(_aligned(headings, fields, shutil.get_terminal_size().columns))
    else:
        for row in fields:
            output.line("\t".join(row))


def as_json(output: Output, said: Mapping[str, Any]) -> None:
    """Print what a server said, indented, in ASCII: for programs, whatever the locale."""
    output.line(json.dumps(said, indent=2))


def say_problems(output: Output, problems: object) -> None:
    """One line on standard error for each thing that could not be loaded, with the reason."""
    for each in problems if isinstance(problems, list) else []:
        if not isinstance(each, Mapping):
            continue
        file, line = each.get("file") or "", each.get("line")
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        words = f"{each.get('name', '')}: {place}{each.get('reason', '')}"
        output.message(f"lollms: problem: {one_line(words)}")


def _field(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return one_line(", ".join(str(each) for each in value)) or "-"
    return one_line(str(value)) or "-"


def _aligned(headings: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(Text(heading.upper()), overflow="fold")
    for row in rows:
        table.add_row(*(Text(field) for field in row))
    written = io.StringIO()
    console = Console(
        file=written, width=max(width, _MIN_WIDTH), color_system=None, force_terminal=False, emoji=False, markup=False
    )
    console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())
