"""The helpers that bindings and scripts import from `lollms_server.utils`."""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from lollms_core.errors import MissingDependency
from lollms_server.utils.file_utils import add_path_to_sys_path, find_classes_in_module, safe_load_module
from lollms_server.utils.helpers import extract_code_blocks, parse_thought_tags

TEXT = """Intro
<file_name>a/b.py</file_name> <section>core</section>
```python
def f():

    return "```"
```
Between
## filename: notes.md
~~~~markdown
```js
inner
```
~~~~
``` not `a` fence
```
plain
```
End
```js open
x"""


def test_code_blocks_have_all_their_keys() -> None:
    blocks, rest = extract_code_blocks(TEXT, return_remaining_text=True)
    assert [block["index"] for block in blocks] == [0, 1, 2, 3]
    assert blocks[0] == {
        "index": 0,
        "file_name": "a/b.py",
        "section": "core",
        "content": 'def f():\n\n    return "```"',
        "type": "python",
        "is_complete": True,
    }
    assert (blocks[1]["file_name"], blocks[1]["type"], blocks[1]["content"]) == (
        "notes.md",
        "markdown",
        "```js\ninner\n```",
    )
    assert (blocks[2]["type"], blocks[2]["content"], blocks[2]["file_name"]) == ("unknown", "plain", "")
    assert (blocks[3]["type"], blocks[3]["content"], blocks[3]["is_complete"]) == ("js", "x", False)
    assert rest == "Intro\nBetween\n``` not `a` fence\nEnd"
    assert extract_code_blocks(TEXT) == blocks


def test_a_text_without_code_has_no_blocks() -> None:
    assert extract_code_blocks("") == []
    assert extract_code_blocks("just `code`", True) == ([], "just `code`")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ("plain", None)),
        ("", ("", None)),
        ("<think>a</think>b", ("b", "a")),
        (" <THINK>\na\n</Think>\n b <think>c</think> ", ("b", "a\n\nc")),
        ("<think></think>b", ("b", None)),
        ("b<think>never closed", ("b", "never closed")),
        ("b<think>never closed</thi", ("b", "never closed</thi")),
        ("<think>", ("", None)),
        ("a</think>b", ("a</think>b", None)),
        ("<think>a<think>b</think>c</think>d", ("d", "a<think>b</think>c")),
        ("```\n<think>code</think>\n```", ("```\n<think>code</think>\n```", None)),
        ("one<think>x</think><think>y</think>two", ("onetwo", "x\n\ny")),
    ],
)
def test_thoughts_are_taken_out(text: str, expected: tuple[str, str | None]) -> None:
    assert parse_thought_tags(text) == expected


def test_modules_are_loaded_by_their_path(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from .part import Part\n\nclass Own(Part):\n    pass\n", encoding="utf-8")
    (package / "part.py").write_text("class Part(dict):\n    pass\n", encoding="utf-8")
    (tmp_path / "alone.py").write_text("VALUE = 7\n", encoding="utf-8")
    for path in (package, package / "__init__.py", str(package)):
        module, error = safe_load_module(path)
        assert error is None and module is not None
        assert [each.__name__ for each in find_classes_in_module(module, dict)] == ["Own"]
        assert find_classes_in_module(module, OrderedDict) == []
    module, error = safe_load_module(tmp_path / "alone.py")
    assert error is None and module is not None and module.VALUE == 7
    part, error = safe_load_module(package / "part.py", package)
    assert error is None and part is not None and part.__name__.endswith(".part")
    assert "mine" not in sys.modules and "alone" not in sys.modules


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("def broken(:\n", SyntaxError),
        ("raise RuntimeError('no')\n", RuntimeError),
        ("import sys\nsys.exit(3)\n", ImportError),
        ("import pipmaster\npipmaster.ensure_packages(['no-such-package'])\n", MissingDependency),
    ],
)
def test_what_cannot_be_loaded_is_given_as_an_error(tmp_path: Path, source: str, kind: type[Exception]) -> None:
    (tmp_path / "bad.py").write_text(source, encoding="utf-8")
    module, error = safe_load_module(tmp_path / "bad.py")
    assert module is None
    assert isinstance(error, kind)
    assert safe_load_module(tmp_path / "nothing.py")[0] is None
    assert safe_load_module(tmp_path)[0] is None


def test_a_folder_is_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    for _ in range(2):
        add_path_to_sys_path(tmp_path)
    assert sys.path == [str(tmp_path.resolve()), "elsewhere"]
