"""What counts as growth: the quiet moments after the warm-up are compared with the first of them.

A server under load has as many tasks and descriptors as it has callers, so only moments count in which nobody calls.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["COUNTS", "MEMORY_MB", "Moment", "Sample", "judge", "moments", "slope"]

COUNTS = ("descriptors", "threads", "tasks", "children")
MEMORY_MB = 3.0
"""How much memory may differ from the first quiet moment to the last: what an allocator keeps for itself varies."""
_STEADY = 5
_STEADY_MB = 1.0


@dataclass(frozen=True)
class Sample:
    """The server at one second. Memory in MB: `memory` is what belongs to the process alone and to no file.

    `quiet` is the number of the quiet moment, 0 while there is load. `kept` are idle connections to backends, which
    are not among `descriptors`; `callers` are connections of callers, which are.
    """

    second: float
    quiet: int
    memory: float
    rss: float
    pss: float
    descriptors: int
    kept: int
    callers: int
    threads: int
    tasks: int
    children: int


@dataclass(frozen=True)
class Moment:
    """One quiet moment: the middle of its memory, and the least of each count, which a late visitor does not spoil."""

    second: float
    memory: float
    kept: int
    descriptors: int
    threads: int
    tasks: int
    children: int


def moments(samples: Sequence[Sample], warm_up: float = 0.0) -> list[Moment]:
    """The quiet moments after `warm_up` seconds, in order."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.quiet and sample.second >= warm_up:
            found.setdefault(sample.quiet, []).append(sample)
    return [_moment(group) for _, group in sorted(found.items())]


def _moment(group: list[Sample]) -> Moment:
    least = {name: min(getattr(sample, name) for sample in group) for name in (*COUNTS, "kept")}
    return Moment(group[0].second, statistics.median(sample.memory for sample in group), **least)


def slope(quiet: Sequence[Moment]) -> float:
    """Memory in MB per minute: the middle of the slopes of all pairs, which single odd moments do not move."""
    pairs = itertools.combinations(quiet, 2)
    return statistics.median(60 * (b.memory - a.memory) / (b.second - a.second) for a, b in pairs)


def judge(samples: Sequence[Sample], warm_up: float, *, most_kept: int) -> list[str]:
    """A sentence for each thing that grew. `most_kept` idle connections to backends are no growth.

    Raises `ValueError` if fewer than two quiet moments follow the warm-up.
    """
    quiet = moments(samples, warm_up)
    if len(quiet) < 2:
        raise ValueError(f"only {len(quiet)} quiet moments after the warm-up: nothing can be compared")
    first, last = quiet[0], quiet[-1]
    minutes = (last.second - first.second) / 60
    said = [
        f"{name} grew from {getattr(first, name)} to {getattr(last, name)} in {minutes:.1f} minutes"
        for name in COUNTS
        if getattr(last, name) > getattr(first, name)
    ]
    if last.kept > most_kept:
        said.append(f"{last.kept} idle connections to backends are kept, more than there ever were at once")
    return said + _memory(quiet, minutes)


def _memory(quiet: list[Moment], minutes: float) -> list[str]:
    grown, trend = quiet[-1].memory - quiet[0].memory, slope(quiet)
    told = f"memory went from {quiet[0].memory:.1f} to {quiet[-1].memory:.1f} MB in {minutes:.1f} minutes"
    if grown > MEMORY_MB:
        return [f"{told}: more than {MEMORY_MB:g} MB"]
    if trend * minutes > MEMORY_MB:
        return [f"{told}, with a slope of {trend:.2f} MB a minute"]
    rises = all(after.memory > before.memory for before, after in itertools.pairwise(quiet))
    if rises and len(quiet) >= _STEADY and grown > _STEADY_MB:
        return [f"{told}, and rose at each quiet moment"]
    return []
