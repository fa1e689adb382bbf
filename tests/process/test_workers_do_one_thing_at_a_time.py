"""An engine in a worker: frames alone on its output, one request at a time, stopped at the next token, never stuck."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from lollms_core.errors import (
    Cancelled,
    ContextTooLong,
    EngineCrashed,
    EngineError,
    InstanceUnavailable,
    InvalidRequest,
    LollmsError,
    ModelLoadFailed,
)
from lollms_core.fold import ReplyFold
from lollms_core.types import GenerationCall, Message, Params, Progress, Reply, TextDelta, Tool
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.supervisor import Policy
from lollms_runtime.engines.worker_engine import WorkerEngine
from tests.support.stand_in_engine import KIND, ROOT, WORKER, stand_in

Engine = WorkerEngine[Any]


@contextlib.contextmanager
def running(policy: Policy | None = None, load: str = "") -> Iterator[Engine]:
    """A stand-in engine that has left no process in the end."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    engine = stand_in(policy, load)
    try:
        yield engine
    finally:
        engine.stop()
    assert not [child for child in psutil.Process().children(recursive=True) if child.pid not in before]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running() as made:
        ask(made, "say ready")  # its threads are there before a test counts them
        yield made


def asking(text: str, **more: Any) -> GenerationCall:
    return GenerationCall((Message.user(text),), stream=True, **more)


def ask(engine: Engine, text: str, cancel: Cancel | None = None, after: Callable[[str], object] | None = None) -> Reply:
    fold = ReplyFold()
    with engine.open(asking(text), cancel or Cancel()) as batches:
        for batch in batches:
            fold.add(batch)
            for event in batch:
                if after is not None and isinstance(event, TextDelta):
                    after(event.text)
    return fold.done()


async def aask(engine: Engine, text: str, after: Callable[[str], object] | None = None) -> Reply:
    fold = ReplyFold()
    async with engine.aopen(asking(text)) as batches:
        async for batch in batches:
            fold.add(batch)
            for event in batch:
                if after is not None and isinstance(event, TextDelta):
                    after(event.text)
    return fold.done()


def both(engine: Engine, text: str, twin: str) -> Reply:
    return ask(engine, text) if twin == "sync" else asyncio.run(aask(engine, text))


twins = pytest.mark.parametrize("twin", ["sync", "async"])


@twins
def test_an_answer_comes_whole(engine: Engine, twin: str) -> None:
    reply = both(engine, "tokens 50", twin)
    assert reply.text == "".join(f"{number} " for number in range(50))
    assert reply.finish_reason == "stop" and reply.usage is not None and reply.usage.total_tokens == 3


@twins
def test_what_is_printed_is_no_frame(engine: Engine, twin: str) -> None:
    assert both(engine, "noise", twin).text == "quiet"
    assert both(engine, "say still there", twin).text == "still there"


def test_frames_may_be_large_both_ways(engine: Engine) -> None:
    assert len(ask(engine, "big 20000000").text) == 20_000_000
    text = "ä" * 4_000_000
    assert ask(engine, f"say {text}").text == text


def test_the_other_questions_are_answered(engine: Engine) -> None:
    async def main() -> None:
        tokens = await engine.atokenize("äb", markers=True)
        assert tokens == [0, 0xE4, 98] and await engine.adetokenize(tokens[1:]) == "äb"
        assert await engine.acount_tokens("abc") == 3
        assert (await engine.aembed(["a", "bcd"])).vectors == ((1.0, 1.0), (3.0, 1.0))
        assert (await engine.amodel_info()).context_size == 77

    asyncio.run(main())
    assert engine.tokenize("ab") == [97, 98] and engine.detokenize([97]) == "a" and engine.count_tokens("abc") == 3
    assert engine.embed(["ab"]).vectors == ((2.0, 1.0),) and engine.model_info().name == "stand-in"


@twins
def test_errors_of_the_engine_are_typed_and_the_worker_lives_on(engine: Engine, twin: str) -> None:
    before = engine.pid
    with pytest.raises(ContextTooLong, match="too long") as caught:
        both(engine, "refuse too long", twin)
    assert caught.value.param == "messages"
    with pytest.raises(EngineError, match="RuntimeError: an odd thing"):
        both(engine, "raise an odd thing", twin)
    assert both(engine, "say on", twin).text == "on" and engine.pid == before


def test_what_is_no_data_is_refused(engine: Engine) -> None:
    call = asking("say x", tools=(Tool("t", "", {"type": object()}),))
    with pytest.raises(InvalidRequest), engine.open(call, Cancel()) as batches:
        list(batches)
    extra = asking("say x", params=Params(extra={"odd": object()}))
    with engine.open(extra, Cancel()) as batches:  # only the name of such a parameter goes there
        assert list(batches)


@twins
def test_a_cancelled_request_stops_at_the_next_token(engine: Engine, twin: str) -> None:
    before = engine.pid
    begun = time.monotonic()
    if twin == "sync":
        cancel = Cancel()
        with pytest.raises(Cancelled):
            ask(engine, "tokens", cancel, lambda text: cancel.set())
    else:

        async def main() -> None:
            seen = asyncio.Event()
            task = asyncio.create_task(aask(engine, "tokens", lambda text: seen.set()))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
    assert both(engine, "say next", twin).text == "next"
    assert time.monotonic() - begun < 5 and engine.pid == before


def test_a_stream_that_is_left_stops_the_request(engine: Engine) -> None:
    with engine.open(asking("tokens"), Cancel()) as batches:
        next(batches)
    assert ask(engine, "say next").text == "next"


def test_requests_wait_for_each_other_and_are_told_so(engine: Engine) -> None:
    async def main() -> list[Any]:
        started = asyncio.Event()
        first = asyncio.create_task(aask(engine, "tokens 200", lambda text: started.set()))
        await started.wait()
        seen: list[Any] = []
        async with engine.aopen(asking("say second")) as batches:
            async for batch in batches:
                seen += batch
        assert first.done()
        return seen

    seen = asyncio.run(main())
    assert isinstance(seen[0], Progress) and seen[0].kind == "queue" and seen[0].position == 0
    assert TextDelta("second") in seen


@twins
def test_a_death_is_told_with_its_last_words_and_the_next_request_works(twin: str) -> None:
    with running() as engine:
        with pytest.raises(EngineCrashed) as caught:
            both(engine, "die", twin)
        words = caught.value.message
        assert "SIGABRT" in words and "no more of memory" in words and "/some/where" not in words
        assert engine.error is None or isinstance(engine.error, EngineCrashed)  # None: the next worker is there already
        assert both(engine, "say back", twin).text == "back" and engine.error is None


def test_an_exit_is_a_death_too() -> None:
    with running() as engine:
        with pytest.raises(EngineCrashed, match="exit code 3"):
            ask(engine, "exit 3")


def test_those_who_waited_for_a_dead_worker_are_served_by_the_next() -> None:
    async def main(engine: Engine) -> None:
        begun = asyncio.Event()
        first = asyncio.create_task(aask(engine, "tokens", lambda text: begun.set()))
        await begun.wait()
        second = asyncio.create_task(aask(engine, "say second"))
        await asyncio.sleep(0)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            await first
        assert (await second).text == "second"

    with running() as engine:
        asyncio.run(main(engine))


def test_a_worker_that_does_not_heed_a_cancel_is_killed() -> None:
    with running(Policy(load=30.0, cancel=0.3)) as engine:
        cancel = Cancel()
        begun = time.monotonic()
        with pytest.raises(Cancelled):
            ask(engine, "deaf", cancel, lambda text: cancel.set())
        assert time.monotonic() - begun < 20
        before = engine.pid
        assert ask(engine, "say again").text == "again"
        assert engine.pid != before


def test_silence_has_an_end() -> None:
    with running(Policy(load=30.0, silence=0.5)) as engine, pytest.raises(EngineCrashed, match="no sign of life"):
        ask(engine, "mute")


def test_rubbish_from_a_worker_is_its_death() -> None:
    with running() as engine:
        with pytest.raises(EngineCrashed):
            ask(engine, "rubbish")
        assert ask(engine, "say on").text == "on"


def test_a_refusal_to_load_is_told_to_all_until_somebody_starts_it_again() -> None:
    with running(load="refuse") as engine:
        for _ in range(2):
            with pytest.raises(ModelLoadFailed, match="no such model"):
                ask(engine, "say x")
        assert engine.state == "failed" and engine.pid is None
        engine.start()
        assert engine.state == "loading"
        with pytest.raises(ModelLoadFailed):
            ask(engine, "say x")


def test_deaths_while_loading_come_to_an_end() -> None:
    with running(Policy(load=30.0, deaths=2), load="die") as engine:
        with pytest.raises(EngineCrashed, match=r"while loading.*odd"):
            ask(engine, "say x")
        with pytest.raises(EngineCrashed, match="2 times in a row"):
            ask(engine, "say x")
        assert engine.state == "failed"


def test_loading_has_an_end() -> None:
    with running(Policy(load=1.0), load="hang") as engine, pytest.raises(ModelLoadFailed, match="no sign of life"):
        ask(engine, "say x")


def test_a_stop_ends_what_runs_and_the_next_request_starts_it_again() -> None:
    with running() as engine:
        begun, caught = threading.Event(), list[LollmsError]()

        def work() -> None:
            try:
                ask(engine, "tokens", after=lambda text: begun.set())
            except LollmsError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(20)
        engine.stop()
        thread.join(20)
        assert isinstance(caught[0], InstanceUnavailable) and engine.state == "stopped"
        assert ask(engine, "say on").text == "on"


_PARENT = f"""
import sys, threading
sys.path.insert(0, {str(ROOT)!r})
from tests.support.stand_in_engine import stand_in
from tests.process.test_workers_do_one_thing_at_a_time import ask
engine = stand_in()
threading.Thread(target=ask, args=(engine, sys.argv[1]), daemon=True).start()
engine.ready().result()
print(engine.pid, flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("work", ["tokens", "deaf", "mute"])
def test_a_worker_ends_with_its_parent_however_that_dies(work: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, work], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.is_running()
        parent.kill()
    assert not psutil.wait_procs([worker], timeout=10)[1]


def test_a_worker_ends_with_its_input() -> None:
    line = b'{"parent": %d}\n' % os.getpid()
    argv = [sys.executable, "-m", "lollms_runtime.engines.worker", KIND]
    done = subprocess.run(argv, input=line, capture_output=True, cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 0 and done.stdout.startswith(b"\x00lollms worker")


def test_a_wrong_kind_is_told() -> None:
    done = subprocess.run(
        [sys.executable, str(WORKER), "what"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2 and "transformers" in done.stdout


def test_a_storm_of_cancelled_requests_loses_no_place(engine: Engine) -> None:
    chance = random.Random(1)

    async def one() -> None:
        task = asyncio.create_task(aask(engine, chance.choice(["tokens", "tokens 20", "say x", "raise y", "noise"])))
        await asyncio.sleep(chance.random() * 0.3)  # any moment of its life
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, LollmsError):
            await task

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(60)))

    before = engine.pid
    asyncio.run(main())
    assert ask(engine, "say fine").text == "fine" and engine.pid == before


_FORKING = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.stand_in_engine import stand_in
from tests.process.test_workers_do_one_thing_at_a_time import ask
engine = stand_in()
ask(engine, "say before")
child = os.fork()
text, worker = ask(engine, "say after").text, engine.pid
engine.stop()
if child == 0:
    print(text, worker, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(text, worker, flush=True)
"""


def test_a_forked_child_has_a_worker_of_its_own() -> None:
    argv = [sys.executable, "-W", "ignore", "-c", _FORKING]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["after", "after"], done.stderr
    assert lines[0][1] != lines[1][1]


@twins
def test_a_stop_is_not_undone_by_those_who_waited(twin: str) -> None:
    with running() as engine:
        begun, caught = threading.Event(), list[LollmsError]()

        def work(text: str) -> None:
            try:
                if twin == "sync":
                    ask(engine, text, after=lambda text: begun.set())
                else:
                    asyncio.run(aask(engine, text, after=lambda text: begun.set()))
            except LollmsError as error:
                caught.append(error)

        threads = [threading.Thread(target=work, args=(text,)) for text in ("tokens", "say second", "say third")]
        threads[0].start()
        assert begun.wait(20)
        for thread in threads[1:]:
            thread.start()
        deadline = time.monotonic() + 20
        while len(engine._slots._waiting) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        engine.stop()
        for thread in threads:
            thread.join(20)
        assert [type(error) for error in caught] == [InstanceUnavailable] * 3
        assert engine.state == "stopped"
        assert both(engine, "say new", twin).text == "new"


def test_a_worker_that_reads_nothing_can_be_stopped() -> None:
    with running() as engine:
        ask(engine, "say ready")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)

        def work() -> None:
            with pytest.raises(LollmsError):
                ask(engine, "x" * 5_000_000)

        thread = threading.Thread(target=work)
        thread.start()
        life = engine._client._life
        deadline = time.monotonic() + 20
        while life is not None and not life._requests and time.monotonic() < deadline:
            time.sleep(0.01)
        stopping = threading.Thread(target=engine.stop, daemon=True)
        stopping.start()
        stopping.join(15)
        try:
            assert not stopping.is_alive()
        finally:
            if life is not None and stopping.is_alive():
                os.kill(life.process.pid, signal.SIGKILL)
            thread.join(15)


def test_a_worker_whose_graphics_card_gave_up_is_replaced() -> None:
    with running() as engine:
        with pytest.raises(EngineError, match="assert triggered"):
            ask(engine, "break")
        deadline = time.monotonic() + 20
        while engine.state == "ready" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ask(engine, "say on").text == "on"


def test_a_log_without_end_holds_nobody_up() -> None:
    with running() as engine:
        assert ask(engine, "chatter").text == "done"
        life = engine._client._life
        assert life is not None and len(life.process.log()) <= 200


def test_a_worker_may_be_started_and_stopped_again_and_again() -> None:
    process = psutil.Process()
    with running() as engine:
        ask(engine, "say x")
        engine.stop()
        engine.stop()
        files, threads = process.num_fds(), threading.active_count()
        for _ in range(4):
            assert ask(engine, "say again").text == "again"
            engine.stop()
        engine.start()
        engine.stop()  # while it starts
        assert process.num_fds() <= files and threading.active_count() <= threads


@twins
def test_who_waits_for_loading_may_leave(twin: str) -> None:
    with running(load="hang") as engine:
        if twin == "sync":
            cancel = Cancel()
            threading.Timer(0.2, cancel.set).start()
            with pytest.raises(Cancelled):
                ask(engine, "say x", cancel)
        else:

            async def main() -> None:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await aask(engine, "say x")

            asyncio.run(main())
        assert engine.state == "loading"


def test_vectors_that_nobody_wants_any_more_are_not_computed(engine: Engine) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await engine.aembed(["forever"])
        assert (await aask(engine, "say next")).text == "next"

    before = engine.pid
    asyncio.run(main())
    assert engine.pid == before
