"""A server that is full counts requests, says when to come back, and still says how it is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from lollms_server.core.bindings import Surroundings
from lollms_server.core.config import load_config
from lollms_server.core.requests import RequestContext
from tests.support.asgi_calls import acall, request_scope
from tests.support.both_routes import create_app
from tests.support.server import KEY, PortsBinding, write_config

ITEM = {"type": "text", "role": "user_prompt", "data": "x"}
RAW = json.dumps({"binding_name": "main", "input_data": [ITEM]}).encode()
HEADERS = {"x-api-key": KEY, "content-type": "application/json", "content-length": str(len(RAW))}


def test_one_request_more_than_configured_is_told_to_come_back_and_health_answers(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"limits": {"max_active_requests": 3}})
    app = create_app(load_config(config, environ={}), bindings={"main": PortsBinding(lambda call: "fine")})

    async def main() -> None:
        await app.services.manager.start(Surroundings(tmp_path))
        await app.services.manager.get("main")
        running = [RequestContext(f"request-number-{number}") for number in range(3)]
        for context in running:
            app.services.registry.register(context)
        refused = await acall(app, request_scope("/api/v1/generate", "POST", HEADERS), [RAW])
        assert (refused.status, refused.json()["code"]) == (429, "too_many_requests")
        assert int(refused.header("retry-after") or 0) >= 1
        for path in ("/health", "/api/v1/health", "/"):
            assert (await acall(app, request_scope(path))).status == 200
        app.services.registry.release(running[0])
        served = await acall(app, request_scope("/api/v1/generate", "POST", HEADERS), [RAW])
        assert served.status == 200
        assert app.services.scheduler.idle
        await app.services.manager.stop()

    asyncio.run(main())
