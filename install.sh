#!/bin/sh
# Set up without starting anything. `./run.sh` does this too.
set -eu
exec python3 "$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)/install_core.py" "$@"
