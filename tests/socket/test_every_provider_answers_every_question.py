"""What a client or a caller of the server may ask beside a generation is answered, or is an error of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import InvalidRequest, UnsupportedFeature
from tests.support.every_provider import ROWS, House, Row, every_provider
from tests.support.raw_http import Answer, ask

UNLISTED = {"perplexity"}
"""Who has no list of its models."""
ONE_MODEL = {"hugging_face_inference_api", "hugging_face as text"}
"""Whose address has one model, and that one refuses to embed."""
TEXT = "How many tokens has this text of ten words, roughly?"

in_the_library = pytest.mark.parametrize("row", [row for row in ROWS if row.folder], ids=str)
in_the_server = pytest.mark.parametrize("row", [row for row in ROWS if row.type], ids=str)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with every_provider() as made:
        yield made


def answer_to(question: Callable[[], Any]) -> Any:
    """The answer; None where the provider has none. Every other error is a failure."""
    try:
        return question()
    except UnsupportedFeature:
        return None


@in_the_library
def test_of_a_client(house: House, row: Row) -> None:
    place = house.places[row.name]
    with house.client(row) as client:
        info = client.get_model_info()
        assert info["model_name"] == place.model
        assert client.get_ctx_size() is None or client.get_ctx_size() > 0  # type: ignore[operator]
        listed = answer_to(client.list_models)
        assert (listed is None) == (row.name in UNLISTED)
        assert listed is None or all(each["model_name"] for each in listed)
        assert 0 < client.count_tokens(TEXT) < 200
        tokens = answer_to(lambda: client.tokenize("two words"))
        assert tokens is None or answer_to(lambda: client.detokenize(tokens)) == "two words"
        if row.name in ONE_MODEL:
            with pytest.raises(InvalidRequest):
                client.embed("x")
        else:
            check_vectors(client, place.embedder)


def check_vectors(client: LollmsClient, model: str) -> None:
    asked = {"model": model} if model else {}
    vectors = answer_to(lambda: client.embed(["a", "four"], **asked))
    if vectors is None:
        assert not model
        return
    assert len(vectors) == 2 and all(isinstance(each, float | int) for each in vectors[0] + vectors[1])
    assert answer_to(lambda: client.embed("four", **asked)) == vectors[1] != vectors[0]


@in_the_server
def test_of_the_server(house: House, row: Row) -> None:
    name, place = quote(row.name), house.places[row.name]

    def get(path: str) -> Answer:
        return ask(house.front.port, "GET", f"/api/v1/{path}", None, house.front.headers)

    def post(path: str, **body: Any) -> Answer:
        body = {"binding_name": row.name, **body}
        return ask(house.front.port, "POST", f"/api/v1/{path}", body, house.front.headers)

    listed = get(f"list_available_models/{name}")
    told(listed, "models", row.name in UNLISTED)
    assert listed.status != 200 or all(each["name"] for each in listed.json()["models"])
    info = get(f"get_model_info/{name}")
    assert told(info, "model_name", None) in (None, place.model)
    counted = post("count_tokens", text=TEXT)
    assert 0 < told(counted, "count", False) < 200
    embedded = post("embed", input=["a", "four"], **({"model_name": place.embedder} if place.embedder else {}))
    if row.name in ONE_MODEL:
        assert (embedded.status, embedded.json()["code"]) == (400, "invalid_request")
        return
    vectors = told(embedded, "embeddings", None)
    assert vectors is not None or not place.embedder
    assert vectors is None or [isinstance(each, list) for each in vectors] == [True, True]


def told(answer: Answer, field: str, lacking: bool | None) -> Any:
    """A field of an answer; None where the provider cannot be asked, which `lacking` expects if it is not None."""
    body = answer.json()
    if answer.status == 200:
        assert lacking is not True, answer
        return body[field]
    assert (answer.status, body["code"]) == (501, "unsupported_feature"), answer
    assert lacking is not False, answer
    return None
