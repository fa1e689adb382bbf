"""Whatever a server does, every call of both clients that asks it ends soon in a typed error that tells no secret.

Every bad mode of the chaos server meets every call of every binding over HTTP, all of one mode at the same time, as
threads and as coroutines. Afterwards no connection, thread or task is left, and answers without end took no memory.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import AuthFailed, LollmsError, RedirectRefused
from lollms_core.protocols.retry import RetryPolicy
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import MODES

KEY = "canary-key-of-the-user"
TIMEOUTS = {"timeouts": {"connect": 1.0, "first_byte": 0.15, "idle": 0.15, "total": 0.3}}
SOON = 8.0  # seconds for all calls of one mode together, on a busy machine; a hang is for ever

MEGABYTE = 1 << 20
BINDINGS = ["lollms", "ollama", "openai", "lollms_webui"]

GOOD = {
    "ok",
    "ok_json",
    "ok_sse",
    "one_packet",
    "slicer",
    "split_utf8",
    "until_close",
    "ok_gzip",
    "echo",
    "cookies",
    "long",
}
HUGE = {"gzip_bomb", "gzip_nothing", "endless_line", "endless_stream", "endless_header"}
STATUSES = ["status-400", "status-401", "status-403", "status-429-after-90", "status-503-after-1000000000"]
BAD = [*(mode for mode in MODES if mode not in GOOD), "redirect", *STATUSES]

UNFRAMED = {"no_terminator", "broken_sse", "error_in_stream", "error_first"}
"""Complete HTTP replies of good text: to the web UI's protocol, which is text alone, they are answers."""


class Discussion:
    def export(self, kind: str, branch: str | None = None) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Hi"}]


def all_of(client: Any) -> Any:
    """What a stream gives, read to its end by a thread or by a coroutine."""

    async def later() -> list[Any]:
        async with client.stream("Hi") as stream:
            return [event async for event in stream]

    def now() -> list[Any]:
        with client.stream("Hi") as stream:
            return list(stream)

    return later() if isinstance(client, AsyncLollmsClient) else now()


CALLS: dict[str, Callable[[Any], Any]] = {
    "generate_text": lambda client: client.generate_text("Hi"),
    "generate_text with a callback": lambda client: client.generate_text("Hi", streaming_callback=lambda *_: None),
    "generate_from_messages": lambda client: client.generate_from_messages([{"role": "user", "content": "Hi"}]),
    "chat": lambda client: client.chat(Discussion()),
    "complete": lambda client: client.complete("Hi"),
    "stream": all_of,
    "embed": lambda client: client.embed(["Hi"]),
    "list_models": lambda client: client.list_models(),
    "get_model_info": lambda client: client.get_model_info(),
    "get_ctx_size": lambda client: client.get_ctx_size(),
    "load_model": lambda client: client.load_model("other"),
    "tokenize": lambda client: client.tokenize("Hi"),
    "detokenize": lambda client: client.detokenize([1]),
    "count_tokens": lambda client: client.count_tokens("Hi"),
    "listMountedPersonalities": lambda client: client.listMountedPersonalities(),
}
GENERATING = {"generate_text", "generate_text with a callback", "generate_from_messages", "chat", "complete", "stream"}

ASKS_NOBODY = {
    ("lollms", "load_model"),
    ("ollama", "count_tokens"),
    ("openai", "get_model_info"),
    ("openai", "get_ctx_size"),
    ("openai", "load_model"),
    ("openai", "count_tokens"),
    ("lollms_webui", "get_model_info"),
    ("lollms_webui", "get_ctx_size"),
    ("lollms_webui", "load_model"),
}
"""What these answer is known without the server."""

Results = dict[tuple[str, str], Any]


def made(kind: Callable[..., Any], binding: str, address: str) -> Any:
    answers_at_once = "/status-" in address or "/redirect" in address  # what it says is looked at: give it time
    timeouts = {} if answers_at_once else TIMEOUTS
    return kind(binding, address, model_name="m", service_key=KEY, llm_binding_config=timeouts)


def asked_by_threads(address: str, calls: list[tuple[str, str]]) -> Results:
    def one(binding: str, name: str) -> Any:
        with made(LollmsClient, binding, address) as client:
            try:
                return CALLS[name](client)
            except Exception as error:
                return error

    with ThreadPoolExecutor(64) as pool:
        futures = {each: pool.submit(one, *each) for each in calls}
    return {each: future.result() for each, future in futures.items()}


def asked_by_coroutines(address: str, calls: list[tuple[str, str]]) -> Results:
    async def one(binding: str, name: str) -> Any:
        async with made(AsyncLollmsClient, binding, address) as client:
            try:
                given = CALLS[name](client)
                return await given if inspect.isawaitable(given) else given
            except Exception as error:
                return error

    async def main() -> Results:
        found = await asyncio.gather(*(one(*each) for each in calls))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return dict(zip(calls, found, strict=True))

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again as often as always, with short waits."""
    monkeypatch.setattr("lollms_runtime.upstream.RetryPolicy", functools.partial(RetryPolicy, base=0.02))


FACES = {"threads": asked_by_threads, "coroutines": asked_by_coroutines}
EVERY_CALL = [(binding, name) for binding in BINDINGS for name in CALLS]


def failed(value: object) -> bool:
    """Whether a call ended in a typed error, or the documented dictionary of one."""
    if isinstance(value, LollmsError):
        return True
    return isinstance(value, dict) and value.get("status") is False and value["error"] == value["message"] != ""


def words_of(value: Any) -> str:
    """Everything that a caller is shown of a failure."""
    if isinstance(value, LollmsError):
        return f"{value} {value!r} {getattr(value, '__notes__', '')}"
    return json.dumps(value)


def open_sockets() -> set[str]:
    return {
        link for fd in os.listdir("/proc/self/fd") if (link := _target(f"/proc/self/fd/{fd}")).startswith("socket:")
    }


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # the folder that was being listed


def check(mode: str, found: Results, chaos: ChaosServer) -> None:
    folder = str(Path(__file__).resolve().parents[2])
    for (binding, name), value in found.items():
        where = f"{binding}.{name} with {mode}: {value!r:.300}"
        if (binding, name) in ASKS_NOBODY:
            assert not isinstance(value, BaseException), where
            continue
        if binding == "lollms_webui" and name in GENERATING and mode in UNFRAMED:
            assert not isinstance(value, BaseException) or failed(value), where
            continue
        assert failed(value), where
        words = words_of(value)
        assert KEY not in words, where
        assert folder not in words, where
        assert "site-packages" not in words, where
        assert "secret?key=" not in words, where
    for connection in chaos.connections:
        connection.listen()  # one that is deaf does not hear of the end either
        connection.closed_after(2)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("mode", BAD)
def test_every_call_ends_in_a_typed_error(mode: str, face: str) -> None:
    before, threads = open_sockets(), threading.active_count()
    with ChaosServer() as chaos:
        if mode == "redirect":
            chaos.with_elsewhere()
        address = chaos.url(mode)
        start = time.monotonic()
        found = FACES[face](address, EVERY_CALL)
        assert time.monotonic() - start < SOON
        check(mode, found, chaos)
        assert chaos.requests
        if mode == "redirect":
            assert isinstance(found["openai", "complete"], RedirectRefused)
            assert chaos.elsewhere is not None
            assert chaos.elsewhere.requests == []
        if mode in ("status-401", "status-403"):
            assert all(isinstance(found[each, "complete"], AuthFailed) for each in BINDINGS)
    assert open_sockets() <= before
    assert threading.active_count() <= threads


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("mode", sorted(HUGE))
def test_an_answer_without_end_takes_no_memory(mode: str, face: str) -> None:
    with ChaosServer() as chaos:
        address = chaos.url(mode)
        for call in [("openai", "stream"), ("ollama", "list_models")]:
            FACES[face](chaos.url("status-400"), [call])  # what is imported once is not counted
            tracemalloc.start()
            try:
                found = FACES[face](address, [call])
                assert tracemalloc.get_traced_memory()[1] < 100 * MEGABYTE, call
            finally:
                tracemalloc.stop()
            check(mode, found, chaos)


@pytest.mark.parametrize("face", FACES)
def test_no_call_keeps_a_cookie(face: str) -> None:
    with ChaosServer() as chaos:
        address = chaos.url("cookies")
        for _ in range(2):
            FACES[face](address, EVERY_CALL)
        assert chaos.requests
        assert not [seen for seen in chaos.requests if "cookie" in seen.headers]
