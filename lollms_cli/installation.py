"""How this program was installed: its version, its extras, and the source that pip recorded.

The names `lollms` and `lollms-client` on the public index belong to others, so nothing of ours is ever asked for there
by name alone: an extra is resolved against the source that pip recorded when it installed us (a checkout, a
repository at a commit, a wheel), or, where it came from an index, against exactly the version that is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lollms_core.errors import ConfigError

__all__ = ["DISTRIBUTION", "Installation", "find_installation", "missing"]

DISTRIBUTION = "lollms-suite"


class Installation(NamedTuple):
    """`requires` has all requirements, extras as markers; `recorded` is pip's direct_url.json, {} for an index."""

    version: str
    extras: tuple[str, ...]
    requires: tuple[Requirement, ...]
    recorded: Mapping[str, Any]

    @property
    def source(self) -> str:
        """Where it came from, for people."""
        return str(self.recorded.get("url") or "a package index")

    def needs(self, extra: str) -> list[Requirement]:
        """What the extra adds to the base installation, with extras of ours that it names resolved."""
        found: dict[str, Requirement] = {}
        todo, seen = [extra], set[str]()
        while todo:
            name = todo.pop()
            seen.add(name)
            for requirement in self.requires:
                if requirement.marker is None or not requirement.marker.evaluate({"extra": name}):
                    continue
                if requirement.marker.evaluate({"extra": ""}):
                    continue  # of the base
                if canonicalize_name(requirement.name) == DISTRIBUTION:
                    todo.extend(requirement.extras - seen)
                else:
                    found[str(requirement)] = requirement
        return list(found.values())

    def pip_arguments(self, extra: str) -> list[str]:
        """What names us with this extra to pip. Raises `ConfigError` when the recorded source is gone."""
        wanted = f"{DISTRIBUTION}[{extra}]"
        url = str(self.recorded.get("url", ""))
        if not url:
            return [f"{wanted}=={self.version}"]
        folder = "dir_info" in self.recorded
        if urlsplit(url).scheme == "file":
            path = Path(url2pathname(unquote(urlsplit(url).path)))
            if not path.exists():
                raise ConfigError(
                    f"lollms was installed from {path}, which is no longer there. Put it back, or install lollms again."
                )
            if folder and self.recorded["dir_info"].get("editable"):
                return ["--editable", f"{path}[{extra}]"]
        return [f"{wanted} @ {self._pinned(url)}"]

    def _pinned(self, url: str) -> str:
        vcs = self.recorded.get("vcs_info") or {}
        if vcs:
            url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        fragments = []
        hashes = (self.recorded.get("archive_info") or {}).get("hashes") or {}
        if "sha256" in hashes:
            fragments.append(f"sha256={hashes['sha256']}")
        if self.recorded.get("subdirectory"):
            fragments.append(f"subdirectory={self.recorded['subdirectory']}")
        return url + ("#" + "&".join(fragments) if fragments else "")


def find_installation() -> Installation:
    """The installed distribution, else the checkout that this file lies in. Raises `ConfigError` without either."""
    recorded = None
    for found in metadata.distributions(name=DISTRIBUTION):
        recorded = found.read_text("direct_url.json")
        if recorded:
            break
    else:
        root = Path(__file__).resolve().parent.parent
        if (root / "pyproject.toml").is_file():
            return _checkout(root)
        found = _indexed()
    return Installation(
        version=found.version,
        extras=tuple(found.metadata.get_all("Provides-Extra") or ()),
        requires=tuple(Requirement(text) for text in found.requires or ()),
        recorded=json.loads(recorded) if recorded else {},
    )


def _indexed() -> metadata.Distribution:
    try:
        return metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise ConfigError("pip knows nothing of lollms, and this is no checkout of it. Install it again.") from error


def _checkout(root: Path) -> Installation:
    import tomllib

    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{root}/pyproject.toml is not that of lollms. Install it again.") from error
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    requires = [Requirement(text) for text in project.get("dependencies", [])]
    for extra, texts in extras.items():
        for text in texts:
            requirement = Requirement(text)
            marker = f'extra == "{extra}"'
            joined = f"({requirement.marker}) and {marker}" if requirement.marker else marker
            requirement.marker = None
            requires.append(Requirement(f"{requirement} ; {joined}"))
    recorded = {"url": root.as_uri(), "dir_info": {"editable": True}}
    return Installation(project["version"], tuple(extras), tuple(requires), recorded)


def missing(requirements: list[Requirement]) -> list[Requirement]:
    """Those that no installed distribution fulfils. A distribution in `PYTHONPATH` counts as installed."""
    return [requirement for requirement in requirements if not _is_there(requirement)]


def _is_there(requirement: Requirement) -> bool:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)
