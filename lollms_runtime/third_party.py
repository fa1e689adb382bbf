"""Import a plug-in, a folder or a single file, as a module of its own, without letting it install anything.

Each plug-in is imported under a name that contains a hash of its path and its source, so that two of the same name, or
two versions of one, never meet in `sys.modules`; the built-in packages cannot be shadowed either.

Plug-ins of the lollms world call `pipmaster.ensure_packages(...)` when they are imported, which runs pip. Nothing is
installed here that the operator did not ask for: while a plug-in is imported, `import pipmaster` gives it a stand-in
that only checks, and raises `MissingDependency` with the command to type. The plug-in keeps that stand-in, so calls it
makes later only check, too; an `import pipmaster` that it runs later, inside a function, gives it the stand-in as well.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from lollms_core.errors import MissingDependency

__all__ = [
    "content_digest",
    "forget",
    "import_file",
    "import_folder",
    "import_script",
    "is_imported",
    "missing_requirements",
    "places_of_code",
]

_importing = threading.RLock()  # sys.modules is shared by all threads
_PREFIX = "lollms_plugin_"


def import_folder(folder: Path, *, allow_installs: bool = False) -> ModuleType:
    """Import `folder/__init__.py` (and what it imports relatively) under a name of its own.

    A folder that was imported before and has not changed is not run again. Raises whatever the folder raises;
    `MissingDependency` when it needs a package that is not installed; `ImportError` when it has no `__init__.py`.
    """
    source = folder / "__init__.py"
    if not source.is_file():
        raise ImportError(f"{folder} has no __init__.py, so it is not a plug-in.")
    return _import(folder, source, [str(folder)], allow_installs)


def import_file(path: Path, *, allow_installs: bool = False) -> ModuleType:
    """Import one `.py` file under a name of its own, by the same rules; it cannot import its neighbours relatively."""
    if path.suffix != ".py" or not path.is_file():
        raise ImportError(f"{path} is not a .py file, so it is not a plug-in.")
    return _import(path, path, None, allow_installs)


def import_script(path: Path, *, allow_installs: bool = False) -> ModuleType:
    """Import one `.py` file together with those beside it, which it may import relatively; no `__init__.py` is needed.

    A change in any of them makes a new version, and each script of a folder is a module of its own.
    """
    if path.suffix != ".py" or not path.is_file():
        raise ImportError(f"{path} is not a .py file, so it is not a plug-in.")
    return _import(path.parent, path, [str(path.parent)], allow_installs, entry=path.stem)


def places_of_code(folder: Path) -> Iterator[Path]:
    """The folders below a folder, and the files in them that Python would import.

    Who can write one of them can put code there: also into `__pycache__`, from which Python takes what is compiled.
    """
    suffixes = tuple(importlib.machinery.all_suffixes())
    for place in folder.rglob("*"):
        if place.name.endswith(suffixes) or place.is_dir():
            yield place


def content_digest(path: Path) -> str:
    """A hash of where a plug-in lies and of all its Python source. Raises OSError when it cannot be read."""
    state = hashlib.sha256(str(path.resolve()).encode())
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        content = file.read_bytes()
        state.update(f"{file.relative_to(path)}\0{len(content)}\0".encode())
        state.update(content)
    return state.hexdigest()[:16]


def is_imported(path: Path) -> bool:
    """Whether this very version of a plug-in is imported."""
    return _module_name(path) in sys.modules


def forget(module: ModuleType) -> None:
    """Drop a plug-in that nobody uses any more, with its submodules; the next import runs it again.

    Modules that are no plug-ins are left alone.
    """
    name = module.__name__
    with _importing:
        if name.startswith(_PREFIX) and sys.modules.get(name) is module:
            _drop(name)


def _module_name(path: Path, entry: str = "") -> str:
    plain = re.sub(r"\W", "_", f"{path.stem if path.is_file() else path.name}{entry and '_'}{entry}")
    return f"{_PREFIX}{plain}_{content_digest(path)}"


def _import(path: Path, source: Path, places: list[str] | None, allow_installs: bool, entry: str = "") -> ModuleType:
    name = _module_name(path, entry)
    with _importing:
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=places)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be imported as a plug-in.")
        module = importlib.util.module_from_spec(spec)
        if not allow_installs:
            _never_install(module)
        sys.modules[name] = module
        try:
            with _no_bytecode(), contextlib.nullcontext() if allow_installs else _checking_pipmaster():
                spec.loader.exec_module(module)
        except BaseException:
            _drop(name)
            raise
    return module


def _drop(name: str) -> None:
    for loaded in [each for each in sys.modules if each == name or each.startswith(name + ".")]:
        del sys.modules[loaded]


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
        plugin = sys.modules[module.__name__.partition(".")[0]]  # a folder below it may have no module of its own
        module.__dict__["__builtins__"] = vars(plugin)["__builtins__"]
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
