"""Code blocks come out of a text as they were written: fences as CommonMark reads them, names and languages beside."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lollms_client import LollmsClient
from lollms_core.errors import InvalidRequest
from lollms_core.text.code_blocks import extract_code_blocks
from lollms_server.utils import helpers


def only(text: str, format: str = "markdown") -> dict[str, Any]:
    (block,) = extract_code_blocks(text, format)
    return block


def test_a_block_has_all_its_keys() -> None:
    text = "Here:\nfile: app.py\n```python\nprint(1)\n```\nand\n```\nplain\n\n```\n"
    assert extract_code_blocks(text) == [
        {"index": 0, "file_name": "app.py", "content": "print(1)", "type": "python", "is_complete": True},
        {"index": 1, "file_name": "", "content": "plain\n", "type": "language-specific", "is_complete": True},
    ]
    assert LollmsClient(binding_name=None).extract_code_blocks(text) == extract_code_blocks(text)
    assert extract_code_blocks("") == extract_code_blocks("no `code` here, and ```none``` here") == []


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("<file_name>src/a b.py</file_name>", "src/a b.py"),
        ("Save it: <FILE_NAME> x.py </FILE_NAME>", "x.py"),
        ("file: x.py", "x.py"),
        ("filename: x.py", "x.py"),
        ("FileName : my notes.md", "my notes.md"),
        ("**filename: `__init__.py`**", "__init__.py"),
        ("### File: `x.py`", "x.py"),
        ("# file: x.py", "x.py"),
        ("**File:** x.py", "x.py"),
        ("This goes into file: x.py", "x.py"),
        ("file: x.py\n\n  ", "x.py"),
        ("file: x.py\r\n", "x.py"),
        ("file: x.py\nAnd now the code:", ""),
        ("A config file: it holds all settings", ""),
        ("profile: x.py", ""),
        ("Here is the file:", ""),
        ("file: x.py" + "\n" * 205, ""),
        ("file: " + "y" * 300, ""),
        ("", ""),
    ],
)
def test_the_line_before_names_the_file(heading: str, name: str) -> None:
    assert only(f"{heading}\n```\nx\n```")["file_name"] == name
    assert only(f'{heading}\n<code class="language-c">x</code>', "html")["file_name"] == name


def test_a_name_belongs_to_the_next_block_alone() -> None:
    first, second = extract_code_blocks("file: a.py\n```\nfile: inside.py\n```\n```\ny\n```")
    assert (first["file_name"], second["file_name"]) == ("a.py", "")


@pytest.mark.parametrize(
    ("info", "kind", "content"),
    [
        ("python", "python", "x"),
        ("  c++ ", "c++", "x"),
        ("", "language-specific", "x"),
        ("def f(): pass", "language-specific", "def f(): pass\nx"),
        ('python title="a b.py" {1,3-5}', "python", "x"),
        ("js filename=a.js", "js", "x"),
        ("x = 1", "language-specific", "x = 1\nx"),
    ],
)
def test_one_word_behind_the_fence_is_the_language(info: str, kind: str, content: str) -> None:
    block = only(f"```{info}\nx\n```")
    assert (block["type"], block["content"]) == (kind, content)


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("````md\n```py\nx\n```\n````", ["```py\nx\n```"]),
        ("~~~\n```\nx\n~~~", ["```\nx"]),
        ("```\nx\n`````", ["x"]),
        ("`````\nx\n```\n`````", ["x\n```"]),
        ("```a\nx\n```b\ny\n```", ["x\n```b\ny"]),
        ("``` not `a` fence\n```\nx\n```", ["x"]),
        ("~~~ may have ` and ~\nx\n~~~", ["may have ` and ~\nx"]),
        ("```\nx\n```  \t\ny", ["x"]),
        ("- item\n\n  ```py\n  a:\n    b\n  ```\nend", ["a:\n  b"]),
        ("   ```\nx\n    y\n   ```", ["x\n y"]),
        ("\t```\n\tx\n\t\ty\n\t```", ["x\n    y"]),
        ("```\nx\n    ```\ny\n   ```", ["x\n    ```\ny"]),
        ("``\nx\n``", []),
        ("```\n```", [""]),
        ("```\n\n```", [""]),
        ("```\n\n\nx\n\n```", ["\n\nx\n"]),
        ("```py\r\na\r\n\r\nb\r\n```\r\nend", ["a\n\nb"]),
        ("```\ra\rb\r```", ["a\nb"]),
        ("```\na\u2028b\x0cc\x85d\n```", ["a\u2028b\x0cc\x85d"]),
    ],
)
def test_fences_are_read_as_commonmark_reads_them(text: str, contents: list[str]) -> None:
    blocks = extract_code_blocks(text)
    assert [block["content"] for block in blocks] == contents
    assert all(block["is_complete"] for block in blocks)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("```py\na\nb", "a\nb"),
        ("```py\na\n", "a"),
        ("```py", ""),
        ("````\na\n```", "a\n```"),
        ("```\na\n~~~", "a\n~~~"),
    ],
)
def test_a_block_that_is_never_closed_is_not_complete(text: str, content: str) -> None:
    first, last = extract_code_blocks(f"```\nwhole\n```\n{text}")
    assert first["is_complete"] is True
    assert (last["content"], last["is_complete"]) == (content, False)


def test_html_has_blocks_too() -> None:
    text = (
        "Use <code>len</code>.\n<file_name>a.py</file_name>\n"
        '<pre class="x"><code id="c" class="hl language-python">\nif a < b:\n    <code>\n</CODE ></pre>\n'
        "<pre>\n<code>plain</code></pre> <code class='language-c'>open\nend"
    )
    blocks = extract_code_blocks(text, "HTML")
    assert [(block["type"], block["content"], block["is_complete"]) for block in blocks] == [
        ("python", "if a < b:\n    <code>", True),
        ("language-specific", "plain", True),
        ("c", "open\nend", False),
    ]
    assert [block["file_name"] for block in blocks] == ["a.py", "", ""]
    assert extract_code_blocks(text) == extract_code_blocks("```\nx\n```", "html") == []
    with pytest.raises(InvalidRequest, match="markdown or html, not from 'pdf'"):
        extract_code_blocks(text, "pdf")


PIECES = [
    "```",
    "````",
    "~~~",
    "`",
    "\n",
    "\r\n",
    "  ",
    "\t",
    "python",
    "x = 1",
    "file: a",
    "<code",
    ">",
    "</code>",
    "é",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=200))
def test_any_text_gives_blocks_of_its_own_characters(text: str) -> None:
    for form in ("markdown", "html"):
        blocks = extract_code_blocks(text, form)
        assert [block["index"] for block in blocks] == list(range(len(blocks)))
        assert all(block["is_complete"] for block in blocks[:-1])
        assert sum(len(block["content"].strip()) for block in blocks) <= len(text)
    ours, theirs = extract_code_blocks(text), helpers.extract_code_blocks(text)
    assert [block["is_complete"] for block in ours] == [block["is_complete"] for block in theirs]


@given(st.text(st.characters(exclude_characters="`~\r"), max_size=100), st.sampled_from(["```", "~~~~", "  ```"]))
def test_what_was_put_between_fences_comes_out(code: str, fence: str) -> None:
    margin = fence[: len(fence) - len(fence.lstrip())]
    assume(not margin or "\t" not in code)  # a tab of which a part is taken away comes out as blanks
    inside = "\n".join(margin + line for line in code.split("\n"))
    block = only(f"text\n{fence}py\n{inside}\n{fence}\ntext")
    assert (block["content"], block["type"], block["is_complete"]) == (code, "py", True)


@pytest.mark.parametrize(
    "piece",
    [
        "```py\nx\n```\n",
        "```\n",
        "~" * 3 + "\n",
        "\n",
        "`",
        " ",
        "\n```\n" + "\n" * 300,
        "```x\n",
        '```a x="b y=" x="b y="\n',
        'x="a y=" ',
        "<code",
        "<code>",
        "<pre>",
        '<code class="language-',
        '<code class="language-c">',
        "</code" + " " * 50,
        "file: ",
    ],
)
def test_the_cost_is_linear(piece: str) -> None:
    """Four times the text takes about four times as long, not sixteen times."""

    def seconds(length: int) -> float:
        text = "```a " + piece * (length // len(piece))
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            extract_code_blocks(text)
            extract_code_blocks(text, "html")
            helpers.extract_code_blocks(text, True)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(80_000) < 9 * seconds(20_000) + 0.01


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```markdown\n# T\n```sh\nls\n```\nend\n```", [("markdown", "# T\n```sh\nls\n```\nend", True)]),
        ("```md\n- a\n  ```py\n  x\n  ```\n- b\n```\n", [("md", "- a\n  ```py\n  x\n  ```\n- b", True)]),
        ("```markdown\n# T\n```\n```py\nx\n```", [("markdown", "# T", True), ("py", "x", True)]),
        ("```markdown\n# T\n```sh\nls\n```", [("markdown", "# T\n```sh\nls\n```", False)]),
        ("```python\n```sh\n```\n", [("python", "```sh", True)]),
    ],
)
def test_blocks_inside_of_markdown_do_not_end_it(text: str, found: list[tuple[str, str, bool]]) -> None:
    blocks = extract_code_blocks(text)
    assert [(each["type"], each["content"], each["is_complete"]) for each in blocks] == found
