"""`llamacpp` runs several models at once, each behind a server of its own, and leaves none behind, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lollms_client import LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_client.llm_bindings.llamacpp import LlamaCppServerBinding
from lollms_client.stream import Stream
from lollms_core.errors import (
    Cancelled,
    ConfigError,
    EngineCrashed,
    InstanceUnavailable,
    ModelLoadFailed,
    Overloaded,
)
from lollms_core.types import Progress, TextDelta
from lollms_runtime.models import find_model
from tests.support.engines import alive, busy, until
from tests.support.stand_in_llama_server import install

HELLO = "Hello from the stand-in."
ROOT = Path(__file__).parents[2]
ENDLESS = {"server_args": ["--behave", "endless"]}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the models a, b and c, and a `llama-server`."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.gguf").write_bytes(find_model("lollms-nano").read_bytes())
    install(folder)
    return folder


def children(pid: int | None = None) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


@contextlib.contextmanager
def serving(models: Path, **config: Any) -> Iterator[LollmsClient]:
    """A client of the stand-in, which leaves no process when it is closed."""
    before = children()
    config = {"server_path": models / "llama-server", **config}
    with LollmsClient("llamacpp", models_path=models, model_name="a", llm_binding_config=config) as client:
        yield client
    assert children() <= before


def binding_of(client: LollmsClient | AsyncLollmsClient) -> LlamaCppServerBinding:
    assert isinstance(client.llm, LlamaCppServerBinding)
    return client.llm


def running(client: LollmsClient | AsyncLollmsClient) -> dict[str, int]:
    """The models that run, with their process ids, the one unused for longest first."""
    return {each["model_name"]: each["pid"] for each in binding_of(client).ps()}


def first_words(stream: Stream) -> str:
    """Read until the first text has come."""
    return next(event.text for event in stream if isinstance(event, TextDelta))


# ---- several models


def test_each_model_has_a_server_of_its_own_that_starts_with_its_first_use(models: Path) -> None:
    with serving(models) as client:
        assert running(client) == {}
        assert client.generate_text("Hi") == HELLO
        assert list(running(client)) == ["a"]
        assert client.complete("Hi", model="b").text == HELLO
        pids = running(client)
        assert set(pids) == {"a", "b"} and len({*pids.values()}) == 2 and all(alive(pid) for pid in pids.values())
        assert client.get_model_name() == "a"
        assert {(each["state"], each["slots"], each["calls"]) for each in binding_of(client).ps()} == {("ready", 2, 0)}
        assert binding_of(client).unload_model("b")
        assert not binding_of(client).unload_model("b") and not binding_of(client).unload_model("absent")
        assert running(client) == {"a": pids["a"]}
        until(lambda: not alive(pids["b"]))


def test_the_one_unused_for_longest_makes_room(models: Path) -> None:
    with serving(models, max_models=2) as client:
        for name in ("a", "b", "a"):
            client.complete("Hi", model=name)
        before = running(client)
        client.complete("Hi", model="c")
        after = running(client)
        assert list(after) == ["a", "c"] and after["a"] == before["a"]
        assert not alive(before["b"])


def test_a_model_that_answers_is_not_ended_for_another(models: Path) -> None:
    with serving(models, max_models=1, **ENDLESS) as client:
        with client.stream("Hi") as stream:
            first_words(stream)
            with pytest.raises(Overloaded, match="max_models"):
                client.complete("Hi", model="b")
            assert first_words(stream)
        with client.stream("Hi", model="b") as stream:
            assert first_words(stream)
        assert list(running(client)) == ["b"]


def test_switching_keeps_what_runs_and_says_when_it_cannot(models: Path) -> None:
    with serving(models) as client:
        client.generate_text("Hi")
        assert client.switch_model("b") and client.get_model_name() == "b"
        assert list(running(client)) == ["a", "b"]
        (models / "broken.gguf").write_text("no model", encoding="utf-8")
        assert not client.switch_model("absent") and not client.switch_model("broken")
        assert client.get_model_name() == "b"
        with pytest.raises(ModelLoadFailed, match="not a GGUF"):
            client.complete("Hi", model="broken")


# ---- slots


def test_a_server_works_on_as_many_calls_at_once_as_it_has_slots(models: Path) -> None:
    with serving(models, parallel=2, **ENDLESS) as client:
        with client.stream("one") as one, client.stream("two") as two:
            assert first_words(one) and first_words(two)
            assert busy(binding_of(client).engine()) == {0, 1}
            with client.stream("three") as three:
                queued = next(three.batches())[0]
                assert isinstance(queued, Progress) and (queued.kind, queued.position) == ("queue", 0)
                one.close()
                assert first_words(three)
            assert first_words(two)
        until(lambda: not busy(binding_of(client).engine()))
        assert binding_of(client).ps()[0]["calls"] == 0


def test_coroutines_share_the_slots_of_one_server(models: Path) -> None:
    async def ask(client: AsyncLollmsClient) -> None:
        answers = await asyncio.gather(*(client.generate_text(f"{number}") for number in range(6)))
        assert answers == [HELLO] * 6
        assert list(running(client)) == ["a"]
        async with client.stream("Hi", model="b") as stream:
            assert (await stream.result()).text == HELLO

    asyncio.run(with_async_client(models, ask, parallel=3))


async def with_async_client(models: Path, work: Callable[[AsyncLollmsClient], Any], **config: Any) -> None:
    config = {"server_path": models / "llama-server", **config}
    client = AsyncLollmsClient("llamacpp", models_path=models, model_name="a", llm_binding_config=config)
    before = children()
    try:
        await work(client)
        assert children() > before
    finally:
        await client.close()
    assert children() <= before


# ---- what goes wrong


def test_a_crash_is_a_typed_error_and_the_next_call_works(models: Path) -> None:
    with serving(models, **ENDLESS) as client:
        with client.stream("Hi") as stream:
            first_words(stream)
            os.kill(running(client)["a"], signal.SIGKILL)
            with pytest.raises(EngineCrashed, match="SIGKILL") as error:
                stream.result()
        assert error.value.partial is not None and error.value.partial.text.startswith("Hello")
        with client.stream("Hi") as stream:
            assert first_words(stream)


@pytest.mark.parametrize(
    ("config", "kind", "words"),
    [
        ({"server_args": ["--behave", "refuses"]}, ModelLoadFailed, "no such argument"),
        ({"server_path": "no-such-llama-server"}, ConfigError, "llama-server"),
    ],
)
def test_a_server_that_does_not_start_is_said_in_its_words(
    models: Path, config: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with serving(models, **config) as client:
        with pytest.raises(kind, match=words):
            client.complete("Hi")
        answer = client.generate_text("Hi")
        assert isinstance(answer, dict) and answer["status"] is False
        assert not client.switch_model("b") and client.get_model_name() == "a"


def test_a_server_is_found_by_its_name(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(models), prepend=os.pathsep)
    with serving(models, server_path=None, llama_server="llama-server") as client:
        assert client.generate_text("Hi") == HELLO


# ---- stopping


@pytest.mark.parametrize("behave", ["endless", "slow"])
def test_another_thread_stops_a_call_at_once(models: Path, behave: str) -> None:
    with serving(models, server_args=["--behave", behave]) as client:
        stream = client.stream("Hi")
        if behave == "endless":
            first_words(stream)
        threading.Timer(0.05, stream.cancel).start()
        with pytest.raises(Cancelled):
            stream.result()
        assert binding_of(client).ps()[0]["calls"] == 0


@pytest.mark.parametrize("behave", ["endless", "slow"])
def test_cancelling_a_task_stops_its_call_and_keeps_the_server(models: Path, behave: str) -> None:
    async def cancel(client: AsyncLollmsClient) -> None:
        task = asyncio.create_task(client.complete("Hi"))
        reached = "ready" if behave == "endless" else "loading"
        while not (there := binding_of(client).ps()) or not there[0]["calls"] or there[0]["state"] != reached:
            await asyncio.sleep(0.005)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.3)
        there = binding_of(client).ps()
        assert there[0]["calls"] == 0
        assert there[0]["state"] == reached

    asyncio.run(with_async_client(models, cancel, server_args=["--behave", behave]))


def test_loading_a_model_can_be_stopped_and_the_one_before_stays(models: Path) -> None:
    async def stop(client: AsyncLollmsClient) -> None:
        task = asyncio.create_task(client.switch_model("b"))
        while list(running(client)) != ["b"]:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.get_model_name() == "a" and binding_of(client).ps()[0]["calls"] == 0
        assert binding_of(client).unload_model("b")
        assert running(client) == {}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.generate_text("Hi", model="b"), 0.1)

    asyncio.run(with_async_client(models, stop, server_args=["--behave", "slow"]))


def test_closing_ends_what_runs_and_the_client_goes_on(models: Path) -> None:
    with serving(models, **ENDLESS) as client:
        with client.stream("Hi") as stream:
            first_words(stream)
            client.close()
            with pytest.raises(InstanceUnavailable, match="stopped"):
                stream.result()
        with client.stream("Hi") as stream:
            assert first_words(stream)


@pytest.mark.parametrize("kind", [LollmsClient, AsyncLollmsClient])
def test_a_client_nobody_refers_to_leaves_no_server(models: Path, kind: Any) -> None:
    client = kind(
        "llamacpp", models_path=models, model_name="a", llm_binding_config={"server_path": models / "llama-server"}
    )
    answer = client.generate_text("Hi")
    assert (asyncio.run(answer) if kind is AsyncLollmsClient else answer) == HELLO
    pids = running(client).values()
    del client, answer
    gc.collect()
    until(lambda: not any(alive(pid) for pid in pids))


SCRIPT = """
import os, sys
from lollms_client import LollmsClient
folder, behave = sys.argv[1:]
config = {"server_path": folder + "/llama-server", "server_args": ["--behave", behave]}
client = LollmsClient("llamacpp", models_path=folder, model_name="a", llm_binding_config=config)
print("ready", flush=True)
client.generate_text("Hi", streaming_callback=lambda chunk, kind: os.write(1, b"text"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("behave", ["endless", "slow"])
def test_a_program_that_is_stopped_leaves_no_server(models: Path, behave: str, number: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(models), behave],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    until(lambda: children(program.pid), what="the start of the server")
    if behave == "endless":
        assert program.stdout.read(4) == b"text"
    servers = children(program.pid)
    program.send_signal(number)
    _, err = program.communicate(timeout=5)
    assert program.returncode == -number
    assert (b"KeyboardInterrupt" in err) == (number == signal.SIGINT)
    until(lambda: not any(alive(pid) for pid in servers))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_servers_of_its_own(models: Path) -> None:
    with serving(models) as client:
        client.generate_text("Hi")
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            try:
                said = client.generate_text("Hi")
                os.write(writer, f"{running(client)['a']} {said}".encode())
                client.close()
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as pipe:
            pid, _, text = pipe.read().partition(" ")
        os.waitpid(child, 0)
        assert text == HELLO and int(pid) != running(client)["a"]
        until(lambda: not alive(int(pid)))
        assert client.generate_text("Hi") == HELLO
