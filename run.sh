#!/bin/sh
# Set up on the first run, then start the server. Options: --host HOST --port PORT --config-dir FOLDER.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
if ! command -v python3 >/dev/null 2>&1; then
    echo "python3 was not found. Install Python 3.11 or newer and pip, then run this again." >&2
    exit 1
fi
python3 "$root/install_core.py"
exec "$root/venv/bin/python" "$root/lollms_server/main.py" "$@"
