"""With folders of bindings that cannot be used the server starts at once, says what is wrong, and others serve."""

from __future__ import annotations

from pathlib import Path

from lollms_server.core.config import load_config
from tests.support.own_binding import CODE, OwnFolder
from tests.support.raw_http import ask, prompt
from tests.support.server import running_server, write_config

FOLDERS = {
    "endless": "while True:\n    pass\n",
    "exits": "import sys\nsys.exit()\n",
    "crashes": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "broken": "def f(:\n",
    "needs": "import no_such_package_zz\n",
    "empty": "",
}


def test_the_server_answers_at_once_and_lists_what_is_wrong(tmp_path: Path) -> None:
    own = OwnFolder(tmp_path)
    for name, code in FOLDERS.items():
        folder = own.code.parent.with_name(name)
        folder.mkdir()
        (folder / "__init__.py").write_text(code, encoding="utf-8")
        (folder / "binding_card.yaml").write_text(
            own.card.read_text(encoding="utf-8").replace("own_binding", f"{name}_binding"), encoding="utf-8"
        )
    bare, twin = own.code.parent.with_name("bare"), own.code.parent.with_name("twin")
    for folder in (bare, twin):
        folder.mkdir()
        (folder / "__init__.py").write_text(CODE, encoding="utf-8")
    (twin / "binding_card.yaml").write_text(own.card.read_text(encoding="utf-8"), encoding="utf-8")
    names = {name: f"{name}_binding" for name in FOLDERS}
    config = {
        "bindings_map": {"one": "own_binding", **names},
        "defaults": {"ttt_binding": "one"},
        "limits": {"import_timeout": 3},
    }
    instances = {"one": own.settings("one"), **{name: {"folder": "x"} for name in names}}
    loaded = load_config(write_config(tmp_path, config, instances), environ={})
    with running_server(loaded=loaded) as server:
        manager = server.services.manager
        assert ask(server.port, "GET", "/health").status == 200
        answer = ask(server.port, "POST", "/api/v1/generate", prompt("x"), server.headers)
        assert answer.json()["output"][0]["data"] == "one-first"
        assert server.on_loop(lambda: manager.models) == "loading"  # the endless one is still being tried
        server.wait_until(lambda: manager.models == "failed", 20)
        problems = server.on_loop(lambda: list(manager.problems))
        assert sorted({problem.name for problem in problems}) == sorted([*FOLDERS, "bare", "twin"])
        assert all(problem.reason and problem.file for problem in problems)
        assert ask(server.port, "GET", "/health").json()["models"] == "failed"
        listed = ask(server.port, "GET", "/api/v1/list_active_bindings", None, server.headers).json()
        assert list(listed["bindings"]) == ["one"]
        for name in FOLDERS:
            body = prompt("x", binding_name=name)
            assert ask(server.port, "POST", "/api/v1/generate", body, server.headers).status == 503
            path = f"/api/v1/list_available_models/{name}"
            assert ask(server.port, "GET", path, None, server.headers).status == 404
