"""A plug-in is imported in a child process first: whatever it does there is an answer, and nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lollms_runtime.import_probe import PLACEHOLDER, ImportFailed, Prober, clean_environment, probe_import
from lollms_runtime.third_party import import_file

SOON = 0.4
LONG = 20.0


def plugin(tmp_path: Path, source: str) -> Path:
    folder = tmp_path / "plug in"
    folder.mkdir()
    (folder / "__init__.py").write_text(source, encoding="utf-8")
    return folder


def failure(path: Path, seconds: float = LONG) -> ImportFailed:
    with pytest.raises(ImportFailed) as caught:
        asyncio.run(probe_import(path, seconds=seconds))
    return caught.value


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


FAILING = {
    "syntax": ("\nx = = 1\n", "SyntaxError", 2, "invalid syntax"),
    "import": ("import no_such_module_zz\n", "ModuleNotFoundError", 1, "no_such_module_zz"),
    "raises": ("def f():\n    raise KeyError('k')\nf()\n", "KeyError", 2, "'k'"),
    "sys.exit": ("import sys\nsys.exit('bye')\n", "SystemExit", 2, "sys.exit('bye')"),
    "interrupt": ("raise KeyboardInterrupt\n", "KeyboardInterrupt", 1, "KeyboardInterrupt"),
    "os._exit": ("import os, sys\nprint('last', file=sys.stderr, flush=True)\nos._exit(0)\n", "exit", None, "last"),
    "segv": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "signal", None, "SIGSEGV"),
    "asks": ("input()\n", "EOFError", 1, "EOF"),
    "recursion": ("def f():\n    return f()\nf()\n", "RecursionError", 2, "recursion"),
    "installs": (
        "import pipmaster\npipmaster.ensure_packages(['no-such-package-zz'])\n",
        "MissingDependency", 2, "no-such-package-zz",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FAILING))
def test_a_plugin_that_cannot_be_imported_says_kind_file_line_and_words(tmp_path: Path, name: str) -> None:
    source, kind, line, words = FAILING[name]
    folder = plugin(tmp_path, source)
    error = failure(folder)
    assert (error.kind, error.line) == (kind, line)
    assert error.file == str(folder / "__init__.py")
    assert words in error.message
    assert error.message.startswith(f"{error.file}:{line}: " if line else f"{error.file}: ")
    assert not children()


def test_the_place_is_the_innermost_line_of_the_plugin_itself(tmp_path: Path) -> None:
    folder = plugin(tmp_path, "from . import part\n")
    (folder / "part.py").write_text("import json\n\njson.loads('{')\n", encoding="utf-8")
    error = failure(folder)
    assert (error.kind, error.file, error.line) == ("JSONDecodeError", str(folder / "part.py"), 3)


@pytest.mark.parametrize("source", ["while True:\n    pass\n", "import time\ntime.sleep(60)\n"])
def test_an_import_that_does_not_end_is_ended(tmp_path: Path, source: str) -> None:
    error = failure(plugin(tmp_path, source), SOON)
    assert error.kind == "timeout"
    assert "did not end within 0.4 seconds" in error.message
    assert not children()


def test_a_sound_folder_and_a_sound_file_pass_whatever_they_print(tmp_path: Path) -> None:
    folder = plugin(
        tmp_path, "import sys\nfor s in (sys.stdout, sys.stderr):\n    s.write('{\"ok\": 0}\\n' * 100_000)\n"
    )
    (tmp_path / "tool.py").write_text("print('hello')\n", encoding="utf-8")
    asyncio.run(probe_import(folder, seconds=LONG))
    asyncio.run(probe_import(tmp_path / "tool.py", seconds=LONG))
    (tmp_path / "tool.py").write_text("1 / 0\n", encoding="utf-8")
    assert failure(tmp_path / "tool.py").line == 1


def test_what_a_plugin_starts_ends_with_its_trial(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    source = f"""
import atexit, subprocess, sys, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
atexit.register(time.sleep, 60)
other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
open({str(marks / "pid")!r}, "w", encoding="utf-8").write(str(other.pid))
"""
    began = time.monotonic()
    asyncio.run(probe_import(plugin(tmp_path, source), seconds=LONG))
    assert time.monotonic() - began < 15
    pid = int((marks / "pid").read_text(encoding="utf-8"))
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_trial_sees_no_secret_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "canary-1")
    monkeypatch.setenv("CANARY_URL", "https://user:canary-2@example.org")
    monkeypatch.setenv("PLAIN_WORD", "kept")
    source = """
import os
assert os.environ["CANARY_API_KEY"] and os.environ["PLAIN_WORD"] == "kept"
assert not [name for name, value in os.environ.items() if "canary" in value]
"""
    asyncio.run(probe_import(plugin(tmp_path, source), seconds=LONG))
    assert clean_environment({"X_TOKEN": "a", "HOME": "/h"}) == {"X_TOKEN": PLACEHOLDER, "HOME": "/h"}
    index = {"PIP_INDEX_URL": "https://user:pass@example.org"}
    assert clean_environment(index, keep="PIP_") == index
    assert clean_environment(index) == {"PIP_INDEX_URL": PLACEHOLDER}


def test_nothing_of_the_current_folder_or_of_pythonpath_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"{place}_zz.py").write_text("", encoding="utf-8")
        (tmp_path / place / "json.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'w', encoding='utf-8')\n", encoding="utf-8"
        )
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "there"))
    source = "import json\nfor name in ('here_zz', 'there_zz'):\n    try:\n        __import__(name)\n"
    source += "    except ImportError:\n        continue\n    raise RuntimeError(name)\n"
    asyncio.run(probe_import(plugin(tmp_path, source), seconds=LONG))
    assert not (tmp_path / "ran").exists()


def test_a_trial_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    folder = plugin(tmp_path, "import time\ntime.sleep(60)\n")

    async def give_up() -> None:
        task = asyncio.create_task(probe_import(folder, seconds=LONG))
        async with asyncio.timeout(LONG):
            while not await asyncio.to_thread(children):
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert not children()


def test_what_was_good_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    folder = plugin(tmp_path, f"open({str(tmp_path / 'log')!r}, 'a', encoding='utf-8').write('x')\n")

    def tries() -> int:
        return len((tmp_path / "log").read_text(encoding="utf-8"))

    async def main() -> None:
        prober = Prober(LONG)
        for _ in range(3):
            await prober.probe(folder)
        assert tries() == 1
        (folder / "more.py").write_text("", encoding="utf-8")
        await prober.probe(folder)
        assert tries() == 2
        (folder / "more.py").write_text("1 / 0", encoding="utf-8")
        (folder / "__init__.py").write_text(
            (folder / "__init__.py").read_text(encoding="utf-8") + "from . import more\n", encoding="utf-8"
        )
        for _ in range(2):  # what failed is tried again: what it missed may be there now
            with pytest.raises(ImportFailed, match=r"more\.py:1: ZeroDivisionError"):
                await prober.probe(folder)
        assert tries() == 4

    asyncio.run(main())


def test_what_is_imported_already_is_not_tried(tmp_path: Path) -> None:
    tool = tmp_path / "tool.py"
    tool.write_text(
        f"with open({str(tmp_path / 'log')!r}, 'a', encoding='utf-8') as log:\n    log.write('x')\n", encoding="utf-8"
    )
    import_file(tool)
    asyncio.run(Prober(LONG).probe(tool))
    assert (tmp_path / "log").read_text(encoding="utf-8") == "x"


def test_no_more_than_the_allowed_number_run_at_once(tmp_path: Path) -> None:
    source = """
import os, time
mine = os.path.join({place!r}, str(os.getpid()))
open(mine, "w", encoding="utf-8").close()
open({log!r}, "a", encoding="utf-8").write(f"{{len(os.listdir({place!r}))}} ")
time.sleep(0.05)
os.unlink(mine)
"""
    place = tmp_path / "running"
    place.mkdir()
    for number in range(5):
        (tmp_path / f"tool{number}.py").write_text(
            source.format(place=str(place), log=str(tmp_path / "log")), encoding="utf-8"
        )

    async def main() -> None:
        prober = Prober(LONG, places=2)
        await asyncio.gather(*(prober.probe(tmp_path / f"tool{number}.py") for number in range(5)))

    asyncio.run(main())
    counts = [int(count) for count in (tmp_path / "log").read_text(encoding="utf-8").split()]
    assert len(counts) == 5
    assert max(counts) <= 2


def test_trials_leave_no_open_files(tmp_path: Path) -> None:
    folder = plugin(tmp_path, "raise OSError\n")
    failure(folder)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        failure(folder)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
