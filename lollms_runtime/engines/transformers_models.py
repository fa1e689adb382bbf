"""Finding the folder of a model for transformers: on a path, in a folder of models, or in the hub's cache.

The cache is read here and not by the hub's own library, so that no network can be asked by accident. It holds one
folder for each commit (`snapshots`), and files that say which commit a branch or tag stood for (`refs`). All files of a
model are taken from the one folder that is found, so they are of the same revision.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from lollms_core.errors import ConfigError, ModelLoadFailed, ModelNotFound, UnsupportedFeature

__all__ = ["FoundModel", "cache_folder", "check_folder", "find_folder", "found_models", "is_repository"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,199}", re.ASCII)
_SHOWN = 20


class FoundModel(NamedTuple):
    """`revision` is the commit of a model in the hub's cache, "" for another folder; `size` is the weights' bytes."""

    name: str
    folder: Path
    revision: str
    size: int


def is_repository(name: str) -> bool:
    """Whether a name can be one of a repository on the hub: `organisation/model`."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name and "--" not in name


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where the hub's library keeps what was downloaded: HF_HUB_CACHE, HF_HOME/hub, or the user's cache."""
    env = os.environ if environ is None else environ
    if own := env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE"):
        return Path(own).expanduser()
    if home := env.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(env.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def find_folder(name: str, folder: Path | None, revision: str, cache: Path | None = None) -> FoundModel:
    """The folder that a model's name stands for.

    `name` is the path of a folder, the name of one in `folder` (or in its sub-folder `transformers`; also
    `organisation/model`), or a repository in the hub's cache, there at `revision`: a branch, a tag or a commit. Names
    are compared with what the folders list, never joined to them. Raises `ModelNotFound`, `ConfigError` for a revision
    that can be none.
    """
    wanted = name.strip()
    if _REVISION.fullmatch(revision) is None or ".." in revision:
        raise ConfigError(f"revision is {revision[:100]!r}; it must be a branch, a tag or a commit.", param="revision")
    if (path := _existing(wanted)) is not None:
        return _found(path.name, path, _commit_of(path))
    here = list(_in_folder(folder)) if folder is not None else []
    for match in (wanted, wanted.lower()):
        for label, path in here:
            if match in (label, label.lower()):
                return _found(label, path)
    place = cache or cache_folder()
    commits: list[str] = []
    if is_repository(wanted):
        for label, path in _cached(place):
            if label.lower() == wanted.lower():
                commits = sorted(each.name for each in _folders(path / "snapshots"))
                commit = _ref(path, revision)
                if commit in commits:
                    return _found(label, path / "snapshots" / commit, commit)
    raise ModelNotFound(_missing(wanted, folder, [label for label, _ in here], revision, commits))


def found_models(folder: Path | None, cache: Path | None = None) -> list[FoundModel]:
    """The models in a folder of models and in the hub's cache, there the ones that `main` stands for."""
    models = [_found(label, path) for label, path in (_in_folder(folder) if folder is not None else ())]
    for label, path in _cached(cache or cache_folder()):
        commit = _ref(path, "main")
        snapshot = path / "snapshots" / commit
        if commit and _is_model(snapshot) and _weights(snapshot):
            models.append(_found(label, snapshot, commit))
    return models


def check_folder(folder: Path, *, allow_pickle: bool = False) -> None:
    """Look at what a folder holds before anything reads it.

    Raises `UnsupportedFeature` for an adapter, which names another model that would be loaded with it;
    `ModelLoadFailed` for a folder without weights, or with pickled ones unless they are allowed: a pickle can run code.
    """
    name = folder.name if not _commit_of(folder) else folder.parent.parent.name
    if not (folder / "config.json").is_file():
        raise ModelLoadFailed(f"{name} is no model for transformers: it has no config.json.")
    if (folder / "adapter_config.json").is_file():
        raise UnsupportedFeature(f"{name} is an adapter for another model. Merge it into that one, and use the result.")
    _check_index(folder, name)
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if not pickled:
        raise ModelLoadFailed(f"{name} has no weights (*.safetensors). Download it again.")
    if not allow_pickle:
        raise ModelLoadFailed(
            f"{name} has its weights in {pickled[0]}, which is a pickle: reading one can run code. Use a version with "
            "safetensors, or convert it; if you trust this file, set allow_pickle."
        )


def _check_index(folder: Path, name: str) -> None:
    """The files that an index of weights names are safetensors of this folder, or it is no index."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        files = set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values())
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelLoadFailed(f"{name} has an index of its weights that cannot be read: {error}") from error
    odd = sorted(file for file in files if not file.endswith(".safetensors") or {"/", "\\"} & set(file))
    if odd:
        raise ModelLoadFailed(
            f"{name} has an index of its weights that names {odd[0][:100]!r}: no safetensors beside it."
        )


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def _existing(name: str) -> Path | None:
    """The folder of a model that the text is a path of."""
    if not name or not any(each in name for each in (os.sep, "/", ".", "~")):
        return None
    try:
        path = Path(name).expanduser()
        return path.resolve() if (path.is_absolute() or name.startswith((".", "~"))) and _is_model(path) else None
    except (OSError, RuntimeError, ValueError):  # no home folder, too long, a NUL character
        return None


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file()


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:
        return []


def _in_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    """The models in a folder: `model`, and `organisation/model`; also in the sub-folder `transformers`."""
    for place in (folder, folder / "transformers"):
        for each in _folders(place):
            if _is_model(each):
                yield each.name, each
            elif each.name != "transformers":
                for below in _folders(each):
                    if _is_model(below):
                        yield f"{each.name}/{below.name}", below


def _cached(cache: Path) -> Iterator[tuple[str, Path]]:
    for each in _folders(cache):
        parts = each.name.split("--")
        if parts[0] == "models" and len(parts) == 3:
            yield f"{parts[1]}/{parts[2]}", each


def _ref(repository: Path, revision: str) -> str:
    """The commit that a branch or tag of a cached repository stands for; a commit is itself. "" for none."""
    for each in (repository / "refs").rglob("*"):
        if each.relative_to(repository / "refs").as_posix() == revision and each.is_file():
            return each.read_text("ascii", "replace").strip()
    return revision if re.fullmatch(r"[0-9a-f]{40}", revision) else ""


def _commit_of(folder: Path) -> str:
    """The commit of a folder of the hub's cache, "" for another one."""
    return folder.name if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name) else ""


def _weights(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    except OSError:
        return 0


def _found(name: str, folder: Path, revision: str = "") -> FoundModel:
    return FoundModel(name, folder, revision, _weights(folder))


def _missing(name: str, folder: Path | None, there: list[str], revision: str, commits: list[str]) -> str:
    shown = name if len(name) <= 200 else name[:200] + "..."
    if commits:
        return (
            f"Model {shown!r} is in the hub's cache, but not its revision {revision!r}. Set revision to one of: "
            f"{', '.join(commits[:_SHOWN])}, or get that one with: hf download {shown} --revision {revision}"
        )
    places = f"in {folder} there is {', '.join(there[:_SHOWN]) or 'no model for transformers'}, and " if folder else ""
    get = f"Get it with: hf download {shown}, or set allow_downloads." if is_repository(name) else ""
    other = "Give the path of a folder with config.json and safetensors files, or organisation/model."
    return (
        f"Model {shown!r} was not found: {places}it is neither the path of a model's folder nor in the hub's cache. "
        f"{get or other}"
    )
