"""The embedded smoke-test model, and finding and checking GGUF model files."""

from __future__ import annotations

import struct
from pathlib import Path

from lollms_core.errors import ModelLoadFailed, ModelNotFound

__all__ = ["EMBEDDED", "check_gguf", "find_model"]

EMBEDDED = "lollms-nano"
"""Name of the model that ships with the program."""

_PACKAGED = Path(__file__).resolve().parent / "lollms-nano-q8_0.gguf"
_SUFFIX = ".gguf"
_HEADER = 24  # magic, version, tensor count, metadata count
_SHOWN = 20  # files named in a message
_LONGEST = 200  # characters of a name repeated in a message


def _gguf_files(folder: Path) -> list[Path]:
    """The GGUF files directly in a folder; none when it cannot be read."""
    try:
        return sorted(p for p in folder.iterdir() if p.suffix.lower() == _SUFFIX and p.is_file())
    except OSError:
        return []


def _existing_file(name: str) -> Path | None:
    """The GGUF file that the text is a path of, or None."""
    if not name.lower().endswith(_SUFFIX):
        return None
    try:
        path = Path(name).expanduser()
        return path.resolve() if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # no home folder, too long, a NUL character
        return None


def find_model(name: str, folder: Path | None = None) -> Path:
    """Return the GGUF file that a model name stands for.

    `name` is "lollms-nano", the path of an existing .gguf file, or the name of a file (with or
    without .gguf) directly in `folder` or in `folder/gguf`. A file name is compared with what the
    folders list; it is never joined to a path. Raises ModelNotFound.
    """
    wanted = name.strip()
    if wanted == EMBEDDED:
        if _PACKAGED.is_file():
            return _PACKAGED
        raise ModelNotFound(f"The embedded model {EMBEDDED!r} is missing from this installation ({_PACKAGED}).")
    if found := _existing_file(wanted):
        return found
    folders = [] if folder is None else [folder, folder / "gguf"]
    files = [path for place in folders for path in _gguf_files(place)]
    for path in files:
        if wanted in (path.name, path.stem):
            return path.resolve()
    for path in files:
        if wanted.lower() in (path.name.lower(), path.stem.lower()):
            return path.resolve()
    names = [path.name for path in files]
    there = ", ".join(names[:_SHOWN]) or "no .gguf file"
    if len(names) > _SHOWN:
        there += f" and {len(names) - _SHOWN} more"
    places = " and ".join(str(place) for place in folders)
    listed = f"in {places} there is {there}" if folders else "no models folder was given"
    shown = wanted if len(wanted) <= _LONGEST else wanted[:_LONGEST] + "..."
    raise ModelNotFound(
        f"Model {shown!r} was not found: it is not the path of an existing .gguf file, and {listed}. "
        f"The embedded model is always there as {EMBEDDED!r}."
    )


def check_gguf(path: str | Path) -> None:
    """Raise ModelLoadFailed, with the reason in words, unless the file begins like a GGUF model.

    The words name the file, not its folder: a caller of a server has no use for that.
    """
    name = Path(path).name
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER + 1)
    except (OSError, ValueError) as error:
        raise ModelLoadFailed(f"The model file {name} cannot be read: {_reason(error)}.") from error
    if head[:4] != b"GGUF":
        raise ModelLoadFailed(f"{name} is not a GGUF model file: it does not begin with 'GGUF'.")
    if len(head) <= _HEADER:
        raise ModelLoadFailed(f"{name} is cut short: it has {len(head)} bytes, a GGUF model has more than {_HEADER}.")
    (version,) = struct.unpack_from("<I", head, 4)
    if version not in (2, 3):
        raise ModelLoadFailed(f"{name} has GGUF version {version}; versions 2 and 3 can be read.")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "its path is no path"
