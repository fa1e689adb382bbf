"""POST /api/v1/reload takes up what has changed, and a version that does not work never replaces one that does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lollms_server.core.bindings import slots
from lollms_server.core.config import load_config
from lollms_server.core.scheduler import instance_resource
from tests.support.own_binding import OwnFolder
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import Served, running_server, write_config

MAP = {"one": "own_binding", "two": "own_binding"}


@contextlib.contextmanager
def own_server(tmp_path: Path, **config: Any) -> Iterator[tuple[Served, OwnFolder]]:
    """A server with the instances `one`, the default, and `two`."""
    own = OwnFolder(tmp_path)
    whole = {"bindings_map": MAP, "defaults": {"ttt_binding": "one"}, **config}
    instances = {name: own.settings(name) for name in whole["bindings_map"]}
    loaded = load_config(write_config(tmp_path, whole, instances), environ={})
    with running_server(loaded=loaded) as server:
        server.wait_until(lambda: server.services.manager.models != "loading", 20)
        yield server, own


def reload(server: Served) -> dict[str, Any]:
    answer = ask(server.port, "POST", "/api/v1/reload", b"", server.headers)
    assert answer.status == 200, answer.body
    report: dict[str, Any] = json.loads(answer.body)
    report["kept"] = [name for name in report["kept"] if name in ("one", "two", "three")]  # and no personalities
    return report


def said(server: Served, name: str | None = None) -> str:
    answer = ask(server.port, "POST", "/api/v1/generate", prompt("x", binding_name=name), server.headers)
    assert answer.status == 200, answer.body
    return str(json.loads(answer.body)["output"][0]["data"])


def status(server: Served, name: str) -> int:
    return ask(server.port, "POST", "/api/v1/generate", prompt("x", binding_name=name), server.headers).status


@contextlib.contextmanager
def open_stream(server: Served) -> Iterator[RawRequest]:
    body = prompt("wait", stream=True)
    with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers) as request:
        request.read_head()
        yield request


def text_of(request: RawRequest) -> str:
    *chunks, final = request.whole().events()
    assert final["type"] == "final"
    return "".join(chunk["content"] for chunk in chunks if chunk["type"] == "chunk")


def test_without_a_change_everything_stays_the_same_object(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        before = server.on_loop(lambda: [slot.binding for slot in server.services.manager._slots.values()])
        report = reload(server)
        assert (report["loaded"], sorted(report["kept"]), report["failed"]) == ([], ["one", "two"], [])
        after = server.on_loop(lambda: [slot.binding for slot in server.services.manager._slots.values()])
        assert all(old is new for old, new in zip(before, after, strict=True))
    assert own.notes.count("start one-first") == 1


def test_instances_come_change_and_go(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        own.write_instance("one", own.settings("changed"))
        own.write_instance("three", own.settings("new"))
        own.change_config(
            bindings_map={"one": "own_binding", "three": "own_binding"}, defaults={"ttt_binding": "three"}
        )
        assert said(server) == "one-first"  # nothing happens before it is asked for
        report = reload(server)
        assert (report["loaded"], report["kept"], report["failed"]) == (["one", "three"], [], [])
        assert (said(server), said(server, "one")) == ("new-first", "changed-first")
        assert status(server, "two") == 404
        listed = json.loads(ask(server.port, "GET", "/api/v1/list_active_bindings", None, server.headers).body)
        assert set(listed["bindings"]) == {"one", "three"}
        server.wait_until(lambda: len(own.notes) == 6)
        assert sorted(own.notes[-2:]) == ["stop with 0 streams, one-first", "stop with 0 streams, two-first"]


def test_changed_code_is_new_for_all_its_instances(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        own.change_code('WORD = "first"', 'WORD = "second"')
        assert sorted(reload(server)["loaded"]) == ["one", "two"]
        assert (said(server, "one"), said(server, "two")) == ("one-second", "two-second")


def test_a_new_folder_is_found(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        other = own.code.parent.with_name("other")
        other.mkdir()
        (other / "__init__.py").write_text(
            own.code.read_text(encoding="utf-8").replace("own_binding", "other_binding"), encoding="utf-8"
        )
        (other / "binding_card.yaml").write_text(
            own.card.read_text(encoding="utf-8").replace("own_binding", "other_binding"), encoding="utf-8"
        )
        own.write_instance("three", {**own.settings("new"), "type": "other_binding"})
        own.change_config(bindings_map={**MAP, "three": "other_binding"})
        assert reload(server)["loaded"] == ["three"]
        assert said(server, "three") == "new-first"
        assert server.on_loop(lambda: "other_binding" in server.services.manager.types)


Breaks = Callable[[OwnFolder], object]

BREAKS: dict[str, tuple[Breaks, str, int | None, str]] = {
    "syntax error": (lambda own: own.change_code("WORD =", "WORD = ="), "__init__.py", 6, "SyntaxError"),
    "import error": (lambda own: own.change_code("import asyncio", "import no_such_zz"), "__init__.py", 1, "no_such"),
    "sys.exit": (lambda own: own.change_code("WORD =", "import sys; sys.exit(2); WORD ="), "__init__.py", 6, "exit(2)"),
    "endless import": (
        lambda own: own.change_code("WORD =", "while True: WORD ="), "__init__.py", None, "within 1 seconds",
    ),
    "no class": (lambda own: own.code.write_text("x = 1\n", encoding="utf-8"), "__init__.py", None, "no Binding class"),
    "another type name": (
        lambda own: own.change_code('name = "own_binding"', 'name = "old"'), "__init__.py", None, "'old'",
    ),
    "constructor": (
        lambda own: own.change_code("self.streams = 0", "raise ValueError('no luck')"), "__init__.py", 15, "no luck",
    ),
    "start": (lambda own: own.change_code('self.note("start")', "1 / 0"), "__init__.py", 22, "ZeroDivisionError"),
    "model": (
        lambda own: own.code.write_text(
            own.code.read_text(encoding="utf-8") + '\n    model_state = "failed"\n', encoding="utf-8"
        ),
        "", None, "No check",
    ),
    "broken card": (
        lambda own: own.card.write_text("type_name: [\n", encoding="utf-8"), "binding_card.yaml", 2, "YAML",
    ),
    "no card": (lambda own: own.card.unlink(), "binding_card.yaml", None, "no card"),
    "schema": (
        lambda own: own.card.write_text(
            own.card.read_text(encoding="utf-8").replace("word: {type: str,", "word: {type: text,"), encoding="utf-8"
        ),
        "binding_card.yaml", 14, "instance_schema.word.type",
    ),
    "writable": (lambda own: own.code.chmod(0o666), "__init__.py", None, "verybody can write"),
}  # fmt: skip


def test_a_broken_type_replaces_nothing_that_works(tmp_path: Path) -> None:
    with own_server(tmp_path, limits={"import_timeout": 1}) as (server, own):
        code, card = own.code.read_text(encoding="utf-8"), own.card.read_text(encoding="utf-8")
        for name, (break_it, file, line, words) in BREAKS.items():
            break_it(own)
            report = reload(server)
            assert (report["loaded"], sorted(report["kept"])) == ([], ["one", "two"]), name
            names = {problem["name"] for problem in report["failed"]}
            # Who may write a file is no part of what an instance is made of: there it is the folder alone that fails.
            assert {"one", "two"} <= names or (name == "writable" and names == {"own_binding"}), name
            places = [(problem["file"] or "", problem["line"]) for problem in report["failed"]]
            assert (file, line) in places, (name, places)
            assert any(words in problem["reason"] for problem in report["failed"]), (name, report["failed"])
            assert str(tmp_path) not in str(report), name
            assert (said(server, "one"), said(server, "two")) == ("one-first", "two-first"), name
            own.code.write_text(code, encoding="utf-8")
            own.code.chmod(0o644)
            own.card.write_text(card, encoding="utf-8")
        report = reload(server)
        assert (report["loaded"], report["failed"]) == ([], [])
    assert own.notes.count("start one-first") == 2  # at the start, and the one whose model failed


BAD_FILES = {
    "wrong type": ('{"word": 5}', 1, "word"),
    "not yaml": ("word: [1\n", 2, "YAML"),
    "encrypted": ("word: x\nkey: gAAAAABkwhatever\n", 2, "encrypted"),
    "wrong binding": ("type: openai_binding\n", 1, "type"),
}


def test_a_broken_instance_file_replaces_nothing_that_works(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        for text, line, words in BAD_FILES.values():
            own.write_instance("one", text)
            report = reload(server)
            assert (report["loaded"], sorted(report["kept"])) == ([], ["one", "two"])
            (problem,) = report["failed"]
            assert (problem["name"], problem["file"], problem["line"]) == ("one", "one.yaml", line)
            assert words in problem["reason"]
            assert "gAAAA" not in problem["reason"]
            assert said(server, "one") == "one-first"
        (tmp_path / "lollms_configs" / "bindings" / "one.yaml").unlink()
        assert [problem["name"] for problem in reload(server)["failed"]] == ["one"]
        assert said(server, "one") == "one-first"


def test_a_main_configuration_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [
        {"bindings_map": {"one": 5}},
        {"defaults": {"ttt_binding": "nobody"}},
        {"security": {}},
        {"zzz": 1},
    ]
    with own_server(tmp_path) as (server, own):
        whole = own.config.read_text(encoding="utf-8")
        own.write_instance("one", own.settings("changed"))
        for change in bad:
            own.change_config(**change)
            report = reload(server)
            assert report["loaded"] == []
            assert report["failed"][0]["file"] == "main_config.yaml"
            assert report["failed"][0]["line"] >= 1
            assert said(server) == "one-first"
            own.config.write_text(whole, encoding="utf-8")
        assert reload(server)["loaded"] == ["one"]


def test_only_what_may_change_is_read_again(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        whole = json.loads(own.config.read_text(encoding="utf-8"))
        own.change_config(
            security={"allowed_api_keys": []},
            paths={"bindings_folder": "elsewhere"},
            limits={"max_active_requests": 1},
        )
        assert sorted(reload(server)["kept"]) == ["one", "two"]
        assert ask(server.port, "GET", "/api/v1/list_bindings", None, {}).status == 403
        assert whole["security"]["allowed_api_keys"]


def test_an_instance_that_failed_is_tried_again_though_its_files_are_the_same(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        own.change_code("self.streams = 0", f"self.streams = 0 * Path({str(tmp_path / 'lacks')!r}).stat().st_size")
        own.change_config(bindings_map={**MAP, "three": "own_binding"})
        own.write_instance("three", own.settings("three"))
        report = reload(server)
        assert sorted(report["kept"]) == ["one", "two"]
        assert {problem["name"] for problem in report["failed"]} == {"one", "two", "three"}
        assert status(server, "three") == 503
        (tmp_path / "lacks").touch()
        assert sorted(reload(server)["loaded"]) == ["one", "three", "two"]
        assert said(server, "three") == "three-first"


def test_a_stream_that_runs_ends_with_the_version_it_began_with(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        with open_stream(server) as running:
            server.wait_until(lambda: len(server.services.registry) == 1)
            own.change_code('WORD = "first"', 'WORD = "second"')
            assert "one" in reload(server)["loaded"]
            assert said(server) == "one-second"
            assert reload(server)["loaded"] == []
            server.wait_until(lambda: "stop with 0 streams, two-first" in own.notes)  # that one was not in use
            assert not [note for note in own.notes if note.endswith(", one-first")]
            (tmp_path / "go").touch()
            assert text_of(running) == "one-first!"
        server.wait_until(lambda: "stop with 0 streams, one-first" in own.notes)


def test_an_instance_that_is_taken_away_ends_its_streams_first(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        with open_stream(server) as running:
            server.wait_until(lambda: len(server.services.registry) == 1)
            own.change_config(bindings_map={"two": "own_binding"}, defaults={"ttt_binding": "two"})
            assert reload(server)["kept"] == ["two"]
            assert status(server, "one") == 404
            (tmp_path / "go").touch()
            assert text_of(running) == "one-first!"
        server.wait_until(lambda: "stop with 0 streams, one-first" in own.notes)


def test_an_old_version_is_stopped_at_last_under_a_request_that_never_ends(tmp_path: Path) -> None:
    with own_server(tmp_path, limits={"workflow_timeout": 1}) as (server, own):
        with open_stream(server) as running:
            server.wait_until(lambda: len(server.services.registry) == 1)
            own.write_instance("one", own.settings("changed"))
            assert reload(server)["loaded"] == ["one"]
            server.wait_until(lambda: "stop with 1 streams, one-first" in own.notes)
            (tmp_path / "go").touch()
            assert text_of(running) == "one-first!"


def test_a_model_that_is_not_loaded_in_time_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_LOAD_SECONDS", 0.1)
    with own_server(tmp_path) as (server, own):
        own.code.write_text(own.code.read_text(encoding="utf-8") + '\n    model_state = "loading"\n', encoding="utf-8")
        report = reload(server)
        assert (report["loaded"], sorted(report["kept"])) == ([], ["one", "two"])
        assert "not ready within 0.1 seconds" in report["failed"][0]["reason"]
        assert said(server) == "one-first"


def test_whoever_uses_a_binding_without_a_request_keeps_it_from_being_stopped(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        manager, config = server.services.manager, server.services.loaded.config

        async def hold() -> list[str]:
            async with manager.use("one") as binding:
                own.write_instance("one", own.settings("changed"))
                assert (await manager.reload(config)).loaded == ["one"]
                assert await manager.get("one") is not binding
                for _ in range(30):
                    await asyncio.sleep(0.005)  # in which it would be stopped
                return own.notes

        notes = asyncio.run_coroutine_threadsafe(hold(), server.loop).result(10)
        assert not [note for note in notes if note.startswith("stop")]
        server.wait_until(lambda: "stop with 0 streams, one-first" in own.notes)


def test_reloads_at_the_same_time_take_turns(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        own.change_code('WORD = "first"', 'WORD = "second"')
        with ThreadPoolExecutor(4) as pool:
            reports = list(pool.map(lambda _: reload(server), range(4)))
        counts = {len(report["loaded"]) for report in reports}
        assert 2 in counts and counts <= {0, 2}  # those that came together have one report
    assert own.notes.count("start one-second") == 1


def test_a_reload_goes_on_when_who_asked_for_it_leaves(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        own.change_code("await asyncio.sleep(0.002)", "await asyncio.sleep(0.001)")
        own.change_code('self.note("start")', 'self.note("start"); await asyncio.sleep(0.3)')
        before = len(own.notes)
        with RawRequest(server.port, "POST", "/api/v1/reload", body=b"", headers=server.headers):
            server.wait_until(lambda: len(own.notes) > before)
        server.wait_until(lambda: len([note for note in own.notes if note.startswith("stop")]) == 2)


def test_stopping_in_the_middle_of_a_reload_stops_the_old_and_the_new(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        own.change_code('WORD = "first"', 'WORD = "second"')
        own.change_code('self.note("start")', 'self.note("start"); await asyncio.sleep(60)')
        manager, config = server.services.manager, server.services.loaded.config
        reloading = asyncio.run_coroutine_threadsafe(manager.reload(config), server.loop)
        server.wait_until(lambda: "start one-second" in own.notes and "start two-second" in own.notes)
    assert reloading.exception(5) is not None
    for word in ("one-first", "two-first", "one-second", "two-second"):
        assert f"stop with 0 streams, {word}" in own.notes


def test_requests_never_fail_while_versions_come_and_go(tmp_path: Path) -> None:
    with own_server(tmp_path) as (server, own):
        code, over = own.code.read_text(encoding="utf-8"), threading.Event()

        def ask_on(stream: bool) -> set[str]:
            seen = set()
            while not over.is_set():
                body = prompt("x", stream=stream)
                answer = ask(server.port, "POST", "/api/v1/generate", body, server.headers)
                assert answer.status == 200, answer
                last = answer.events()[-1]["content"] if stream else answer.json()["output"]
                seen.add(str(last[0]["data"]).rstrip("!"))
            return seen

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask_on, stream) for stream in (False, False, True, True)]
            try:
                for number in range(10):
                    own.code.write_text(
                        code.replace('"first"', '"second"' if number % 2 else '"third"'), encoding="utf-8"
                    )
                    assert sorted(reload(server)["loaded"]) == ["one", "two"]
            finally:
                over.set()
            seen = set().union(*(each.result() for each in asking))
        assert seen <= {"one-first", "one-second", "one-third"}
        assert len(seen) > 1
        server.wait_until(lambda: len(server.services.manager._alive) == 2)


def test_two_hundred_reloads_leave_nothing_behind(tmp_path: Path) -> None:
    words = ("first", "second")

    def held(server: Served) -> dict[str, int]:
        manager = server.services.manager
        return {
            "modules": len([name for name in sys.modules if name.startswith("lollms_plugin_own_binding")]),
            "tasks": len(asyncio.all_tasks(server.loop)),
            "slots": len(manager._alive),
            "watches": len(manager._watches),
            "capacities": manager._scheduler.capacity(instance_resource("one")) or 0,
            "files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        }

    with own_server(tmp_path, bindings_map={"one": "own_binding"}) as (server, own):
        code, config = own.code.read_text(encoding="utf-8"), server.services.loaded.config
        manager = server.services.manager

        def turn(number: int) -> None:
            word = words[number % 2]
            own.code.write_text(code.replace('WORD = "first"', f'WORD = "{word}"'), encoding="utf-8")
            reloading = asyncio.run_coroutine_threadsafe(manager.reload(config), server.loop)
            assert reloading.result(20).loaded == ["one"]

        turn(1)
        turn(2)
        server.wait_until(lambda: len(manager._alive) == 1)
        before = server.on_loop(lambda: held(server))
        for number in range(1, 201):
            turn(number)
        server.wait_until(lambda: len(manager._alive) == 1 and len(manager._tasks) == 0)
        assert server.on_loop(lambda: held(server)) == before
        assert before["modules"] == 1
        assert said(server, "one") == "one-first"
