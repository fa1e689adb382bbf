"""Two hundred requests at once, each with its own secret word: each answer has its own and no other."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Sequence
from typing import Any

from lollms_core.types import Batch, Done, GenerationCall, TextDelta, ThoughtDelta, ToolCallDelta, Usage
from lollms_runtime.scripted import AsyncScriptedPorts
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
