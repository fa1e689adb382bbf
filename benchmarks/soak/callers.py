"""Callers who behave: they ask, read to the end, and look whether the answer is theirs."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import Any

from benchmarks.soak.wire import Answer
from benchmarks.soak.world import Action, World, Wrong, prompt
from lollms_core.errors import EngineCrashed, InstanceUnavailable, InternalError, LollmsError, TooManyRequests
from lollms_core.types import TextDelta
from tests.support.chaos_modes import TEXT
from tests.support.media_files import png

__all__ = ["CALLERS", "all_is_well"]

GENERATE = "/api/v1/generate"
ECHOES = ("openai", "ollama", "own")
GOOD = ("slicer", "split_utf8", "one_packet", "until_close")
FAULTS = (
    *("fin_before_headers", "rst_before_headers", "fin_in_headers", "fin_chunked", "fin_length", "rst"),
    *("no_terminator", "html", "broken_sse", "bad_utf8", "error_in_stream", "error_first", "not_http", "brotli"),
    *("bad_chunk", "bad_gzip", "short_gzip", "deep_json", "endless_header", "long_error", "redirect"),
    *("status-429", "status-429-after-1", "status-500", "status-503", "status-401", "status-404", "status-400"),
)
FAULTY_STATUSES = (400, 404, 429, 502, 503, 504)
READ = (
    *("/health", "/api/v1/queue", "/api/v1/list_bindings", "/api/v1/list_active_bindings", "/api/v1/list_models"),
    *("/api/v1/list_personalities", "/api/v1/list_functions", "/openapi.json", "/api/v1/list_available_models/openai"),
    *("/api/v1/get_model_info/ollama?model_name=llama3.2", "/api/v1/get_default_bindings"),
)
PERSONALITIES = ("Simple", "Script", "Plain", "lollms", "translator")
ENGINE_CODES = ("engine_crashed", "instance_unavailable", "connection_refused", "truncated_stream")


def _expect(said: str, wanted: str, what: str) -> None:
    if said != wanted:
        raise Wrong(f"{what}: {said[:200]!r} came instead of {wanted[:200]!r}")


def text_of(answer: Answer) -> str:
    """The text of a whole answer, JSON or stream. Raises `Wrong` if it is no good answer."""
    if answer.status != 200:
        raise Wrong(f"status {answer.status}: {answer.body[:300]!r}")
    output = answer.events()[-1]["content"] if answer.body.startswith((b"data:", b":")) else answer.json()["output"]
    return "".join(item["data"] for item in output if item["type"] == "text")


def failure_of(answer: Answer) -> str:
    """The code of the error in a whole answer, which must be one. Raises `Wrong`."""
    if answer.status == 200:
        events = answer.events()
        if not events or events[-1]["type"] != "final" or events[-1]["metadata"].get("status") != "failed":
            raise Wrong(f"a broken backend gave a good answer: {answer.body[-300:]!r}")
        return str(events[-2]["metadata"]["code"])
    if answer.status not in FAULTY_STATUSES:
        raise Wrong(f"status {answer.status} for a broken backend: {answer.body[:300]!r}")
    return str(answer.json()["code"])


async def library_json(world: World, rng: random.Random) -> str:
    canary, name = world.canary(), rng.choice(ECHOES)
    model = "llama3.2" if name == "ollama" else None
    _expect((await world.clients[name].complete(canary, model=model)).text, canary, f"complete, {name}")
    return "answered"


async def library_stream(world: World, rng: random.Random) -> str:
    canary, name, said = world.canary() * rng.choice((1, 1, 20)), rng.choice(ECHOES), ""
    model = "llama3.2" if name == "ollama" else None
    async with world.clients[name].stream(canary, model=model) as stream:
        async for event in stream:
            said += event.text if isinstance(event, TextDelta) else ""
    _expect(said, canary, f"stream, {name}")
    return "answered"


async def library_leaves(world: World, rng: random.Random) -> str:
    """The library's caller stops listening after some events, or is cancelled."""
    try:
        async with asyncio.timeout(rng.uniform(0.01, 1)):
            async with world.clients["openai"].stream("x", model=rng.choice(("drip", "long", "stall", "never"))) as it:
                async for _ in it:
                    if rng.random() < 0.05:
                        return "left"
    except TimeoutError:
        return "cancelled"
    return "ended"


async def library_fault(world: World, rng: random.Random) -> str:
    mode = rng.choice(FAULTS)
    try:
        reply = await world.clients["openai"].complete("x", model=mode)
    except InternalError as error:
        raise Wrong(f"a broken backend is an internal error ({mode}): {error}") from error
    except LollmsError as error:
        return error.code
    raise Wrong(f"a broken backend gave a good answer ({mode}): {reply}")


async def library_engine(world: World, rng: random.Random) -> str:
    most = rng.choice((1, 8, 64))
    try:
        if rng.random() < 0.5:
            reply = await world.clients["nano"].complete("Count from one to ten.", max_tokens=most)
        else:
            async with world.clients["nano"].stream("Count from one to ten.", max_tokens=most) as stream:
                async for _ in stream:
                    if rng.random() < 0.02:
                        return "left"
            reply = await stream.result()
    except LollmsError as error:
        if (isinstance(error, EngineCrashed | InstanceUnavailable) or error.code in ENGINE_CODES) and (
            world.engine_may_fail
        ):
            return error.code
        raise
    if not reply.text:
        raise Wrong("the engine answered without a text")
    return "answered"


async def whole(world: World, rng: random.Random) -> str:
    """A body of the documented form on a bare socket; the answer whole or as a stream."""
    canary, name = world.canary(), rng.choice(ECHOES)
    body = prompt(canary, binding_name=name, stream=rng.random() < 0.5)
    if rng.random() < 0.1:
        canary = body["input_data"][0]["data"] = canary + " word" * (5_000 if body["stream"] else 100_000)
    _expect(text_of(await world.ask("POST", GENERATE, body)), canary, name)
    return "answered"


async def kind_backend(world: World, rng: random.Random) -> str:
    body = prompt("x", binding_name="openai", model_name=rng.choice(GOOD), stream=True)
    _expect(text_of(await world.ask("POST", GENERATE, body)), TEXT, "a good day of the backend")
    return "answered"


async def fault(world: World, rng: random.Random) -> str:
    mode, stream = rng.choice(FAULTS), rng.random() < 0.7
    body = prompt("x", binding_name="openai", model_name=mode, stream=stream)
    try:
        return failure_of(await world.ask("POST", GENERATE, body))
    except Wrong as error:
        raise Wrong(f"{mode}: {error}") from error


async def nobody_there(world: World, rng: random.Random) -> str:
    body = prompt("x", binding_name="refused", stream=rng.random() < 0.5)
    code = failure_of(await world.ask("POST", GENERATE, body))
    _expect(code, "connection_refused", "an address where nobody listens")
    return code


async def personality(world: World, rng: random.Random) -> str:
    name, canary = rng.choice(PERSONALITIES), world.canary()
    body = prompt(canary, personality=name, binding_name="openai", stream=rng.random() < 0.5)
    _expect(text_of(await world.ask("POST", GENERATE, body)), canary, f"personality {name}")
    return "answered"


async def functions(world: World, rng: random.Random) -> str:
    """The model calls a function of the server; which one does not exist for it, it says so itself."""
    body = prompt("tool:own_tools__echo", binding_name="openai", functions=["own_tools.echo"])
    if "said" not in (text := text_of(await world.ask("POST", GENERATE, {**body, "stream": rng.random() < 0.5}))):
        raise Wrong(f"a function was not called: {text[:200]!r}")
    return "answered"


async def picture(world: World, rng: random.Random) -> str:
    image = base64.b64encode(png(rng.choice((8, 200)), 20)).decode()
    body: dict[str, Any] = prompt("what is it?", binding_name="openai")
    body["input_data"].append({"type": "image", "role": "input_image", "data": image, "mime_type": "image/png"})
    _expect(text_of(await world.ask("POST", GENERATE, body)), "1 images", "an image")
    return "answered"


async def tokens(world: World, rng: random.Random) -> str:
    name = rng.choice(("nano", "openai"))
    path = rng.choice(("tokenize", "count_tokens")) if name == "nano" else "count_tokens"
    answer = await world.ask("POST", f"/api/v1/{path}", {"binding_name": name, "text": "one two three"})
    if answer.status == 503 and name == "nano" and world.engine_may_fail:
        return "engine_crashed"
    if answer.status != 200 or answer.json()["count"] < 1:
        raise Wrong(f"{path} of {name}: status {answer.status}: {answer.body[:300]!r}")
    return "answered"


async def listing(world: World, rng: random.Random) -> str:
    path = rng.choice(READ)
    answer = await world.ask("GET", path)
    if answer.status != 200:
        raise Wrong(f"{path}: status {answer.status}: {answer.body[:300]!r}")
    return "answered"


CALLERS: tuple[tuple[int, Action], ...] = (
    (10, library_json),
    (10, library_stream),
    (6, library_leaves),
    (3, library_fault),
    (5, library_engine),
    (10, whole),
    (3, kind_backend),
    (10, fault),
    (2, nobody_there),
    (5, personality),
    (2, functions),
    (2, picture),
    (3, tokens),
    (5, listing),
)


async def all_is_well(world: World) -> None:
    """After the storm: every instance answers. Notes what is wrong."""
    for name in ECHOES:
        for stream in (False, True):
            canary = world.canary()
            body = prompt(canary, binding_name=name, stream=stream)
            try:
                _expect(text_of(await world.ask("POST", GENERATE, body)), canary, f"{name}, when all is quiet")
            except Wrong as error:
                world.note(str(error))
    try:
        if not text_of(await world.ask("POST", GENERATE, prompt("Hello", binding_name="nano"))):
            raise Wrong("the engine answers nothing when all is quiet")
    except (Wrong, TooManyRequests) as error:
        world.note(str(error))
