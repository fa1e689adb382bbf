"""The three time-outs end every provider's answer in their own errors and in their time, on every face."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lollms_core.errors import FirstByteTimeout, IdleTimeout, TotalTimeout, UpstreamTimeout
from tests.support.every_provider import ROWS, House, Outcome, Row, every_provider
from tests.support.gates import BEGINNING

TIMES = {"first_byte": 1.2, "idle": 1.0, "total": 2.4}
SLACK = 2.0  # seconds that a busy machine may take to notice
STORY = f"{BEGINNING.decode()}e upon a time there was a king who had three daughters, and each of them a garden"
FAULTS: dict[str, tuple[type[UpstreamTimeout], str]] = {
    "never": (FirstByteTimeout, "first_byte"),
    "stall": (IdleTimeout, "idle"),
    "drip": (TotalTimeout, "total"),
}
AT_ONCE = 3  # rows

Told = dict[str, dict[tuple[str, bool], Outcome]]
"""By the fault, then by the face and whether it was streamed."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with every_provider(TIMES) as made:
        yield made


@pytest.fixture(scope="module")
def told(house: House) -> dict[str, Told]:
    """What comes of each row, asked at the same time because waiting is all that takes long."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        works = {row.name: pool.submit(ask, house, row) for row in ROWS}
        return {name: work.result() for name, work in works.items()}


def ask(house: House, row: Row) -> Told:
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        works = {fault: pool.submit(house.all_told, row, lambda *_, f=fault: f"{STORY} #{f}#") for fault in FAULTS}
        return {fault: work.result() for fault, work in works.items()}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_it_ends_in_time(house: House, told: dict[str, Told], row: Row) -> None:
    for fault, outcomes in told[row.name].items():
        kind, limit = FAULTS[fault]
        for way, each in outcomes.items():
            assert type(each.error) is kind, (fault, way, each)
            assert TIMES[limit] - 0.05 <= each.seconds < TIMES[limit] + SLACK, (fault, way, each.seconds)
            assert bool(each.events) == (way[1] and fault != "never"), (fault, way, each.events)
            if each.events:
                assert each.error.partial is not None
                assert each.error.partial.text.startswith(BEGINNING.decode())
        sent = house.places[row.name].asked(f"#{fault}#")
        assert len(sent) == len(outcomes), "none was repeated"
