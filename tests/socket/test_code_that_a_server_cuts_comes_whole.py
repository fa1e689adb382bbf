"""A server that ends answers at `max_tokens` gives whole code, however it goes on, streamed or not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from tests.support.chaos import ChaosServer, Connection, Seen
from tests.support.chaos_modes import END, chunk, reply, stream_head

CODE = '''import math


def area(radius):
    """The area of a circle."""
    if radius < 0:
        raise ValueError("no circle")
    return math.pi * radius**2


def volume(radius):
    return 4 / 3 * math.pi * radius**3


print(area(1), volume(1))'''
WHOLE = f"Here it is.\n```python\n{CODE}\n```\nIt prints two numbers, and this is how it works in all detail."
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def rest_of(messages: list[dict[str, Any]], model: str) -> str:
    """What is left of the answer after the turns of the model, as one of three kinds of models writes it."""
    (written,) = [each["content"] for each in messages if each["role"] == "assistant"]
    code = written.partition("```python\n")[2]
    left = WHOLE[WHOLE.index(code) + len(code) :]
    if model == "exact":
        return left
    if model == "again":
        return f"Sorry! Once more:\n\n```python\n{code}{left}"
    found = re.search(r"\n(`{3,})\n(.*)\n\1\Z", messages[-1]["content"], re.DOTALL)
    assert found is not None
    return f"```python\n{found[2]}{left}"


async def cutting(connection: Connection, seen: Seen) -> None:
    """Writes two characters for each token that it may use."""
    body = seen.json()
    messages, most = body["messages"], 2 * body["max_tokens"]
    text = rest_of(messages, body["model"]) if len(messages) > 1 else WHOLE
    text, finish = text[:most], "length" if len(text) > most else "stop"
    common: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        whole = {**common, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        return await reply(connection, json.dumps(whole).encode())
    await connection.packet(stream_head())
    for at in range(0, len(text), 5):
        choices = [{"index": 0, "delta": {"content": text[at : at + 5]}, "finish_reason": None}]
        await connection.packet(chunk(event({**common, "choices": choices})))
    last = {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": USAGE}
    await connection.send(chunk(event(last) + b"data: [DONE]\n\n") + END)


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"object": "chat.completion.chunk", **value}).encode() + b"\n\n"


@pytest.fixture
def address() -> Iterator[tuple[str, ChaosServer]]:
    with ChaosServer() as chaos:
        yield chaos.add("cutting", cutting), chaos


@pytest.mark.parametrize("model", ["exact", "again", "asked"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("tokens", [90, 127, 155])
def test_it_is_whole(address: tuple[str, ChaosServer], model: str, streamed: bool, tokens: int) -> None:
    url, chaos = address
    seen: list[str] = []
    callback = (lambda text, kind: seen.append(text)) if streamed else None
    if model == "again" and tokens < 150:
        tokens += 90  # it needs room for all of it in one answer
    with LollmsClient("openai", url, model_name=model) as client:
        code = client.generate_code("Write it.", language="python", n_predict=tokens, callback=callback)
    assert code == CODE
    bodies = [each.json() for each in chaos.requests]
    assert 1 < len(bodies) <= 4 or tokens > len(WHOLE) // 2 - 40
    assert {body["max_tokens"] for body in bodies} == {tokens}
    if streamed and model != "again":
        assert CODE in "".join(seen)


def test_it_is_whole_for_coroutines(address: tuple[str, ChaosServer]) -> None:
    async def work() -> list[str | None]:
        async with AsyncLollmsClient("openai", address[0], model_name="asked") as client:
            return list(
                await asyncio.gather(*(client.generate_code("Write it.", n_predict=n) for n in (100, 130, 160)))
            )

    assert asyncio.run(work()) == [CODE] * 3


def test_the_rest_of_a_stream_is_not_waited_for(address: tuple[str, ChaosServer]) -> None:
    seen: list[str] = []
    with LollmsClient("openai", address[0], model_name="exact") as client:
        code = client.generate_code(
            "Write it.", language="python", n_predict=5_000, callback=lambda text, kind: seen.append(text)
        )
    assert code == CODE
    assert "in all detail" not in "".join(seen)
