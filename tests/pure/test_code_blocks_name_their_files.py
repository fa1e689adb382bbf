"""The name of a file is read from a block itself where the line before it has none, in forms that mean nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from lollms_core.text.code_blocks import FencedBlock, FenceReader, extract_code_blocks, fenced_blocks


def only(text: str, format: str = "markdown") -> dict[str, Any]:
    (block,) = extract_code_blocks(text, format)
    return block


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ('```python title="a b.py"\nx\n```', "python", "a b.py"),
        ("```js filename=src/a.js {1,3}\nx\n```", "js", "src/a.js"),
        ("```c file='a.c'\nx\n```", "c", "a.c"),
        ("```python:src/x.py\nx\n```", "python", "src/x.py"),
        ("```yaml:docker-compose.yml\nx\n```", "yaml", "docker-compose.yml"),
        ("```py\n# file: a.py\nx\n```", "py", "a.py"),
        ("```js\n// filename: src/a.js\nx\n```", "js", "src/a.js"),
        ("```css\n/* file: a.css */\nx\n```", "css", "a.css"),
        ("```html\n<!-- file: a.html -->\nx\n```", "html", "a.html"),
        ("```py\n# src/deep/a.py\nx\n```", "py", "src/deep/a.py"),
        ("**`app.py`**\n```\nx\n```", "language-specific", "app.py"),
        ("1. `src/a.js`:\n\n```\nx\n```", "language-specific", "src/a.js"),
        ('file: b.py\n```python title="a.py"\n# file: c.py\n```', "python", "b.py"),
        ('```python title="a.py"\n# file: c.py\n```', "python", "a.py"),
        # what may be something else is none
        ("```py\n# main.py\nx\n```", "py", ""),
        ("```\n// Node.js\nx\n```", "language-specific", ""),
        ("```\n// https://a.b/c.js\nx\n```", "language-specific", ""),
        ("```py\n# see src/a.py for more\nx\n```", "py", ""),
        ("```py\nx\n# file: a.py\n```", "py", ""),
        ("```std::vector\nx\n```", "std::vector", ""),
        ("### `Node`\n```\nx\n```", "language-specific", ""),
        ("Call `a.run` now\n```\nx\n```", "language-specific", ""),
        ("```py\n# " + "a/" * 200 + "b.py\n```", "py", ""),
    ],
)
def test_a_block_names_its_file(text: str, kind: str, name: str) -> None:
    block = only(text)
    assert (block["type"], block["file_name"]) == (kind, name)


def test_the_comment_stays_in_the_code() -> None:
    assert only("```py\n# file: a.py\nx\n```")["content"] == "# file: a.py\nx"
    block = only('<pre><code class="language-py">\n# file: a.py\nx\n</code></pre>', "html")
    assert (block["content"], block["file_name"]) == ("# file: a.py\nx", "a.py")


def test_a_reader_is_given_line_by_line() -> None:
    lines = ["a", "  ~~~~py", "  x", "  ~~~", "  ~~~~", "```js", "y", ""]
    reader = FenceReader()
    openings: list[str | None] = []
    found: list[FencedBlock | None] = []
    for line in lines:
        found += filter(None, [reader.line(line)])
        openings.append(reader.opening)
    assert openings == [None, "  ~~~~", "  ~~~~", "  ~~~~", None, "```", "```", "```"]
    assert [*found, reader.rest()] == list(fenced_blocks(lines))
    assert [each.lines for each in fenced_blocks(lines)] == [["x", "~~~"], ["y"]]
    assert FenceReader().rest() is None
