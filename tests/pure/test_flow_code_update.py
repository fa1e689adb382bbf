"""A change of code as a flow: what it costs, what is given back to the model, and when the whole code is asked for."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lollms_core.errors import Cancelled, IdleTimeout, InvalidRequest, LollmsError, StructuredOutputError
from lollms_core.flows.code_update import UpdatedCode, code_update
from lollms_core.text.patches import apply_unified, difference
from lollms_core.types import Notice, Usage
from tests.pure.test_flow_code import CALL, asked, reply, send, shown

CODE = 'def first():\n    return "```"\n\n\ndef second():\n    return 2\n'
CHANGED = CODE.replace("return 2", "return 3")
DIFF = "@@ -1 +1 @@\n def second():\n-    return 2\n+    return 3"
WRONG = "@@ -1 +1 @@\n def third():\n-    return 2\n+    return 3"
BLOCK = "<<<<<<< SEARCH\n    return 2\n=======\n    return 3\n>>>>>>> REPLACE"


@pytest.mark.parametrize(
    ("patch_format", "answer"),
    [
        ("unified", f"Sure.\n```diff\n{DIFF}\n```\nDone."),
        ("unified", f"```\n{DIFF}\n```"),
        ("unified", DIFF),
        ("unified", f"```diff\n{DIFF.replace('@@ -1 +1 @@', '')}\n```"),
        ("unified", f"````python\n{CHANGED}````"),
        ("simple", f"```\n{BLOCK}\n```"),
        ("simple", BLOCK),
        ("unified", f"```\n{BLOCK}\n```"),
        ("simple", f"```diff\n{DIFF}\n```"),
        ("simple", f"````python\n{CHANGED}\n````"),
    ],
)
def test_a_change_that_fits_costs_one_call(patch_format: str, answer: str) -> None:
    found, requests = send(code_update(CALL, CODE, "python", patch_format), [reply(answer)])
    assert isinstance(found, UpdatedCode)
    assert found.code == found.reply.text == CHANGED
    assert apply_unified(CODE, found.patch) == CHANGED
    assert found.reply.usage == Usage(10, 5, 15)
    (call,) = asked(requests)
    words = call.messages[-1].text
    assert words.startswith(f"This is python code:\n````python\n{CODE}````\n\n")
    assert "Do {it}." in words
    assert ("<<<<<<< SEARCH" in words) is (patch_format == "simple")
    assert call.params.max_tokens == 50


def test_a_change_that_does_not_fit_is_given_back() -> None:
    replies = [reply(f"```diff\n{WRONG}\n```"), reply(f"```diff\n{DIFF}\n```")]
    found, requests = send(code_update(CALL, CODE), replies)
    assert found.code == CHANGED
    assert [each.problem != "" for each in found.attempts] == [True, False]
    again = asked(requests)[1].messages
    assert [each.role for each in again] == ["user", "assistant", "user"]
    assert "do not stand in the code like this:\ndef third():" in again[2].text
    assert "unified diff" in again[2].text
    assert [each.level for each in shown(requests) if isinstance(each, Notice)] == ["warning"]


def test_at_last_the_whole_code_is_asked_for() -> None:
    whole = CODE.replace("first", "one").replace("second", "two").replace("return 2", "return 3")
    replies = [reply(f"```diff\n{WRONG}\n```"), reply("Sorry."), reply(f"````python\n{whole}\n````")]
    found, requests = send(code_update(CALL, CODE), replies)
    assert found.code == whole
    assert [each.way for each in found.attempts] == ["unified", "unified", "whole"]
    assert "whole code after the change" in asked(requests)[2].messages[-1].text
    assert found.reply.usage == Usage(30, 15, 45)


@pytest.mark.parametrize("attempts", [0, 1, 2, 3, 5])
def test_it_never_costs_more(attempts: int) -> None:
    calls = max(1, attempts)
    failed, requests = send(code_update(CALL, CODE, attempts=attempts), [reply(f"```diff\n{WRONG}\n```")] * calls)
    assert isinstance(failed, StructuredOutputError)
    assert len(failed.attempts) == len(asked(requests)) == calls
    assert failed.partial is not None
    assert failed.partial.usage == Usage(10 * calls, 5 * calls, 15 * calls)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(""), "it is empty"),
        (reply("I cannot do that."), "no block"),
        (reply(f"```diff\n{DIFF}\n```", "length"), "cut off"),
        (reply("x", "content_filter"), "content filter"),
        (reply("```python\nimport os\n```"), "neither a change"),
        (reply("````python\n# ... existing code ...\ndef second():\n    return 3\n````"), "in place of code"),
        (reply(f"````python\n{CODE}````"), "changes nothing"),
        (reply("```python\n\n```"), "is empty"),
        (reply(f"```diff\n{DIFF}"), "not closed"),
        (reply(f"````python\n{CHANGED}"), "not closed"),
        (reply("```\n<<<<<<< SEARCH\n    return 2\n=======\n```"), "has no end"),
        (reply(f"```diff\n{DIFF}\n```\n```diff\n{WRONG}\n```"), "does not fit"),
        (reply("```diff\n-    return 4\n+    return 3\n```"), "does not fit"),
    ],
)
def test_why_it_could_not_be_used_is_said(answer: Any, reason: str) -> None:
    failed, _ = send(code_update(CALL, CODE, attempts=1), [answer])
    assert isinstance(failed, StructuredOutputError)
    assert reason in failed.message


@pytest.mark.parametrize("kind", [Cancelled, IdleTimeout])
def test_an_error_keeps_what_came(kind: type[LollmsError]) -> None:
    error = kind("No more.")
    error.partial = reply("```diff\n@@", "error")
    caught, _ = send(code_update(CALL, CODE), [reply("No."), error])
    assert caught is error
    assert caught.partial is not None
    assert (caught.partial.text, caught.partial.usage) == ("```diff\n@@", Usage(20, 10, 30))


GUIDE = "# Guide\n\nFirst:\n\n```sh\nls\n```\n\nThen:\n\n```sh\npwd\n```\n\nThe end.\n"
GUIDE_CHANGED = GUIDE.replace("First", "1").replace("Then", "2").replace("The end", "3")


@pytest.mark.parametrize("fence", ["", "```", "````", "~~~"])
def test_fences_within_the_code_close_no_diff(fence: str) -> None:
    """The context of a diff has fences of the code in it, and is never taken for the end of the diff."""
    patch = difference(GUIDE, GUIDE_CHANGED)
    answer = f"Sure.\n{fence}diff\n{patch}{fence}\nDone." if fence else patch
    found, requests = send(code_update(CALL, GUIDE), [reply(answer)])
    assert found.code == GUIDE_CHANGED
    assert "begins with a line ````diff and ends with a line ````." in asked(requests)[0].messages[-1].text


@pytest.mark.parametrize(
    "patch",
    [
        "@@ @@\n-First:\n+1:\n \n ```sh\n ls\n```\n \n-Then:\n+2:",
        "-First:\n+1:\n \n```sh\n ls\n```\n \n-Then:\n+2:\n \n```sh\n pwd\n```\n \n-The end.\n+3.",
        "@@ @@\n-First:\n+1:\n \n ```sh\n ls\n```\n@@ @@\n-The end.\n+3.",
    ],
)
def test_no_part_of_a_diff_is_left_out(patch: str) -> None:
    """Where the fences of the code have lost their marks, it is asked for longer ones around the diff."""
    failed, _ = send(code_update(CALL, GUIDE, attempts=1), [reply(f"```diff\n{patch}\n```")])
    assert isinstance(failed, StructuredOutputError)


def test_the_whole_of_code_with_fences_stands_between_longer_ones() -> None:
    no = [reply("No."), reply("No.")]
    found, requests = send(code_update(CALL, GUIDE), [*no, reply(f"````md\n{GUIDE_CHANGED}````")])
    assert found.code == GUIDE_CHANGED
    assert "between a line ```` and a line ````" in asked(requests)[2].messages[-1].text
    found, _ = send(code_update(CALL, GUIDE), [*no, reply(f"```md\n{GUIDE_CHANGED}```")])
    assert found.code == GUIDE_CHANGED  # its own fences name their languages, so they are told from the end
    for answer in (f"```\n{GUIDE_CHANGED}```", f"```md\n{GUIDE_CHANGED}```\nDone.\n```"):
        failed, _ = send(code_update(CALL, GUIDE), [*no, reply(answer)])
        assert isinstance(failed, StructuredOutputError)


LONG = "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(9))


def test_a_part_is_not_taken_for_the_whole() -> None:
    no = [reply("No."), reply("No.")]
    part = "def f4():\n    return 40\n\n\ndef f5():\n    return 5\n"
    failed, _ = send(code_update(CALL, LONG), [*no, reply(f"```python\n{part}```")])
    assert isinstance(failed, StructuredOutputError)
    assert "a part of it only" in failed.message
    for whole in (LONG[: LONG.index("def f8")].rstrip() + "\n", LONG[LONG.index("def f1") :]):
        found, _ = send(code_update(CALL, LONG), [*no, reply(f"```python\n{whole}```")])
        assert found.code.rstrip() == whole.rstrip()


def test_a_diff_that_comes_twice_is_applied_once() -> None:
    diff = "```diff\n@@ @@\n     return 2\n+    # the end\n```"
    found, _ = send(code_update(CALL, CODE), [reply(f"{diff}\nSo all of it:\n{diff}")])
    assert found.code == f"{CODE}    # the end\n"


@pytest.mark.parametrize(
    "answer",
    [
        "```diff\n--- a/m.py\n+++ b/m.py\n@@ @@\n-    return 2\n+    return 3\n"
        "--- a/t.py\n+++ b/t.py\n@@ @@\n-def first():\n+def one():\n```",
        "```diff\n--- a/m.py\n+++ b/m.py\n@@ @@\n-    return 2\n+    return 3\n```\n"
        "```diff\n--- /dev/null\n+++ b/t.py\n@@ @@\n-def first():\n+def one():\n```",
        "```diff\n@@ @@\n-    return 2\n+    return 3\n@@ @@\n--- x\n+++ y\n def first():\n```",
    ],
)
def test_a_diff_of_several_files_is_refused(answer: str) -> None:
    failed, _ = send(code_update(CALL, CODE, attempts=1), [reply(answer)])
    assert isinstance(failed, StructuredOutputError)
    assert "several files" in failed.message


def test_code_that_is_a_diff_itself_may_come_whole() -> None:
    code = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n"
    found, _ = send(code_update(CALL, code), [reply(f"```\n{code.replace('+y', '+z')}```")])
    assert found.code == code.replace("+y", "+z")


def test_many_blocks_cost_little() -> None:
    start = time.process_time()
    failed, _ = send(code_update(CALL, CODE, attempts=1), [reply("```\nx\n```\n" * 20_000)])
    assert isinstance(failed, StructuredOutputError)
    assert time.process_time() - start < 2


def test_several_diffs_are_one_change() -> None:
    first = "```diff\n-def first():\n+def one():\n```"
    found, _ = send(code_update(CALL, CODE), [reply(f"{first}\nand\n```diff\n{DIFF}\n```")])
    assert found.code == CHANGED.replace("first", "one")


def test_another_format_is_refused_before_anything_is_asked() -> None:
    failed, requests = send(code_update(CALL, CODE, patch_format="ed"), [])
    assert isinstance(failed, InvalidRequest)
    assert failed.param == "patch_format"
    assert not requests


def test_an_empty_text_may_be_filled() -> None:
    for answer in ("```diff\n@@ -0,0 +1 @@\n+x = 1\n```", "```python\nx = 1\n```"):
        found, _ = send(code_update(CALL, ""), [reply(answer)])
        assert found.code == "x = 1\n"


@pytest.mark.parametrize(
    "code", ["pytest", "I cannot do that", "import os\n\nos.system('ls')", "def f0():\n    return 10"]
)
def test_something_else_never_takes_the_place_of_the_code(code: str) -> None:
    small = "def f0():\n    return 0\n\n\ndef f1():\n    return 1\n"
    failed, _ = send(code_update(CALL, small), [reply(f"```\n{code}\n```")] * 3)
    assert isinstance(failed, StructuredOutputError)


def test_a_single_line_can_be_changed_as_a_whole() -> None:
    found, _ = send(
        code_update(CALL, "print('hello')\n"), [reply("No."), reply("No."), reply("```\nprint('hallo')\n```")]
    )
    assert found.code == "print('hallo')\n"
