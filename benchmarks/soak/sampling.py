"""Looks at the server's process once a second."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak.disturb import children
from benchmarks.soak.house import House
from benchmarks.soak.judge import Sample

__all__ = ["Sampler"]

_EVERY = 1.0


class Sampler:
    """Samples from `start` to `stop`, on a thread of its own."""

    def __init__(self, house: House) -> None:
        self.samples: list[Sample] = []
        self.dead = False
        self._quiet = self._moments = 0
        self._house = house
        self._process = psutil.Process(house.process.pid)
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End; no sample is added afterwards."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def second(self) -> float:
        """Seconds since the sampler was made."""
        return time.monotonic() - self._began

    def begin_quiet(self) -> None:
        """A quiet moment begins; its samples have its number."""
        self._moments += 1
        self._quiet = self._moments

    def end_quiet(self) -> None:
        """It is over."""
        self._quiet = 0

    def ports(self) -> set[int]:
        """The callers' ports of the connections that the server has now."""
        return {each.raddr.port for each in self._sockets() if each.laddr.port == self._house.port}

    def _sockets(self) -> list[Any]:
        return [each for each in self._process.net_connections("tcp") if each.raddr]

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            try:
                self.samples.append(self._look())
            except (psutil.Error, OSError):
                self.dead = True
                return

    def _look(self) -> Sample:
        quiet = self._quiet
        memory = _rollup(self._process.pid)
        tasks = self._house.ask("tasks")
        process = self._process
        sockets = self._sockets()
        callers = sum(each.laddr.port == self._house.port for each in sockets)
        kept = len(sockets) - callers
        return Sample(
            second=round(self.second, 1),
            quiet=quiet if quiet == self._quiet else 0,
            memory=round(memory["Anonymous"], 2),
            rss=round(memory["Rss"], 2),
            pss=round(memory["Pss"], 2),
            descriptors=process.num_fds() - kept,
            kept=kept,
            callers=callers,
            threads=process.num_threads(),
            tasks=-1 if tasks is None else tasks,
            children=len(children(process.pid)),
        )


def _rollup(pid: int) -> dict[str, float]:
    """The kernel's account of a process's memory, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    pairs = (line.split() for line in lines)
    return {pair[0].rstrip(":"): int(pair[1]) / 1024 for pair in pairs}
