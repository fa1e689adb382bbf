"""No request changes code, configuration or settings, and a reload takes up no setting that keeps the server safe.

Every route is driven with all that it documents and with what it does not: other methods, fields that name settings,
names of folders and files. Afterwards every file is what it was, to the byte, and the settings in memory are, too.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lollms_server
from tests.support.full_house import House, full_house
from tests.support.path_payloads import PATH_PAYLOADS
from tests.support.raw_http import Answer, ask, prompt
from tests.support.server import KEY

ZOO = Path(lollms_server.__file__).parent / "zoos"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LINK", "MKCOL", "COPY", "MOVE")
GUESSES = (
    *("/api/v1/settings", "/api/v1/config", "/api/v1/security", "/api/v1/keys", "/api/v1/install", "/api/v1/upload"),
    *("/api/v1/personalities", "/api/v1/mount_personality", "/api/v1/functions", "/api/v1/bindings", "/api/v1/models"),
    *("/api/v1/add_binding", "/api/v1/set_default_bindings", "/api/v1/execute_function", "/api/v1/apikeys", "/config"),
)
WISHES: dict[str, Any] = {
    "security": {"allowed_api_keys": [], "allow_unauthenticated": True, "allow_runtime_installs": True},
    "server": {"host": "0.0.0.0", "allowed_origins": ["null"]},
    "paths": {"functions_folder": "/tmp"},
    "defaults": {"ttt_binding": "own"},
    "bindings_map": {"new": "own_binding"},
    "personalities_config": {"simple": {"enabled": False}},
    "allowed_api_keys": [],
    "config": {"security": {}},
    "enabled": False,
    "script_path": "/tmp/x.py",
    "code": "import os",
    "install": ["pip"],
    "requirements": ["requests"],
    "api_key": "another-key-0123456789",
    "base_url": "http://127.0.0.1:1",
    "allow_pickle": True,
    "trust_remote_code": True,
}


def files(*roots: Path) -> dict[str, tuple[str, int, int]]:
    """What every file holds, who may use it and when it was written; and which folders there are."""
    found = {}
    for root in roots:
        for path in root.rglob("*"):
            if "__pycache__" in path.parts and root == ZOO:
                continue
            about = path.stat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            found[str(path)] = (digest, about.st_mode, about.st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with full_house() as running:
        yield running


def settings(house: House) -> Any:
    services = house.server.services
    return (
        services.loaded.config.model_dump_json(),
        services.loaded.folders,
        [services.loaded.keys.check(key.encode()) for key in (KEY, "another-key-0123456789")],
        services.manager.defaults,
        sorted(services.manager.active()),
        sorted(services.personalities.personalities),
        services.functions.names(),
    )


def drive(house: House, rng: random.Random) -> int:
    """Ask for everything, rightly and wrongly; returns how many of the answers were good ones."""
    server, good = house.server, 0
    item = prompt("x")["input_data"][0]
    payload = rng.choice
    bodies: list[Any] = [
        prompt("x"),
        {**prompt("x"), **WISHES},
        {**prompt("x"), "parameters": WISHES, "stream": True},
        {"input_data": [{**item, "metadata": WISHES, "security": {}}], "personality": "Script"},
        {**prompt("x"), "functions": ["*"], "tools": [{"function": {"name": "f", "parameters": WISHES}}]},
        {"text": "x", **WISHES},
        {"tokens": [104, 105], **WISHES},
        {"input": "x", **WISHES},
        WISHES,
        [WISHES],
        b"",
        b"\xff\xfe{}",
    ]
    paths = ask(server.port, "GET", "/openapi.json", None, server.headers).json()["paths"]
    for template in (*paths, "/", "/openapi.json", *GUESSES):
        names = ["main", "own", "lollms", "Script", "simple", payload(PATH_PAYLOADS).encode("ascii", "ignore").decode()]
        for name in names if "{" in template else [""]:
            path = "".join(
                part if "}" not in part else quoted(name) + part.partition("}")[2] for part in template.split("{")
            )
            for method in METHODS:
                for body in bodies if method == "POST" else bodies[1:2] if method in ("PUT", "PATCH") else [None]:
                    answer = call(house, method, path, body)
                    good += answer.status == 200
    return good


def quoted(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode())


def call(house: House, method: str, path: str, body: Any) -> Answer:
    answer = ask(house.server.port, method, path, body, house.server.headers)
    assert answer.status < 500 or answer.status == 501, (method, path, body, answer)
    return answer


def test_whatever_is_asked_every_file_and_setting_stays(house: House) -> None:
    before, as_set = files(house.root, ZOO), settings(house)
    assert len(before) > 30
    assert drive(house, random.Random(3)) > 30
    assert files(house.root, ZOO) == before
    assert settings(house) == as_set


def test_a_reload_takes_up_no_setting_that_keeps_the_server_safe(house: House) -> None:
    server = house.server
    file = house.root / "lollms_configs" / "main_config.yaml"
    whole = file.read_text(encoding="utf-8")
    elsewhere = house.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "evil.py").write_text("async def evil() -> str:\n    return 'evil'\n", encoding="utf-8")
    before = settings(house)
    changed = {
        **json.loads(whole),
        "server": {"host": "0.0.0.0", "allowed_origins": ["https://evil.example"], "allowed_hosts": ["evil.example"]},
        "security": {"allowed_api_keys": ["another-key-0123456789"], "allow_runtime_installs": True},
        "paths": {name: str(elsewhere) for name in ("functions_folder", "personalities_folder", "bindings_folder")},
        "limits": {"max_body_bytes": 2**30, "failed_keys_per_minute": 100_000, "max_function_rounds": 100},
        "resource_manager": {"gpu_strategy": "none", "queue_timeout": 1},
        "logging": {"log_level": "DEBUG"},
        "webui": {"enable_ui": True},
    }
    try:
        file.write_text(json.dumps(changed, indent=1), encoding="utf-8")
        answer = ask(server.port, "POST", "/api/v1/reload", {}, server.headers)
        assert answer.status == 200
        assert not answer.json()["loaded"], answer
        assert {"own", "Simple", "own_tools"} <= set(answer.json()["kept"]), answer
        assert settings(house) == before
        other = {"X-API-Key": "another-key-0123456789"}
        assert ask(server.port, "GET", "/api/v1/queue", None, other).status == 401
        assert ask(server.port, "GET", "/api/v1/queue", None, {**server.headers, "Host": "evil.example"}).status == 421
        page = {**server.headers, "Origin": "https://evil.example"}
        assert ask(server.port, "GET", "/api/v1/queue", None, page).status == 403
        assert "evil.evil" not in ask(server.port, "GET", "/api/v1/list_functions", None, server.headers).body.decode()
    finally:
        file.write_text(whole, encoding="utf-8")


def test_a_reload_says_nothing_of_what_was_left_alone(house: House) -> None:
    """Its answer is no way to read a configuration: neither a key nor a folder stands in it."""
    server = house.server
    answer = ask(server.port, "POST", "/api/v1/reload", {}, server.headers)
    assert answer.status == 200
    text = answer.body.decode()
    assert KEY not in text
    assert str(house.root) not in text and str(ZOO) not in text
