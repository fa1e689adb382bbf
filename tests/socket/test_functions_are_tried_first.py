"""Files of functions are tried in another process: none of them can hold up, end or change the server."""

from __future__ import annotations

from pathlib import Path

from lollms_runtime.scripted import Script
from lollms_server.core.config import LoadedConfig, load_config
from tests.support.raw_http import ask
from tests.support.server import PortsBinding, Served, running_server, write_config
from tests.support.settled import settle

GOOD = "async def one() -> int:\n    return 1\n"


def configured(folder: Path, *, seconds: int = 30, **files: str) -> LoadedConfig:
    write_config(folder, {"defaults": {"ttt_binding": "main"}, "limits": {"import_timeout": seconds}})
    place = folder / "personal_functions"
    place.mkdir()
    for name, text in files.items():
        (place / f"{name}.py").write_text(text, encoding="utf-8")
    return load_config(folder / "lollms_configs", environ={}, further=("main",))


def listed(server: Served) -> dict[str, list[str]]:
    answer = ask(server.port, "GET", "/api/v1/list_functions", None, server.headers)
    assert answer.status == 200
    found = answer.json()
    return {
        "functions": [
            name for name in found["functions"] if name.partition(".")[0] not in ("calculator", "dates", "text")
        ],
        "problems": [f"{each['name']}: {each['reason']}" for each in found["problems"]],
    }


def test_files_that_hang_exit_or_crash_are_listed_and_the_others_serve(tmp_path: Path) -> None:
    loaded = configured(
        tmp_path / "several",
        good=GOOD,
        leaves="import os\nos._exit(7)\n" + GOOD,
        crashes="import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n" + GOOD,
        installs="import pipmaster\npipmaster.ensure_packages({'no-such-package-anywhere': '>=1'})\n" + GOOD,
    )
    with running_server({"main": PortsBinding(Script(lambda call: "x"))}, loaded=loaded) as server:
        assert ask(server.port, "GET", "/api/v1/health").status == 200
        found = listed(settle(server))
        assert found["functions"] == ["good.one"]
        crashes, installs, leaves = found["problems"]
        assert "SIGSEGV" in crashes
        assert "no-such-package-anywhere" in installs
        assert "exit code 7" in leaves
        assert str(tmp_path) not in str(found)
    # One that hangs, with little time, is alone: on a busy machine that might be too little for one that is good.
    loaded = configured(tmp_path / "alone", seconds=1, hangs="while True: pass\n" + GOOD)
    with running_server({"main": PortsBinding(Script(lambda call: "x"))}, loaded=loaded) as server:
        assert ask(server.port, "GET", "/api/v1/health").status == 200
        (hangs,) = listed(settle(server))["problems"]
        assert "did not end" in hangs
        assert (
            "text.count" in ask(server.port, "GET", "/api/v1/list_functions", None, server.headers).json()["functions"]
        )


def test_a_reload_takes_up_what_works_and_keeps_what_worked(tmp_path: Path) -> None:
    loaded = configured(tmp_path, tools=GOOD)
    with running_server({"main": PortsBinding(Script(lambda call: "x"))}, loaded=loaded) as server:
        assert listed(settle(server))["functions"] == ["tools.one"]
        place = tmp_path / "personal_functions"
        (place / "tools.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
        (place / "further.py").write_text(GOOD, encoding="utf-8")
        report = ask(server.port, "POST", "/api/v1/reload", {}, server.headers).json()
        assert "further" in report["loaded"]
        assert "tools" in report["kept"]
        assert [(each["name"], each["file"], each["line"]) for each in report["failed"]] == [("tools", "tools.py", 2)]
        assert listed(server)["functions"] == ["further.one", "tools.one"]
