"""Two hundred requests at once, each with its own secret word: each answer has its own and no other."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Sequence
from typing import Any

from lollms_core.types import (
    Batch,
    Done,
    Embeddings,
    GenerationCall,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from lollms_runtime.scripted import AsyncScriptedPorts
from tests.support.full_house import INSTANCES, EchoBinding, full_house
from tests.support.server import PortsBinding, Served, running_server

COUNT = 200
CANARY = re.compile(r"canary-[0-9a-f]{12}")


def answer(call: GenerationCall) -> Sequence[Batch]:
    """Says the canaries of everything it was given, one event at a time."""
    system, user = call.messages
    temperature = call.params.temperature
    arguments = json.dumps({"tool": call.tools[0].name, "model": call.model})
    return [
        *((ThoughtDelta(piece),) for piece in (system.text[:9], system.text[9:])),
        *((TextDelta(piece),) for piece in (user.text[:3], user.text[3:12], user.text[12:], f" {temperature}")),
        (ToolCallDelta(0, "id", call.tools[0].name, arguments[:10]), ToolCallDelta(0, arguments=arguments[10:])),
        (Done("stop", Usage(int(temperature or 0), 1, 1), call.model),),
    ]


async def one(server: Served, number: int, rng: random.Random) -> None:
    canary = f"canary-{rng.getrandbits(48):012x}"
    stream = number % 2 == 0
    body = {
        "input_data": [
            {"type": "text", "role": "system_context", "data": canary},
            {"type": "text", "role": "user_prompt", "data": canary},
        ],
        "model_name": canary,
        "tools": [{"type": "function", "function": {"name": canary}}],
        "parameters": {"temperature": number % 100, canary: 1},
        "stream": stream,
    }
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = (
        f"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {server.key}\r\nX-Request-ID: {canary}\r\n"
        f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    raw = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    assert raw.startswith("HTTP/1.1 200"), raw[:300]
    assert set(CANARY.findall(raw)) == {canary}
    if stream:
        events = [json.loads(line[6:]) for line in raw.split("\n") if line.startswith("data: ")]
        output: Any = events[-1]["content"]
        assert "".join(event["content"] for event in events if event["type"] == "chunk") == f"{canary} {number % 100}.0"
    else:
        output = json.loads(raw[raw.index('{"personality"') :].splitlines()[0])["output"]
    text, call = output
    assert (text["data"], text["thoughts"]) == (f"{canary} {number % 100}.0", canary)
    assert text["metadata"]["model_used"] == canary
    assert text["metadata"]["usage"]["prompt_tokens"] == number % 100
    assert call["data"]["arguments"] == {"tool": canary, "model": canary}


def test_two_hundred_interleaved_requests_keep_their_own_words() -> None:
    binding = PortsBinding(AsyncScriptedPorts(answer), places=60)
    with running_server({"main": binding}) as server:

        async def all_at_once() -> None:
            rng = random.Random(7)
            await asyncio.gather(*(one(server, number, rng) for number in range(COUNT)))

        asyncio.run(all_at_once())
        server.wait_idle()


# ---- through everything else that a request can meet ---------------------------------------------------------------


def with_functions(call: GenerationCall) -> Any:
    """Calls the function that it is offered with what it was asked, and says what comes back."""
    last = call.messages[-1]
    if last.role == "tool":
        return str(json.loads(last.text)["result"])
    if call.tools:
        return Reply("", tool_calls=(ToolCall("c1", call.tools[0].name, {"text": last.text}),), model=call.model)
    return f"{last.text}"


class Everything(EchoBinding):
    """Numbers go in as texts and come back as vectors."""

    def __init__(self) -> None:
        super().__init__(places=20)
        self.ports = AsyncScriptedPorts(with_functions)

    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        await asyncio.sleep(0.001)
        return Embeddings(tuple((float(int(text[-12:], 16)),) for text in texts), model_name or "m")


WAYS: list[dict[str, Any]] = [
    *({"binding_name": name} for name in INSTANCES),
    *({"binding_name": name, "personality": who} for name in INSTANCES for who in ("Simple", "Script", "Plain")),
    {"personality": "Caller"},
    {"functions": ["own_tools.echo"]},
    {"personality": "Script", "functions": ["own_tools.echo"], "parameters": {"temperature": 0.5}},
]


async def exchange(server: Served, path: str, canary: str, body: dict[str, Any]) -> str:
    """A whole answer with its head, unpacked from its chunks; it holds no canary of another request."""
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = (
        f"POST {path} HTTP/1.0\r\nHost: localhost\r\nX-API-Key: {server.key}\r\nX-Request-ID: {canary}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    raw = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    assert raw.startswith("HTTP/1.1 200"), (body, raw[:600])
    assert set(CANARY.findall(raw)) == {canary}, (body, raw)
    return raw.partition("\r\n\r\n")[2]


async def generation(server: Served, number: int, rng: random.Random) -> None:
    canary = f"canary-{rng.getrandbits(48):012x}"
    stream = bool(number & 1)
    body = {
        "input_data": [
            {"type": "text", "role": "system_context", "data": canary},
            {"type": "text", "role": "user_prompt", "data": canary},
        ],
        "stream": stream,
        **WAYS[(number >> 1) % len(WAYS)],
    }
    answer = await exchange(server, "/api/v1/generate", canary, body)
    if stream:
        events = [json.loads(line[6:]) for line in answer.split("\n") if line.startswith("data: ")]
        output = events[-1]["content"]
        assert "".join(event["content"] for event in events if event["type"] == "chunk") == canary, body
    else:
        output = json.loads(answer)["output"]
    assert "".join(item["data"] for item in output) == canary, body


async def errand(server: Served, number: int, rng: random.Random) -> None:
    canary = f"canary-{rng.getrandbits(48):012x}"
    if number % 2:
        body = await exchange(server, "/api/v1/embed", canary, {"input": [canary, canary], "model_name": canary})
        assert json.loads(body)["embeddings"] == [[float(int(canary[-12:], 16))]] * 2
    else:
        body = await exchange(server, "/api/v1/tokenize", canary, {"text": canary})
        assert bytes(json.loads(body)["tokens"]).decode() == canary


def test_nor_through_personalities_scripts_functions_and_any_kind_of_instance() -> None:
    with full_house(Everything()) as house:

        async def all_at_once() -> None:
            rng = random.Random(11)
            await asyncio.gather(
                *(generation(house.server, number, rng) for number in range(COUNT)),
                *(errand(house.server, number, rng) for number in range(COUNT // 5)),
            )

        asyncio.run(all_at_once())
        house.server.wait_idle()
        upstream = [
            seen for seen in (*house.ollama.requests, *house.openai.requests) if CANARY.search(seen.body.decode())
        ]
        assert len(upstream) >= COUNT // 4
        for seen in upstream:
            assert len(set(CANARY.findall(seen.body.decode()))) == 1
