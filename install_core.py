#!/usr/bin/env python3
"""Set up lollms in a virtual environment beside this file: `python3 install_core.py [--dev]`.

Needs only python3 (3.11 or newer) and pip. Makes the environment `venv`, also where the venv or ensurepip modules are
missing (some distributions package them apart), installs this checkout into it with what the server, local GGUF models
and the lollms ecosystem need, and remembers what was installed, so that a second run returns at once.

This file runs before anything is installed: standard library only, and syntax that an older Python can still read, so
that it can say what is wrong.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MINIMUM = (3, 11)
RUN_EXTRAS = "server,llamacpp,ecosystem"
DEV_EXTRAS = "dev"


def main() -> int:
    """Parse the arguments, make the environment, install; returns the exit code."""
    parser = argparse.ArgumentParser(description="Set up lollms in a virtual environment beside this file.")
    parser.add_argument("--dev", action="store_true", help="also install what the tests and checks need")
    parser.add_argument("--venv", type=Path, default=ROOT / "venv", help="the environment's folder (default: venv)")
    parser.add_argument("--environment-only", action="store_true", help="make the environment, install nothing")
    arguments = parser.parse_args()
    if sys.version_info < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        say(f"lollms needs Python {needed} or newer; this is {sys.version.split()[0]}. Install a newer python3.")
        return 1
    try:
        python = ensure_environment(arguments.venv)
        if not arguments.environment_only:
            install(python, arguments.venv, dev=arguments.dev)
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        say(f"This step failed (exit code {error.returncode}); its own words are above:\n  {command}")
        return 1
    except KeyboardInterrupt:
        say("Stopped; run it again to go on.")
        return 130
    return 0


def say(text: str) -> None:
    """Print a line for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def environment_python(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_environment(folder: Path) -> Path:
    """Make the virtual environment unless a working one is there; returns its interpreter."""
    python = environment_python(folder)
    if python.exists() and has_pip(python):
        return python
    say(f"Making the virtual environment {folder} ...")
    try:
        import ensurepip  # noqa: F401  venv alone would leave an environment without pip
        import venv
    except ImportError:
        make_with_virtualenv(folder)
    else:
        venv.create(folder, with_pip=True, clear=folder.exists())
    return python


def has_pip(python: Path) -> bool:
    """Whether this interpreter starts and has pip: an interrupted set-up leaves one that does not."""
    command = [str(python), "-I", "-c", "import pip"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def make_with_virtualenv(folder: Path) -> None:
    """Make the environment with the virtualenv package, fetched into a temporary folder by the system's pip."""
    with tempfile.TemporaryDirectory() as tools:
        pip = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--target", tools, "virtualenv"]
        subprocess.run(pip, check=True)
        make = [sys.executable, "-P", "-m", "virtualenv", "--quiet", "--clear", str(folder)]
        subprocess.run(make, check=True, env={**os.environ, "PYTHONPATH": tools})


def install(python: Path, folder: Path, *, dev: bool) -> None:
    """Install this checkout, unless the same was installed before."""
    extras = DEV_EXTRAS if dev else RUN_EXTRAS
    wanted = fingerprint(python)
    stamp = folder / ".lollms-installed"
    done = stamp.read_text(encoding="utf-8").split() if stamp.exists() else []
    if done[:1] == [wanted] and extras in done[1:]:
        return
    say(f"Installing lollms with {extras} (a minute or so the first time) ...")
    pip = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--editable", f"{ROOT}[{extras}]"], check=True)
    installed = [extras, *([RUN_EXTRAS] if dev else []), *(done[1:] if done[:1] == [wanted] else [])]
    stamp.write_text(" ".join([wanted, *dict.fromkeys(installed)]) + "\n", encoding="utf-8")


def fingerprint(python: Path) -> str:
    """Changes when the declared dependencies or the interpreter do."""
    declared = (ROOT / "pyproject.toml").read_bytes() + str(python.resolve()).encode() + str(ROOT).encode()
    return hashlib.sha256(declared).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
