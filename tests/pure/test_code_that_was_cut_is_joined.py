"""Code that was cut anywhere and is continued in any way that models do comes out as though it had never been cut."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lollms_core.text.code_blocks import extract_code_blocks
from lollms_core.text.continuation import anchor, continued, joined, open_block

PYTHON = '''"""Shapes."""

from __future__ import annotations

import math


class Circle:
    """A round one."""

    def __init__(self, radius: float) -> None:
        if radius < 0:
            raise ValueError("a radius is not negative")
        self.radius = radius

    def area(self) -> float:
        return math.pi * self.radius**2

    def scaled(self, by: float) -> Circle:
        return Circle(self.radius * by)


def largest(circles: list[Circle]) -> Circle | None:
    best = None
    for each in circles:
        if best is None or each.area() > best.area():
            best = each
    return best


if __name__ == "__main__":
    print(largest([Circle(1), Circle(2)]))
'''
SCRIPT = """const state = { open: [], done: [] };

function render(list, node) {
  node.innerHTML = "";
  for (const item of list) {
    if (!item.hidden) {
      const row = document.createElement("li");
      row.onclick = () => {
        toggle(item.id);
      };
      node.appendChild(row);
    }
  }
}

export default { state, render };
"""
HEAD = "Here it is:\n\n```python\n"
TAIL = "\n```\nThat is all."


def last_lines(code: str, count: int) -> str:
    return "\n".join(code.split("\n")[-count:])


def is_clear(code: str, rest: str) -> bool:
    """Whether the rest cannot be taken for the last lines once more, which no comparison could decide."""
    return not any(last_lines(code, n) and rest.startswith(last_lines(code, n)) for n in (1, 2, 3))


STYLES = ["on", "on_without_end", "fence", "last_line", "anchor", "anchor_raw", "talk_fence", "again", "again_talk"]


def answer(style: str, code: str, rest: str) -> str:
    """What a model writes that is asked to go on."""
    end = rest.removesuffix("\n") + TAIL
    return {
        "on": end,
        "on_without_end": rest,
        "fence": f"```python\n{end}",
        "last_line": f"```python\n{last_lines(code, 1)}{end}",
        "anchor": f"```python\n{anchor(code)}{end}",
        "anchor_raw": f"{anchor(code)}{end}",
        "talk_fence": f"Sure, here is the rest of it:\n\n```python\n{anchor(code)}{end}",
        "again": f"```python\n{code}{end}",
        "again_talk": f"Here is the complete code once more.\n```\n{code}{end}",
    }[style]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("whole", [PYTHON, SCRIPT], ids=["python", "script"])
def test_every_cut_is_mended(whole: str, style: str) -> None:
    wanted = whole.removesuffix("\n")
    seen = 0
    for cut in range(1, len(wanted)):
        code, rest = wanted[:cut], wanted[cut:] + "\n"
        if style in ("on", "on_without_end", "fence") and not is_clear(code, rest):
            continue
        seen += 1
        text = continued(HEAD + code, answer(style, code, rest))
        (block,) = extract_code_blocks(text)
        assert block["content"] == wanted, (style, cut, code[-30:])
        assert block["is_complete"] is (style != "on_without_end")
        assert block["type"] == "python"
    assert seen > 0.9 * len(wanted)


@pytest.mark.parametrize("style", ["on", "anchor", "last_line", "again"])
def test_a_cut_in_every_third_is_mended(style: str) -> None:
    """The continuation is cut as well, and continued in the same way."""
    wanted = PYTHON.removesuffix("\n")
    done = 0
    for cut in range(40, len(wanted) - 420, 7):
        text = HEAD + wanted[:cut]
        for end in (cut + 200, cut + 400, len(wanted)):
            opened = open_block(text)
            assert opened is not None
            code = text[opened.start :]
            if not is_clear(code, wanted[len(code) :]):
                break
            head = {"on": "", "anchor": anchor(code), "last_line": last_lines(code, 1), "again": code}[style]
            fence = "" if style == "on" else "```python\n"
            close = "\n```" if end == len(wanted) else ""
            text = continued(text, f"{fence}{head}{wanted[len(code) : end]}{close}")
        else:
            done += 1
            (block,) = extract_code_blocks(text)
            assert (block["content"], block["is_complete"]) == (wanted, True), cut
    assert done > 20


def test_a_fence_that_was_cut_is_mended() -> None:
    whole = "Here:\n```python\nx = 1\ny = 2\n```\nDone."
    for cut in range(len("Here:\n"), len("Here:\n```python\nx = 1\ny = 2\n```") + 1):
        text = continued(whole[:cut], whole[cut:])
        (block,) = extract_code_blocks(text)
        assert (block["content"], block["is_complete"]) == ("x = 1\ny = 2", True), whole[:cut]
    for cut in range(len("Here:\n`"), len("Here:\n```python\n")):
        text = continued(whole[:cut], whole[6:])
        (block,) = extract_code_blocks(text)
        assert (block["content"], block["is_complete"]) == ("x = 1\ny = 2", True), whole[:cut]


@pytest.mark.parametrize(
    ("code", "more", "whole"),
    [
        # the first line has another indentation
        (
            "def f(a):\n    value = a +",
            "value = a + 1\n    return value",
            "def f(a):\n    value = a + 1\n    return value",
        ),
        ("def f(a):\n    valu", "  value = a", "def f(a):\n    value = a"),
        (
            "if a:\n    first_call()\n    second_ca",
            "first_call()\nsecond_call()\nif b:\n    third()",
            "if a:\n    first_call()\n    second_call()\n    if b:\n        third()",
        ),
        # the block is written once more, with other words
        (
            "import os\nimport sys\nimport json\n\ndef a():\n    retu",
            "import os\nimport sys\nimport json\n\ndef b():\n    return 12345678",
            "import os\nimport sys\nimport json\n\ndef b():\n    return 12345678",
        ),
        # what is repeated begins within a line
        ("total = compute_total(items", "compute_total(items, tax)", "total = compute_total(items, tax)"),
        # values that stand in rows are no repetition
        ("[0.0, 0.0, 0.0, 0.0, ", "0.0, 0.0, 0.0]", "[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"),
        ("title\n---", "---", "title\n------"),
        ("  }\n}\n", "}\n", "  }\n}\n}\n"),
        # a word in two, and nothing to add
        ("retu", "rn 1", "return 1"),
        ("x = 1\n", "", "x = 1\n"),
        ("", "x = 1", "x = 1"),
    ],
)
def test_what_is_repeated_stands_once(code: str, more: str, whole: str) -> None:
    assert joined(code, more) == whole


LINES = (
    "class A:\n    def first(self):\n        value = 1\n        return value\n\n    def other(self):\n        return 2"
)


def mended(code: str, more: str) -> str:
    (block, *_) = extract_code_blocks(continued(HEAD + code, more))
    return str(block["content"]) if block["is_complete"] else "(cut)"


@pytest.mark.parametrize("cut", [LINES.index("return value") + 6, LINES.index("\n\n") + 1, LINES.index("def other")])
def test_what_stands_before_the_repetition_is_left_out(cut: int) -> None:
    code, rest = LINES[:cut], LINES[cut:]
    last = anchor(code)
    for before in ("\n", "\n\n", "# ... (continued)\n", "# continuing from above\n\n", "# Rest of the class:\n"):
        assert mended(code, f"```python\n{before}{last}{rest}\n```") == LINES, before
        text = continued(f"<pre><code>\n{code}", f"<pre><code>\n{before}{last}{rest}</code>", "html")
        assert extract_code_blocks(text, "html")[0]["content"] == LINES, before


@pytest.mark.parametrize("cut", [LINES.index("return value") + 6, LINES.index("\n\n") + 1])
def test_a_continuation_in_other_columns_is_moved(cut: int) -> None:
    rest = LINES[LINES.index("    def first") :]
    less = "\n".join(line.removeprefix("    ") for line in rest.split("\n"))
    assert mended(LINES[:cut], f"```python\n{less}\n```") == LINES
    deep = "steps:\n      - name: first\n        run: one\n      - name: second\n        run: two"
    code = deep[: deep.index("      - name: second")]
    assert mended(code, "```yaml\n- name: first\n  run: one\n- name: second\n  run: two\n```") == deep
    assert mended(code + "      - name: sec", "```yaml\n    - name: second\n      run: two\n```") == deep


def test_lines_that_a_model_quotes_before_it_goes_on_are_no_end() -> None:
    code, rest = LINES[:60], LINES[60:]
    last = last_lines(code, 1)
    for lead, more in ((last, last + rest), (code, rest)):
        answer = f"You stopped at:\n```python\n{lead}\n```\nThe rest:\n```python\n{more}\n```\nDone."
        assert mended(code, answer) == LINES
    use = f"```python\n{last_lines(LINES, 1)}\n```\nUse it:\n```bash\npython a.py\n```"
    assert mended(LINES, use) == LINES


def test_lines_that_come_again_later_are_no_reason_to_leave_lines_out() -> None:
    """After a sentence without a fence, the code goes on, and has its last line once more later on."""
    code = "bench: setup\n\tpip install --quiet -r requirements.txt\n"
    rest = "\tpython -m bench\n\nsoak: setup\n\tpip install --quiet -r requirements.txt\n\tpython -m soak\n"
    assert mended(code, f"Sure, here is the rest:\n\n{rest}```") == (code + rest).rstrip("\n")
    talk = "Sure, here is the rest:\nIt begins with the last line of the recipe.\n\n"
    again = "\tpip install --quiet -r requirements.txt\n"
    assert mended(code, f"{talk}{anchor(code)}{rest}```") == (code + rest).rstrip("\n")
    assert mended(code, f"Sure, here is the rest:\n\n{again}{rest}```") == (code + rest).rstrip("\n")


def test_a_remark_of_the_code_stays() -> None:
    code = "a = 1\n"
    for line in ("# The rest of the values", "# continued in b", ""):
        assert mended(code, f"```python\n{line}\nb = 2\n```") == f"a = 1\n{line}\nb = 2"
    assert mended("value = compu", "```python\n# ... continued\nte(1)\n```") == "value = compute(1)"


def test_empty_lines_behind_a_sentence_are_kept() -> None:
    code, rest = LINES[: LINES.index("\n    def other")], LINES[LINES.index("\n    def other") :]
    assert mended(code, f"Sure, here is the rest:\n\n{rest}\n```") == LINES


def test_a_repetition_may_end_within_the_indentation() -> None:
    whole = '[\n  [\n    "ab",\n    "one"\n  ],\n  [\n    "d"\n  ]\n]'
    code, rest = whole[: whole.index('"d"') - 2], whole[whole.index('"d"') - 2 :]
    for count in (4, 5):
        assert mended(code, f"```json\n{last_lines(code, count)}{rest}\n```") == whole


def test_the_end_of_a_very_long_line_is_known_again() -> None:
    whole = "a = [\n" + " ".join(f"value_{n}," for n in range(90)) + "\n]\nprint(a)"
    for cut in (whole.index("\n]") + 1, whole.index("\n]"), whole.index("value_80") + 3):
        code, rest = whole[:cut], whole[cut:]
        assert len(anchor(code)) <= 400
        assert mended(code, f"```python\n{anchor(code)}{rest}\n```") == whole


def test_a_block_of_its_own_may_begin_with_the_next_line() -> None:
    assert joined("def f():", "    return 1", in_fence=True) == "def f():\n    return 1"
    assert joined("x = 1", "  # one", in_fence=True) == "x = 1  # one"
    assert joined("def f():\n    ", "    return 1", in_fence=True) == "def f():\n    return 1"


def test_a_restart_that_is_cut_earlier_takes_nothing_away() -> None:
    code = "import os\nimport sys\nimport json\n\ndef a():\n    retu"
    assert joined(code, code[:40]) == code
    assert continued(f"```py\n{code}", f"```py\n{code[:40]}") == f"```py\n{code}"


def test_other_fences_stay_as_they_are() -> None:
    whole = "````md\n# Title\n\n```py\nx = 1\n```\n\nThe end of all.\n````"
    for cut in range(len("````md\n"), len(whole) - 4):
        (block,) = extract_code_blocks(continued(whole[:cut], whole[cut:]))
        assert block["content"] == "# Title\n\n```py\nx = 1\n```\n\nThe end of all.", whole[:cut]
    inside = "- one\n\n  ```py\n  a = 1\n  if a:\n      b = 2\n"
    (block,) = extract_code_blocks(continued(inside, "      c = 3\n  ```\n- two"))
    assert block["content"] == "a = 1\nif a:\n    b = 2\n    c = 3"
    (block,) = extract_code_blocks(continued("~~~\r\na = 1\r\nb =", "b = 2\r\n~~~\r\n"))
    assert (block["content"], block["is_complete"]) == ("a = 1\nb = 2", True)


def test_elements_of_html_are_mended() -> None:
    whole = '<pre><code class="language-js">\nconst a = 1;\nrun(a);\n</code></pre> Done.'
    start = whole.index("const")
    for cut in range(start + 1, whole.index("</code>") + 7):
        text = continued(whole[:cut], whole[cut:], "html")
        (block,) = extract_code_blocks(text, "html")
        assert (block["content"], block["is_complete"]) == ("const a = 1;\nrun(a);", True), whole[:cut]
        code = whole[start:cut].partition("</code>")[0]
        if code in whole[start:cut] and "<" not in code:
            more = f'Sure:\n<pre><code class="language-js">\n{code}{whole[start + len(code) :]}'
            (block,) = extract_code_blocks(continued(whole[:cut], more, "html"), "html")
            assert (block["content"], block["is_complete"]) == ("const a = 1;\nrun(a);", True), whole[:cut]


WORDS = st.lists(st.sampled_from("abcdefghijklmnop_=.():,\"' "), min_size=3, max_size=25).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(WORDS, min_size=2, max_size=12), st.floats(0, 1), st.sampled_from(["on", "anchor", "anchor_raw", "again"])
)
def test_any_lines_are_joined_as_they_were(lines: list[str], where: float, style: str) -> None:
    lines = [f"{'    ' * (n % 3)}line{n}_{line.strip()}" for n, line in enumerate(lines)]
    whole = "\n".join(lines)
    cut = 1 + int(where * (len(whole) - 2))
    code, rest = whole[:cut], whole[cut:]
    assume(is_clear(code, rest))
    (block,) = extract_code_blocks(continued(HEAD + code, answer(style, code, rest + "\n")))
    assert (block["content"], block["is_complete"]) == (whole, True)


@settings(deadline=None)
@given(st.text('`~\n ab<>/code="\r', max_size=60), st.text('`~\n ab<>/code="\r', max_size=60))
def test_any_two_texts_are_joined_without_a_failure(text: str, more: str) -> None:
    for form in ("markdown", "html"):
        assert len(continued(text, more, form)) <= len(text) + len(more) + 10


@pytest.mark.parametrize("line", ["x = 1\n", "}\n", "a" * 200 + " ", "```\n", " \n", "\n", "# rest of\n"])
def test_long_code_is_joined_in_little_time(line: str) -> None:
    code = line * (200_000 // len(line))
    start = time.process_time()
    continued(f"````py\n{code}", code)
    continued("```py\nvalue = 1\nx", f"```py\n{code}")
    continued("```py\nvalue = 1\nx", f"Sure, here is the rest:\n{code}value = 1\nx = 1\n")
    continued("```py\nvalue = 1\nx", "```py\nvalue = 1\nx\n```\n" * 10_000)
    anchor(code)
    assert time.process_time() - start < 5
    assert len(anchor("word " * 1_000)) <= 401
    assert re.fullmatch(r"(word )+", anchor("word " * 1_000))
