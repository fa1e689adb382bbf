"""`lollms_server/main.py` without the quick route, for the tests of server processes; see `both_routes`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    import lollms_server.app
    from lollms_server.main import start

    lollms_server.app.create_app = functools.partial(lollms_server.app.create_app, quick=False)
    raise SystemExit(start())
