"""Each listing has its documented form, shows what could not be loaded and why, and hides secrets and folders."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from typing_extensions import override

from lollms_server.core.config import LoadedConfig, load_config
from lollms_server.core.model_folders import KINDS
from tests.support.path_payloads import PATH_PAYLOADS
from tests.support.raw_http import Answer, RawRequest, ask, prompt
from tests.support.server import KEY, PortsBinding, Served, running_server, write_config
from tests.support.settled import settle

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sk-canary-5d1e8f2a9b7c"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PERSONALITY = """\
name: {name}
version: 1.0
author: me
personality_description: For tests.
personality_conditioning: You are a test.
icon: {icon}
"""


def get(server: Served, path: str) -> Answer:
    return ask(server.port, "GET", f"/api/v1/{path}", None, server.headers)


def make(folder: Path) -> LoadedConfig:
    """A configuration with good and broken instances, personalities and functions."""
    mine = {"type": "openai_binding", "base_url": "http://127.0.0.1:9/v1", "api_key": SECRET, "default_model": "gpt"}
    config_dir = write_config(
        folder,
        {
            "bindings_map": {"mine": "openai_binding", "wrong": "openai_binding", "typeless": "no_such_binding"},
            "defaults": {"ttt_binding": "main", "default_context_size": 8192},
        },
        {"mine": mine, "wrong": 'type: openai_binding\nbase_url: "http://127.0.0.1:9/v1"\ncontext_size: many\n'},
    )
    for name, icon in (("plain", "icon.png"), ("odd icon", "icon.svg"), ("bare", "none.png")):
        assets = folder / "personal_personalities" / name.replace(" ", "_") / "assets"
        assets.mkdir(parents=True)
        (assets.parent / "config.yaml").write_text(PERSONALITY.format(name=name, icon=icon), encoding="utf-8")
        if icon != "none.png":
            (assets / icon).write_bytes(PIXEL if icon == "icon.png" else b"<svg onload='alert(1)'/>")
    broken = folder / "personal_personalities" / "broken"
    broken.mkdir()
    (broken / "config.yaml").write_text("name: broken\nversion: 1\nauthor: [\n", encoding="utf-8")
    functions = folder / "personal_functions"
    functions.mkdir()
    (functions / "my_tools.py").write_text(
        'async def double(n: int) -> int:\n    """Twice n."""\n    return 2 * n\n', encoding="utf-8"
    )
    (functions / "bad_tools.py").write_text("async def oops(:\n    pass\n", encoding="utf-8")
    for place in (folder / "personal_personalities", functions):
        for path in (place, *place.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
    return load_config(config_dir, environ={}, further=("main",))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    loaded = make(tmp_path_factory.mktemp("home"))
    with running_server({"main": PortsBinding(lambda call: "fine")}, loaded=loaded) as served:
        served.wait_until(lambda: served.services.manager.models != "loading", 20)
        yield settle(served)


def reasons(said: dict[str, Any]) -> dict[str, str]:
    assert all(set(each) == {"name", "file", "line", "reason"} for each in said["problems"]), said["problems"]
    return {each["name"]: f"{each['file']}:{each['line']}: {each['reason']}" for each in said["problems"]}


def test_bindings_are_listed_with_what_is_wrong(server: Served) -> None:
    said = get(server, "list_bindings").json()
    assert set(said) == {"binding_types", "binding_instances", "problems"}
    card = said["binding_types"]["openai_binding"]
    assert set(card) == {
        *("type_name", "display_name", "version", "author", "description", "requirements", "supports_streaming"),
        *("documentation_url", "supported_output_modalities", "supported_input_modalities"),
    }
    shown = said["binding_instances"]["mine"]
    assert shown["type"] == "openai_binding" and shown["binding_instance_name"] == "mine"
    assert shown["default_model"] == "gpt" and "api_key" not in shown
    wrong = reasons(said)
    assert wrong["wrong"].startswith("wrong.yaml:3: ") and "context_size" in wrong["wrong"]
    assert "no_such_binding" in wrong["typeless"]
    active = get(server, "list_active_bindings").json()
    assert set(active) == {"bindings"} and "main" in active["bindings"] and "wrong" not in active["bindings"]


def test_personalities_are_listed_with_what_is_wrong(server: Served) -> None:
    said = get(server, "list_personalities").json()
    plain = said["personalities"]["plain"]
    assert set(plain) == {
        *("name", "author", "version", "description", "category", "language", "tags", "icon", "is_scripted", "path"),
    }
    assert (plain["author"], plain["version"], plain["description"]) == ("me", "1.0", "For tests.")
    assert "config.yaml" in reasons(said)["broken"] and "broken" not in said["personalities"]
    assert not Path(plain["path"]).is_absolute()


def test_functions_are_listed_with_what_is_wrong(server: Served) -> None:
    said = get(server, "list_functions").json()
    assert "my_tools.double" in said["functions"] and said["functions"] == sorted(said["functions"])
    assert [reason for name, reason in reasons(said).items() if "bad_tools" in name and "bad_tools.py:1" in reason]


def test_no_listing_shows_a_folder_or_a_secret(server: Served) -> None:
    home = str(server.services.loaded.root)
    for path in ("list_bindings", "list_active_bindings", "list_personalities", "list_functions", "list_models"):
        answer = get(server, path)
        assert answer.status == 200
        text = answer.body.decode()
        assert home not in text and str(ROOT) not in text and SECRET not in text and KEY not in text, path


def test_an_icon_is_sent_under_its_own_type(server: Served) -> None:
    answer = get(server, "personality_icon/plain")
    assert (answer.status, answer.body) == (200, PIXEL)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-disposition" not in answer.headers
    assert get(server, "personality_icon/bare").json()["code"] == "not_found"
    assert get(server, "personality_icon/nobody").status == 404
    odd = get(server, "personality_icon/odd%20icon")
    assert odd.status == 404 or (
        odd.headers["content-disposition"] == "attachment" and "svg" not in odd.headers["content-type"]
    )


@pytest.mark.parametrize("payload", [each for each in PATH_PAYLOADS if each])
def test_names_open_no_file(server: Served, payload: str) -> None:
    name = quote(payload.encode("utf-8", "surrogatepass"), safe="")
    for route in ("personality_icon", "get_model_info", "list_available_models"):
        answer = get(server, f"{route}/{name}")
        assert answer.status in (400, 404, 422), (route, answer)
        assert b"root:" not in answer.body
    answer = get(server, f"get_model_info/main?model_name={name}")
    assert answer.status in (200, 404, 422) and b"root:" not in answer.body, answer


def test_the_models_folder_is_listed_by_name(tmp_path: Path) -> None:
    loaded = load_config(write_config(tmp_path), environ={})
    models = loaded.folders.models
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "private.txt").write_text("x", encoding="utf-8")
    with running_server(loaded=loaded) as server:
        assert get(server, "list_models").json() == {"models": {kind: [] for kind in KINDS}}
        (models / "gguf").mkdir(parents=True)
        (models / "other").mkdir()
        for name in ("b.gguf", "a.gguf", ".hidden", "é.gguf"):
            (models / "gguf" / name).write_text("", encoding="utf-8")
        (models / "gguf" / "inside").symlink_to(models / "gguf" / "a.gguf")
        (models / "gguf" / "outside").symlink_to(tmp_path / "elsewhere" / "private.txt")
        (models / "gguf" / "circle").symlink_to(models / "gguf" / "circle")
        (models / "diffusers_models" / "stabilityai" / "sdxl").mkdir(parents=True)
        (models / "tts").symlink_to(tmp_path / "elsewhere")
        os.mkdir(bytes(models / "ttt" / "x").removesuffix(b"/x"))
        (Path(os.fsdecode(bytes(models / "ttt") + b"/\xff.bin"))).write_text("", encoding="utf-8")
        said = get(server, "list_models").json()["models"]
        assert set(said) == set(KINDS)
        assert said["gguf"] == ["a.gguf", "b.gguf", "circle", "inside", "é.gguf"]
        assert said["diffusers_models"] == ["stabilityai"]
        assert said["tts"] == [] and said["ttt"] == []


def test_a_models_folder_that_is_none_is_a_500_without_its_path(tmp_path: Path) -> None:
    loaded = load_config(write_config(tmp_path), environ={})
    loaded.folders.models.write_text("not a folder", encoding="utf-8")
    with running_server(loaded=loaded) as server:
        answer = get(server, "list_models")
    assert (answer.status, answer.json()["code"]) == (500, "storage_error")
    assert str(tmp_path) not in answer.body.decode()


class Slow(PortsBinding):
    """A binding whose start takes until it is told to end."""

    def __init__(self) -> None:
        super().__init__(lambda call: "fine")
        self.go = threading.Event()

    @override
    async def start(self) -> None:
        while not self.go.is_set():
            await asyncio.sleep(0.005)


def test_listings_answer_while_an_instance_is_loading() -> None:
    slow = Slow()
    with running_server({"main": slow}) as server:
        try:
            assert ask(server.port, "GET", "/health").json()["models"] == "loading"
            for path in (
                *("list_bindings", "list_active_bindings", "list_personalities", "list_functions", "list_models"),
                *("get_default_bindings", "queue", "health"),
            ):
                assert get(server, path).status == 200, path
            assert get(server, "list_active_bindings").json() == {"bindings": {}}
        finally:
            slow.go.set()
        assert get(server, "get_model_info/main").status == 200


def test_the_queue_shows_who_runs_and_who_waits() -> None:
    held = threading.Event()

    class Holding(PortsBinding):
        @override
        def open(self, call: Any) -> Any:
            @contextlib.asynccontextmanager
            async def block() -> Any:
                while not held.is_set():
                    await asyncio.sleep(0.005)
                async with super(Holding, self).open(call) as batches:
                    yield batches

            return block()

    with running_server({"main": Holding(lambda call: "fine", places=1)}) as server:
        assert get(server, "queue").json() == {"running": [], "waiting": []}
        ids = [f"{number:016d}" for number in range(3)]
        requests = []
        try:
            for number, own in enumerate(ids):
                headers = {**server.headers, "X-Request-ID": own}
                requests.append(RawRequest(server.port, "POST", "/api/v1/generate", body=prompt("x"), headers=headers))
                server.wait_until(lambda wanted=number + 1: len(server.services.registry) == wanted)
            server.wait_until(lambda: len(server.services.scheduler.status().waiting) == 2)
            said = get(server, "queue").json()
            (first,) = said["running"]
            assert (first["request_id"], first["binding_name"], first["model_name"]) == (ids[0], "main", "m")
            assert first["stream"] is False and 0 <= first["seconds"] < 10
            assert said["waiting"] == [{"request_id": ids[1], "position": 0}, {"request_id": ids[2], "position": 1}]
        finally:
            held.set()
            for request in requests:
                assert request.whole().status == 200
                request.leave()


def test_defaults_and_personalities_follow_a_reload(tmp_path: Path) -> None:
    loaded = make(tmp_path)
    with running_server({"main": PortsBinding(lambda call: "fine")}, loaded=loaded) as server:
        server.wait_until(lambda: server.services.manager.models != "loading", 20)
        whole = json.loads(loaded.file.read_text(encoding="utf-8"))
        whole["defaults"]["default_context_size"] = 16384
        whole["personalities_config"] = {"plain": {"enabled": False}}
        whole["server"] = {"allowed_hosts": ["evil.example"]}
        loaded.file.write_text(json.dumps(whole) + "\n", encoding="utf-8")
        (tmp_path / "personal_functions" / "my_tools.py").write_text(
            "async def triple(n: int) -> int:\n    return 3\n", encoding="utf-8"
        )
        answer = ask(server.port, "POST", "/api/v1/reload", None, server.headers)
        assert answer.status == 200, answer
        report = answer.json()
        assert set(report) == {"loaded", "kept", "failed"}
        assert {"wrong", "typeless"} <= {each["name"] for each in report["failed"]}
        assert get(server, "get_default_bindings").json()["defaults"]["default_context_size"] == 16384
        assert "plain" not in get(server, "list_personalities").json()["personalities"]
        assert "my_tools.triple" in get(server, "list_functions").json()["functions"]
        assert ask(server.port, "GET", "/health", None, {"Host": "evil.example"}).status == 421


def test_a_broken_configuration_changes_nothing(tmp_path: Path) -> None:
    loaded = make(tmp_path)
    with running_server({"main": PortsBinding(lambda call: "fine")}, loaded=loaded) as server:
        before = get(settle(server), "list_personalities").json()
        loaded.file.write_text("defaults: {ttt_binding: 5}\nsecurity: {allowed_api_keys: [1]}\n", encoding="utf-8")
        report = ask(server.port, "POST", "/api/v1/reload", None, server.headers).json()
        assert report["loaded"] == [] and report["failed"]
        assert {each["file"] for each in report["failed"]} == {"main_config.yaml"}
        assert {each["line"] for each in report["failed"]} == {1, 2}
        assert get(server, "list_personalities").json() == before
        assert ask(server.port, "POST", "/api/v1/generate", prompt("x"), server.headers).status == 200


def test_the_root_says_that_the_server_runs() -> None:
    with running_server() as server:
        answer = ask(server.port, "GET", "/")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.startswith(b"LOLLMS Server is running...")


def test_with_the_interface_on_the_root_is_a_page_that_runs_nothing() -> None:
    with running_server(config={"webui": {"enable_ui": True}}) as server:
        answer = ask(server.port, "GET", "/")
        head = ask(server.port, "HEAD", "/")
        assert ask(server.port, "GET", "/ui/index.html").status == 404
    assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert (head.status, head.body) == (200, b"")
    page = answer.body.decode()
    assert "How to get the web interface" in page and "install.sh" in page
    for word in ("<script", "http:", "https:", "//", "src=", "href=", "onload", "@import", "url("):
        assert word not in page, word
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert set(policy) == {"default-src", "style-src", "base-uri", "form-action", "frame-ancestors"}
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy["style-src"] == f"'sha256-{digest}'"
