"""How much of the machine other programs took while something was timed by the wall clock."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import psutil

from benchmarks.table import Row

ALLOWED = 0.2  # of the cores
_TICKS = os.sysconf("SC_CLK_TCK")


class Others:
    """The share of all cores that went to processes which are neither this one nor started by it, round by round."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self._load = os.getloadavg()[0]
        self.begin()

    def begin(self) -> None:
        """A round begins now."""
        self._busy, self._own, self._start = _busy(), _own(), time.monotonic()

    def end(self) -> None:
        """The round is over. Processes that have ended meanwhile count as others."""
        wall = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        self.shares.append(max(0.0, _busy() - self._busy - (_own() - self._own)) / wall)

    def row(self) -> Row:
        """All rounds, with the load average from the first to the last."""
        note = f"load average {self._load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
        return Row("others on the cores, %", [100 * share for share in self.shares], note)

    def remark(self) -> str:
        """Words for verdicts where others took too much in half of the rounds; '' else.

        Verdicts are medians of pairs of neighbouring rounds, which stand a single round that was disturbed.
        """
        middle = statistics.median(self.shares)
        if middle <= ALLOWED:
            return ""
        return f" (not a fair judgement: others took {middle:.0%} of the cores, up to {max(self.shares):.0%})"


def _busy() -> float:
    """Seconds for which the cores have worked, for anybody, since the machine was started; all cores together."""
    name, *fields = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()
    if name != "cpu":
        raise SystemExit("the kernel does not say how busy the cores are")
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _own() -> float:
    """Seconds that this process and those it has started have used."""
    us = psutil.Process()
    seconds = 0.0
    for process in [us, *us.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        seconds += times.user + times.system
    return seconds
