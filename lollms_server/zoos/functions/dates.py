"""Dates and times. Models do not know what day it is, and count days badly."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

_MAX_ZONE = 64


async def now(timezone: Annotated[str, "A name such as UTC or Europe/Paris."] = "UTC") -> dict[str, str]:
    """The current date and time in a time zone."""
    try:
        zone = ZoneInfo(timezone[:_MAX_ZONE])
    except (ValueError, OSError, LookupError) as error:
        raise ValueError("There is no such time zone; give a name such as UTC or Europe/Paris.") from error
    moment = datetime.now(zone)
    return {
        "date": moment.date().isoformat(),
        "time": moment.strftime("%H:%M:%S"),
        "weekday": _weekday(moment.date()),
        "utc_offset": moment.strftime("%z"),
    }


async def days_between(first: date, second: date) -> dict[str, int]:
    """The number of days from one date to another; negative when the second is earlier.

    Args:
        first: The date to count from, as YYYY-MM-DD.
        second: The date to count to, as YYYY-MM-DD.
    """
    return {"days": (second - first).days}


async def add_days(start: date, days: int) -> dict[str, str]:
    """The date a number of days after (or, when negative, before) another, with its day of the week.

    Args:
        start: The date to count from, as YYYY-MM-DD.
        days: How many days to add.
    """
    try:
        end = start + timedelta(days=days)
    except OverflowError as error:
        raise ValueError("The result is not between the years 1 and 9999.") from error
    return {"date": end.isoformat(), "weekday": _weekday(end)}


def _weekday(day: date) -> str:
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return names[day.weekday()]
