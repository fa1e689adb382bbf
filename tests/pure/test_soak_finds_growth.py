"""The soak's judge: what grows is found, each by its name, and what only varies is not."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest

from benchmarks.soak.judge import COUNTS, Sample, judge, moments, slope

WARM_UP = 120.0
STILL = Sample(
    second=0,
    quiet=0,
    memory=90.0,
    rss=110.0,
    pss=92.0,
    descriptors=18,
    kept=4,
    callers=0,
    threads=9,
    tasks=3,
    children=1,
)


def soaked(*, seed: int = 1, minutes: int = 10, **growth: Any) -> list[Sample]:
    """A sample a second, with a quiet moment of five at the end of each minute.

    `growth` are functions of the second that add to a value. Under load everything is higher, and memory wavers.
    """
    rng = random.Random(seed)
    made = []
    for second in range(60 * minutes):
        quiet = second // 60 + 1 if second % 60 >= 55 else 0
        values: dict[str, Any] = {"second": float(second), "quiet": quiet, "memory": 90 + rng.uniform(-0.5, 0.5)}
        if not quiet:
            busy = rng.randint(5, 30)
            values |= {"callers": busy, "descriptors": 18 + busy, "tasks": 3 + busy, "threads": 9 + rng.randint(0, 4)}
            values["memory"] += busy / 4
        sample = dataclasses.replace(STILL, **values)
        added = {name: getattr(sample, name) + grow(second) for name, grow in growth.items()}
        made.append(dataclasses.replace(sample, **added))
    return made


def found(samples: list[Sample]) -> list[str]:
    return judge(samples, WARM_UP, most_kept=48)


@pytest.mark.parametrize("seed", range(20))
def test_a_server_that_only_wavers_has_not_grown(seed: int) -> None:
    assert found(soaked(seed=seed)) == []


@pytest.mark.parametrize("name", COUNTS)
def test_one_more_of_anything_at_the_end_is_growth(name: str) -> None:
    (said,) = found(soaked(**{name: lambda second: int(second >= 500)}))
    assert said.startswith(f"{name} grew from {getattr(STILL, name)} to {getattr(STILL, name) + 1} in ")


@pytest.mark.parametrize("name", COUNTS)
def test_what_is_gone_again_at_the_end_has_not_grown(name: str) -> None:
    assert found(soaked(**{name: lambda second: 3 * (200 < second < 400)})) == []


@pytest.mark.parametrize("name", COUNTS)
def test_a_late_visitor_does_not_spoil_a_quiet_moment(name: str) -> None:
    assert found(soaked(**{name: lambda second: second % 60 == 55})) == []


def test_a_steady_slope_of_memory_is_growth() -> None:
    (said,) = found(soaked(memory=lambda second: second / 60))
    assert said.startswith("memory went from ")
    assert slope(moments(soaked(memory=lambda second: second / 60), WARM_UP)) == pytest.approx(1.0, abs=0.2)


def test_a_slope_is_found_although_the_last_moment_is_low() -> None:
    (said,) = found(soaked(memory=lambda second: second / 60 if second < 540 else 0.0))
    assert "slope" in said


def test_a_step_of_memory_is_growth() -> None:
    (said,) = found(soaked(memory=lambda second: 4.0 * (second > 450)))
    assert "more than 3 MB" in said


def test_small_but_at_every_moment_is_growth() -> None:
    steps = [dataclasses.replace(each, memory=90 + 0.2 * each.quiet) if each.quiet else each for each in soaked(seed=3)]
    (said,) = found(steps)
    assert said.endswith("rose at each quiet moment")


def test_what_grows_in_the_warm_up_does_not_count() -> None:
    def early(second: float) -> int:
        return min(int(second), 110)

    assert found(soaked(memory=early, **{name: lambda second: int(second > 60) for name in COUNTS})) == []


def test_memory_that_comes_and_goes_is_no_growth() -> None:
    assert found(soaked(memory=lambda second: math.sin(second / 40))) == []


def test_idle_connections_to_backends_may_vary_but_have_a_bound() -> None:
    assert found(soaked(kept=lambda second: second % 40)) == []
    (said,) = found(soaked(kept=lambda second: second // 10))
    assert said.endswith("more than there ever were at once")


def test_several_things_are_told_together() -> None:
    said = found(soaked(tasks=lambda second: second // 60, threads=lambda second: second // 60))
    assert [each.split()[0] for each in said] == ["threads", "tasks"]


def test_a_soak_that_is_too_short_is_not_judged() -> None:
    with pytest.raises(ValueError, match="only 1 quiet moments after the warm-up"):
        found(soaked(minutes=3))
    with pytest.raises(ValueError, match="only 0"):
        found([])
