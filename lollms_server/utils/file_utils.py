"""Helpers to import code by its path."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from lollms_runtime.third_party import import_file, import_folder

__all__ = ["add_path_to_sys_path", "find_classes_in_module", "safe_load_module"]

T = TypeVar("T")


def add_path_to_sys_path(path: str | Path) -> None:
    """Put a folder in front of those that modules are searched in; one that stands there already stays in its place."""
    folder = str(Path(path).resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def safe_load_module(
    path: str | Path, package_path: str | Path | None = None
) -> tuple[ModuleType | None, Exception | None]:
    """Import a folder or a `.py` file: the module and None, or None and what went wrong.

    It is imported as a plug-in, under a name of its own and without installing anything. An `__init__.py` stands for
    its folder; a file inside of `package_path` is imported as part of that package, so that it finds its neighbours.
    """
    place = Path(path).resolve()
    try:
        if package_path is not None and place.is_file() and place.name != "__init__.py":
            return _inside(Path(package_path).resolve(), place), None
        folder = place.parent if place.name == "__init__.py" else place
        return (import_folder(folder) if folder.is_dir() else import_file(place)), None
    except Exception as error:
        return None, error
    except SystemExit as error:
        return None, ImportError(f"{place.name} ends the program when it is imported (exit code {error.code}).")


def _inside(package: Path, file: Path) -> ModuleType:
    """A module of a package, by the package's own import."""
    root = import_folder(package)
    dotted = ".".join(file.relative_to(package).with_suffix("").parts)
    __import__(f"{root.__name__}.{dotted}")
    return sys.modules[f"{root.__name__}.{dotted}"]


def find_classes_in_module(module: ModuleType, base: type[T]) -> list[type[T]]:
    """The classes that a module defines itself, not those it imports, and that are made from `base`."""
    return [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, base) and each is not base and each.__module__ == module.__name__
    ]
