"""No text of a request becomes a path: whatever it says, no file is opened and no folder is looked into."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

import lollms_server
from lollms_server.app import create_app
from lollms_server.core.bindings import Surroundings
from lollms_server.core.config import load_config
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.zoos.bindings.llamacpp_binding import LlamaCppBinding
from tests.support.asgi_calls import acall, request_scope
from tests.support.path_payloads import PATH_PAYLOADS, SENTINEL
from tests.support.server import KEY, PortsBinding, write_config

WATCHED = ("open", "os.listdir", "os.scandir", "os.open", "os.mkdir", "os.remove", "os.rename", "subprocess.Popen")
OUR_SOURCE = str(Path(lollms_server.__file__).parent / "api")  # FastAPI looks a route up for its error messages
FIELDS = (
    "binding_name",
    "model_name",
    "model of the engine",
    "personality",
    "functions",
    "role",
    "mime_type",
    "image",
    "metadata",
    "parameter",
    "tool",
    "schema",
)


class Watch:
    """The file events of this process while it is on. An audit hook cannot be taken away, so it is switched."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[tuple[str, str]] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, details: tuple[Any, ...]) -> None:
        if self.on and event in WATCHED and not str(details[0]).startswith(OUR_SOURCE):
            self.seen.append((event, repr(details)[:200]))


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


class Sleeping(LlamaCppBinding):
    """The binding to local models, without starting one."""

    @override
    async def start(self) -> None:
        return


def body_with(field: str, text: str) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "text", "role": "user_prompt", "data": "x"}
    body: dict[str, Any] = {"input_data": [item], "binding_name": "main"}
    if field in ("binding_name", "model_name", "personality"):
        body[field] = text
    elif field == "model of the engine":
        body |= {"binding_name": "local", "model_name": text}
    elif field == "functions":
        body["functions"] = [text]
    elif field == "image":
        body["input_data"].append({"type": "image", "role": "input_image", "data": text})
    elif field == "metadata":
        item["metadata"] = {"file": text, text: text}
    elif field == "parameter":
        body["parameters"] = {text: text, "model_path": text, "lora": text}
    elif field == "tool":
        body["tools"] = [{"function": {"name": text or "f", "parameters": {"$ref": text}}}]
    elif field == "schema":
        body["response_schema"] = {"$ref": text}
    else:
        item[field] = text
    return body


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_of_a_body_opens_a_file(tmp_path: Path, watch: Watch, field: str) -> None:
    (tmp_path / "sentinel.txt").write_text(SENTINEL)
    (tmp_path / "sentinel.gguf").write_text(SENTINEL)
    payloads = [*PATH_PAYLOADS, str(tmp_path / "sentinel.txt"), str(tmp_path / "sentinel.gguf"), "../sentinel.gguf"]
    sleeping = Sleeping({"default_model": "lollms-nano"}, ResourceManager())
    loaded = load_config(write_config(tmp_path), environ={})
    app = create_app(loaded, bindings={"main": PortsBinding(lambda call: "fine"), "local": sleeping})

    async def main() -> None:
        await app.services.manager.start(Surroundings(tmp_path))
        await app.services.manager.get("main")
        await app.services.manager.get("local")
        for text in payloads:
            raw = json.dumps(body_with(field, text)).encode()
            headers = {"x-api-key": KEY, "content-type": "application/json", "content-length": str(len(raw))}
            watch.on = True
            answer = await acall(app, request_scope("/api/v1/generate", "POST", headers), [raw])
            watch.on = False
            assert answer.status in (200, 400, 404, 422), (text, answer.body)
            assert SENTINEL.encode() not in answer.body
        await app.services.manager.stop()

    watch.seen.clear()
    try:
        asyncio.run(main())
    finally:
        watch.on = False
    assert not watch.seen
    assert sleeping.engine.state == "stopped"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/list_available_models/"), ("DELETE", "/api/v1/requests/"), ("GET", "/"), ("GET", "/ui/")],
)
def test_no_part_of_a_path_opens_a_file(tmp_path: Path, watch: Watch, method: str, path: str) -> None:
    (tmp_path / "sentinel.txt").write_text(SENTINEL)
    config = write_config(tmp_path, {"webui": {"enable_ui": True}})
    app = create_app(load_config(config, environ={}), bindings={"main": PortsBinding(lambda call: "fine")})

    async def main() -> None:
        for text in [*PATH_PAYLOADS, str(tmp_path / "sentinel.txt"), "../sentinel.txt"]:
            scope = request_scope(path + text, method, {"x-api-key": KEY})
            watch.on = True
            answer = await acall(app, scope)
            watch.on = False
            assert answer.status in (200, 404, 405, 422), (text, answer.body)
            assert answer.status != 200 or path + text == "/"
            assert SENTINEL.encode() not in answer.body

    watch.seen.clear()
    try:
        asyncio.run(main())
    finally:
        watch.on = False
    assert not watch.seen
