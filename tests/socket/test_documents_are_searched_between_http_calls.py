"""Answers from documents over a real socket: both clients ask the same, and a stop ends what would never end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from tests.support.speaking_ollama import SpeakingOllama

NUTS = {"chunk_text": "Parrots eat nuts.", "file_path": "birds.txt", "similarity_percent": 91.5}
ANSWER = "Nuts, says birds.txt."


def says(body: dict[str, Any]) -> str:
    """What a sensible model would answer, by the form that is wanted."""
    wanted = list((body.get("format") or {}).get("properties", ()))
    answers = {
        "objectives": {"objectives": ["the food of parrots"]},
        "query": {"query": "parrots food"},
        "enough": {"enough": True, "query": ""},
    }
    return json.dumps(answers[wanted[0]]) if wanted else ANSWER


@pytest.fixture
def ollama() -> Iterator[SpeakingOllama]:
    with SpeakingOllama(says) as server:
        yield server


def find(query: str, vectorizer: str | None, top_k: int, min_similarity: float) -> list[dict[str, Any]]:
    return [NUTS]


def with_threads(server: SpeakingOllama, **asked: Any) -> dict[str, Any]:
    with LollmsClient("ollama", server.origin, model_name="llama3") as client:
        return client.generate_text_with_rag("What do parrots eat?", find, **asked)


def with_coroutines(server: SpeakingOllama, **asked: Any) -> dict[str, Any]:
    async def later(*given: Any) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return find(*given)

    async def work() -> dict[str, Any]:
        async with AsyncLollmsClient("ollama", server.origin, model_name="llama3") as client:
            return await client.generate_text_with_rag("What do parrots eat?", later, **asked)

    return asyncio.run(work())


def test_both_clients_ask_the_same_and_get_the_same(ollama: SpeakingOllama) -> None:
    results, bodies = [], []
    for ask in (with_threads, with_coroutines):
        before = len(ollama.bodies)
        results.append(ask(ollama))
        bodies.append(ollama.bodies[before:])
    assert results[0] == results[1]
    assert bodies[0] == bodies[1]
    assert (results[0]["final_answer"], results[0]["error"]) == (ANSWER, None)
    assert results[0]["all_retrieved_sources"] == [NUTS]
    assert [list((body.get("format") or {}).get("properties", ())) for body in bodies[0]] == [
        ["objectives"],
        ["query"],
        ["enough", "query"],
        [],
    ]
    assert NUTS["chunk_text"] in bodies[0][-1]["messages"][-1]["content"]


@pytest.mark.parametrize("ask", [with_threads, with_coroutines])
def test_a_stop_in_the_middle_of_the_answer_ends_it_with_what_there_is(ollama: SpeakingOllama, ask: Any) -> None:
    def stops(chunk: str, msg_type: Any, params: Any = None) -> bool:
        if params.get("id") == "final_answer":
            ollama.hold()  # behind its first piece the answer would never come
        return not msg_type.name.endswith("_CHUNK")

    result = ask(ollama, streaming_callback=stops)
    assert ANSWER.startswith(result["final_answer"])
    assert 0 < len(result["final_answer"]) < len(ANSWER)
    assert result["error"] is None
    assert len(result["rag_hops_history"]) == 1
