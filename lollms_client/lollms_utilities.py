"""Small helpers that scripts of the lollms world import."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from lollms_core.text.json_answers import found_json, why_no_json

__all__ = ["robust_json_parser", "trace_exception"]


def robust_json_parser(json_string: str) -> Any:
    """The object in a text that a model wrote, as a dictionary; a list where the text has no object.

    It may stand in a code block or in the middle of prose, and may be nearly JSON: comments, commas at the end of a
    list, single or typographic quotation marks, the literals of Python and line breaks in texts are put right. Nothing
    is guessed at. Raises `ValueError`, with what is wrong, where there is none.
    """
    values = list(found_json(json_string))
    for kind in (dict, list):
        for value in values:
            if isinstance(value, kind):
                return value
    raise ValueError(f"There is no JSON to be had from the text: {why_no_json(json_string) or 'there is none in it'}.")


def trace_exception(ex: BaseException) -> None:
    """Print an exception with its traceback, its causes and its notes to standard error."""
    traceback.print_exception(ex, file=sys.stderr)
