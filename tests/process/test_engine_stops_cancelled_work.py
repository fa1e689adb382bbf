"""A cancelled request stops at the engine's next stage or step, also while others run, and nothing of it is left.

The model has random weights and a context of 32,768 tokens; reading 17,000 tokens takes it many seconds. The prompt is
cancelled in its second second.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lollms_core.errors import Cancelled, EngineCrashed
from lollms_core.fold import ReplyFold
from lollms_core.types import Batch, GenerationCall, Message, Params, Progress, TextDelta
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.llamacpp import LlamaCppEngine, Policy
from tests.support.engines import aask, ask, asking, busy, endless, running, until
from tests.support.stand_in_llama_server import install
from tests.support.tiny_gguf import write_random_llama

pytestmark = [pytest.mark.group("engine"), pytest.mark.group("gguf")]

PROMPT = 17_000  # tokens


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCppEngine]:
    path = write_random_llama(tmp_path_factory.mktemp("model") / "random.gguf", layers=4, width=256, feed_forward=512)
    with running(path, parallel=2, context_size=20_480, threads=1) as it:
        it.ready().result(30)
        yield it


@pytest.fixture(scope="module")
def prompt(engine: LlamaCppEngine) -> str:
    tokens = engine.tokenize(" ".join(f"word{number}" for number in range(4_000)))
    assert len(tokens) >= PROMPT
    return engine.detokenize(tokens[:PROMPT])


class Reading:
    """Watches a prompt being read: how far it came, and how long its stages took."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()
        self.longest_stage = 0.0
        self.fraction = 0.0
        self.second_second = threading.Event()

    def __call__(self, batch: Batch) -> None:
        now = time.monotonic()
        for event in batch:
            if isinstance(event, Progress) and event.kind == "prefill":
                self.longest_stage = max(self.longest_stage, now - self.last)
                self.last, self.fraction = now, event.fraction or 0.0
        if now - self.start > 1.0:
            self.second_second.set()


def unlike(prompt: str, name: str) -> GenerationCall:
    """A call that shares no beginning with an earlier one, so that all of it must be read."""
    return GenerationCall((Message.user(f"{name} {prompt}"),), params=Params(max_tokens=4), stream=True)


def check_nothing_is_left(engine: LlamaCppEngine, reading: Reading, pid: int | None, others: set[int]) -> None:
    """The slot is idle within one stage, it was in the middle, and no connection or lease of the request remains."""
    took = until(lambda: busy(engine) <= others, 15, "the idle slot")
    # Two stages' time: the one it was in, and the question to the engine, which waits for its turn as well.
    assert took < 2 * reading.longest_stage + 0.5, f"{took} s; the longest stage took {reading.longest_stage} s"
    assert 0 < reading.fraction < 0.9
    assert engine.pid == pid
    port = int(engine.ready().result(1).base_url.rsplit(":", 1)[1])

    def connections() -> int:
        mine = psutil.Process().net_connections("tcp")
        return sum(1 for each in mine if each.raddr and each.raddr.port == port and each.status == "ESTABLISHED")

    until(lambda: connections() == len(others), 5, "the end of the request's connection")


def by_token(engine: LlamaCppEngine, call: GenerationCall, reading: Reading) -> None:
    cancel = Cancel()
    stopper = threading.Thread(target=lambda: (reading.second_second.wait(20), cancel.set()))
    stopper.start()
    with pytest.raises(Cancelled):
        ask(engine, call, reading, cancel)
    stopper.join()


def by_closing(engine: LlamaCppEngine, call: GenerationCall, reading: Reading) -> None:
    with engine.open(call, Cancel()) as batches:
        for batch in batches:
            reading(batch)
            if reading.second_second.is_set():
                break


def by_task(engine: LlamaCppEngine, call: GenerationCall, reading: Reading) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(aask(engine, call, reading))
        assert await asyncio.to_thread(reading.second_second.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.parametrize("way", [by_token, by_closing, by_task])
def test_a_long_prompt_stops_within_one_stage(
    engine: LlamaCppEngine, prompt: str, way: Callable[[LlamaCppEngine, GenerationCall, Reading], None]
) -> None:
    pid, threads, reading = engine.pid, set(threading.enumerate()), Reading()
    way(engine, unlike(prompt, way.__name__), reading)
    check_nothing_is_left(engine, reading, pid, set())
    until(lambda: set(threading.enumerate()) <= threads, 3, "the end of the request's threads")


@contextlib.contextmanager
def another_stream(engine: LlamaCppEngine) -> Iterator[Callable[[], int]]:
    """A stream that runs on another slot; gives the number of tokens it has had so far."""
    cancel, count, began = Cancel(), [0], threading.Event()

    def seen(batch: Batch) -> None:
        count[0] += sum(isinstance(event, TextDelta) for event in batch)
        began.set()

    def work() -> None:
        with contextlib.suppress(Cancelled):
            ask(engine, endless(), seen, cancel)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert began.wait(10)
        yield lambda: count[0]
    finally:
        cancel.set()
        thread.join(10)


def test_a_long_prompt_stops_within_one_stage_while_another_stream_runs(engine: LlamaCppEngine, prompt: str) -> None:
    pid, reading = engine.pid, Reading()
    with another_stream(engine) as tokens:
        others = busy(engine)
        assert len(others) == 1
        by_token(engine, unlike(prompt, "beside"), reading)
        check_nothing_is_left(engine, reading, pid, others)
        so_far = tokens()
        until(lambda: tokens() > so_far + 5, 10, "more tokens of the other stream")
        assert busy(engine) == others
    until(lambda: not busy(engine), 5, "the end of the other stream")


@pytest.mark.parametrize("slot_of_the_long_one", [0, 1])
def test_a_short_request_beside_a_long_prompt_starts_within_one_stage(
    engine: LlamaCppEngine, prompt: str, slot_of_the_long_one: int
) -> None:
    until(lambda: len(engine._slots._free) == 2, 10, "both slots")
    if engine._slots._free[0] != slot_of_the_long_one:  # the slot unused for longest is taken next
        ask(engine, asking(f"{slot_of_the_long_one}", max_tokens=1))
    reading, cancel, times = Reading(), Cancel(), []

    def long() -> None:
        with contextlib.suppress(Cancelled):
            ask(engine, unlike(prompt, f"long {slot_of_the_long_one}"), reading, cancel)

    thread = threading.Thread(target=long)
    thread.start()
    until(lambda: reading.fraction > 0.05, 10, "the first stages")
    assert busy(engine) == {slot_of_the_long_one}
    start = time.monotonic()
    ask(engine, asking("Hi.", max_tokens=1), lambda batch: times.append(time.monotonic() - start))
    fraction = reading.fraction
    until(lambda: reading.fraction > fraction, 10, "the long prompt going on")
    cancel.set()
    thread.join(10)
    assert fraction < 0.5
    # The stage under way, the one that began before the long prompt's connection was seen to be closed, and its own.
    assert times[0] < 3 * reading.longest_stage + 0.5
    until(lambda: not busy(engine), 10)


def test_long_prompts_take_turns_and_give_the_same_answers_as_alone(engine: LlamaCppEngine, prompt: str) -> None:
    calls = [
        GenerationCall((Message.user(f"{name} {prompt[:7_000]}"),), params=Params(max_tokens=8, temperature=0.0))
        for name in ("first", "second")
    ]
    order: list[int] = []

    async def one(index: int) -> str:
        def seen(batch: Batch) -> None:
            order.extend(index for event in batch if isinstance(event, Progress) and event.kind == "prefill")

        return (await aask(engine, calls[index], seen)).text

    async def both() -> list[str]:
        return await asyncio.gather(one(0), one(1))

    together = asyncio.run(both())
    assert len(order) > 10
    changes = sum(before != after for before, after in itertools.pairwise(order))
    assert changes > len(order) / 2, order
    ask(engine, asking("something else", max_tokens=1))
    ask(engine, asking("and again", max_tokens=1))  # now no slot remembers the prompts
    assert together == [ask(engine, call).text for call in calls]


def test_one_thread_may_read_two_streams_bit_by_bit(engine: LlamaCppEngine, prompt: str) -> None:
    calls = [unlike(prompt[:4_000], name) for name in ("left", "right")]
    with engine.open(calls[0], Cancel()) as left:
        assert isinstance(next(left)[0], Progress)  # the first one stands still in the middle of its prompt
        with engine.open(calls[1], Cancel()) as right:
            folds = ReplyFold(), ReplyFold()
            for fold, batches in zip(reversed(folds), (right, left), strict=True):
                for batch in batches:
                    fold.add(batch)
    assert [fold.done().finish_reason for fold in folds] == ["length", "length"]


def test_generation_stops_at_the_next_step(engine: LlamaCppEngine) -> None:
    pid, count = engine.pid, 0
    with engine.open(endless(), Cancel()) as batches:
        for batch in batches:
            count += len(batch)
            if count > 5:
                break
    assert until(lambda: not busy(engine), 5, "the idle slot") < 1.0
    assert engine.pid == pid


def test_a_request_cancelled_while_it_waits_for_a_slot_leaves_the_line(engine: LlamaCppEngine) -> None:
    with another_stream(engine), another_stream(engine):
        waits, cancel = threading.Event(), Cancel()

        def seen(batch: Batch) -> None:
            assert isinstance(batch[0], Progress) and batch[0].kind == "queue"
            waits.set()

        async def queued() -> None:
            told = asyncio.Event()
            task = asyncio.ensure_future(aask(engine, asking("Hi."), lambda batch: told.set()))
            await asyncio.wait_for(told.wait(), 10)
            task.cancel()
            await asyncio.wait([task], timeout=1)
            assert task.cancelled()

        asyncio.run(queued())
        stopper = threading.Thread(target=lambda: (waits.wait(10), cancel.set()))
        stopper.start()
        with pytest.raises(Cancelled):
            ask(engine, asking("Hi."), seen, cancel)
        stopper.join()
        assert len(busy(engine)) <= 2  # the others alone, of which one may have come to its end meanwhile
    assert ask(engine, asking("Hi.", max_tokens=1)).finish_reason == "length"


def test_a_request_cancelled_while_the_model_loads_ends_at_once(tmp_path: Path) -> None:
    with running(server_path=install(tmp_path), server_args=("--behave", "slow")) as engine:
        cancel = Cancel()
        with pytest.raises(Cancelled):
            ask(engine, asking("Hi."), lambda batch: cancel.set(), cancel)

        async def main() -> None:
            told = asyncio.Event()
            task = asyncio.ensure_future(aask(engine, asking("Hi."), lambda batch: told.set()))
            await asyncio.wait_for(told.wait(), 10)
            task.cancel()
            await asyncio.wait([task], timeout=1)
            assert task.cancelled()

        asyncio.run(main())


def test_an_engine_that_ignores_cancel_is_killed_and_replaced(tmp_path: Path) -> None:
    policy = Policy(cancel=0.5, first_pause=0.01, load=20)
    program = install(tmp_path)
    with running(server_path=program, server_args=("--behave", "stubborn"), policy=policy, parallel=2) as engine:
        engine.ready().result(20)
        errors: list[BaseException] = []
        innocent = threading.Event()

        def other() -> None:
            try:
                ask(engine, asking("Me too."), lambda batch: innocent.set())
            except EngineCrashed as error:
                errors.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        assert innocent.wait(10)
        pid = engine.pid
        with engine.open(asking("Hi."), Cancel()) as batches:
            next(batches)
        start = time.monotonic()
        until(lambda: engine.pid not in (None, pid), 10, "another engine")
        assert time.monotonic() - start > 0.4
        thread.join(5)
        assert "did not let go of a cancelled request within 0.5 seconds" in str(errors[0])
        with engine.open(asking("Hi."), Cancel()) as batches:
            assert next(batches)


def test_a_slow_engine_that_lets_go_in_the_end_is_not_killed(tmp_path: Path) -> None:
    policy = Policy(cancel=0.3, first_pause=0.01, load=20)
    program = install(tmp_path)
    with running(server_path=program, server_args=("--behave", "unhurried"), policy=policy, parallel=2) as engine:
        engine.ready().result(20)
        pid = engine.pid
        with another_stream(engine) as tokens:
            with engine.open(asking("Hi."), Cancel()) as batches:
                next(batches)
            start = time.monotonic()
            until(lambda: len(engine._slots._free) == 1, 10, "the slot")
            assert time.monotonic() - start > policy.cancel
            so_far = tokens()
            until(lambda: tokens() > so_far, 10, "more tokens of the other stream")
        assert engine.pid == pid


def test_an_engine_that_falls_silent_after_a_cancel_is_killed_and_replaced(tmp_path: Path) -> None:
    policy = Policy(cancel=0.1, silence=0.2, first_pause=0.5, load=20)
    with running(server_path=install(tmp_path), server_args=("--behave", "mute"), policy=policy) as engine:
        engine.ready().result(20)
        pid = engine.pid
        with engine.open(asking("Hi."), Cancel()) as batches:
            next(batches)
        until(lambda: engine.pid != pid, 10, "its end")
        assert "gave no sign of life for 0.2 seconds after a request was cancelled" in str(engine.error)
        until(lambda: engine.pid not in (None, pid), 10, "another engine")
        with engine.open(asking("Hi."), Cancel()) as batches:
            assert next(batches)
