"""A binding's engines: so many at once, the one unused for longest makes room, and whoever answers is left alone."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from lollms_client.engine_pool import EnginePool
from lollms_core.errors import Overloaded

A, B, C, D = (Path(name) for name in "abcd")


class Engine:
    """Notes that it was stopped."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


def make(model: Path) -> Any:
    return Engine(model)


def use(pool: EnginePool, model: Path) -> Any:
    with pool.using(model, make) as engine:
        return engine


def models(pool: EnginePool) -> list[Path]:
    return [model for model, _ in pool.all()]


def test_an_engine_is_made_once_and_ended_when_another_needs_its_place() -> None:
    pool = EnginePool(2)
    a, b = use(pool, A), use(pool, B)
    assert use(pool, A) is a
    use(pool, C)
    assert models(pool) == [A, C] and (a.stopped, b.stopped) == (0, 1)
    assert use(pool, B) is not b and models(pool) == [C, B] and a.stopped == 1


def test_coroutines_use_the_same_ones() -> None:
    async def ask() -> None:
        async with pool.ausing(A, make) as engine:
            assert id(engine) == id(a)
            with pytest.raises(Overloaded):
                async with pool.ausing(B, make):
                    raise AssertionError("there is no place for it")
        async with pool.ausing(B, make):
            assert a.stopped == 1

    pool = EnginePool(1)
    a = use(pool, A)
    asyncio.run(ask())
    assert models(pool) == [B] and pool.all()[0][1].calls == 0


def test_one_that_is_used_stays_however_often_it_is() -> None:
    pool = EnginePool(2)
    a = use(pool, A)
    with pool.using(A, make):
        b = use(pool, B)
        with pool.using(A, make), pool.using(B, make):
            with pytest.raises(Overloaded, match="max_models"):
                use(pool, C)
            assert models(pool) == [A, B]
        use(pool, C)
        assert models(pool) == [A, C] and (a.stopped, b.stopped) == (0, 1)


def test_an_engine_that_cannot_be_made_costs_no_other_its_place() -> None:
    def fail(model: Path) -> Any:
        raise ValueError(model)

    pool = EnginePool(1)
    a = use(pool, A)
    with pytest.raises(ValueError, match="b"), pool.using(B, fail):
        pass
    assert models(pool) == [A] and not a.stopped


def test_stopping_does_not_ask_who_uses_it() -> None:
    pool = EnginePool(3)
    engines = {model: use(pool, model) for model in (A, B, C)}
    with pool.using(A, make):
        assert pool.stop(A) and not pool.stop(A)
        assert engines[A].stopped == 1
    pool.stop_all(keep=B)
    assert models(pool) == [B] and engines[C].stopped == 1
    pool.stop_all()
    assert models(pool) == []


def test_the_engines_end_with_the_pool() -> None:
    pool = EnginePool(2)
    engines = [use(pool, A), use(pool, B)]
    del pool
    gc.collect()
    assert [engine.stopped for engine in engines] == [1, 1]


def test_a_forgotten_use_may_be_collected_at_any_moment() -> None:
    pool = EnginePool(2)
    forgotten = [pool.using(A, make)]
    forgotten[0].__enter__()

    def forget(model: Path) -> Any:
        forgotten.clear()
        gc.collect()
        return make(model)

    done = threading.Event()

    def work() -> None:
        with pool.using(B, forget):
            done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(5), "it waits for itself"
    assert [running.calls for model, running in pool.all() if model == A] == [0]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_uses_none_of_them_yet() -> None:
    pool = EnginePool(1)
    reader, writer = os.pipe()
    with pool.using(A, make):
        if (child := os.fork()) == 0:
            said = b"no"
            try:
                use(pool, B)
                said = b"".join(os.fsencode(model) for model in models(pool))
            finally:
                os.write(writer, said)
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        assert os.read(reader, 10) == b"b"
        os.close(reader)
        assert models(pool) == [A] and pool.all()[0][1].calls == 1


def test_threads_that_use_more_models_than_there_are_places() -> None:
    pool = EnginePool(3)
    wrong: list[str] = []

    def work(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(300):
            try:
                with pool.using(order.choice((A, B, C, D)), make) as used:
                    engine: Any = used
                    if engine.stopped or len(models(pool)) > 3:
                        wrong.append("ended while it was used, or too many")
            except Overloaded:
                pass

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong and all(running.calls == 0 for _, running in pool.all())
