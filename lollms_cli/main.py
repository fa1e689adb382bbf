"""The entry point `lollms`.

Only the standard library is imported here, so that an installation with missing packages is told in a line instead of
a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        from lollms_cli.commands import run
    except KeyboardInterrupt:  # before anybody else can tell it
        return _end("\nlollms: stopped", 130)
    except ImportError as error:
        from lollms_cli.repair import is_of_lollms, repair_sentence

        if is_of_lollms(error) or os.environ.get("LOLLMS_DEBUG", "") not in ("", "0"):
            raise
        return _end(f"lollms: error: {repair_sentence(error)}", 1)
    return run(args)


def _end(words: str, code: int) -> int:
    if sys.stderr is not None:  # `print` would take standard output instead
        print(words, file=sys.stderr)
    return code
