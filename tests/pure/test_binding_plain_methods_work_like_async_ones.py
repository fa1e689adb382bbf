"""A writer who forgets `async` has a binding that works, off the event loop, and his own calls stay what he wrote."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.errors import EngineError, LollmsError, UnsupportedFeature
from lollms_core.types import GenerationCall, Message
from lollms_server.core.bindings import Binding, TokenCount
from lollms_server.core.resource_manager import ResourceManager
from tests.support.third_party_binding import CALL, STREAM, Documented, ask, make, reply

# Compiled under another module's name, as a plug-in is: what it calls itself is not called from these tests.
SOURCE = """
import threading
from lollms_server.core.bindings import Binding

class Plain(Binding):
    binding_type_name = "plain"

    def __init__(self, config, resource_manager):
        self.config = config
        self.threads = set()
        self.inside = 0
        self.most = 0

    def _work(self):
        self.threads.add(threading.current_thread())
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(200):
            pass
        self.inside -= 1

    def list_available_models(self):
        self._work()
        return [{"name": "m"}]

    def get_supported_input_modalities(self):
        return ("text",)

    def get_supported_output_modalities(self):
        return {"text"}

    def load_model(self, model_name):
        self._work()

    def unload_model(self):
        return True

    def get_model_info(self, model_name=None):
        return {"name": model_name, "context_size": 77}

    def tokenize(self, text, add_bos=False, add_eos=False, model_name=None):
        self._work()
        return [len(word) for word in text.split()]

    def detokenize(self, tokens, model_name=None):
        return " ".join("x" * token for token in tokens)

    def health_check(self):
        return True, "fine"

    def generate(self, prompt, params, request_info, multimodal_data=None):
        self._work()
        return f"{len(self.tokenize(prompt))} words, {params['context_size']}"

    def generate_stream(self, prompt, params, request_info, multimodal_data=None):
        for word in prompt.split():
            self._work()
            yield {"type": "chunk", "content": word + " "}

class Mixed(Plain):
    async def generate(self, prompt, params, request_info, multimodal_data=None):
        return f"{self.tokenize(prompt)} {self.load_model('x')}"
"""


def plain(name: str = "Plain") -> Any:
    module: dict[str, Any] = {"__name__": "lollms_plugin_of_somebody"}
    exec(compile(SOURCE, "somebody.py", "exec"), module)
    return module[name]({"binding_instance_name": "plain"}, ResourceManager())


def test_everything_plain_works_off_the_loop() -> None:
    binding = plain()

    async def work() -> None:
        assert await binding.list_available_models() == [{"name": "m"}]
        assert await binding.tokenize("a bc") == [1, 2]
        assert await binding.detokenize([1, 2]) == "x xx"
        assert await binding.health_check() == (True, "fine")
        assert await binding.token_count("a b c", "m") == TokenCount(3, True)
        assert (await ask(binding, GenerationCall((Message.user("one two"),), "m")))[0].text == "2 words, 77"
        streamed, batches = await ask(binding, GenerationCall((Message.user("one two"),), "m", stream=True))
        assert streamed.text == "one two "
        assert len(batches) > 2
        assert [chunk["content"] async for chunk in binding.generate_stream("a b", {}, {})] == ["a ", "b "]

    asyncio.run(work())
    assert threading.main_thread() not in binding.threads


def test_its_own_calls_stay_plain() -> None:
    assert reply(plain("Mixed")).text == "[5] None"


def test_methods_of_other_base_classes_count_as_well() -> None:
    class Shared:
        def load_model(self, model_name: str) -> bool:
            assert threading.current_thread() is not threading.main_thread()
            return True

    class Mine(Shared, Documented):  # type: ignore[misc]
        pass

    class Further(Mine):
        pass

    for kind in (Mine, Further):
        assert reply(make(kind, answer="ok")).text == "ok"
    assert "load_model" not in vars(Further)


def test_plain_methods_run_one_at_a_time() -> None:
    binding = plain()

    async def work() -> None:
        await asyncio.gather(*(ask(binding, STREAM if n % 2 else CALL) for n in range(20)))

    asyncio.run(work())
    assert binding.most == 1


def test_a_caller_that_leaves_does_not_free_the_thread_too_early() -> None:
    started, go = threading.Event(), threading.Event()
    running: list[int] = []

    class Slow(Documented):
        def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:  # type: ignore[override]
            running.append(1)
            started.set()
            assert len(running) == 1
            assert go.wait(10)
            running.pop()
            return "ok"

    async def work() -> None:
        binding = make(Slow)
        first = asyncio.create_task(ask(binding))
        await asyncio.to_thread(started.wait, 5)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(first, 1)
        second = asyncio.create_task(ask(binding))
        await asyncio.sleep(0)
        go.set()
        assert (await second)[0].text == "ok"

    asyncio.run(asyncio.wait_for(work(), 10))


@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt(), StopIteration(), GeneratorExit()])
def test_what_a_thread_raises_is_typed(raised: BaseException) -> None:
    class Failing(Documented):
        def generate(self, *given: Any, **named: Any) -> Any:
            raise raised

        def generate_stream(self, *given: Any, **named: Any) -> Iterator[str]:  # type: ignore[override]
            yield "so far"
            raise raised

    for call in (CALL, STREAM):
        with pytest.raises(EngineError):
            reply(make(Failing), call)


def test_a_method_made_asynchronous_by_a_decorator_is_left_alone() -> None:
    def logged(function: Any) -> Any:
        def call(self: Any, *given: Any, **named: Any) -> Any:
            self.thread = threading.current_thread()
            return function(self, *given, **named)

        call.__wrapped__ = function  # type: ignore[attr-defined]
        return call

    class Decorated(Documented):
        @logged
        async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
            return "ok"

    binding: Any = make(Decorated)
    assert reply(binding).text == "ok"
    assert binding.thread is threading.current_thread()


def test_methods_that_are_documented_without_async_are_fenced() -> None:
    def with_method(name: str, method: Any) -> Any:
        return make(type("Odd", (Documented,), {name: method}))

    async def coroutine(self: Any, *given: Any) -> list[str]:
        return ["text"]

    def leaves(self: Any, *given: Any) -> Any:
        raise SystemExit(2)

    for name in ("get_supported_input_modalities", "get_supported_output_modalities"):
        for method in (leaves, coroutine, lambda self: None, lambda self: "text"):
            with pytest.raises(EngineError):
                getattr(with_method(name, method), name)()
        assert getattr(with_method(name, lambda self: {"text"}), name)() == ["text"]
    with pytest.raises(EngineError):
        with_method("supports_input_role", leaves).supports_input_role("text", "x")
    with pytest.raises(EngineError):
        with_method("get_resource_requirements", lambda self, model=None: True).get_resource_requirements("m")
    assert with_method("supports_input_role", lambda self, kind, role: 1).supports_input_role("a", "b") is True


def test_abstract_methods_stay_abstract() -> None:
    class Half(Binding):
        binding_type_name = "half"

        def load_model(self, model_name: str) -> bool:  # type: ignore[override]
            return True

    with pytest.raises(TypeError, match="abstract"):
        Half({}, ResourceManager())  # type: ignore[abstract]


def test_embedding_is_not_there_unless_written() -> None:
    with pytest.raises(UnsupportedFeature):
        asyncio.run(make().embed(["x"]))
    with pytest.raises(LollmsError):
        asyncio.run(make().tokenize("x"))


def test_a_plain_stream_is_closed_when_its_caller_leaves_and_nobody_waits_for_that() -> None:
    busy, go, closed = threading.Event(), threading.Event(), threading.Event()

    class Busy(Documented):
        def generate_stream(self, *given: Any, **named: Any) -> Iterator[str]:  # type: ignore[override]
            try:
                yield "so far"
                busy.set()
                assert go.wait(10)
                yield "more"
            finally:
                closed.set()

    async def work() -> None:
        task = asyncio.create_task(ask(make(Busy), STREAM))
        assert await asyncio.to_thread(busy.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)
        assert not closed.is_set()
        go.set()
        assert await asyncio.to_thread(closed.wait, 5)

    asyncio.run(asyncio.wait_for(work(), 10))
