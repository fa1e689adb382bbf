"""Tables of rounds, with the budgets they are held to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass
class Row:
    """One measured thing: its value in every round."""

    name: str
    values: list[float]
    note: str = ""


@dataclass
class Verdict:
    """A ratio or value beside its limit. A goal may be missed; a budget may not."""

    what: str
    value: float
    limit: float
    kind: str

    @property
    def kept(self) -> bool:
        return self.value <= self.limit


@dataclass
class Table:
    """One measurement: all rounds, and what they must be."""

    title: str
    rows: list[Row]
    verdicts: list[Verdict] = field(default_factory=list)

    def budget(self, what: str, value: float, limit: float) -> None:
        self.verdicts.append(Verdict(what, value, limit, "budget"))

    def goal(self, what: str, value: float, limit: float) -> None:
        self.verdicts.append(Verdict(what, value, limit, "goal"))

    def markdown(self) -> str:
        """The table with every round, the median, and the verdicts below it."""
        rounds = max(len(row.values) for row in self.rows)
        head = ["", *(f"round {n + 1}" for n in range(rounds)), "median", "notes"]
        lines = [f"### {self.title}", "", _line(head), _line(["---"] * len(head))]
        for row in self.rows:
            cells = [_number(v) for v in row.values] + [""] * (rounds - len(row.values))
            median = _number(statistics.median(row.values)) if row.values else ""
            lines.append(_line([row.name, *cells, median, row.note]))
        lines.append("")
        for v in self.verdicts:
            word = "kept" if v.kept else "**missed**"
            lines.append(f"- {v.what}: {_number(v.value)} ({v.kind} <= {_number(v.limit)}): {word}")
        return "\n".join([*lines, ""])


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
