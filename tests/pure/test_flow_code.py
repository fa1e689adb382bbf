"""Code as a flow: what it costs, which block is taken, how a cut one becomes whole, and what an error leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import Cancelled, IdleTimeout, InvalidRequest, LollmsError, RateLimited, StructuredOutputError
from lollms_core.flows.base import Emit, Flow, Generate, Request
from lollms_core.flows.code_update import code_update
from lollms_core.flows.codegen import CONTINUATIONS, Codes, code_blocks, one_code
from lollms_core.types import GenerationCall, Message, Notice, Params, Reply, TextDelta, Usage

CALL = GenerationCall((Message.user("Do {it}."),), model="m", params=Params(max_tokens=50))
CODE = "def area(radius):\n    return 3.14 * radius**2\n\n\nprint(area(radius=12))"


def reply(text: str, finish: str = "stop", **more: Any) -> Reply:
    return Reply(text=text, finish_reason=finish, usage=Usage(10, 5, 15), model="m", **more)


def send(flow: Flow[Any], results: Sequence[Reply | LollmsError]) -> tuple[Any, list[Request]]:
    """Send a flow the results of its calls; all must be used. Returns its value and what it asked."""
    requests: list[Request] = []
    left = list(results)
    value: Any = None
    try:
        while True:
            request = flow.throw(value) if isinstance(value, LollmsError) else flow.send(value)
            requests.append(request)
            value = left.pop(0) if isinstance(request, Generate) else None
    except StopIteration as end:
        assert not left
        return end.value, requests
    except LollmsError as error:
        assert not left
        return error, requests


def asked(requests: Sequence[Request]) -> list[GenerationCall]:
    return [each.call for each in requests if isinstance(each, Generate)]


def shown(requests: Sequence[Request]) -> list[Any]:
    return [event for each in requests if isinstance(each, Emit) for event in each.batch]


def test_one_block_costs_one_call() -> None:
    found, requests = send(
        one_code(CALL, "python", template="class {name}:\n    ..."), [reply(f"```python\n{CODE}\n```")]
    )
    assert found.reply.text == found.blocks[0]["content"] == CODE
    assert (found.reply.finish_reason, found.reply.usage, found.reply.model) == ("stop", Usage(10, 5, 15), "m")
    (call,) = asked(requests)
    words = call.messages[-1].text
    assert words.startswith("Do {it}.\n\n")
    assert "```python" in words
    assert "class {name}:\n    ..." in words
    assert call.params.max_tokens == 50


@pytest.mark.parametrize(
    ("text", "language", "code"),
    [
        ("```python\na\n```\n```python\nb\n```", "python", "a"),
        ("```bash\npip\n```\n```python\nb\n```", None, "b"),
        ("```bash\npip\n```\n```python\nb\n```", "Python3", "b"),
        ("```js\na\n```\n```py\nb\n```", "python", "b"),
        ("```js\na\n```\n```\nb\n```", "python", "b"),
        ("```js\na\n```\n```ts\nb\n```", "python", "b"),
        ("```sh\na\n```\n```console\nb\n```", None, "a"),
        ("```text\na\n```\n```sh\nb\n```\n```sh\nc\n```", None, "b"),
        ("```text\na\n```\n```output\nb\n```", None, "b"),
        ("```sh\na\n```", "bash", "a"),
        ("```python\n```\n```python\nb\n```", "python", "b"),
        ("````md\n```py\nx\n```\n````", None, "```py\nx\n```"),
        ("~~~c++\nx\n~~~", "cpp", "x"),
        ('```python title="x.py"\nx\n```', "python", "x"),
    ],
)
def test_the_block_is_chosen(text: str, language: str | None, code: str) -> None:
    found, _ = send(one_code(CALL, language), [reply(text)])
    assert found.reply.text == code
    assert found.blocks[0]["index"] == 0


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "language", "form", "left"),
    [
        ("Sure:\n```python\nx = 1\n```\nThat is how ", "python", "markdown", "it works.\n```python\nx\n```"),
        ("```sh\npip\n```\nand\n```js\nx\n```\n", None, "markdown", "More."),
        ("```py\r\nx\r\n```\r\n", "python", "markdown", "More."),
        ("```py\rx\r```\rM", "python", "markdown", "ore.\n```py\ny\n```"),
        ('<pre><code class="language-js">x</code>', None, "html", "</pre> More."),
        ("A <code>b</code>.<pre><code class='language-sh'>x</code></pre><pre><code>y</code>", None, "html", "More."),
    ],
)
def test_the_call_ends_with_the_block(text: str, language: str | None, form: str, left: str, size: int) -> None:
    flow = one_code(CALL, language, form)
    request = next(flow)
    assert isinstance(request, Generate)
    assert request.view is not None
    got = ""
    for at in range(0, len(text + left), size):
        piece = (text + left)[at : at + size]
        assert list(request.view.feed([TextDelta(piece)])) == [TextDelta(piece)]
        got += piece
        if request.view.enough:
            break
    assert request.view.enough
    if size < 5:
        assert len(got) <= len(text) + size
    with pytest.raises(StopIteration) as end:
        flow.send(reply(got, "enough"))
    early: Codes = end.value.value
    whole, _ = send(one_code(CALL, language, form), [reply(text + left)])
    assert early.blocks == whole.blocks
    assert early.reply.text == whole.reply.text
    assert early.reply.finish_reason == "stop"


def test_a_cut_block_is_continued() -> None:
    """What was asked, what the user sees, and what it comes to."""
    first, second = CODE[:45], CODE[45:]
    flow = one_code(CALL, "python")
    found, requests = send(
        flow, [reply(f"Sure!\n```python\n{first}", "length"), reply(f"```python\n{CODE[:45]}{second}\n```")]
    )
    assert found.reply.text == CODE
    assert found.blocks[0]["is_complete"]
    assert found.reply.usage == Usage(20, 10, 30)
    again = asked(requests)[1]
    assert [each.role for each in again.messages] == ["user", "assistant", "user"]
    assert again.messages[1].text == f"Sure!\n```python\n{first}"
    assert "Continue exactly where it stopped" in again.messages[2].text
    assert "    return 3.14 * radius" in again.messages[2].text
    assert again.params.max_tokens == 50
    assert TextDelta(f"{second}\n```") in shown(requests)


@pytest.mark.parametrize("make", [one_code, code_blocks])
def test_continuations_are_few(make: Any) -> None:
    pieces = [CODE[at : at + 12] for at in range(0, len(CODE), 12)]
    replies = [
        reply(f"```python\n{pieces[0]}", "length"),
        *(reply(each, "length") for each in pieces[1 : CONTINUATIONS + 1]),
    ]
    found, requests = send(make(CALL, "python"), replies)
    assert len(asked(requests)) == 1 + CONTINUATIONS == 4
    assert found.blocks[0]["content"] == CODE[:48].removesuffix("\n")
    assert not found.blocks[0]["is_complete"]
    assert [each.level for each in shown(requests) if isinstance(each, Notice)] == ["warning"]


def test_a_continuation_that_adds_nothing_is_the_last() -> None:
    for more in ("The code above is complete.", "", "It is already complete, nothing is missing."):
        found, requests = send(one_code(CALL), [reply("```python\nx = 1"), reply(more)])
        assert found.reply.text == "x = 1"
        assert len(asked(requests)) == 2
    found, requests = send(one_code(CALL), [reply("```python\nx = 1\n"), reply("```")])
    assert (found.reply.text, found.blocks[0]["is_complete"]) == ("x = 1", True)


@pytest.mark.parametrize("first", ["I cannot do that.", "", "print(1)"])
@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
@pytest.mark.parametrize("make", [one_code, code_blocks])
def test_no_block_is_asked_for_once_more(make: Any, first: str, finish: str) -> None:
    found, requests = send(make(CALL), [reply(first, finish), reply("```\nx\n```")])
    assert found.blocks[0]["content"] == "x"
    words = asked(requests)[1].messages[-1].text
    assert words.startswith("That cannot be used: ")
    failed, requests = send(make(CALL), [reply(first, finish), reply("Sorry.")])
    assert isinstance(failed, StructuredOutputError)
    assert [each.finish_reason for each in failed.attempts] == [finish, "stop"]
    assert failed.partial is not None
    assert (failed.partial.text, failed.partial.usage) == ("Sorry.", Usage(20, 10, 30))
    assert len(asked(requests)) == 2


def test_at_most_five_calls() -> None:
    replies = [reply("No."), reply("```\na", "length"), *(reply(f"{n} and more", "length") for n in range(3))]
    _, requests = send(one_code(CALL), replies)
    assert len(asked(requests)) == 5


def test_several_blocks_come_with_their_names() -> None:
    text = 'file: a.py\n```python\nx\n```\n```js title="b.js"\ny\n```\n```c:src/c.c\nz\n```\n```\n# file: d.py\n```'
    found, requests = send(code_blocks(CALL), [reply(text)])
    assert [each["file_name"] for each in found.blocks] == ["a.py", "b.js", "src/c.c", "d.py"]
    assert [each["type"] for each in found.blocks] == ["python", "js", "c", "language-specific"]
    assert found.reply.text == text
    request = requests[0]
    assert isinstance(request, Generate)
    assert request.view is None


@pytest.mark.parametrize(
    "more",
    [
        "second_line(b)\n```\n\n```\nthird\n```",
        "```js\nsecond_line(a)\nsecond_line(b)\n```\n\n```\nthird\n```",
        "```py\nfirst\n```\n```js\nsecond_line(a)\nsecond_line(b)\n```\n```\nthird\n```",
    ],
)
def test_a_cut_among_several_is_mended(more: str) -> None:
    text = "```py\nfirst\n```\n```js\nsecond_line(a)\n"
    found, _ = send(code_blocks(CALL), [reply(text, "length"), reply(more)])
    contents = [each["content"] for each in found.blocks]
    assert contents == ["first", "second_line(a)\nsecond_line(b)", "third"]


def test_a_cut_between_blocks_is_continued() -> None:
    first, second = "```py\nfirst\n```\nAnd now", "```js\nsecond\n```"
    for more in (second, f"```py\nfirst\n```\n{second}"):
        found, _ = send(code_blocks(CALL), [reply(first, "length"), reply(more)])
        assert [each["content"] for each in found.blocks] == ["first", "second"]
    found, _ = send(one_code(CALL), [reply(first, "length")])
    assert found.reply.text == "first"


def test_thoughts_are_no_code() -> None:
    found, _ = send(one_code(CALL), [reply("```\nx\n```", thoughts="```\nwrong\n```")])
    assert (found.reply.text, found.reply.thoughts) == ("x", "```\nwrong\n```")


@pytest.mark.parametrize("kind", [Cancelled, IdleTimeout, RateLimited])
@pytest.mark.parametrize("at", [0, 1])
def test_an_error_keeps_the_code_so_far(kind: type[LollmsError], at: int) -> None:
    error = kind("No more.")
    error.partial = reply("```python\nx = 1\ny" if at == 0 else "```python\nx = 1\ny = 2", "error")
    before = [reply("```python\nx = 1\n", "length")] if at else []
    caught, requests = send(one_code(CALL), [*before, error])
    assert caught is error
    assert caught.partial is not None
    assert caught.partial.text == ("x = 1\ny" if at == 0 else "x = 1\ny = 2")
    assert caught.partial.usage == Usage(10 * (1 + at), 5 * (1 + at), 15 * (1 + at))
    assert len(asked(requests)) == 1 + at
    bare = kind("No more.")
    caught, _ = send(code_blocks(CALL), [*before, bare])
    assert caught.partial.text == ("```python\nx = 1\n" if at else "")


def test_another_form_is_refused_before_anything_is_asked() -> None:
    for make in (one_code, code_blocks):
        failed, requests = send(make(CALL, None, "pdf"), [])
        assert isinstance(failed, InvalidRequest)
        assert not requests


PIECES = st.lists(
    st.sampled_from(["```", "```python\n", "x = 1\n", "\n", "Sure. ", "def f():", "<code", "`", "~~~\n", "    pass\n"]),
    max_size=8,
).map("".join)
REPLIES = st.builds(reply, PIECES, st.sampled_from(["stop", "length", "content_filter", "error", ""]))
ERRORS = st.sampled_from([IdleTimeout, RateLimited, Cancelled]).map(lambda kind: kind("It failed."))


@settings(max_examples=1_000, deadline=None)
@given(st.lists(REPLIES | ERRORS, min_size=6, max_size=6), st.sampled_from(["one", "all", "html", "unified", "simple"]))
def test_whatever_a_model_does_it_ends_within_its_calls(replies: list[Any], kind: str) -> None:
    flows: dict[str, Flow[Any]] = {
        "one": one_code(CALL, "python"),
        "all": code_blocks(CALL),
        "html": one_code(CALL, None, "html"),
        "unified": code_update(CALL, "x = 1\n"),
        "simple": code_update(CALL, "x = 1\n", patch_format="simple"),
    }
    found, calls = ended(flows[kind], replies)
    assert isinstance(found.partial if isinstance(found, LollmsError) else found.reply, Reply)
    assert calls <= (3 if kind in ("unified", "simple") else 5)


def ended(flow: Flow[Any], replies: Sequence[Any]) -> tuple[Any, int]:
    """The result or the error of a flow, and how many of the replies it has used."""
    calls, value = 0, None
    try:
        while True:
            request = flow.throw(value) if isinstance(value, LollmsError) else flow.send(value)
            value = None
            if isinstance(request, Generate):
                value = replies[calls]
                calls += 1
    except StopIteration as end:
        return end.value, calls
    except LollmsError as error:
        return error, calls
