"""Over a provider's protocol a question with few answers carries a schema that allows nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lollms_client import LollmsClient
from lollms_core.errors import Refused
from lollms_core.text.json_schema import SchemaChecker
from tests.support.chaos import ChaosServer, refused_url
from tests.support.chaos_modes import reply

CITIES = ["London", "Paris", "Rome"]


def saying(*texts: str) -> Any:
    """A mode that answers with these texts, one after another."""
    left = list(texts)

    async def serve(connection: Any, seen: Any) -> None:
        message = {"role": "assistant", "content": left.pop(0)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        await reply(connection, json.dumps(whole).encode())

    return serve


def schema_of(seen: Any) -> dict[str, Any]:
    form = seen.json()["response_format"]
    assert form["type"] == "json_schema"
    schema: dict[str, Any] = form["json_schema"]["schema"]
    return schema


def test_the_request_carries_a_schema_that_allows_only_the_answers() -> None:
    texts = [
        '{"answer": false}',
        '{"answer": "B"}',
        '{"ranking": "C > B > A"}',
        '{"ranking": ["F","E","D","C","B","A"]}',
    ]
    with ChaosServer() as chaos:
        url = chaos.add("saying", saying(*texts))
        with LollmsClient("openai", url, model_name="m") as client:
            assert client.yes_no("Is it?") is False
            assert client.multichoice_question("Which?", CITIES) == 1
            assert client.multichoice_ranking("Rank.", CITIES) == {"ranking": [2, 1, 0]}
            assert client.multichoice_ranking("Rank.", list("uvwxyz")) == {"ranking": [5, 4, 3, 2, 1, 0]}
        schemas = [schema_of(seen) for seen in chaos.requests]
    for schema, text in zip(schemas, texts, strict=True):
        assert SchemaChecker(schema).value(text) == json.loads(text)
        for wrong in (
            '{"answer": "Paris"}',
            '{"answer": null}',
            '{"ranking": "A > A > B"}',
            '{"ranking": ["A"]}',
            "{}",
        ):
            with pytest.raises(ValueError, match=r"."):
                SchemaChecker(schema).value(wrong)


def test_an_explanation_comes_first_on_the_way_too() -> None:
    text = '{"explanation": "It is.", "answer": true}'
    with ChaosServer() as chaos:
        with LollmsClient("openai", chaos.add("saying", saying(text)), model_name="m") as client:
            found = client.yes_no("Is it?", max_answer_length=20, return_explanation=True)
        assert found == {"answer": True, "explanation": "It is."}
        assert list(schema_of(chaos.requests[0])["properties"]) == ["explanation", "answer"]
        assert 20 < chaos.requests[0].json()["max_tokens"] <= 84


def test_a_server_that_ignores_the_schema_is_asked_again_or_read() -> None:
    with ChaosServer() as chaos:
        url = chaos.add("saying", saying("I think that it is Paris, no?", "The answer is B.", "Yes, because it is."))
        with LollmsClient("openai", url, model_name="m") as client:
            assert client.multichoice_question("Which?", CITIES) == 1
            assert client.yes_no("Is it?") is True
        assert len(chaos.requests) == 3


def test_nobody_there_is_not_an_answer() -> None:
    with LollmsClient("openai", refused_url(), model_name="m") as client:
        with pytest.raises(Refused):
            client.yes_no("Is it?")
        assert client.multichoice_question("Which?", CITIES) == -1
        assert client.multichoice_ranking("Rank.", CITIES) == {"ranking": []}
