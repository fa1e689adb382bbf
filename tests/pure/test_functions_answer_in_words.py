"""Executing a function: (True, result) or (False, a sentence); its faults never become those of the server."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from lollms_core.types import ToolCall
from lollms_server.core.functions import FunctionManager
from lollms_server.core.functions.manager import MAX_RESULT_BYTES
from lollms_server.core.functions.runs import OutOfTime, Runs
from tests.support.function_files import configured, manager_of, untried, write_functions

TOOLS = """
    import asyncio
    import decimal
    import pathlib

    cleaned = []

    async def my_async_tool(param1: str, optional_param: int = 0) -> dict:
        await asyncio.sleep(0)
        return {"result": f"Processed {param1} with {optional_param}"}

    async def breaks():
        raise FileNotFoundError(2, "No such file", "/home/somebody/private/notes.txt")

    async def tells(word: str):
        raise ValueError(f"refused with {word}")

    async def leaves():
        raise SystemExit(3)

    async def cancels_itself():
        raise asyncio.CancelledError

    class Rude(Exception):
        def __str__(self):
            raise ValueError("no words")

    async def rude():
        raise Rude

    async def large(size: int):
        return "x" * size

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("endless")

    async def circle():
        found = []
        found.append(found)
        return found

    async def odd():
        return {"path": pathlib.PurePosixPath("a/b"), "number": decimal.Decimal("1.5"), "half": "\\ud800", 1: {2}}

    async def nothing():
        pass

    async def strict(value: "Checked"):
        return 1

    class Checked:
        @classmethod
        def __get_pydantic_core_schema__(cls, source, handler):
            from pydantic_core import core_schema
            def check(value):
                raise RuntimeError("a check with a defect")
            return core_schema.no_info_after_validator_function(check, core_schema.int_schema())
"""


def with_tools(folder: Path, work: Any, **limits: int) -> Any:
    """Run `work(manager)` over the functions above."""
    write_functions(folder, my_tools=TOOLS)

    async def main() -> Any:
        manager = await manager_of(folder, limits=limits)
        assert list(manager.problems) == []
        return await work(manager)

    return asyncio.run(main())


def execute(folder: Path, name: str, args: Any = None, **limits: int) -> tuple[bool, Any]:
    result: tuple[bool, Any] = with_tools(folder, lambda manager: manager.execute_function(name, args), **limits)
    return result


def test_the_documented_call(tmp_path: Path) -> None:
    given = {"param1": "value", "unknown": "is ignored"}
    assert execute(tmp_path, "my_tools.my_async_tool", given) == (True, {"result": "Processed value with 0"})


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "'param1' is missing"),
        (None, "'param1' is missing"),
        ({"param1": ["x"]}, "'param1'"),
        ({"param1": "x", "optional_param": "many"}, "'optional_param'"),
        ("param1", "object"),
    ],
)
def test_arguments_that_do_not_fit_are_named(tmp_path: Path, args: Any, said: str) -> None:
    good, words = execute(tmp_path, "my_tools.my_async_tool", args)
    assert not good
    assert said in words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_tools.leaves", "SystemExit: 3"),
        ("my_tools.cancels_itself", "cancelled from inside"),
        ("my_tools.rude", "my_tools.rude failed: Rude"),
        ("my_tools.circle", "cannot be written as JSON"),
        ("my_tools.my_async_tol", "Did you mean 'my_tools.my_async_tool'?"),
        ("my_async_tool", "There is no function"),
        ("", "There is no function"),
    ],
)
def test_a_fault_is_a_sentence(tmp_path: Path, name: str, said: str) -> None:
    good, words = execute(tmp_path, name)
    assert good is False
    assert said in words


def test_a_type_with_a_defect_is_a_fault_of_the_function(tmp_path: Path) -> None:
    good, words = execute(tmp_path, "my_tools.strict", {"value": 1})
    assert not good
    assert "RuntimeError: a check with a defect" in words


def test_the_caller_reads_one_line_and_the_log_has_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, words = execute(tmp_path, "my_tools.breaks")
    assert not good
    assert words.startswith("my_tools.breaks failed: FileNotFoundError:")
    assert "/home/somebody" not in words
    assert "\n" not in words
    assert "/home/somebody/private/notes.txt" in caplog.text
    assert "in breaks" in caplog.text


def test_a_secret_of_the_configuration_is_not_told(tmp_path: Path) -> None:
    write_functions(tmp_path, my_tools=TOOLS)

    async def main() -> tuple[bool, Any]:
        loaded = configured(tmp_path)
        loaded.scrubber.add("sk-canary-0123456789")
        manager = FunctionManager(loaded, probe=untried)
        await manager.start()
        return await manager.execute_function("my_tools.tells", {"word": "sk-canary-0123456789"})

    good, words = asyncio.run(main())
    assert not good
    assert "refused with" in words
    assert "canary" not in words


def test_results_have_a_limit(tmp_path: Path) -> None:
    assert execute(tmp_path, "my_tools.large", {"size": MAX_RESULT_BYTES - 2})[0] is True
    good, words = execute(tmp_path, "my_tools.large", {"size": MAX_RESULT_BYTES})
    assert not good
    assert str(MAX_RESULT_BYTES) in words


def test_time_has_a_limit(tmp_path: Path) -> None:
    async def work(manager: FunctionManager) -> None:
        good, words = await manager.execute_function("my_tools.endless", {})
        assert not good
        assert "1 seconds" in words
        assert len(asyncio.all_tasks()) == 1

    with_tools(tmp_path, work, function_timeout=1)


def test_cancelling_the_caller_cancels_the_function_and_passes_through(tmp_path: Path) -> None:
    async def work(manager: FunctionManager) -> None:
        task = asyncio.create_task(manager.execute_function("my_tools.endless", {}))
        while len(asyncio.all_tasks()) < 3:  # ours, the caller's and the function's
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    with_tools(tmp_path, work)


def test_cancelled_before_it_began_nothing_is_left(tmp_path: Path) -> None:
    async def work(manager: FunctionManager) -> None:
        task = asyncio.create_task(manager.execute_function("my_tools.endless", {}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_tools(tmp_path, work)


def test_a_function_that_swallows_its_cancellation_is_left_behind_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        let_go = asyncio.Event()

        async def stubborn() -> None:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue

        outcome = await Runs(grace=0.02).run(stubborn, "my.stubborn", 0.01)
        assert isinstance(outcome.error, OutOfTime)
        let_go.set()

    asyncio.run(main())
    assert "my.stubborn does not end" in caplog.text


def test_a_function_that_blocks_the_server_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock = iter([0.0, 0.1, 0.1, 7.5])

        async def blocks() -> int:
            await asyncio.sleep(0)
            return 5

        assert (await Runs(clock=lambda: next(clock)).run(blocks, "my.blocks", 5)).value == 5

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "Function my.blocks held up the whole server for 7.4 s" in caplog.text


def test_keyboard_interrupt_passes() -> None:
    async def interrupts() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        await Runs().run(interrupts, "my.interrupts", 5)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())


# ---- for models


def test_models_get_a_json_object_that_says_whose_result_it_is(tmp_path: Path) -> None:
    async def work(manager: FunctionManager) -> list[Any]:
        asked = [
            ("my_tools__my_async_tool", {"param1": "x"}),
            ("my_tools__my_async_tool", {}),
            ("my_tools.my_async_tool", {"param1": "x"}),
            ("my_tools__nothing", {}),
            ("my_tools__odd", {}),
        ]
        return [json.loads(await manager.run_tool(ToolCall("1", name, args))) for name, args in asked]

    good, missing, unknown, nothing, odd = with_tools(tmp_path, work)
    assert good == {"function": "my_tools.my_async_tool", "result": {"result": "Processed x with 0"}}
    assert missing["function"] == "my_tools.my_async_tool"
    assert "'param1' is missing" in missing["error"]
    assert unknown == {
        "function": "my_tools.my_async_tool",
        "error": "There is no function my_tools.my_async_tool.",
    }
    assert nothing == {"function": "my_tools.nothing", "result": None}
    assert odd["result"] == {"path": "a/b", "number": "1.5", "half": "\ud800", "1": [2]}


def test_tools_carry_schema_and_description(tmp_path: Path) -> None:
    async def work(manager: FunctionManager) -> None:
        (tool,) = manager.tools(["my_tools.my_async_tool"])
        assert tool.name == "my_tools__my_async_tool"
        assert tool.parameters["required"] == ["param1"]
        assert tool.description
        assert manager.tool_names(["my_tools.my_async_tool", "calculator.calculate", "my_tools.my_async_tool"]) == {
            "my_tools__my_async_tool": "my_tools.my_async_tool",
            "calculator__calculate": "calculator.calculate",
        }
        assert [each.name.replace("__", ".") for each in manager.tools(["*"])] == manager.names()

    with_tools(tmp_path, work)
