"""A plug-in is known by where it lies and what it says: the same is imported once, anything else is another module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lollms_runtime.third_party import content_digest, forget, import_file, import_folder, is_imported


def written(path: Path, source: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return path


def test_two_files_of_one_name_and_two_versions_are_four_modules(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a" / "tool.py", "value = 1"), written(tmp_path / "b" / "tool.py", "value = 2")
    first, second = import_file(one), import_file(two)
    assert (first.value, second.value) == (1, 2)
    assert import_file(one) is first
    one.write_text("value = 3", encoding="utf-8")
    assert import_file(one).value == 3
    assert first.value == 1
    assert "tool" not in sys.modules


@pytest.mark.parametrize("name", ["my tool.py", "json.py", "a.b.py", "über.py", "1.py"])
def test_a_file_may_have_any_name_and_shadows_nothing(tmp_path: Path, name: str) -> None:
    import json

    module = import_file(written(tmp_path / name, "import json\nvalue = json.dumps(1)"))
    assert module.value == "1"
    assert sys.modules["json"] is json


@pytest.mark.parametrize("name", ["tool.txt", "absent.py", "folder.py"])
def test_only_a_python_file_is_imported(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.py").mkdir()
    written(tmp_path / "tool.txt", "value = 1")
    with pytest.raises(ImportError, match="not a plug-in"):
        import_file(tmp_path / name)


def test_a_file_that_fails_leaves_no_module(tmp_path: Path) -> None:
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        import_file(written(tmp_path / "broken.py", "1 / 0"))
    assert not [name for name in set(sys.modules) - before if "broken" in name]


def test_the_digest_sees_every_change_of_source_and_place(tmp_path: Path) -> None:
    folder = tmp_path / "known"
    written(folder / "__init__.py", "x = 1")
    seen = {content_digest(folder)}
    written(folder / "part" / "__init__.py", "")
    seen.add(content_digest(folder))
    written(folder / "part" / "more.py", "y = 2")
    seen.add(content_digest(folder))
    (folder / "part" / "more.py").rename(folder / "more.py")
    seen.add(content_digest(folder))
    written(folder / "more.py", "y = 3")
    seen.add(content_digest(folder))
    written(folder / "notes.txt", "not code")
    assert len(seen) == 5
    assert content_digest(folder) in seen


def test_what_is_forgotten_is_run_again_with_all_its_parts(tmp_path: Path) -> None:
    folder = tmp_path / "known"
    written(folder / "__init__.py", "from . import part")
    written(folder / "part.py", "value = []")
    first = import_folder(folder)
    assert is_imported(folder)
    forget(first)
    assert not is_imported(folder)
    assert not [name for name in sys.modules if name.startswith(first.__name__)]
    second = import_folder(folder)
    assert second is not first
    assert second.part.value is not first.part.value
    forget(first)  # the old one has the same name and takes nothing with it
    assert is_imported(folder)


def test_forgetting_touches_no_module_that_is_no_plugin() -> None:
    import json

    forget(json)
    assert sys.modules["json"] is json
