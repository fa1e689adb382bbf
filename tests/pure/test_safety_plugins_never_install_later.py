"""A plug-in that asks for an installer long after it was imported, in whatever way, gets one that only checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_core.errors import MissingDependency
from lollms_runtime.third_party import import_folder

CALL = 'ensure_packages("surely-not-a-package-of-anybody-7f3a")'
WAYS = {
    "in a function": ("__init__.py", f"def go():\n    import pipmaster as pm\n    pm.{CALL}\n"),
    "by name": ("__init__.py", f"def go():\n    from pipmaster import ensure_packages\n    {CALL}\n"),
    "in a module of the folder": ("helper.py", f"def go():\n    import pipmaster\n    pipmaster.{CALL}\n"),
    "in a module that is imported later": ("later.py", f"import pipmaster\ndef go():\n    pipmaster.{CALL}\n"),
}


@pytest.mark.parametrize(("file", "code"), WAYS.values(), ids=WAYS)
def test_it_only_checks(tmp_path: Path, file: str, code: str) -> None:
    pipmaster = pytest.importorskip("pipmaster")
    folder = tmp_path / "plugin"
    folder.mkdir()
    first = "from . import helper\n" if file == "helper.py" else ""
    (folder / "__init__.py").write_text(
        f"{first}def late():\n    from . import later\n    return later\n", encoding="utf-8"
    )
    (folder / file).write_text(
        (folder / file).read_text(encoding="utf-8") + code if file == "__init__.py" else code, encoding="utf-8"
    )
    module = import_folder(folder)
    if file == "helper.py":
        module = module.helper
    elif file == "later.py":
        module = module.late()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ensure_packages", "install", "install_if_missing"):
            patch.setattr(pipmaster, name, lambda *_, **__: pytest.fail("the real installer was called"), raising=False)
        with pytest.raises(MissingDependency, match="surely-not-a-package"):
            module.go()
    import pipmaster as still

    assert still is pipmaster
