"""A wrong key is said to be one, and neither it nor the right one is seen anywhere but in the header of a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient
from lollms_core.errors import AuthFailed, LollmsError
from tests.support.every_provider import ROWS, House, Row, every_provider
from tests.support.every_stand_in import KEY, WRONG_KEY
from tests.support.gemini_server import KEY as GEMINI_KEY
from tests.support.raw_http import ask, prompt

SECRETS = (KEY, WRONG_KEY, GEMINI_KEY)
TRIED = ("list_available_models", "get_model_info")
LISTED = ("list_bindings", "list_active_bindings", "get_default_bindings")

each_provider = pytest.mark.parametrize("row", ROWS, ids=str)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with every_provider() as made:
        yield made


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test asks, no log at any level tells a key."""
    with caplog.at_level(logging.DEBUG):
        yield
    told = caplog.text + str([vars(record) for record in caplog.records])
    assert not [secret for secret in SECRETS if secret in told]


def no_key_in(*shown: Any) -> None:
    told = "\n".join(str(each) + repr(each) for each in shown)
    assert not [secret for secret in SECRETS if secret in told]


@each_provider
def test_a_wrong_key(house: House, row: Row) -> None:
    place = house.places[row.name]
    for way, told in house.all_told(row, lambda face, stream: "Hi #key#", key=WRONG_KEY).items():
        assert type(told.error) is AuthFailed, way
        no_key_in(told.error, vars(told.error), told.error.__cause__, told.error.__context__)
    if row.folder:
        sent = place.asked("#key#", refused=True)
        assert len(sent) == len(house.faces(row)) * 2, "none was repeated"
    for seen in place.server.requests:
        no_key_in(seen.path, seen.body)


@each_provider
def test_what_is_shown_of_a_client(house: House, row: Row) -> None:
    for face in house.faces(row):
        for key in ("", WRONG_KEY):
            with house.client(row, face, key) as client:
                binding: Any = client.binding
                no_key_in(client, binding, binding.target, binding.host_address, client.generate_text("Hi"))
                with contextlib.suppress(LollmsError):
                    no_key_in(client.complete("Hi").receipt)
                with contextlib.suppress(LollmsError):
                    no_key_in(client.list_models())
                with contextlib.suppress(LollmsError):
                    no_key_in(client.get_model_info())
            made = AsyncLollmsClient(**house.settings(row, face, key))
            no_key_in(made, made.binding)
            asyncio.run(made.close())


@each_provider
def test_what_a_server_shows(house: House, row: Row) -> None:
    if not row.type:
        assert row.folder, "it is in the library alone"
        return
    port, headers = house.front.port, house.front.headers
    for name in (row.name, f"{row.name}-locked"):
        safe = name.replace(" ", "%20")
        paths = [*LISTED, *(f"{each}/{safe}" for each in TRIED)]
        no_key_in(*(ask(port, "GET", f"/api/v1/{path}", None, headers).body.decode() for path in paths))
    for stream in (False, True):
        body = prompt("Hi", binding_name=f"{row.name}-locked", stream=stream)
        answer = ask(port, "POST", "/api/v1/generate", body, headers)
        assert (answer.status, answer.json()["code"]) == (502, "auth_failed")
        no_key_in(answer.body.decode(), answer.headers)
    no_key_in(vars(house.front.services.manager))
