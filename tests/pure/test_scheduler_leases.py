"""The scheduler: nobody waits for ever, nobody is passed, and nothing stays behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import InternalError, QueueTimeout, TooManyRequests
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.scheduler import GPU, Scheduler, gpu_capacity, instance_resource

A, B = instance_resource("a"), instance_resource("b")


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(limited())


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


class Job:
    """Holds a lease from when it is granted until `end` is set."""

    def __init__(self, scheduler: Scheduler, resources: list[str], name: str, log: list[str], key: str = "") -> None:
        self.end = asyncio.Event()
        self.positions: list[int] = []
        self.held = False
        self._scheduler, self._resources, self._name, self._log, self._key = scheduler, resources, name, log, key
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async def moved(position: int) -> None:
            self.positions.append(position)

        async with self._scheduler.lease(self._resources, key=self._key, request_id=self._name, on_position=moved):
            self.held = True
            self._log.append(self._name)
            await self.end.wait()
        self.held = False

    async def finish(self) -> None:
        self.end.set()
        await self.task


@pytest.mark.parametrize(
    ("strategy", "limit", "places"),
    [("semaphore", 3, 3), ("simple_lock", 3, 1), ("none", 3, None), ("semaphore", 0, 1)],
)
def test_the_documented_strategies(strategy: str, limit: int, places: int | None) -> None:
    assert gpu_capacity(strategy, limit) == places


def test_those_who_wait_are_served_in_the_order_in_which_they_came_and_know_their_position() -> None:
    async def work() -> None:
        scheduler, log = Scheduler({GPU: 1}), []
        jobs = [Job(scheduler, [GPU], str(i), log) for i in range(4)]
        await settle()
        assert log == ["0"]
        assert [job.positions for job in jobs] == [[], [0], [1], [2]]
        assert [(w.request_id, w.position) for w in scheduler.status().waiting] == [("1", 0), ("2", 1), ("3", 2)]
        assert scheduler.status().in_use == {GPU: 1}
        await jobs[0].finish()
        await settle()
        assert log == ["0", "1"]
        assert [job.positions for job in jobs] == [[], [0], [1, 0], [2, 1]]
        for job in jobs[1:]:
            await job.finish()
        assert log == ["0", "1", "2", "3"]
        assert scheduler.idle

    run(work)


def test_a_free_resource_does_not_wait_for_a_busy_one_but_nobody_is_passed() -> None:
    async def work() -> None:
        scheduler, log = Scheduler({A: 1, B: 1, GPU: 1}), []
        first = Job(scheduler, [A], "first", log)
        both = Job(scheduler, [A, B], "both", log)
        other = Job(scheduler, [B], "other", log)  # b is free, but `both` came before it
        apart = Job(scheduler, [GPU], "apart", log)
        await settle()
        assert log == ["first", "apart"]
        await first.finish()
        await settle()
        assert log == ["first", "apart", "both"]
        for job in (both, other, apart):
            await job.finish()
        assert scheduler.idle

    run(work)


def test_two_models_and_one_device_asked_for_in_either_order_never_block_each_other() -> None:
    async def work() -> None:
        scheduler = Scheduler({A: 1, B: 1, GPU: 1})

        async def use(resources: list[str]) -> None:
            for _ in range(50):
                async with scheduler.lease(resources):
                    await asyncio.sleep(0)

        await asyncio.gather(use([A, GPU]), use([GPU, A]), use([B, GPU]), use([GPU, B]), use([A, B]), use([B, A]))
        assert scheduler.idle

    run(work)


def test_a_binding_that_asks_for_the_card_inside_its_request_passes_those_who_hold_nothing() -> None:
    async def work() -> None:
        scheduler, log = Scheduler(), []
        manager = ResourceManager({"gpu_strategy": "semaphore", "gpu_limit": 1}, scheduler)
        scheduler.set_capacity(A, 1)

        async def request() -> None:
            async with scheduler.lease([A], request_id="r"):
                holds_a.set()
                await may_go_on.wait()
                async with manager.acquire_gpu_resource("load"):
                    log.append("nested")

        holds_a, may_go_on = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(request())
        await holds_a.wait()
        waiting = Job(scheduler, [A, GPU], "waiting", log)  # waits for a, and would come first for the card
        await settle()
        may_go_on.set()
        await task
        await settle()
        assert log == ["nested", "waiting"]
        await waiting.finish()
        assert scheduler.idle

    run(work)


def test_a_request_that_holds_the_card_is_given_it_again_without_waiting() -> None:
    async def work() -> None:
        scheduler = Scheduler()
        manager = ResourceManager({"gpu_limit": 1}, scheduler)
        async with scheduler.lease([GPU]):
            async with manager.acquire_gpu_resource():
                assert manager.get_status()["active_gpu_tasks"] == 1
            assert manager.get_status()["active_gpu_tasks"] == 1
        assert scheduler.idle

    run(work)


def test_a_lease_against_the_order_is_refused() -> None:
    async def work() -> None:
        scheduler = Scheduler({A: 1, GPU: 1})
        async with scheduler.lease([GPU]):
            with pytest.raises(InternalError):
                async with scheduler.lease([A]):
                    pass
        assert scheduler.idle

    run(work)


def test_waiting_too_long_is_a_typed_error_and_leaves_nothing() -> None:
    async def work() -> None:
        scheduler = Scheduler({GPU: 1}, queue_timeout=0.05)
        holder = Job(scheduler, [GPU], "holder", [])
        await settle()
        with pytest.raises(QueueTimeout) as caught:
            await enter(scheduler)
        assert "0.05 s" in str(caught.value)
        assert scheduler.status().waiting == ()
        await holder.finish()
        assert scheduler.idle

    run(work)


async def enter(scheduler: Scheduler) -> None:
    async with scheduler.lease([GPU]):
        pass


def test_what_the_block_raises_passes_unchanged() -> None:
    async def work() -> None:
        scheduler = Scheduler({GPU: 1}, queue_timeout=5)
        manager = ResourceManager({"gpu_limit": 1}, scheduler)
        for error in (ValueError("mine"), TimeoutError("mine, too"), KeyError("x")):
            with pytest.raises(type(error)) as caught:
                async with manager.acquire_gpu_resource():
                    raise error
            assert caught.value is error
        assert scheduler.idle

    run(work)


def test_a_time_out_of_the_position_callback_is_not_taken_for_the_queues() -> None:
    async def work() -> None:
        scheduler = Scheduler({GPU: 1}, queue_timeout=5)

        async def moved(position: int) -> None:
            raise TimeoutError("not the queue")

        holder = Job(scheduler, [GPU], "holder", [])
        await settle()
        with pytest.raises(TimeoutError, match="not the queue"):
            await scheduler.lease([GPU], on_position=moved).__aenter__()
        await holder.finish()
        assert scheduler.idle

    run(work)


def test_too_many_of_one_key_and_too_many_in_all_are_told_when_to_come_back() -> None:
    async def work() -> None:
        scheduler = Scheduler({GPU: 1}, key_bound=3, queue_bound=4)
        log: list[str] = []
        greedy = [Job(scheduler, [GPU], f"greedy {i}", log, "greedy") for i in range(3)]
        await settle()
        with pytest.raises(TooManyRequests) as caught:
            await enter_as(scheduler, "greedy")
        assert 1 <= (caught.value.retry_after or 0) <= 60
        others = [Job(scheduler, [GPU], f"other {i}", log, "other") for i in range(2)]
        await settle()
        with pytest.raises(TooManyRequests):
            await enter_as(scheduler, "third")
        for job in (*greedy, *others):
            await job.finish()
        assert scheduler.idle

    run(work)


async def enter_as(scheduler: Scheduler, key: str) -> None:
    async with scheduler.lease([GPU], key=key):
        pass


def test_more_places_start_those_who_wait() -> None:
    async def work() -> None:
        scheduler, log = Scheduler({GPU: 1}), []
        jobs = [Job(scheduler, [GPU], str(i), log) for i in range(3)]
        await settle()
        scheduler.set_capacity(GPU, 2)
        await settle()
        assert log == ["0", "1"]
        scheduler.set_capacity(GPU, None)
        await settle()
        assert log == ["0", "1", "2"]
        for job in jobs:
            await job.finish()
        assert scheduler.idle

    run(work)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), jobs=st.integers(1, 30))
def test_random_cancels_leave_nothing_and_limits_always_hold(seed: int, jobs: int) -> None:
    async def work() -> None:
        rng = random.Random(seed)
        places = {A: 1, B: 2, GPU: 1}
        scheduler = Scheduler(places, queue_bound=20, key_bound=12)
        held: dict[str, int] = dict.fromkeys(places, 0)

        async def job() -> None:
            resources = rng.sample(list(places), rng.randint(0, 3))
            nest = rng.random() < 0.3 and GPU not in resources
            async with scheduler.lease(resources, key=rng.choice("xyz")):
                for name in resources:
                    held[name] += 1
                    assert held[name] <= places[name]
                try:
                    for _ in range(rng.randint(0, 4)):
                        await asyncio.sleep(0)
                    if nest:
                        async with scheduler.lease([GPU]):
                            held[GPU] += 1
                            try:
                                assert held[GPU] <= places[GPU]
                                await asyncio.sleep(0)
                            finally:
                                held[GPU] -= 1
                    if rng.random() < 0.1:
                        raise LookupError
                finally:
                    for name in resources:
                        held[name] -= 1

        tasks = []
        for _ in range(jobs):
            tasks.append(asyncio.create_task(job()))
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
            if rng.random() < 0.4:
                rng.choice(tasks).cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, (asyncio.CancelledError, LookupError, TooManyRequests)), result
        assert scheduler.idle
        assert scheduler.status().in_use == {}

    run(work)
