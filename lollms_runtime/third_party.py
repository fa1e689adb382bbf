"""Import a plug-in folder as a module of its own, without letting it install anything.

Each folder is imported under a name that contains a hash of its path and its source, so that two folders of the same
name, or two versions of one folder, never meet in `sys.modules`; the built-in packages cannot be shadowed either.

Plug-ins of the lollms world call `pipmaster.ensure_packages(...)` when they are imported, which runs pip. Nothing is
installed here that the operator did not ask for: while a folder is imported, `import pipmaster` gives it a stand-in
that only checks, and raises `MissingDependency` with the command to type. The folder keeps that stand-in, so calls it
makes later only check, too; an `import pipmaster` that it runs later, inside a function, gives it the stand-in as well.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from lollms_core.errors import MissingDependency

__all__ = ["import_folder", "missing_requirements"]

_importing = threading.RLock()  # sys.modules is shared by all threads
_PREFIX = "lollms_plugin_"


def import_folder(folder: Path, *, allow_installs: bool = False) -> ModuleType:
    """Import `folder/__init__.py` (and what it imports relatively) under a name of its own.

    A folder that was imported before and has not changed is not run again. Raises whatever the folder raises;
    `MissingDependency` when it needs a package that is not installed; `ImportError` when it has no `__init__.py`.
    """
    source = folder / "__init__.py"
    name = f"{_PREFIX}{folder.name}_{_digest(folder)}"
    with _importing:
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[str(folder)])
        if not source.is_file() or spec is None or spec.loader is None:
            raise ImportError(f"{folder} has no __init__.py, so it is not a plug-in.")
        module = importlib.util.module_from_spec(spec)
        if not allow_installs:
            _never_install(module)
        sys.modules[name] = module
        try:
            with _no_bytecode(), contextlib.nullcontext() if allow_installs else _checking_pipmaster():
                spec.loader.exec_module(module)
        except BaseException:
            for loaded in [each for each in sys.modules if each == name or each.startswith(name + ".")]:
                del sys.modules[loaded]
            raise
    return module


def missing_requirements(requirements: Iterable[str]) -> list[str]:
    """Those of the requirements (`name`, `name>=1.2`) that the installed distributions do not satisfy."""
    return [each for each in requirements if not _is_satisfied(each)]


def _is_satisfied(text: str) -> bool:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise MissingDependency(f"{text!r} is not a package requirement: {error}") from None
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _digest(folder: Path) -> str:
    state = hashlib.sha256(str(folder.resolve()).encode())
    for file in sorted(folder.rglob("*.py")):
        state.update(file.name.encode())
        state.update(file.read_bytes())
    return state.hexdigest()[:16]


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """Nothing is written into the folders of others; and a file changed twice in a second is read anew each time."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _never_install(module: ModuleType) -> None:
    """Whatever the module's code imports as `pipmaster`, and whenever, only checks."""

    def checking_import(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "pipmaster":
            return _CheckingPipmaster()
        return builtins.__import__(name, *arguments, **more)

    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": checking_import}


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module inside of a folder, with what its package may do."""

    def exec_module(self, module: ModuleType) -> None:
        package = sys.modules[module.__name__.rpartition(".")[0]]
        module.__dict__["__builtins__"] = vars(package)["__builtins__"]
        super().exec_module(module)


class _Finder:
    """Finds the modules inside of plug-in folders, whenever they are imported."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(_PREFIX) or path is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


@contextlib.contextmanager
def _checking_pipmaster() -> Iterator[None]:
    before = sys.modules.get("pipmaster")
    sys.modules["pipmaster"] = _CheckingPipmaster()
    try:
        yield
    finally:
        if before is None:
            del sys.modules["pipmaster"]
        else:
            sys.modules["pipmaster"] = before


class _CheckingPipmaster(ModuleType):
    """Looks like pipmaster, but only checks what is installed."""

    def __init__(self) -> None:
        super().__init__("pipmaster", "Checks requirements; never installs.")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "is_installed":
            return lambda package, *_, **__: _is_satisfied(package)
        if name in ("get_installed_version", "get_current_package_version"):
            return _installed_version
        if name in ("PackageManager", "get_pip_manager"):
            return lambda *_, **__: self
        return _require


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _require(requirements: Any = (), *_: Any, **__: Any) -> bool:
    """What every installing function does here: True when all is there, else `MissingDependency`."""
    if isinstance(requirements, str):
        wanted = [requirements]
    elif isinstance(requirements, dict):
        wanted = [f"{name}{specifier or ''}" for name, specifier in requirements.items()]
    else:
        wanted = [str(each) for each in requirements]
    missing = missing_requirements(wanted)
    if missing:
        quoted = " ".join(f'"{each}"' for each in missing)
        raise MissingDependency(
            f"This plug-in needs {', '.join(missing)}, and nothing is installed without your word. "
            f"Install it with: {sys.executable} -m pip install {quoted}"
        )
    return True
