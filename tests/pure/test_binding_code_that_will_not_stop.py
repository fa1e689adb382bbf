"""Code of others that raises what ends programs, gives up by itself or does not stop costs its request and no more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lollms_core.errors import EngineError, InvalidRequest, LollmsError, UnknownModel
from lollms_server.core.bindings.adapter import Adapter
from tests.support.third_party_binding import CALL, STREAM, Documented, Streaming, ask, make, reply

ENDS = [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit(), StopAsyncIteration()]


@pytest.mark.parametrize("raised", [*ENDS, MemoryError(), RecursionError(), BaseExceptionGroup("x", [SystemExit()])])
@pytest.mark.parametrize("where", ["generate", "generate_stream", "load_model"])
def test_whatever_ends_programs_is_an_error_of_the_request(raised: BaseException, where: str) -> None:
    class Ending(Streaming):
        async def generate(self, *given: Any, **named: Any) -> Any:
            raise raised

        async def load_model(self, model_name: str) -> bool:
            if where == "load_model":
                raise raised
            return True

    binding = make(Ending, chunks=["so far", raised])
    with pytest.raises(LollmsError) as caught:
        reply(binding, STREAM if where == "generate_stream" else CALL)
    assert isinstance(caught.value, UnknownModel if where == "load_model" else EngineError)


def test_faults_of_the_model_info_change_nothing() -> None:
    class Silent(Documented):
        async def get_model_info(self, model_name: str | None = None) -> Any:
            raise SystemExit(1)

    assert reply(make(Silent, answer="ok")).text == "ok"


def test_bad_data_of_a_backend_are_no_fault_of_the_caller() -> None:
    class Broken(Documented):
        async def generate(self, *given: Any, **named: Any) -> Any:
            return b"\xff".decode()

    with pytest.raises(EngineError):
        reply(make(Broken))
    with pytest.raises(InvalidRequest):
        reply(make(Streaming, chunks=[ValueError("too warm")]), STREAM)


class Stubborn(Streaming):
    """Goes on, however often it is told to stop."""

    swallows: type[BaseException] = asyncio.CancelledError

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.told = 0
        self.at_work = asyncio.Event()

    async def refuse(self) -> None:
        self.at_work.set()
        while True:
            try:
                await asyncio.Event().wait()
            except self.swallows:
                self.told += 1

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
        if prompt == "hello":
            await self.refuse()
        return "ok"

    async def generate_stream(
        self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None
    ) -> AsyncIterator[Any]:
        yield "so far"
        await self.refuse()


@pytest.mark.parametrize(("kind", "call"), [(Stubborn, CALL), (Stubborn, STREAM)])
def test_what_does_not_stop_is_cut_off_and_the_instance_serves_on(
    call: Any, kind: type[Stubborn], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        binding: Any = make(kind)
        binding._adapter = adapter = Adapter(binding, grace=0.05)
        before = asyncio.all_tasks()
        task = asyncio.create_task(ask(binding, call))
        await binding.at_work.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 2)
        assert binding.told >= 1
        assert asyncio.all_tasks() == before
        assert not adapter._endless
        other = CALL.__class__((CALL.messages[0].user("other"),), model="another")
        assert (await asyncio.wait_for(ask(binding, other), 2))[0].text == "ok"
        told = binding.told
        for _ in range(20):
            await asyncio.sleep(0)
        assert binding.told == told

    with caplog.at_level(logging.ERROR):
        asyncio.run(asyncio.wait_for(work(), 10))
    assert "is cut off" in caplog.text


def test_what_swallows_one_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lollms_server.core.bindings.foreign._AGAIN", 0.01)

    class Retrying(Documented):
        async def generate(self, *given: Any, **named: Any) -> Any:
            for _ in range(3):
                try:
                    self.asked.append({})
                    await asyncio.Event().wait()
                except BaseException:
                    continue
            raise RuntimeError("gives up at last")

    async def work() -> None:
        binding = make(Retrying)
        task = asyncio.create_task(ask(binding))
        while not binding.asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert len(binding.asked) == 3
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(work())


def test_a_slow_reader_holds_the_binding_up() -> None:
    made: list[int] = []

    class Fast(Documented):
        async def generate_stream(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
            for number in range(10_000):
                made.append(number)
                yield "x"

    async def work() -> None:
        async with make(Fast).open(STREAM) as batches:
            async for batch in batches:
                if any(type(event).__name__ == "TextDelta" for event in batch):
                    break
            before = len(made)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(made) < before + 50

    asyncio.run(work())


def test_whoever_forgets_to_say_that_the_model_is_loaded_does_not_load_it_each_time() -> None:
    class Silent(Documented):
        async def load_model(self, model_name: str) -> bool:
            self.loads.append(model_name)
            return True

    binding = make(Silent, answer="ok")

    async def work() -> None:
        await asyncio.gather(*(ask(binding) for _ in range(5)))

    asyncio.run(work())
    assert binding.loads == ["m"]


def test_a_model_that_was_unloaded_is_loaded_again() -> None:
    binding = make(answer="ok")

    async def work() -> None:
        await ask(binding)
        binding._model_loaded = False
        await ask(binding)

    asyncio.run(work())
    assert binding.loads == ["m", "m"]


def test_a_model_is_unloaded_at_the_end_even_if_nobody_said_that_it_is_loaded() -> None:
    class Silent(Documented):
        async def load_model(self, model_name: str) -> bool:
            return True

        async def unload_model(self) -> bool:
            self.loads.append("unloaded")
            return True

    async def work(*calls: Any) -> list[str]:
        binding = make(Silent, answer="ok")
        for call in calls:
            await ask(binding, call)
        await binding.stop()
        return binding.loads

    assert asyncio.run(work(CALL)) == ["unloaded"]
    assert asyncio.run(work()) == []


@pytest.mark.parametrize("name", ["list_available_models", "health_check", "unload_model", "get_model_info"])
@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt()])
def test_no_method_can_end_the_event_loop_whoever_awaits_it(name: str, raised: BaseException) -> None:
    module: dict[str, Any] = {"__name__": "lollms_plugin_of_somebody", "raised": raised}
    exec("async def ends(self): raise raised\n\ndef ends_plainly(self): raise raised\n", module)

    async def asked(binding: Any) -> None:
        with pytest.raises(EngineError):
            await getattr(binding, name)()

    for method in ("ends", "ends_plainly"):
        asyncio.run(asked(make(type("Ending", (Documented,), {name: module[method]}))))
