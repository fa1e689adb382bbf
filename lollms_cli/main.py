"""The entry point `lollms`.

Only the standard library is imported here, so that an installation with missing packages is told in a line instead of
a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from lollms_cli.repair import is_of_lollms, repair_sentence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        from lollms_cli.commands import run
    except ImportError as error:
        if is_of_lollms(error) or os.environ.get("LOLLMS_DEBUG", "") not in ("", "0"):
            raise
        print(f"lollms: error: {repair_sentence(error)}", file=sys.stderr)
        return 1
    return run(args)
