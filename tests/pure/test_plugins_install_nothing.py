"""Importing a plug-in folder runs no installer, whatever the folder asks pipmaster for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lollms_core.errors import MissingDependency
from lollms_runtime.third_party import import_folder, missing_requirements


def folder(tmp_path: Path, source: str, name: str = "plug") -> Path:
    made = tmp_path / name
    made.mkdir(parents=True)
    (made / "__init__.py").write_text(source, encoding="utf-8")
    return made


@pytest.mark.parametrize(
    "line",
    [
        "pipmaster.ensure_packages(['no-such-package-zz>=1'])",
        "pipmaster.ensure_packages({'no-such-package-zz': '>=1'})",
        "pipmaster.install('no-such-package-zz')",
        "pipmaster.install_if_missing('no-such-package-zz')",
        "pipmaster.PackageManager().install_multiple(['no-such-package-zz'])",
    ],
)
def test_a_missing_package_is_named_with_its_command_and_not_installed(
    tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(MissingDependency, match=r"pip install \"no-such-package-zz"):
        import_folder(folder(tmp_path, f"import pipmaster\n{line}\n"))
    assert not [name for name in sys.modules if name.startswith("lollms_plugin_plug")]


def test_an_installed_package_satisfies_and_the_real_pipmaster_stays(tmp_path: Path) -> None:
    before = sys.modules.get("pipmaster")
    module = import_folder(
        folder(
            tmp_path,
            "import pipmaster as pm\nok = pm.ensure_packages(['click', 'msgspec>=0.1']) and pm.is_installed('click')",
        )
    )
    assert module.ok is True
    assert sys.modules.get("pipmaster") is before


def test_a_later_call_still_only_checks(tmp_path: Path) -> None:
    module = import_folder(
        folder(tmp_path, "import pipmaster as pm\ndef later(): return pm.install('no-such-package-zz')")
    )
    with pytest.raises(MissingDependency):
        module.later()


def test_two_folders_of_one_name_and_two_versions_are_four_modules(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "a", "value = 1"), folder(tmp_path / "b", "value = 2")
    first, second = import_folder(one), import_folder(two)
    assert (first.value, second.value) == (1, 2)
    assert import_folder(one) is first
    (one / "__init__.py").write_text("value = 3", encoding="utf-8")
    assert import_folder(one).value == 3
    assert first.value == 1
    assert sorted(each.name for each in one.iterdir()) == ["__init__.py"]


def test_relative_imports_work(tmp_path: Path) -> None:
    made = folder(tmp_path, "from .part import answer")
    (made / "part.py").write_text("answer = 42", encoding="utf-8")
    assert import_folder(made).answer == 42


def test_a_version_that_is_too_old_is_missing() -> None:
    assert missing_requirements(["click>=1", "click>=9999", 'nothing-zz; python_version < "3"']) == ["click>=9999"]
