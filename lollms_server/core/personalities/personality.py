"""One personality, and finding them in folders.

A personality of others is code or at least instructions that the model obeys, so what everybody on the machine can
write is not used. Files are found by listing folders: neither a request nor a configuration can name one elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from lollms_core.errors import ConfigError, LollmsError
from lollms_core.protocols.lollms_input import sniff_image
from lollms_core.types import Params
from lollms_runtime.files import open_to_others
from lollms_runtime.third_party import content_digest, missing_requirements, places_of_code
from lollms_server.core.personalities.config import CONFIG_NAME, PersonalityConfig, read_personality
from lollms_server.core.problems import Problem, problem_of

__all__ = ["Found", "Personality", "Script", "scan"]

_MAX_ICON = 1_000_000
_ICONS = ("image/png", "image/jpeg", "image/gif", "image/webp")  # SVG can hold programs


@dataclass(eq=False)
class Script:
    """The script of a personality; `entry` is its function once it is imported, `loading` is held meanwhile.

    `users` is how many requests run it now.
    """

    path: Path
    entry: Callable[..., Any] | None = None
    module: ModuleType | None = None
    users: int = 0
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, eq=False)
class Personality:
    """A personality that can be used. `digest` changes with its configuration and its code."""

    config: PersonalityConfig
    folder: Path
    root: Path
    script: Script | None = None
    digest: str = ""

    @property
    def name(self) -> str:
        """The name in requests and listings."""
        return self.config.name

    @property
    def folder_name(self) -> str:
        """The name in `personalities_config`."""
        return self.folder.name

    @property
    def conditioning(self) -> str:
        """The instructions for the model, word for word: nothing in them is ever replaced."""
        return self.config.personality_conditioning

    @property
    def functions(self) -> Sequence[str]:
        """The functions of the server that its model may call."""
        return self.config.functions

    @property
    def is_scripted(self) -> bool:
        """Whether a script answers in the place of the model."""
        return self.script is not None

    @property
    def workflow(self) -> Callable[..., Any] | None:
        """The function of the script, once it is imported."""
        return self.script.entry if self.script is not None else None

    def params(self) -> Params:
        """The generation parameters that it sets."""
        return self.config.params()

    def public(self) -> dict[str, Any]:
        """What a listing shows of it; `path` begins with the name of the folder of personalities."""
        config = self.config
        return {
            "name": config.name,
            "author": config.author,
            "version": config.version,
            "description": config.personality_description,
            "category": config.category,
            "language": config.language,
            "tags": list(config.tags),
            "icon": config.icon,
            "is_scripted": self.is_scripted,
            "path": f"{self.root.name}/{self.folder.name}",
        }

    def icon(self) -> tuple[bytes, str] | None:
        """The image named by `icon` in the folder `assets`, and its media type; None where there is none to show.

        PNG, JPEG, GIF and WebP of at most a megabyte, whatever the file is called. Reads the file.
        """
        try:
            entries = [each for each in (self.folder / "assets").iterdir() if each.name == self.config.icon]
            if not entries or not entries[0].is_file():
                return None
            with entries[0].open("rb") as file:
                data = file.read(_MAX_ICON + 1)
        except OSError:
            return None
        mime = sniff_image(data)
        return (data, mime) if mime in _ICONS and len(data) <= _MAX_ICON else None


@dataclass
class Found:
    """A folder with a personality: what came of it. `name` is known as soon as its configuration could be read."""

    folder: Path
    name: str = ""
    personality: Personality | None = None
    problems: list[Problem] = field(default_factory=list)


def scan(
    roots: Sequence[Path],
    overrides: Mapping[str, Mapping[str, Any]],
    main_file: str,
    *,
    trusted: Collection[Path] = (),
) -> list[Found]:
    """All personalities in the folders of `roots`, in order, without those that are switched off.

    `overrides` holds by folder name what `personalities_config` says; `main_file` is the name of that file, for
    errors. In `trusted` roots it does not matter who can write. Reads many small files: call it on a thread.
    """
    found = []
    for root in roots:
        checked = root not in trusted
        if checked and root.is_dir() and open_to_others(root) == "everybody can write":
            found.append(Found(root, problems=[Problem(root.name, _writable(root.name))]))
            continue
        for folder in _subfolders(root):
            given = dict(overrides.get(folder.name, {}))
            if given.pop("enabled", True) is not False:
                found.append(_found(folder, root, given, main_file, checked))
    return found


def _subfolders(root: Path) -> list[Path]:
    try:
        return sorted(folder for folder in root.iterdir() if (folder / CONFIG_NAME).is_file())
    except OSError:
        return []  # a folder for one's own personalities need not exist


def _found(folder: Path, root: Path, overrides: Mapping[str, Any], main_file: str, checked: bool) -> Found:
    found = Found(folder)
    try:
        if checked:
            _check_modes([folder, folder / CONFIG_NAME], root)
        config = read_personality(folder, overrides, main_file)
        found.name = config.name
        script = None if config.script_path is None else Script(_script_file(folder, config.script_path))
        if script is not None and checked:
            _check_modes(_code(folder, script.path), root)
        digest = _digest(folder, overrides, script)
        missing = missing_requirements(config.dependencies)
    except (LollmsError, OSError) as error:
        found.problems.append(problem_of(folder.name, error))
        return found
    if missing:
        found.problems.append(Problem(folder.name, _missing(missing), CONFIG_NAME))
    if not missing or script is None:  # without a script there is nothing that could need a package
        found.personality = Personality(config, folder, root, script, digest)
    return found


def _script_file(folder: Path, written: str) -> Path:
    """The file of `script_path`, which must lie in the folder. Raises ConfigError."""
    place = f"{folder.name}/{CONFIG_NAME}:1: script_path"
    inside = folder.resolve()
    try:
        path = (inside / written).resolve()
        known = path.is_file()
    except (OSError, ValueError, RuntimeError):
        raise ConfigError(f"{place}: this is not the path of a file.") from None
    if Path(written).is_absolute() or not path.is_relative_to(inside):
        raise ConfigError(f"{place}: must be a file inside of the personality's folder, such as scripts/workflow.py.")
    if not known or path.suffix != ".py":
        raise ConfigError(f"{place}: there is no such file ending with .py in the personality's folder.")
    return path


def _code(folder: Path, script: Path) -> Iterator[Path]:
    """All that is or may be imported, and the folders it lies in."""
    place = script.parent
    while place != folder.resolve() and place != place.parent:
        yield place
        place = place.parent
    yield from places_of_code(folder)


def _check_modes(places: Sequence[Path] | Iterator[Path], root: Path) -> None:
    """Raise ConfigError for what everybody can write."""
    for place in places:
        if open_to_others(place) == "everybody can write":
            near = place.relative_to(root) if place.is_relative_to(root) else Path(place.name)
            raise ConfigError(f"{root.name}/{near}:1: {_writable(f'{root.name}/{near}')}")


def _writable(place: str) -> str:
    return f"everybody can write to {place}, so nothing of it is used. Run: chmod o-w on it."


def _missing(requirements: Sequence[str]) -> str:
    quoted = " ".join(f'"{each}"' for each in requirements)
    return (
        f"dependencies: it needs packages that are not installed, and nothing is installed by itself. "
        f"Run with the server's Python: python -m pip install {quoted}"
    )


def _digest(folder: Path, overrides: Mapping[str, Any], script: Script | None) -> str:
    state = hashlib.sha256((folder / CONFIG_NAME).read_bytes())
    state.update(json.dumps(overrides, sort_keys=True).encode())
    if script is not None:
        state.update(content_digest(script.path.parent).encode())
    return state.hexdigest()
