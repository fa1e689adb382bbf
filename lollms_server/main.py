"""Start the server from a clone: `python lollms_server/main.py [--host H] [--port P] [--config-dir D]`."""

import sys
from pathlib import Path


def start() -> int:
    """Run the server; returns the exit code. A package that is missing or broken is said in one line."""
    try:
        from lollms_server.core.serve import main

        return main()
    except ImportError as error:
        if (error.name or "").split(".")[0].startswith("lollms_"):
            raise
        why = f"the package {error.name.split('.')[0]!r} is missing or broken" if error.name else str(error)
        if sys.prefix == sys.base_prefix:
            said = f"lollms is not installed for {sys.executable}: {why}. Start the server with ./run.sh."
        else:
            said = f"The installation in {sys.prefix} is damaged: {why}. Delete the folder venv and run ./run.sh again."
        print(said, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # instead of this folder, whose names are not top-level
    raise SystemExit(start())
