"""What SIGHUP takes up: keys first, whatever else is broken; and a file that cannot be used changes no key."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_server.core.config import load_config
from lollms_server.core.keyring import KeyRing
from lollms_server.core.problems import ReloadReport
from lollms_server.core.reloading import Reloader, reload_keys
from tests.support.own_binding import OwnFolder
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import KEY, Served, running_server, write_config

OTHER = "another-key-0123456789abcdef"


class Reloads(Reloader):
    """Counts the reloads."""

    def __init__(self, server: Served) -> None:
        house = server.services
        super().__init__(house.loaded, house.registry, house.functions, house.personalities, house.manager)
        self.count = 0

    async def reload(self) -> ReloadReport:
        self.count += 1
        return ReloadReport()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Served, OwnFolder]]:
    own = OwnFolder(tmp_path)
    config: dict[str, Any] = {
        "bindings_map": {"one": "own_binding"},
        "defaults": {"ttt_binding": "one"},
        "security": {"allowed_api_keys": [KEY, OTHER]},
    }
    loaded = load_config(write_config(tmp_path, config, {"one": own.settings("one")}), environ={})
    with running_server(loaded=loaded) as server:
        yield server, own


def hang_up(server: Served, reloads: Reloads) -> None:
    asyncio.run_coroutine_threadsafe(reloads.hangup(), server.loop).result(10)


def status(server: Served, key: str) -> int:
    return ask(server.port, "GET", "/api/v1/list_bindings", None, {"X-API-Key": key}).status


def test_a_key_that_is_gone_ends_its_streams_and_no_others(house: tuple[Served, OwnFolder]) -> None:
    server, own = house
    requests = []
    for key in (KEY, OTHER):
        body = prompt("wait", stream=True)
        headers = {"X-API-Key": key}
        requests.append(RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=headers).read_head())
    server.wait_until(lambda: len(server.services.registry) == 2)
    own.change_config(security={"allowed_api_keys": [OTHER]})
    reloads = Reloads(server)
    hang_up(server, reloads)
    assert reloads.count == 1
    *_, error, final = requests[0].whole().events()
    assert (error["type"], error["metadata"]["code"]) == ("error", "cancelled")
    assert final["metadata"]["status"] == "failed"
    assert (status(server, KEY), status(server, OTHER)) == (401, 200)
    (own.root / "go").touch()
    assert requests[1].whole().events()[-1]["metadata"].get("status") != "failed"
    for request in requests:
        request.leave()


def test_a_file_that_cannot_be_used_changes_no_key(
    house: tuple[Served, OwnFolder], caplog: pytest.LogCaptureFixture
) -> None:
    server, own = house
    whole = json.loads(own.config.read_text(encoding="utf-8"))
    reloads = Reloads(server)
    with caplog.at_level(logging.ERROR):
        for broken in ({"security": {}}, {**whole, "server": {"host": "not an address"}}, {**whole, "zzz": 1}):
            own.config.write_text(json.dumps(broken, indent=1), encoding="utf-8")
            hang_up(server, reloads)
            assert (status(server, KEY), status(server, OTHER)) == (200, 200)
    assert reloads.count == 3
    assert caplog.text.count("the keys stay as they are") == 3
    assert KEY not in caplog.text


def test_taking_the_last_key_away_locks_the_server_and_never_opens_it(house: tuple[Served, OwnFolder]) -> None:
    server, own = house
    own.change_config(security={"allowed_api_keys": []})
    services = server.services
    reading = reload_keys(services.loaded, services.registry)
    assert asyncio.run_coroutine_threadsafe(reading, server.loop).result(10) == 0
    assert (status(server, KEY), status(server, OTHER)) == (401, 401)
    assert ask(server.port, "GET", "/api/v1/list_bindings", None, {}).status == 403


def test_the_ring_knows_by_its_id_whether_a_key_is_still_allowed() -> None:
    ring = KeyRing([KEY, OTHER])
    first, second = ring.check(KEY.encode()), ring.check(OTHER.encode())
    assert first is not None and second is not None
    assert ring.allows(first) and ring.allows(second) and not ring.allows("")
    assert ring.replace([OTHER]) == {first}
    assert (ring.allows(first), ring.allows(second)) == (False, True)
    assert KeyRing([]).allows("")
