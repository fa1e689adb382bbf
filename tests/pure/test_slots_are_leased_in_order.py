"""Slots of an engine: first come first served, for threads and coroutines; a conversation finds its slot again."""

from __future__ import annotations

import asyncio
import threading

from hypothesis import given
from hypothesis import strategies as st

from lollms_core.types import Message
from lollms_runtime.engines.slots import Lease, SlotPool, trail_of


def test_free_slots_are_given_at_once_and_the_one_unused_longest_first() -> None:
    pool = SlotPool(3)
    assert [pool.lease().result(0).slot for _ in range(3)] == [0, 1, 2]
    pool.release(1)
    pool.release(0)
    assert [pool.lease().result(0).slot for _ in range(2)] == [1, 0]


def test_those_who_wait_get_slots_in_the_order_of_asking() -> None:
    pool = SlotPool(1)
    pool.lease()
    waiting = [pool.lease() for _ in range(3)]
    assert [pool.position(future) for future in waiting] == [0, 1, 2]
    for future in waiting:
        assert not future.done()
        pool.release(0)
        assert future.result(0).slot == 0
    assert pool.position(waiting[0]) is None


def test_who_stops_waiting_is_passed_over() -> None:
    pool = SlotPool(1)
    pool.lease()
    first, second = pool.lease(), pool.lease()
    pool.abandon(first)
    assert pool.position(second) == 0
    pool.release(0)
    assert second.result(0).slot == 0


def test_a_slot_that_was_handed_over_to_one_who_left_goes_back() -> None:
    pool = SlotPool(1)
    pool.lease()
    future = pool.lease()
    pool.release(0)
    pool.abandon(future)
    assert pool.lease().result(0).slot == 0


def test_threads_and_coroutines_wait_in_one_line() -> None:
    pool = SlotPool(1)
    pool.lease()
    order: list[str] = []
    asked = threading.Event()

    def thread() -> None:
        future = pool.lease()
        asked.set()
        slot = future.result(5).slot
        order.append("thread")
        pool.release(slot)

    async def coroutine(name: str) -> None:
        slot = (await asyncio.wrap_future(pool.lease())).slot
        order.append(name)
        pool.release(slot)

    async def main() -> None:
        first = asyncio.ensure_future(coroutine("first"))
        await asyncio.sleep(0)
        worker = threading.Thread(target=thread)
        worker.start()
        assert await asyncio.to_thread(asked.wait, 5)
        last = asyncio.ensure_future(coroutine("last"))
        await asyncio.sleep(0)
        pool.release(0)
        await asyncio.wait_for(asyncio.gather(first, last), 5)
        worker.join(5)

    asyncio.run(main())
    assert order == ["first", "thread", "last"]


def test_a_cancelled_coroutine_leaves_the_line() -> None:
    pool = SlotPool(1)
    pool.lease()

    async def main() -> None:
        future = pool.lease()
        task = asyncio.ensure_future(asyncio.wait_for(asyncio.wrap_future(future), 5))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert future.cancelled()
        pool.abandon(future)

    asyncio.run(main())
    last = pool.lease()
    assert pool.position(last) == 0
    pool.release(0)
    assert last.result(0).slot == 0


def test_a_conversation_that_goes_on_gets_its_slot_again() -> None:
    pool = SlotPool(3)
    talks = [(Message.system("Be brief."), Message.user(f"talk {n}")) for n in range(3)]
    slots = [pool.lease(trail_of(talk)).result(0).slot for talk in talks]
    for slot in slots:
        pool.release(slot)
    longer = (*talks[2], Message.assistant("Yes."), Message.user("And?"))
    assert pool.lease(trail_of(longer)).result(0) == Lease(slots[2], known=2)
    other = (Message.system("Be brief."), Message.user("something else"))
    assert pool.lease(trail_of(other)).result(0).slot == slots[0]  # the one unused longest


def test_a_fresh_engine_remembers_no_conversation() -> None:
    pool = SlotPool(2)
    talk = trail_of((Message.user("hello"),))
    pool.release(pool.lease(()).result(0).slot)
    slot = pool.lease(talk).result(0).slot
    pool.release(slot)
    pool.forget()
    assert slot == 1
    assert pool.lease(talk).result(0).slot == 0


@given(st.lists(st.sampled_from(["lease", "release", "abandon"]), max_size=60), st.integers(1, 3))
def test_no_slot_is_ever_leased_twice_or_lost(steps: list[str], count: int) -> None:
    pool = SlotPool(count)
    held: list[int] = []
    waiting = []
    for step in steps:
        if step == "lease":
            waiting.append(pool.lease())
        elif step == "release" and held:
            pool.release(held.pop(0))
        elif step == "abandon" and waiting:
            pool.abandon(waiting.pop())
        held += [future.result(0).slot for future in waiting if future.done()]
        waiting = [future for future in waiting if not future.done()]
        assert len(held) == len(set(held)) <= count
        assert not (waiting and len(held) < count)
    for future in waiting:
        pool.abandon(future)
    for slot in held:
        pool.release(slot)
    assert sorted(pool.lease().result(0).slot for _ in range(count)) == list(range(count))
