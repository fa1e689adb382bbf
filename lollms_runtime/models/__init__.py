"""The embedded smoke-test model, and finding and checking GGUF model files.

`lollms pull` puts models into the user's own models folder: `FILE.gguf` for one from a URL, `ORG/REPO/FILE.gguf` for
one from the hub. They are found there by every name that says which one is meant; names are compared with what the
folder lists and never joined to it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lollms_core.errors import ModelLoadFailed, ModelNotFound

__all__ = ["EMBEDDED", "PulledModel", "check_gguf", "find_model", "find_pulled", "models_folder", "pulled_models"]

EMBEDDED = "lollms-nano"
"""Name of the model that ships with the program."""

_PACKAGED = Path(__file__).resolve().parent / "lollms-nano-q8_0.gguf"
_SUFFIX = ".gguf"
_HEADER = 24  # magic, version, tensor count, metadata count
_SHOWN = 20  # files named in a message
_LONGEST = 200  # characters of a name repeated in a message


_DEEPEST = 4  # folders below the models folder: organisation, repository, and two inside of it
_MOST = 10_000  # files that are looked at


class PulledModel(NamedTuple):
    """A model in the user's models folder.

    `name` is how to call it (`file` or `org/repo/file`, without .gguf), `path` its file, the first one of a split
    model, `size` bytes of all its files, `names` the other names it goes by.
    """

    name: str
    path: Path
    size: int
    names: tuple[str, ...]


def models_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where pulled models are: LOLLMS_MODELS, else `models` beside the user's keys; None without a home folder."""
    env = os.environ if environ is None else environ
    if own := env.get("LOLLMS_MODELS"):
        return Path(own).expanduser() if own.startswith("~") and env.get("HOME") else Path(own)
    from lollms_runtime.keys import key_file

    key = key_file(env)
    return key.parent / "models" if key is not None else None


def pulled_models(folder: Path | None = None) -> list[PulledModel]:
    """The models in the user's models folder (or in `folder`, laid out like it), by name; none if it cannot be read.

    Of a split model all files must be there. What only goes with a model, an image projector, is left out.
    """
    from lollms_runtime.models.names import is_companion, part_of, quant_of, whole_name

    place = folder or models_folder()
    if place is None:
        return []
    sizes = {path.relative_to(place).as_posix(): size for path, size in _walk(place)}
    found: list[tuple[str, str, int]] = []
    for file, size in sorted(sizes.items()):
        part = part_of(file)
        if is_companion(file) or (part and part.number != 1):
            continue
        if part:
            head = file[: file.rindex(f"-00001-of-{part.total:05}")]
            tail = file[len(head) + len("-00001-of-00001") :]
            parts = [f"{head}-{number:05}-of-{part.total:05}{tail}" for number in range(1, part.total + 1)]
            if not all(each in sizes for each in parts):
                continue
            size = sum(sizes[each] for each in parts)
        found.append((whole_name(file), file, size))
    models = []
    for name, file, size in found:
        stem, repo, quant = name.rpartition("/")[2], "/".join(name.split("/")[:2]), quant_of(file)
        inside = [each for each, *_ in found if each.startswith(repo + "/")] if "/" in name else []
        names = [file, Path(file).name, Path(file).stem, stem]
        if quant and [each for each in inside if quant_of(each) == quant] == [name]:
            names.append(f"{repo}:{quant}")
        if inside == [name]:
            names.append(repo)
        models.append(PulledModel(name, place / file, size, tuple(dict.fromkeys(names))))
    return models


def _walk(folder: Path, depth: int = 0) -> Iterator[tuple[Path, int]]:
    """The GGUF files of a folder and of those in it, with their sizes; what cannot be read is not there."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)[:_MOST]
    except OSError:
        return
    for entry in entries:
        try:
            if entry.name.lower().endswith(_SUFFIX) and entry.is_file():
                yield folder / entry.name, entry.stat().st_size
            elif depth < _DEEPEST and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, depth + 1)
        except OSError:
            continue


def find_pulled(name: str) -> Path | None:
    """The file of the pulled model that goes by this name, in any case if none does exactly; None if there is none."""
    every = [(model.path, (model.name, *model.names)) for model in pulled_models()]
    lowered = name.strip().lower()
    for path, names in every:
        if name.strip() in names:
            return path.resolve()
    for path, names in every:
        if lowered in (each.lower() for each in names):
            return path.resolve()
    return None


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

    `name` is "lollms-nano", the path of an existing .gguf file, the name of a file (with or
    without .gguf) directly in `folder` or in `folder/gguf`, or one of the names of a pulled model. A name
    is compared with what the folders list; it is never joined to a path. Raises ModelNotFound.
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
    if (pulled_path := find_pulled(wanted)) is not None:
        return pulled_path
    pulled = [model.name for model in pulled_models()]
    names = [path.name for path in files]
    there = ", ".join(names[:_SHOWN]) or "no .gguf file"
    if len(names) > _SHOWN:
        there += f" and {len(names) - _SHOWN} more"
    places = " and ".join(str(place) for place in folders)
    known = [f"in {places} there is {there}"] if folders else []
    if pulled:
        more = f" and {len(pulled) - _SHOWN} more" if len(pulled) > _SHOWN else ""
        known.append(f"pulled were {', '.join(pulled[:_SHOWN])}{more}")
    listed = "; ".join(known) or "none was pulled yet"
    shown = wanted if len(wanted) <= _LONGEST else wanted[:_LONGEST] + "..."
    raise ModelNotFound(
        f"Model {shown!r} was not found: it is not the path of an existing .gguf file, and {listed}. "
        f"The embedded model is always there as {EMBEDDED!r}; `lollms pull` gets others."
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
