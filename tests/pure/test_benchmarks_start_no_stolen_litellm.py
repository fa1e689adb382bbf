"""Two published versions of LiteLLM hold somebody else's code: the benchmarks neither install nor start them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers


def installed(place: Path, *versions: str) -> Path:
    packages = place / "lib" / "python3.11" / "site-packages"
    for version in versions:
        (packages / f"litellm-{version}.dist-info").mkdir(parents=True)
    return place


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8"])
def test_an_environment_with_such_a_version_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(SystemExit, match=f"LiteLLM {version}.*not started"):
        peers.installed_version(installed(tmp_path, version))


@pytest.mark.parametrize("version", ["1.82.7", " 1.82.8"])
def test_such_a_version_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(peers.processes, "BUILD", tmp_path)
    monkeypatch.setattr(subprocess, "run", started := Started())
    with pytest.raises(SystemExit, match="not installed"):
        peers.install(version)
    assert started.commands == []


def test_its_interpreter_is_not_started_to_put_another_version_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers.processes, "BUILD", tmp_path)
    monkeypatch.setattr(subprocess, "run", started := Started())
    installed(tmp_path / "peers", "1.82.8")
    with pytest.raises(SystemExit, match="not started"):
        peers.install(peers.LITELLM)
    assert started.commands == []


def test_pip_is_told_to_take_neither_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.processes, "BUILD", tmp_path)
    monkeypatch.setattr(subprocess, "run", started := Started())
    peers.install("1.82.07")  # another spelling of the same version: only pip sees through it
    assert {"litellm!=1.82.7", "litellm!=1.82.8"} <= set(started.commands[-1])


def test_other_versions_are_known_by_the_name_of_their_folder(tmp_path: Path) -> None:
    assert peers.installed_version(tmp_path) is None
    assert peers.installed_version(installed(tmp_path, "1.106.2")) == "1.106.2"
    with pytest.raises(SystemExit, match=r"1\.106\.2 and 1\.106\.3"):
        peers.installed_version(installed(tmp_path, "1.106.3"))


class Started:
    """Takes the place of `subprocess.run`."""

    def __init__(self) -> None:
        self.commands: list[list[Any]] = []

    def __call__(self, command: list[Any], **_: Any) -> None:
        self.commands.append(command)
