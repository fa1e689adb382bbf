"""Patches as models write them are applied exactly where they belong, or refused with a reason, and never by half."""

from __future__ import annotations

import difflib
import random
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lollms_core.text.patches import (
    PatchFailed,
    apply_blocks,
    apply_unified,
    difference,
    is_elided,
    is_part,
    looks_like_diff,
    replaced,
)

CODE = """import os


def first(a):
    value = a + 1
    return value


def second(b):
    value = b + 2
    return value
"""
CHANGED = CODE.replace("b + 2", "b * 2")


@pytest.mark.parametrize(
    "patch",
    [
        "--- a/x.py\n+++ b/x.py\n"
        "@@ -9,3 +9,3 @@\n def second(b):\n-    value = b + 2\n+    value = b * 2\n     return value",
        "@@ -900,77 +1 @@ def second(b):\n def second(b):\n-    value = b + 2\n+    value = b * 2\n     return value\n"
        "\n",
        "@@\n-    value = b + 2\n+    value = b * 2",
        "@@ ... @@\n-    value = b + 2\n+    value = b * 2",
        "--- x.py\n+++ x.py\n-    value = b + 2\n+    value = b * 2",
        "-    value = b + 2\n+    value = b * 2",
        "diff --git a/x b/x\nindex 12ab34..56 100644\n"
        "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-    value = b + 2\n+    value = b * 2\n",
        "@@ @@\n def second(b):   \n-    value = b + 2 \n+    value = b * 2\n     return value",
        "@@ @@\n     return value\n\n\n def second(b):\n-    value = b + 2\n+    value = b * 2",
        "@@ @@\ndef second(b):\n-    value = b + 2\n+    value = b * 2\n    return value",
        "@@ @@\n import os\n ...\n def second(b):\n-    value = b + 2\n+    value = b * 2\n # ... rest of the file",
        "@@ -9 +9 @@\r\n def second(b):\r\n-    value = b + 2\r\n+    value = b * 2\r\n\\ No newline at end of file",
    ],
    ids=range(12),
)
def test_a_diff_goes_where_its_lines_are(patch: str) -> None:
    assert apply_unified(CODE, patch) == CHANGED


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ("@@ -1 +1 @@\n-    return value\n+    return None", r"fits in 2 places \(lines 6, 11\)"),
        (
            "@@ -1 +1 @@\n-    return nothing\n+    return None",
            r"do not stand in the code like this:\n    return nothing",
        ),
        ("@@ -5,0 +5 @@\n+    pass", "has no context"),
        ("@@ -2 +2,2 @@\n \n+import re", "only empty lines"),
        ("@@ -1 +1 @@\n import os", "changes nothing"),
        ("@@ @@\n def second(b):\n-    value = b + 2\n+    # ... existing code ...", "left out"),
        ("@@ @@\n-import os\n+import re\n@@ @@\n-import io\n+import re", "hunk 2 does not fit"),
        ("@@ @@\n import os\n+import re\n@@ @@\n-import os\n+import io", "change the same lines"),
        ("", "changes nothing"),
        ("Just do it.", "changes nothing"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(patch: str, reason: str) -> None:
    with pytest.raises(PatchFailed, match=reason):
        apply_unified(CODE, patch)


def test_the_context_of_two_hunks_may_overlap() -> None:
    code = "".join(f"{n}\n" for n in range(9))
    patch = "@@ @@\n 1\n-2\n+two\n 3\n 4\n@@ @@\n 3\n 4\n-5\n+five\n 6"
    assert apply_unified(code, patch) == code.replace("2", "two").replace("5", "five")
    with pytest.raises(PatchFailed, match="change the same lines"):
        apply_unified(code, patch.replace(" 4\n-5", "-4\n-5"))


def test_lines_that_begin_with_a_backslash_are_context() -> None:
    code = "\\begin{a}\nx\n\\end{a}\n\\begin{b}\nx\n\\end{b}\n"
    patch = "@@ @@\n\\begin{b}\n-x\n+y\n\\end{b}\n\\ No newline at end of file"
    assert apply_unified(code, patch) == "\\begin{a}\nx\n\\end{a}\n\\begin{b}\ny\n\\end{b}\n"


def test_a_line_of_the_code_may_speak_of_the_rest() -> None:
    code = "a = 1\n# ... existing code ...\nb = 2\n"
    patch = "@@ @@\n-a = 1\n-# ... existing code ...\n+    # ... existing code ...\n b = 2"
    assert apply_unified(code, patch) == "    # ... existing code ...\nb = 2\n"


def test_a_part_is_known_by_what_it_leaves_out() -> None:
    ours = [f"line {n}" for n in range(20)]
    text = "\n".join(ours)
    assert is_part(text, ours[8:12])
    assert is_part(text, ours[:10])
    assert is_part(text, ["changed 7", *ours[8:]])
    assert not is_part(text, ours[2:])
    assert not is_part(text, ["new", *ours[1:17], "end"])
    assert not is_part(text, [f"other {n}" for n in range(5)] + ours[10:])
    assert not is_part(text, ["something else"])
    assert not is_part("", ["x"])


def test_an_exact_diff_goes_where_it_says() -> None:
    """Where the same lines stand twice, the numbers decide, but only if all of them are right."""
    hunk = "@@ -11 +11 @@\n-    return value\n+    return 2 * value"
    assert apply_unified(CODE, hunk).endswith("b + 2\n    return 2 * value\n")
    with pytest.raises(PatchFailed, match="2 places"):
        apply_unified(CODE, hunk.replace("-11", "-10"))
    with pytest.raises(PatchFailed, match="2 places"):
        apply_unified(CODE, hunk.replace("-11", "-11,2"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end"])
def test_line_ends_are_kept(end: str, last: str) -> None:
    code = CODE.replace("\n", end) + last
    patch = "@@ @@\n def second(b):\n-    value = b + 2\n+    value = b * 2\n+    value += 1\n     return value"
    changed = apply_unified(code, patch)
    assert changed == code.replace("b + 2", f"b * 2{end}    value += 1")
    assert apply_blocks(code, "<<<<<<< SEARCH\nimport os\n=======\nimport re\n>>>>>>> REPLACE") == code.replace(
        "os", "re"
    )
    assert replaced(code, CHANGED + "\n\n") == CHANGED.removesuffix("\n").replace("\n", end) + ("" if last else end)


def test_blanks_of_context_and_odd_ends_stay() -> None:
    code = "a  \nb\r\nc\t\nd"
    assert apply_unified(code, "@@ @@\n a\n-b\n+B\n c\n-d\n+D") == "a  \nB\nc\t\nD"
    assert apply_unified("", "@@ -0,0 +1,2 @@\n+a\n+b") == "a\nb\n"
    assert apply_unified("a\n", "@@ @@\n-a\n") == ""


BLOCK = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"


def test_search_and_replace() -> None:
    both = f"Sure.\n```python\n{BLOCK.format('    value = b + 2', '    value = b * 2')}\n```\n" + BLOCK.format(
        "import os", "import os\nimport re"
    )
    assert apply_blocks(CODE, both) == CHANGED.replace("import os", "import os\nimport re")
    fenced = "<<<<<<<\n```py\n    value = b + 2\n```\n=======\n```py\n    value = b * 2\n```\n>>>>>>>"
    assert apply_blocks(CODE, fenced) == CHANGED
    assert apply_blocks("Title\n=====\n", BLOCK.format("Title\n=====", "Name\n====")) == "Name\n====\n"
    assert apply_blocks("", "<<<<<<< SEARCH\n=======\nx = 1\n>>>>>>> REPLACE") == "x = 1\n"
    assert apply_blocks(CODE, "<<<<<<< SEARCH\nimport os\n=======\n>>>>>>> REPLACE") == CODE.removeprefix("import os\n")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("nothing", "there is no block"),
        ("<<<<<<< SEARCH\nimport os\n=======\nimport re", "has no end"),
        ("<<<<<<< SEARCH\nimport os\n{BLOCK.format('a', 'b')}", "has no end"),
        (BLOCK.format("    return value", "    return 1"), "2 places"),
        (BLOCK.format("import io", "import re"), "does not fit"),
        (BLOCK.format("import os", "import os"), "are the same"),
        (BLOCK.format("import os", "# ... rest of the code ..."), "in place of code"),
        (BLOCK.format("", "import re"), "only empty lines"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(answer: str, reason: str) -> None:
    with pytest.raises(PatchFailed, match=reason):
        apply_blocks(CODE, answer)


@pytest.mark.parametrize(
    ("line", "elided"),
    [
        ("# ... existing code ...", True),
        ("    // ... rest of the function", True),
        ("/* rest of the code unchanged */", True),
        ("... (remaining code stays the same)", True),
        ("// existing methods here", True),
        ("<!-- ... other -->", True),
        ("    ...", False),
        ("def f() -> int: ...", False),
        ("# the rest is easy", False),
        ("print('... the rest')", False),
        ("# existing users stay unchanged", False),
    ],
)
def test_lines_in_place_of_code_are_seen(line: str, elided: bool) -> None:
    assert is_elided(line) is elided


def test_a_diff_is_told_from_code() -> None:
    assert looks_like_diff(difference(CODE, CHANGED))
    assert not looks_like_diff(CODE)
    assert not looks_like_diff("- one\n+ two\n--- three")
    assert difference(CODE, CODE) == ""


LINES = st.lists(st.text("ab ()", max_size=5), min_size=1, max_size=25)


def edited(lines: list[str], seed: int) -> list[str]:
    """The lines with some taken out, changed or added."""
    chance = random.Random(seed)
    result: list[str] = []
    for number, line in enumerate(lines):
        what = chance.random()
        result += [f"new {number}"] if what < 0.15 else []
        result += [line] if what < 0.8 else [f"changed {number}"] if what < 0.9 else []
    return result


@settings(max_examples=500, deadline=None)
@given(LINES, st.integers(0, 2**32), st.integers(1, 3), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_noise_in_the_numbers_changes_nothing(lines: list[str], seed: int, context: int, end: str, last: bool) -> None:
    """Lines that stand once are found whatever the header says, also with what models leave out of it."""
    ours = [f"{number}: {line}" for number, line in enumerate(lines)]
    theirs = edited(ours, seed)
    assume(theirs and theirs != ours and (len(ours) > 1 or last))
    chance = random.Random(seed)
    diff = list(difflib.unified_diff(ours, theirs, lineterm="", n=context))
    noisy = [
        re.sub(r"\d+", lambda _: str(chance.randint(0, 99)), line) if line.startswith("@@") else line for line in diff
    ]
    before = end.join(ours) + (end if last else "")
    after = end.join(theirs) + (end if last else "")
    for patch in ("\n".join(diff), "\n".join(noisy), "\n".join(noisy[2:]) + "\n\n"):
        assert apply_unified(before, patch) == after


def tried(apply: Callable[[str, str], str], code: str, patch: str) -> tuple[str | None, str]:
    try:
        return apply(code, patch), ""
    except PatchFailed as error:
        return None, str(error)


@settings(max_examples=500, deadline=None)
@given(LINES, st.integers(0, 2**32))
def test_an_exact_diff_of_any_text_is_exact_or_refused(lines: list[str], seed: int) -> None:
    before = "\n".join(lines) + "\n"
    after = "".join(f"{line}\n" for line in edited(lines, seed))
    assume(before != after and after)
    applied, reason = tried(apply_unified, before, difference(before, after))
    assert applied == after or re.search(r"places|empty lines|no context", reason)


@settings(max_examples=300, deadline=None)
@given(LINES, LINES, st.integers(0, 2**32))
def test_a_diff_of_something_else_is_never_applied(lines: list[str], others: list[str], seed: int) -> None:
    ours = [f"ours {number}: {line}" for number, line in enumerate(lines)]
    other = [f"other {number}: {line}" for number, line in enumerate(others)]
    theirs = edited(other, seed)
    assume(theirs != other)
    patch = "\n".join(difflib.unified_diff(other, theirs, lineterm=""))
    with pytest.raises(PatchFailed):
        apply_unified("\n".join(ours), patch)


@given(st.text("-+ @<>=.ab\n\r", max_size=80), st.text("-+ @<>=.ab\n\r", max_size=120))
def test_any_patch_fits_or_is_refused(code: str, patch: str) -> None:
    for apply in (apply_unified, apply_blocks):
        applied, reason = tried(apply, code, patch)
        assert (applied is None) is bool(reason)


@pytest.mark.parametrize("line", ["x\n", "-x\n", " x\n", "@@ -1 +1 @@\n-x\n", "# rest of the code here\n", "...\n"])
def test_long_patches_cost_little(line: str) -> None:
    start = time.process_time()
    for apply in (apply_unified, apply_blocks):
        with pytest.raises(PatchFailed):
            apply("x\ny\n" * 5_000, f"@@ @@\n{line * 5_000}")
    assert time.process_time() - start < 5
