"""What a soak leaves behind: a table for programs, a plot and a page for people."""

from __future__ import annotations

import csv
import dataclasses
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.judge import COUNTS, MEMORY_MB, Sample, moments, slope

__all__ = ["Done", "text_of", "write", "write_csv"]

_PANELS = ("memory", *COUNTS)
_BLUE, _RED, _GREY = "#2b6cb0", "#c53030", "#e2e8f0"


@dataclass(frozen=True)
class Done:
    """A soak that is over: its samples, the seconds of warm-up, what callers did, and what is wrong."""

    samples: Sequence[Sample]
    warm_up: float
    tally: Counter[str]
    wrong: list[str]
    seed: int


def write_csv(done: Done, file: Path) -> None:
    """All samples."""
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(field.name for field in dataclasses.fields(Sample))
        table.writerows(dataclasses.astuple(sample) for sample in done.samples)


def text_of(done: Done) -> str:
    """The page: the verdict, the quiet moments, what callers did."""
    seconds = done.samples[-1].second if done.samples else 0.0
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        "# The soak",
        "",
        f"`make soak`: {time.strftime('%Y-%m-%d')}, {machine}, {seconds / 60:.1f} minutes, seed {done.seed}.",
        "The plot is [soak.svg](soak.svg). Red points are the quiet moments, in which nobody calls: they are compared",
        f"with the first one after the warm-up ({done.warm_up:.0f} s). Counts may not grow at all, memory (private",
        f"pages of the server's process, without its engine) by at most {MEMORY_MB:g} MB and without a steady slope.",
        "",
        "**Nothing grew, and nothing was wrong.**" if not done.wrong else "**Wrong:**",
        *(f"- {sentence}" for sentence in done.wrong),
        "",
    ]
    return "\n".join([*lines, *_moments(done), *_tally(done.tally)])


def _moments(done: Done) -> list[str]:
    quiet = moments(done.samples)
    if not quiet:
        return []
    lines = ["| quiet at | memory, MB | descriptors | threads | tasks | children | idle to backends |"]
    lines.append("|---|---|---|---|---|---|---|")
    for each in quiet:
        counts = " | ".join(str(getattr(each, name)) for name in (*COUNTS, "kept"))
        note = " (warm-up)" if each.second < done.warm_up else ""
        lines.append(f"| {each.second:.0f} s{note} | {each.memory:.1f} | {counts} |")
    judged = moments(done.samples, done.warm_up)
    if len(judged) > 1:
        lines += ["", f"Slope of the memory after the warm-up: {slope(judged):+.2f} MB a minute."]
    busy = [sample for sample in done.samples if not sample.quiet]
    if busy:
        most = {name: max(getattr(sample, name) for sample in busy) for name in ("memory", "callers", *COUNTS)}
        said = ", ".join(f"{value:.0f} {'MB' if name == 'memory' else name}" for name, value in most.items())
        lines.append(f"The most under load: {said}.")
    return [*lines, ""]


def _tally(tally: Counter[str]) -> list[str]:
    whos: dict[str, list[str]] = {}
    for name, count in sorted(tally.items()):
        who, _, ended = name.partition(".")
        whos.setdefault(who, []).append(f"{ended} {count}" if ended else str(count))
    lines = [f"What {sum(tally.values())} visits came to, by kind of caller:", ""]
    return [*lines, *(f"- `{who}`: {', '.join(ends)}" for who, ends in whos.items()), ""]


def write(done: Done, folder: Path) -> None:
    """Replace the page and the plot."""
    (folder / "SOAK.md").write_text(text_of(done), encoding="utf-8")
    plot(done, folder / "soak.svg")


def plot(done: Done, file: Path) -> None:
    """One panel for each of the five things that may not grow; the kind of picture is that of the file's ending."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "soak"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(_PANELS), 1, figsize=(9, 10), sharex=True, layout="constrained")
    minutes = [sample.second / 60 for sample in done.samples]
    quiet = moments(done.samples)
    for name, panel in zip(_PANELS, panels, strict=True):
        panel.plot(minutes, [getattr(sample, name) for sample in done.samples], color=_BLUE, linewidth=0.8)
        panel.plot([each.second / 60 for each in quiet], [getattr(each, name) for each in quiet], "o", color=_RED)
        panel.axvspan(0, done.warm_up / 60, color=_GREY)
        panel.set_ylabel("memory, MB" if name == "memory" else name)
        panel.set_ylim(bottom=0)
    panels[0].set_title("The server in the soak: each second (blue), quiet moments (red), warm-up (grey)")
    panels[-1].set_xlabel("minutes")
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
