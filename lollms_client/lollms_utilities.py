"""Small helpers that scripts of the lollms world import."""

from __future__ import annotations

import sys
import traceback

__all__ = ["trace_exception"]


def trace_exception(ex: BaseException) -> None:
    """Print an exception with its traceback, its causes and its notes to standard error."""
    traceback.print_exception(ex, file=sys.stderr)
