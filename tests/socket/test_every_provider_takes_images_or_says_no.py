"""Images arrive at every provider as they were given, byte by byte, or are refused before anything is sent."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator

import pytest

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from tests.support.every_provider import ROWS, House, Row, every_provider
from tests.support.ollama_server import png

PICTURES = (png(5, 4), png(3, 2))


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with every_provider() as made:
        yield made


def arrived(body: bytes) -> list[int]:
    """Where each picture stands in a request, in either alphabet of Base64; -1 where it does not."""
    forms = [(base64.b64encode(each), base64.urlsafe_b64encode(each)) for each in PICTURES]
    return [max(body.replace(b"\\/", b"/").find(form) for form in each) for each in forms]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_images(house: House, row: Row) -> None:
    place = house.places[row.name]
    asked = "What is in these pictures?"
    images = list(PICTURES)
    outcomes = house.all_told(row, lambda *_: asked, images=images, model=place.seeing or place.model)
    sent = place.asked(asked)
    errors = {way: told.error for way, told in outcomes.items() if told.error is not None}
    if errors:
        assert not sent and row.name in BLIND and len(errors) == len(outcomes)
        for (face, _), error in errors.items():  # a server names the item of the request, which is the caller's fault
            assert type(error) is (InvalidRequest if face == "server" else UnsupportedFeature), error
        return
    assert len(sent) == len(outcomes) and row.name not in BLIND
    for seen in sent:
        first, second = arrived(seen.body)
        assert 0 <= first < second, "whole and in their order"


BLIND = {"deepseek", "hugging_face as text"}
"""Who takes no images."""


def test_the_pictures_can_be_told_apart() -> None:
    assert [struct.unpack(">II", each[16:24]) for each in PICTURES] == [(5, 4), (3, 2)]
    assert arrived(base64.b64encode(PICTURES[1])) == [-1, 0]
