"""Callers who do not behave: they leave, do not read, are slow, break the rules, have no key, or stop what runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import Callable

from benchmarks.soak.callers import GENERATE, READ
from benchmarks.soak.wire import break_off, connected, head, read_answer
from benchmarks.soak.world import Action, World, Wrong, prompt

__all__ = ["RUDE", "patient"]

ENDLESS = ("drip", "stall", "stall_json", "never", "slow_headers", "long")
MALFORMED = (
    b"\x00\x01\x02\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /health HTTP/9.9\r\nhost: localhost\r\n\r\n",
    b"GET  /health\r\n\r\n",
    b"GET /health HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    b"GET /health HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 150 + b"\r\n",
    b"POST /api/v1/generate HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
    b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /api/v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
)
BODIES = (
    *(b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 5_000, b'{"input_data": 1}', b'{"input_data": []}'),
    *(b'{"input_data": [{"type": "text", "role": "nobody", "data": "x"}]}', b'{"stream": true}', b"x" * 70_000),
    b'{"input_data": [{"type": "text", "role": "user_prompt", "data": "x"}], "parameters": {"temperature": "hot"}}',
    b'{"input_data": [{"type": "text", "role": "user_prompt", "data": "x"}], "binding_name": "nobody"}',
    b'{"input_data": [{"type": "text", "role": "user_prompt", "data": "x"}], "personality": "nobody"}',
    b'{"input_data": [{"type": "image", "role": "input_image", "data": "!!!!", "mime_type": "image/png"}]}',
)
_LITTLE = 4096


async def leaves(world: World, rng: random.Random) -> str:
    """Sends all or a part of a request, reads for a while, and goes, politely or not."""
    model = rng.choice((*ENDLESS, "ok", "one"))
    body = json.dumps(prompt("x", binding_name="openai", model_name=model, stream=rng.random() < 0.7)).encode()
    if rng.random() < 0.15:
        body = json.dumps(prompt("Count to a thousand.", binding_name="nano", stream=True)).encode()
    whole = head("POST", GENERATE, len(body), world.headers) + body
    async with connected(world.port) as (reader, writer):
        writer.write(whole if rng.random() < 0.85 else whole[: rng.randrange(len(whole))])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rng.choice((0.01, 0.1, 0.5, 2)) * rng.random()):
                while await reader.read(rng.choice((1, 64, 4096))):
                    pass
        if rng.random() < 0.4:
            break_off(writer)
            return "reset"
    return "left"


async def does_not_read(world: World, rng: random.Random) -> str:
    """Asks for an endless stream and reads nothing of it, for some seconds."""
    sock = await _deaf(world)
    try:
        await asyncio.sleep(rng.uniform(0.5, 8))
    finally:
        sock.close()
    return "left"


async def _deaf(world: World) -> socket.socket:
    """A connection whose caller never reads, with a request for an endless stream on its way."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", world.port))
        body = json.dumps(prompt("x", binding_name="openai", model_name="endless_stream", stream=True)).encode()
        await loop.sock_sendall(sock, head("POST", GENERATE, len(body), world.headers) + body)
    except BaseException:
        sock.close()
        raise
    return sock


async def patient(world: World, number: int, seconds: float, *, ports: Callable[[], set[int]]) -> None:
    """Callers who read nothing for so long that the server must drop them; notes it if the server does not.

    `ports` gives the ports of the callers whose connections the server has now.
    """
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(number):
            socks.append(await _deaf(world))
            stack.callback(socks[-1].close)
        await asyncio.sleep(seconds)
        held = {sock.getsockname()[1] for sock in socks} & ports()
        if held:
            world.note(f"{len(held)} of {number} callers who read nothing for {seconds:g} s were not dropped")
        world.tally["patient.dropped"] += number - len(held)


async def sends_slowly(world: World, rng: random.Random) -> str:
    """A body in many small pieces; it is answered all the same, if the caller stays."""
    canary = world.canary()
    body = json.dumps(prompt(canary, binding_name="openai")).encode()
    async with connected(world.port) as (reader, writer):
        writer.write(head("POST", GENERATE, len(body), world.headers))
        size = max(1, len(body) // rng.randint(2, 20))
        for at in range(0, len(body), size):
            if rng.random() < 0.03:
                return "left"
            writer.write(body[at : at + size])
            await asyncio.sleep(rng.uniform(0, 0.4))
        answer = await read_answer(reader)
        if answer.status != 200 or canary not in answer.json()["output"][0]["data"]:
            raise Wrong(f"a slow sender: status {answer.status}: {answer.body[:200]!r}")
    return "answered"


async def half_open(world: World, rng: random.Random) -> str:
    """A connection on which the rest of the head never comes. After the time for heads the server closes it."""
    said = rng.choice((b"", b"P", b"POST /api/v1/generate HTTP/1.1\r\nHost: lo", b"GET /health HTTP/1.1\r\n"))
    async with connected(world.port) as (reader, writer):
        writer.write(said)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rng.choice((1, 5, 25))):
                await reader.read(-1)
                return "dropped"
    return "left"


async def idles(world: World, rng: random.Random) -> str:
    """Keeps its connection after an answer, and may ask again."""
    async with connected(world.port) as (reader, writer):
        for _ in range(rng.randint(1, 5)):
            writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            first = await reader.readuntil(b"\r\n\r\n")
            length = int(first.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if b" 200 " not in first or b'"status"' not in await reader.readexactly(length):
                raise Wrong(f"/health on a kept connection: {first!r}")
            await asyncio.sleep(rng.uniform(0, 2))
    return "answered"


async def malformed(world: World, rng: random.Random) -> str:
    async with connected(world.port) as (reader, writer):
        writer.write(rng.choice(MALFORMED))
        with contextlib.suppress(OSError):
            writer.write_eof()
        try:
            answer = await read_answer(reader)
        except OSError:  # it was closed with something unread
            return "closed"
    if answer.status and not 400 <= answer.status < 600:
        raise Wrong(f"status {answer.status} for what is not HTTP: {answer.body[:200]!r}")
    return str(answer.status)


async def nonsense(world: World, rng: random.Random) -> str:
    body = rng.choice(BODIES)
    async with connected(world.port) as (reader, writer):
        writer.write(head("POST", GENERATE, len(body), world.headers) + body)
        answer = await read_answer(reader)
    if not 400 <= answer.status < 500 or "code" not in answer.json():
        raise Wrong(f"status {answer.status} for the body {body[:60]!r}: {answer.body[:200]!r}")
    return str(answer.status)


async def wrong_key(world: World, rng: random.Random) -> str:
    headers = {"x-api-key": f"sk-{rng.random()}"} if rng.random() < 0.8 else {"x-api-key": ""}
    path = rng.choice([each for each in READ if each != "/health"])
    async with connected(world.port) as (reader, writer):
        writer.write(head("GET", path, None, headers))
        answer = await read_answer(reader)
    if answer.status not in (401, 403, 429):
        raise Wrong(f"status {answer.status} with a wrong key for {path}")
    return str(answer.status)


async def spare_key(world: World, rng: random.Random) -> str:
    """A key that comes and goes with signals; what runs with it may be ended."""
    canary = world.canary()
    body = prompt(canary, binding_name="openai", model_name=rng.choice(("one", "long")), stream=True)
    answer = await world.ask("POST", GENERATE, body, **{"x-api-key": world.spare})
    if answer.status not in (200, 401, 403, 429):
        raise Wrong(f"status {answer.status} with a key that is taken away: {answer.body[:200]!r}")
    return str(answer.status)


async def stops(world: World, rng: random.Random) -> str:
    """Stops its own stream by DELETE; it ends with the error `cancelled` and a final event, or a status."""
    own = f"soak-{rng.getrandbits(60):x}"
    nano = rng.random() < 0.2
    body = prompt("Count to a thousand.", stream=True, binding_name="nano" if nano else "openai")
    if not nano:
        body["model_name"] = rng.choice(("drip", "stall", "never"))
    data = json.dumps(body).encode()
    async with connected(world.port) as (reader, writer):
        writer.write(head("POST", GENERATE, len(data), {**world.headers, "x-request-id": own}) + data)
        await asyncio.sleep(rng.uniform(0.02, 0.8))
        stopped = await world.ask("DELETE", f"/api/v1/requests/{own}")
        async with asyncio.timeout(20):
            answer = await read_answer(reader)
    if stopped.status == 404 and nano:
        return "over before"
    if stopped.status != 204:
        raise Wrong(f"stopping a request: status {stopped.status}: {stopped.body[:200]!r}")
    if answer.status == 200:
        if b"cancelled" not in answer.body and not nano:
            raise Wrong(f"a stopped stream does not say so: {answer.body[-300:]!r}")
    elif answer.status != 499 and not (nano and world.engine_may_fail):
        raise Wrong(f"a stopped request: status {answer.status}: {answer.body[:200]!r}")
    return "stopped"


RUDE: tuple[tuple[int, Action], ...] = (
    (12, leaves),
    (3, does_not_read),
    (4, sends_slowly),
    (4, half_open),
    (3, idles),
    (5, malformed),
    (4, nonsense),
    (3, wrong_key),
    (3, spare_key),
    (5, stops),
)
