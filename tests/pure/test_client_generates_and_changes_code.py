"""`generate_code`, `generate_codes` and `update_code` give what is documented, in both clients, also on failure."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest

from lollms_client import MSG_TYPE
from lollms_client.testing import scripted_async_client, scripted_client
from lollms_core.errors import AuthFailed, InvalidRequest, Refused, StructuredOutputError
from lollms_core.types import Done, GenerationCall, Reply, TextDelta

Ask: TypeAlias = Callable[..., tuple[Any, list[GenerationCall]]]


def sync_ask(name: str, replies: Sequence[Any], *args: Any, **kwargs: Any) -> tuple[Any, list[GenerationCall]]:
    client = scripted_client(replies)
    return getattr(client, name)(*args, **kwargs), client.binding.calls  # type: ignore[union-attr]


def async_ask(name: str, replies: Sequence[Any], *args: Any, **kwargs: Any) -> tuple[Any, list[GenerationCall]]:
    client = scripted_async_client(replies)
    return asyncio.run(getattr(client, name)(*args, **kwargs)), client.binding.calls  # type: ignore[union-attr]


@pytest.fixture(params=[sync_ask, async_ask], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


FACTORIAL = "def factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)"
CUT = [
    [[TextDelta(f"```python\n{FACTORIAL[:40]}"), Done("length")]],
    [[TextDelta(f"```python\n{FACTORIAL}\n```"), Done("stop")]],
]


def test_code_comes_alone(ask: Ask) -> None:
    code, calls = ask(
        "generate_code", [f"Here:\n```python\n{FACTORIAL}\n```"], "Write it.", n_predict=9, top_k=3, seed=1
    )
    assert code == FACTORIAL
    (call,) = calls
    assert (call.params.max_tokens, call.params.top_k, call.params.seed) == (9, 3, 1)
    assert not call.stream


def test_a_cut_block_comes_whole_with_or_without_a_callback(ask: Ask) -> None:
    assert ask("generate_code", CUT, "Write it.")[0] == FACTORIAL
    seen: list[tuple[str, MSG_TYPE]] = []
    code, calls = ask("generate_code", CUT, "Write it.", callback=lambda *a: seen.append(a), n_predict=20)
    assert code == FACTORIAL
    assert [call.params.max_tokens for call in calls] == [20, 20]
    text = "".join(chunk for chunk, kind in seen if kind == MSG_TYPE.MSG_TYPE_CHUNK)
    assert text == f"```python\n{FACTORIAL}\n```"


def test_several_blocks_come_as_dictionaries(ask: Ask) -> None:
    text = "file: a.py\n```python\nx\n```\n```js\ny\n```"
    codes, _ = ask("generate_codes", [text], "Write both.")
    assert codes == [
        {"index": 0, "file_name": "a.py", "content": "x", "type": "python", "is_complete": True},
        {"index": 1, "file_name": "", "content": "y", "type": "js", "is_complete": True},
    ]


def test_code_is_changed(ask: Ask) -> None:
    patch = "```diff\n@@ @@\n-x = 1\n+x = 2\n```"
    result, calls = ask("update_code", [patch], "x = 1\r\ny = 1\r\n", "Make it two.", temperature=0.5)
    assert result.pop("patch").startswith("--- a/code\n+++ b/code\n@@ -1,2 +1,2 @@\n-x = 1\r\n+x = 2\r\n")
    assert result == {"success": True, "updated_code": "x = 2\r\ny = 1\r\n", "error": None}
    assert calls[0].params.temperature == 0.5
    failed, calls = ask("update_code", ["No."] * 2, "x = 1\n", "Make it two.", max_retries=2)
    assert (failed["success"], failed["updated_code"], failed["patch"], len(calls)) == (False, None, None, 2)
    assert "there is no block" in failed["error"]


FAILURES: list[tuple[str, tuple[str, ...], Any]] = [
    ("generate_code", ("Write it.",), None),
    ("generate_codes", ("Write it.",), []),
    (
        "update_code",
        ("x = 1", "Change it."),
        {"success": False, "updated_code": None, "patch": None, "error": "No key."},
    ),
]


@pytest.mark.parametrize(("name", "args", "value"), FAILURES)
def test_a_failure_is_told_and_documented(ask: Ask, name: str, args: tuple[str, ...], value: Any) -> None:
    seen: list[tuple[Any, ...]] = []
    result, _ = ask(name, [AuthFailed("No key.")], *args, streaming_callback=lambda *a: seen.append(a))
    assert result == value
    assert [(text, kind) for text, kind in seen] == [("No key.", MSG_TYPE.MSG_TYPE_EXCEPTION)]
    with pytest.raises(AuthFailed):
        ask(name, [AuthFailed("No key.")], *args, raise_errors=True)
    with pytest.raises(StructuredOutputError) as caught:
        ask(name, ["No."] * 3, *args, raise_errors=True)
    assert caught.value.attempts


def test_wrong_arguments_are_said(ask: Ask) -> None:
    assert "patch_format" in ask("update_code", [], "x", "Hi", patch_format="ed")[0]["error"]
    for name in ("generate_code", "generate_codes"):
        with pytest.raises(InvalidRequest, match="pdf"):
            ask(name, [], "Hi", code_tag_format="pdf")


def test_a_failure_whose_value_says_nothing_is_logged(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    assert ask("generate_code", [Refused("Nobody there.")], "Hi")[0] is None
    assert [record.getMessage() for record in caplog.records] == ["Nobody there. (connection_refused)"]


@pytest.mark.parametrize("name", ["generate_code", "generate_codes", "update_code"])
def test_a_callback_stops_it_with_what_there_is(ask: Ask, name: str) -> None:
    chunks = [[TextDelta("```python\nx = 1\n")], [TextDelta("y = 2\n")], [TextDelta("z = 3\n```")]]

    def callback(chunk: str, kind: MSG_TYPE) -> bool:
        return "y =" not in chunk

    args = ("x = 1", "Change it.") if name == "update_code" else ("Write it.",)
    result, calls = ask(name, [chunks], *args, callback=callback)
    assert len(calls) == 1
    if name == "generate_code":
        assert result == "x = 1\ny = 2"
    elif name == "generate_codes":
        assert [(each["content"], each["is_complete"]) for each in result] == [("x = 1\ny = 2", False)]
    else:
        assert (result["success"], result["error"]) == (False, "It was stopped by the callback.")


def test_a_stream_is_left_when_the_block_is_closed() -> None:
    chunks = [[TextDelta("```python\nx = 1\n")], [TextDelta("```\n")], [TextDelta("This is how it works.")]]
    client = scripted_client([chunks])
    seen: list[str] = []
    assert client.generate_code("Write it.", callback=lambda chunk, kind: seen.append(chunk)) == "x = 1"
    assert "".join(seen) == "```python\nx = 1\n```\n"
    assert client.binding.script.left_early == 1  # type: ignore[union-attr]


def test_thoughts_and_images_are_as_everywhere(ask: Ask) -> None:
    code, _ = ask(
        "generate_code", [Reply(thoughts="```\nno\n```", text="```\nyes\n```")], "Write it.", None, "Be terse."
    )
    assert code == "yes"
    _, calls = ask("generate_code", ["```\nyes\n```"], "Write it.", None, "Be terse.", "TEMPLATE {x}", "python")
    assert calls[0].messages[0].text == "Be terse."
    assert "TEMPLATE {x}" in calls[0].messages[1].text


def test_the_documented_order_of_arguments() -> None:
    common = ["code_tag_format", "n_predict", "temperature", "top_k", "top_p", "repeat_penalty", "repeat_last_n"]
    wanted = {
        "generate_code": ["prompt", "images", "system_prompt", "template", "language", *common, "callback", "debug"],
        "generate_codes": ["prompt", "images", "template", "language", *common, "callback", "debug"],
        "update_code": [
            *["original_code", "modification_prompt", "language", "images", "system_prompt", "patch_format"],
            *[*common[1:], "callback", "debug", "max_retries"],
        ],
    }
    client = scripted_client([])
    for name, names in wanted.items():
        parameters = inspect.signature(getattr(client, name)).parameters.values()
        assert [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD] == names
