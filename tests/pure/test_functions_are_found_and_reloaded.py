"""Which files and functions count, what keeps one out, and that a broken version never replaces a working one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import ConfigError, InvalidRequest
from lollms_server.core.functions import FunctionManager
from tests.support.function_files import configured, manager_of, untried, write_functions

ONE = "async def one() -> int:\n    return 1\n"
SHIPPED = ["calculator", "dates", "text"]
TWO = "async def one() -> int:\n    return 2\n"


def own(manager: FunctionManager) -> list[str]:
    """The functions that are not shipped."""
    return [name for name in manager.names() if name.partition(".")[0] not in SHIPPED]


async def value(manager: FunctionManager, name: str) -> Any:
    good, found = await manager.execute_function(name, {})
    assert good, found
    return found


def test_async_functions_of_the_file_itself_count_and_nothing_else(tmp_path: Path) -> None:
    write_functions(
        tmp_path,
        tools="""
            import functools
            from asyncio import sleep

            async def good(): return 1
            async def _hidden(): return 2
            def plain(): return 3
            async def stream(): yield 4
            class Thing:
                async def method(self): return 5
            def decorate(function):
                @functools.wraps(function)
                async def around(*args, **kwargs):
                    return [await function(*args, **kwargs)]
                return around
            @decorate
            async def wrapped(x: int): return x
        """,
        _helper="async def hidden(): return 1",
    )
    (tmp_path / "personal_functions" / "notes.txt").write_text("async def no(): return 1", encoding="utf-8")
    (tmp_path / "personal_functions" / "folder.py").mkdir()

    async def main() -> None:
        manager = await manager_of(tmp_path)
        assert own(manager) == ["tools.good", "tools.wrapped"]
        assert list(manager.problems) == []
        assert await manager.execute_function("tools.wrapped", {"x": 7}) == (True, [7])

    asyncio.run(main())


def test_a_missing_folder_has_no_functions(tmp_path: Path) -> None:
    assert own(asyncio.run(manager_of(tmp_path))) == []


def test_a_folder_that_is_none_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "personal_functions").write_text("", encoding="utf-8")

    async def main() -> None:
        manager = await manager_of(tmp_path)
        assert own(manager) == []
        assert [each.name for each in manager.problems] == ["personal_functions"]

    asyncio.run(main())


def test_a_file_of_the_user_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    write_functions(tmp_path, calculator=ONE)

    async def main() -> None:
        manager = await manager_of(tmp_path)
        assert "calculator.one" in manager.names()
        assert "calculator.calculate" not in manager.names()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("x = 1\ndef (\n", 2, "SyntaxError"),
        ("x = 1\n\nraise ValueError('no luck')\n", 3, "ValueError: no luck"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
        ("import no_such_package_anywhere\n", 1, "no_such_package_anywhere"),
        ("def plain(): return 1\n", None, "no function with 'async def'"),
        ("", None, "no function with 'async def'"),
        ("x = '\0'\n", None, "null bytes"),
    ],
)
def test_a_bad_file_is_a_problem_and_the_others_serve(tmp_path: Path, text: str, line: int | None, reason: str) -> None:
    write_functions(tmp_path, bad=text, good=ONE)

    async def main() -> None:
        manager = await manager_of(tmp_path)
        assert own(manager) == ["good.one"]
        (problem,) = manager.problems
        assert (problem.name, problem.file, problem.line) == ("bad", "bad.py", line)
        assert reason in problem.reason
        assert str(tmp_path) not in problem.reason

    asyncio.run(main())


def test_what_the_trial_refuses_is_not_imported(tmp_path: Path) -> None:
    place = write_functions(tmp_path, bad="open(__file__ + '.ran', 'w', encoding='utf-8')\n" + ONE, good=ONE)

    async def probe(path: Path) -> None:
        if path.stem == "bad":
            raise ConfigError(f"{path}:1: the import did not end in time.")

    async def main() -> None:
        manager = await manager_of(tmp_path, probe=probe)
        assert own(manager) == ["good.one"]
        assert [(each.name, each.file, each.line) for each in manager.problems] == [("bad", "bad.py", 1)]

    asyncio.run(main())
    assert sorted(each.name for each in place.iterdir()) == ["bad.py", "good.py"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")
def test_code_that_everybody_can_write_is_not_run(tmp_path: Path) -> None:
    place = write_functions(tmp_path, open_to_all=ONE, good=ONE)
    (place / "open_to_all.py").chmod(0o666)

    async def one_file() -> None:
        manager = await manager_of(tmp_path)
        assert own(manager) == ["good.one"]
        (problem,) = manager.problems
        assert "everybody can write to this file" in problem.reason
        assert problem.file == "open_to_all.py"
        assert str(tmp_path) not in str(problem)

    async def whole_folder() -> None:
        manager = await manager_of(tmp_path)
        assert own(manager) == []
        assert len(manager.problems) == 2
        assert all("everybody can write to the folder" in each.reason for each in manager.problems)

    asyncio.run(one_file())
    place.chmod(0o777)
    asyncio.run(whole_folder())


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (write_functions(tmp_path, good=ONE) / "gone.py").symlink_to(tmp_path / "nowhere")

    async def main() -> None:
        manager = await manager_of(tmp_path)
        assert own(manager) == ["good.one"]
        assert [each.name for each in manager.problems] == ["gone"]

    asyncio.run(main())


def test_a_very_large_file_is_refused(tmp_path: Path) -> None:
    write_functions(tmp_path, large="#" * 1_000_001, good=ONE)

    async def main() -> None:
        manager = await manager_of(tmp_path)
        assert own(manager) == ["good.one"]
        assert [each.name for each in manager.problems] == ["large"]

    asyncio.run(main())


def test_a_reload_imports_what_changed_and_only_that(tmp_path: Path) -> None:
    place = write_functions(tmp_path, same=ONE, changes=ONE, goes=ONE)
    tried: list[str] = []

    async def probe(path: Path) -> None:
        tried.append(path.stem)

    async def main() -> None:
        manager = await manager_of(tmp_path, probe=probe)
        assert sorted(tried) == ["changes", "goes", "same"]
        tried.clear()
        write_functions(tmp_path, changes=TWO, comes=ONE)
        (place / "goes.py").unlink()
        report = await manager.reload(configured(tmp_path).config)
        assert sorted(tried) == ["changes", "comes"]
        assert (report.loaded, report.failed) == (["changes", "comes"], [])
        assert report.kept == sorted([*SHIPPED, "same"])
        assert own(manager) == ["changes.one", "comes.one", "same.one"]
        assert await value(manager, "changes.one") == 2

    asyncio.run(main())


def test_a_broken_version_never_replaces_a_working_one(tmp_path: Path) -> None:
    write_functions(tmp_path, tools=ONE)

    async def main() -> None:
        manager = await manager_of(tmp_path)
        config = configured(tmp_path).config
        write_functions(tmp_path, tools="async def one(: return 2")
        for _ in range(2):  # also when it is tried again
            report = await manager.reload(config)
            assert (report.loaded, report.kept) == ([], sorted([*SHIPPED, "tools"]))
            assert [(each.name, each.file, each.line) for each in report.failed] == [("tools", "tools.py", 1)]
            assert [each.name for each in manager.problems] == ["tools"]
            assert await value(manager, "tools.one") == 1
        write_functions(tmp_path, tools=TWO)
        assert (await manager.reload(config)).loaded == ["tools"]
        assert await value(manager, "tools.one") == 2
        assert list(manager.problems) == []

    asyncio.run(main())


def test_a_call_that_runs_during_a_reload_ends_as_it_began(tmp_path: Path) -> None:
    waits = (
        "import asyncio\ngate = asyncio.Event()\nVALUE = 1\nasync def one():\n    await gate.wait()\n    return VALUE\n"
    )
    waits += "async def open_gate():\n    gate.set()\n"
    write_functions(tmp_path, tools=waits)

    async def main() -> None:
        manager = await manager_of(tmp_path)
        old = asyncio.create_task(manager.execute_function("tools.one", {}))
        gate = asyncio.create_task(manager.execute_function("tools.open_gate", {}))
        write_functions(tmp_path, tools=TWO)
        await manager.reload(configured(tmp_path).config)
        await gate
        assert await old == (True, 1)
        assert await value(manager, "tools.one") == 2

    asyncio.run(main())


def test_one_file_that_never_ends_holds_up_nobody(tmp_path: Path) -> None:
    write_functions(tmp_path, slow=ONE, good=ONE)

    async def main() -> None:
        opened = asyncio.Event()

        async def probe(path: Path) -> None:
            if path.stem == "slow":
                await opened.wait()

        manager = FunctionManager(configured(tmp_path), probe=probe, patience=0.05)
        await manager.start()
        assert await value(manager, "good.one") == 1
        with pytest.raises(InvalidRequest, match=r"'slow\.one'.*still being loaded"):
            manager.tools(["slow.one"])
        opened.set()
        await manager.settled()
        assert await value(manager, "slow.one") == 1

    asyncio.run(main())


def test_an_unknown_name_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    async def main() -> None:
        manager = await manager_of(tmp_path)
        with pytest.raises(InvalidRequest) as caught:
            manager.tools(["calculator.calculate", "calculator.calculat"])
        assert caught.value.param == "functions"
        assert "'calculator.calculat'" in caught.value.message
        assert "Did you mean 'calculator.calculate'?" in caught.value.message
        assert "dates.now" in caught.value.message
        assert manager.tools([]) == ()

    asyncio.run(main())


def test_names_for_models_are_valid_and_all_different(tmp_path: Path) -> None:
    write_functions(
        tmp_path,
        **{
            "a__b": "async def c(): return 1",
            "a": "async def b__c(): return 2",
            "with space-and.dot": "async def f(): return 3",
            "ümlaut": "async def größe(): return 4",
            "long" * 30: "async def f(): return 5\nasync def g(): return 6",
        },
    )

    async def main() -> None:
        manager = await manager_of(tmp_path, probe=untried)
        names = manager.names()
        known = manager.tool_names(["*"])
        assert len(known) == len(set(known)) == len(names)
        assert all(1 <= len(each) <= 64 and each.isascii() for each in known)
        assert all(each.replace("_", "a").replace("-", "a").isalnum() for each in known)
        assert list(known.values()) == names
        for tool, name in known.items():
            assert manager.tool_names([name]) == {tool: name}

    asyncio.run(main())
