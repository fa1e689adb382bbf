"""Start the server from a clone: `python lollms_server/main.py [--host H] [--port P] [--config-dir D]`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # instead of this folder, whose names are not top-level
    from lollms_server.core.serve import main

    raise SystemExit(main())
