"""The functions that come with the server: right, harmless, described, and bounded."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.function_files import manager_of

SHIPPED = [
    "calculator.calculate",
    "dates.add_days",
    "dates.days_between",
    "dates.now",
    "text.count",
]


def execute(folder: Path, name: str, **args: Any) -> tuple[bool, Any]:
    async def main() -> tuple[bool, Any]:
        return await (await manager_of(folder)).execute_function(name, args)

    return asyncio.run(main())


def test_all_are_there_and_described(tmp_path: Path) -> None:
    async def main() -> None:
        manager = await manager_of(tmp_path)
        assert manager.names() == SHIPPED
        assert list(manager.problems) == []
        for tool in manager.tools(["*"]):
            assert len(tool.description) > 20, tool.name
            assert all(each.get("description") for each in tool.parameters["properties"].values()), tool.name

    asyncio.run(main())


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("0.1 + 0.2", "3/10"),
        ("(1 + 2) ** 3 - -4", "31"),
        ("2^10", "1024"),
        ("7 // 2", "3"),
        ("-7 % 3", "2"),
        ("1/3 + 1/6", "1/2"),
        (" 1_000 * 1.5e3 ", "1500000"),
        ("2 ** -2", "1/4"),
        ("0xff + 0x1e5", "740"),
        ("2 ** 200", str(2**200)),
        ("123456789123456789 * 987654321987654321", str(123456789123456789 * 987654321987654321)),
    ],
)
def test_arithmetic_is_exact(tmp_path: Path, expression: str, value: str) -> None:
    good, result = execute(tmp_path, "calculator.calculate", expression=expression)
    assert good, result
    assert result["value"] == value


def test_a_fraction_is_given_as_a_decimal_number_too(tmp_path: Path) -> None:
    assert execute(tmp_path, "calculator.calculate", expression="2/3")[1] == {
        "value": "2/3",
        "decimal": "0.666666666666666666666666666667",
    }


@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "1e9999",
        "(2 ** 3000) * (2 ** 3000)",
        "1 / 0",
        "0 ** -1",
        "1 % 0",
        "4 ** 0.5",
        "__import__('os').system('true')",
        "().__class__",
        "[1] * 10 ** 9",
        "'a' * 10 ** 9",
        "True + 1",
        "2j",
        "x := 1",
        "1 +",
        "",
        "\0",
        "(" * 500 + ")" * 500,
        "-" * 990 + "1",
        "1" * 2000,
        "1; 2",
        "lambda: 1",
        "1 << 10 ** 9",
        "1 < 2",
    ],
)
def test_what_is_not_arithmetic_or_too_large_is_refused_quickly(tmp_path: Path, expression: str) -> None:
    good, words = execute(tmp_path, "calculator.calculate", expression=expression)
    assert not good
    assert words.startswith("calculator.calculate failed: ")


@pytest.mark.parametrize("expression", ["(2 ** 3000) ** 1000", "2 ** 100000000", "9 ** 9 ** 9", "(1/3) ** -3000"])
def test_a_power_is_measured_before_it_is_made(tmp_path: Path, expression: str) -> None:
    good, words = execute(tmp_path, "calculator.calculate", expression=expression)
    assert not good
    assert "The power is too large." in words


def test_days(tmp_path: Path) -> None:
    assert execute(tmp_path, "dates.days_between", first="2024-02-28", second="2024-03-01") == (True, {"days": 2})
    assert execute(tmp_path, "dates.days_between", first="2024-03-01", second="2024-02-28") == (True, {"days": -2})
    assert execute(tmp_path, "dates.add_days", start="2024-02-28", days=2)[1] == {
        "date": "2024-03-01",
        "weekday": "Friday",
    }
    assert not execute(tmp_path, "dates.add_days", start="9999-12-31", days=1)[0]
    assert not execute(tmp_path, "dates.days_between", first="yesterday", second="2024-02-28")[0]


def test_now_is_now(tmp_path: Path) -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    found = execute(tmp_path, "dates.now", timezone="UTC")[1]
    moment = datetime.datetime.fromisoformat(f"{found['date']}T{found['time']}+00:00")
    assert before <= moment <= datetime.datetime.now(datetime.UTC)
    assert found["weekday"] == moment.strftime("%A")
    assert found["utc_offset"] == "+0000"


@pytest.mark.parametrize("zone", ["", "Nowhere/Else", "../../../etc/passwd", "/etc/passwd", "a" * 5000, "x\0y"])
def test_other_time_zones_are_refused_in_words(tmp_path: Path, zone: str) -> None:
    good, words = execute(tmp_path, "dates.now", timezone=zone)
    assert not good
    assert "no such time zone" in words


def test_letters_are_counted(tmp_path: Path) -> None:
    assert execute(tmp_path, "text.count", text="Strawberry\nfields", part="R")[1] == {
        "characters": 17,
        "words": 2,
        "lines": 2,
        "occurrences": 3,
    }
    assert "occurrences" not in execute(tmp_path, "text.count", text="x")[1]
