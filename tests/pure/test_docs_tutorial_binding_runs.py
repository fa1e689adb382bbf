"""The tutorial of DOC_DEV.md, "A binding of your own for the library", runs as printed and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TITLE = "## A binding of your own for the library\n"
FILE = re.compile(r"# (my_bindings/\S+)\n")


def tutorial() -> list[tuple[str, str]]:
    """The fenced blocks of the section, each with its language."""
    section = (ROOT / "DOC_DEV.md").read_text(encoding="utf-8").partition(TITLE)[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```", section, re.M | re.S)


def files(folder: Path) -> list[Path]:
    """Write the files of the tutorial where it says."""
    written = []
    for _, text in tutorial():
        if found := FILE.match(text):
            path = folder / found[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def programs() -> list[tuple[str, str]]:
    """The programs, each with what the next block says that it prints."""
    blocks = tutorial()
    runs = [number for number, (language, text) in enumerate(blocks) if language == "python" and not FILE.match(text)]
    assert all(blocks[number + 1][0] == "text" for number in runs)
    return [(blocks[number][1], blocks[number + 1][1]) for number in runs]


def test_the_tutorial_has_its_parts(tmp_path: Path) -> None:
    names = [str(path.relative_to(tmp_path)) for path in files(tmp_path)]
    assert sorted(names) == [
        "my_bindings/poet/__init__.py",
        "my_bindings/poet/description.yaml",
        "my_bindings/shout/__init__.py",
    ]
    assert len(programs()) == 3
    assert {language for language, _ in tutorial()} == {"python", "yaml", "text"}


@pytest.mark.parametrize("number", range(len(programs())))
def test_each_program_of_the_tutorial_prints_what_it_says(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LOLLMS_BINDINGS_DIR", raising=False)
    monkeypatch.delenv("POET_API_KEY", raising=False)
    program, printed = programs()[number]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(program, "tutorial", "exec"), {"__name__": "__main__"})
    assert shown.getvalue() == printed
