"""Whatever way a caller leaves, the connection to a provider is closed at once; one that was not left serves again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator

import pytest

from lollms_client import AsyncLollmsClient
from lollms_core.errors import Cancelled, LollmsError
from lollms_core.types import TextDelta
from tests.support.every_provider import ROWS, House, Row, every_provider
from tests.support.gates import BEGINNING
from tests.support.raw_http import RawRequest, ask, prompt

LIMIT = 0.25  # seconds
STORY = f"{BEGINNING.decode()}e upon a time there was a king."

each_provider = pytest.mark.parametrize("row", ROWS, ids=str)
in_the_library = pytest.mark.parametrize("row", [row for row in ROWS if row.folder], ids=str)
in_the_server = pytest.mark.parametrize("row", [row for row in ROWS if row.type], ids=str)
number = itertools.count()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with every_provider() as made:
        yield made


def story(fault: str) -> tuple[str, str]:
    """A prompt, and words that it alone has."""
    words = f"({next(number)})"
    return f"{STORY} {words} #{fault}#", words


@in_the_library
@pytest.mark.parametrize("fault", ["never", "stall"])
def test_from_another_thread(house: House, row: Row, fault: str) -> None:
    asked, words = story(fault)
    errors: list[LollmsError] = []
    with house.client(row) as client:
        stream = client.stream(asked)

        def read() -> None:
            try:
                stream.result()
            except LollmsError as error:
                errors.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        seen = house.places[row.name].wait(words)
        stream.cancel()
        assert seen.connection.closed_after() < LIMIT
        thread.join(5)
    assert [type(error) for error in errors] == [Cancelled]


@in_the_library
def test_by_closing_the_stream(house: House, row: Row) -> None:
    asked, words = story("stall")
    with house.client(row) as client:
        with client.stream(asked) as stream:
            assert next(event.text for event in stream if isinstance(event, TextDelta) and event.text)
        assert house.places[row.name].wait(words).connection.closed_after() < LIMIT


@in_the_library
def test_by_false_from_the_callback(house: House, row: Row) -> None:
    asked, words = story("stall")
    with house.client(row) as client:
        text = client.generate_text(asked, streaming_callback=lambda *_: False)
        assert isinstance(text, str) and STORY.startswith(text[: len(STORY)])
        assert house.places[row.name].wait(words).connection.closed_after() < LIMIT


@in_the_library
@pytest.mark.parametrize("fault", ["never", "stall"])
def test_by_cancelling_the_task(house: House, row: Row, fault: str) -> None:
    asked, words = story(fault)
    place = house.places[row.name]

    async def leave() -> float:
        async with AsyncLollmsClient(**house.settings(row, "coroutines")) as client:
            task = asyncio.ensure_future(client.complete(asked))
            seen = await asyncio.to_thread(place.wait, words)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(seen.connection.closed_after)

    assert asyncio.run(leave()) < LIMIT


@in_the_server
@pytest.mark.parametrize(("fault", "stream"), [("never", False), ("stall", True)])
def test_by_hanging_up_on_the_server(house: House, row: Row, fault: str, stream: bool) -> None:
    asked, words = story(fault)
    body = prompt(asked, stream=stream, binding_name=row.name)
    front = house.front
    with RawRequest(front.port, "POST", "/api/v1/generate", body=body, headers=front.headers) as request:
        seen = house.places[row.name].wait(words)
        request.leave()
        assert seen.connection.closed_after() < LIMIT
    front.wait_idle()


@each_provider
def test_a_connection_serves_the_next_call(house: House, row: Row) -> None:
    _, words = story("")
    place = house.places[row.name]
    asked = f"{STORY} {words}"
    if row.folder:
        with house.client(row) as client:
            client.complete(asked)
            client.stream(asked).result()
            client.complete(asked)
        asyncio.run(by_coroutines(house, row, asked))
    for stream in (False, True, False) if row.type else ():
        body = prompt(asked, stream=stream, binding_name=row.name)
        assert ask(house.front.port, "POST", "/api/v1/generate", body, house.front.headers).status == 200
    sent = place.asked(words)
    assert len(sent) == 3 * len(house.faces(row))
    for at in range(0, len(sent), 3):
        assert len({id(seen.connection) for seen in sent[at : at + 3]}) == 1


async def by_coroutines(house: House, row: Row, asked: str) -> None:
    async with AsyncLollmsClient(**house.settings(row, "coroutines")) as client:
        await client.complete(asked)
        await client.stream(asked).result()
        await client.complete(asked)
