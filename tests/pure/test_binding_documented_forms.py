"""A documented binding in any documented form answers like every other; whatever it raises is a typed error."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from lollms_core.errors import (
    ConnectFailed,
    EngineError,
    InvalidRequest,
    LollmsError,
    RateLimited,
    UnknownModel,
    UnsupportedFeature,
    UpstreamTimeout,
)
from lollms_core.types import (
    Batch,
    GenerationCall,
    ImagePart,
    Item,
    Media,
    Message,
    Notice,
    Params,
    Progress,
    Reply,
    TextPart,
    ToolCall,
    Usage,
)
from lollms_server.core.requests import RequestContext
from lollms_server.core.resource_manager import ResourceManager
from tests.support.third_party_binding import CALL, STREAM, Documented, Streaming, ask, make, reply

PNG = b"\x89PNG..."
B64 = base64.b64encode(PNG).decode()
HELLO = Reply("Hello.", items=(Item("text", "Hel"), Item("text", "lo.")), model="m")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Hello.", Reply("Hello.", model="m")),
        ("", Reply("", model="m")),
        (None, Reply("", model="m")),
        ({"text": "Hello."}, Reply("Hello.", model="m")),
        ({"type": "text", "data": "Hello."}, Reply("Hello.", model="m")),
        ([{"type": "text", "data": "Hel"}, {"type": "text", "data": "lo."}], HELLO),
        (["Hel", {"text": "lo."}], HELLO),
        ([{"type": "text", "data": "Hello."}], Reply("Hello.", model="m")),
        ("<think>why</think>Because.", Reply("Because.", "why", model="m")),
        ("<think>why", Reply("", "why", model="m")),
        ({"type": "text", "data": "<think>x</think>", "thoughts": "t"}, Reply("<think>x</think>", "t", model="m")),
        ({"image_base64": B64}, Reply(media=(Media(PNG, "image/png"),), model="m")),
        ({"type": "image", "data": B64, "mime_type": "image/gif"}, Reply(media=(Media(PNG, "image/gif"),), model="m")),
        ({"audio_base64": B64}, Reply(media=(Media(PNG, "audio/wav"),), model="m")),
        ({"answer": 42}, Reply(items=(Item("json", {"answer": 42}),), model="m")),
        (
            {
                "text": "x",
                "metadata": {
                    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
                    "finish_reason": "length",
                    "model_used": "m-1",
                },
            },
            Reply("x", usage=Usage(1, 2, 3), finish_reason="length", model="m-1"),
        ),
        ({"text": "x", "metadata": {"usage": {"prompt_tokens": -1, "total_tokens": "3"}}},
         Reply("x", usage=Usage(), model="m")),
        ([{"type": "function_call", "data": {"id": "c", "name": "f", "arguments": {"a": 1}}}],
         Reply("", tool_calls=(ToolCall("c", "f", {"a": 1}),), finish_reason="tool_calls", model="m")),
    ],
)  # fmt: skip
def test_every_documented_form_of_an_answer(answer: Any, expected: Reply) -> None:
    assert reply(make(answer=answer)) == expected


def test_a_binding_that_cannot_stream_answers_a_stream_in_one_piece() -> None:
    binding = make(answer="Hello there.")
    call = GenerationCall((Message.user("x"),), model="m", stream=True)
    assert reply(binding, call).text == "Hello there."
    assert not binding.supports_streaming


def test_the_default_generate_stream_has_the_documented_chunks() -> None:
    async def collect() -> list[Any]:
        return [chunk async for chunk in make(answer={"text": "Hello.", "thoughts": "t"}).generate_stream("x", {}, {})]

    item = {"type": "text", "data": "Hello.", "thoughts": "t"}
    assert asyncio.run(collect()) == [
        {"type": "chunk", "content": "Hello.", "thoughts": "t", "metadata": {}},
        {"type": "final", "content": [item], "thoughts": None, "metadata": {}},
    ]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (["Hel", "lo."], Reply("Hello.", model="m")),
        ([{"text": "Hel"}, {"type": "chunk", "text": "lo."}], Reply("Hello.", model="m")),
        ([{"type": "chunk", "content": "Hel"}, {"content": "lo."}, {"type": "final", "content": []}],
         Reply("Hello.", model="m")),
        ([{"type": "chunk", "content": "Hello."}, {"type": "final", "content": [{"type": "text", "data": "Hello."}],
           "metadata": {"usage": {"total_tokens": 3}}}], Reply("Hello.", usage=Usage(None, None, 3), model="m")),
        ([{"type": "chunk", "content": "Hello."}, {"type": "final", "content": ""}], Reply("Hello.", model="m")),
        ([{"type": "final", "content": [{"type": "text", "data": "Hello."}]}], Reply("Hello.", model="m")),
        ([{"type": "final", "content": "Hello."}], Reply("Hello.", model="m")),
        (["<thi", "nk>why</thi", "nk>Hello."], Reply("Hello.", "why", model="m")),
        ([{"type": "chunk", "content": "Hello.", "thoughts": "why"},
          {"type": "final", "content": [{"type": "text", "data": "Hello.", "thoughts": "why"}]}],
         Reply("Hello.", "why", model="m")),
        ([{"type": "chunk", "content": None}, "x", {"type": "info", "content": "note"}], Reply("x", model="m")),
    ],
)  # fmt: skip
def test_every_documented_form_of_a_stream(chunks: list[Any], expected: Reply) -> None:
    assert reply(make(Streaming, chunks=chunks, answer="not this"), STREAM) == expected


def test_information_becomes_a_notice() -> None:
    batches = asyncio.run(ask(make(Streaming, chunks=[{"type": "info", "content": "Nearly there"}]), STREAM))[1]
    assert [Notice("info", "Nearly there")] in batches


def test_a_call_that_is_not_streamed_never_uses_the_stream() -> None:
    assert reply(make(Streaming, chunks=["streamed"], answer="whole")).text == "whole"


def test_a_generate_that_returns_a_generator_is_read_to_its_end() -> None:
    class Odd(Documented):
        async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
            async def chunks() -> AsyncIterator[Any]:
                yield {"type": "chunk", "content": "in "}
                yield "pieces"

            return chunks()

    assert reply(make(Odd)).text == "in pieces"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ValueError("temperature must be low"), InvalidRequest),
        (NotImplementedError(), UnsupportedFeature),
        (TimeoutError(), UpstreamTimeout),
        (ConnectionRefusedError("no"), ConnectFailed),
        (RuntimeError("/home/me/key=secret"), EngineError),
        (SystemExit(3), EngineError),
        (RateLimited("Slow down."), RateLimited),
        (KeyError("x"), EngineError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_whatever_it_raises_is_a_typed_error(raised: BaseException, kind: type[LollmsError], stream: bool) -> None:
    class Failing(Streaming):
        async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
            raise raised

    binding = make(Failing, chunks=["one", raised])
    with pytest.raises(kind) as caught:
        reply(binding, STREAM if stream else CALL)
    assert "secret" not in caught.value.message
    assert ("temperature" in caught.value.message) == isinstance(raised, ValueError)


@pytest.mark.parametrize("answer", [5, b"bytes", object(), {"type": "text", "data": 5}, [[5]]])
def test_an_answer_in_no_documented_form_is_an_error_of_the_binding(answer: Any) -> None:
    with pytest.raises(EngineError):
        reply(make(answer=answer))


def test_an_error_item_fails_the_answer() -> None:
    with pytest.raises(EngineError):
        reply(make(answer={"type": "error", "data": "secret path"}))
    with pytest.raises(EngineError):
        reply(make(answer={"image_base64": "not base64!"}))


# ---- what it is given ----------------------------------------------------------------------------------------------


def test_it_gets_the_documented_arguments() -> None:
    binding = make(answer="ok")

    async def work() -> None:
        context = RequestContext("r" * 16)
        async with context.working():
            messages = (Message.system("Be brief."), Message("user", (TextPart("hi"), ImagePart(PNG, "image/png"))))
            params = Params(max_tokens=5, stop=("END",), ctx_size=99, extra={"knob": [1]})
            await ask(binding, GenerationCall(messages, "m", params))

    asyncio.run(work())
    asked = binding.asked[0]
    assert asked["prompt"] == "hi"
    assert asked["params"] == {
        "max_tokens": 5, "stop": ["END"], "context_size": 99, "knob": [1], "system_message": "Be brief.",
    }  # fmt: skip
    assert asked["info"]["request_id"] == "r" * 16
    assert {"personality", "functions", "generation_type"} <= set(asked["info"])
    assert asked["media"] == [
        {"type": "image", "role": "input_image", "data": B64, "mime_type": "image/png", "metadata": {}}
    ]


def test_a_history_is_in_the_prompt_and_as_messages() -> None:
    binding = make(answer="ok")
    turns = (
        Message.user("one"),
        Message.assistant("two", [ToolCall("c", "f", {"a": 1})]),
        Message.tool("c", "three"),
        Message.user("four"),
    )
    reply(binding, GenerationCall(turns, "m"))
    assert binding.asked[0]["prompt"] == "!@>user:\none\n!@>assistant:\ntwo\n!@>tool:\nthree\n!@>user:\nfour"
    messages = binding.asked[0]["info"]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert messages[2]["tool_call_id"] == "c"


def _only_two() -> type[Documented]:
    class OnlyTwo(Documented):
        async def generate(self, prompt: str, params: Any) -> Any:  # type: ignore[override]
            return f"{prompt} {params['top_k']}"

    return OnlyTwo


def _other_names() -> type[Documented]:
    class OtherNames(Documented):
        async def generate(self, text: str, options: Any, info: Any) -> Any:  # type: ignore[override]
            return f"{text} {options['top_k']}"

    return OtherNames


def _other_order() -> type[Documented]:
    class OtherOrder(Documented):
        async def generate(self, prompt: str, request_info: Any, params: Any) -> Any:  # type: ignore[override]
            return f"{prompt} {params['top_k']}"

    return OtherOrder


def _some_keywords() -> type[Documented]:
    class SomeKeywords(Documented):
        async def generate(self, text: str, options: Any, **more: Any) -> Any:  # type: ignore[override]
            assert sorted(more) == ["multimodal_data", "request_info"]
            return f"{text} {options['top_k']}"

    return SomeKeywords


def _keywords() -> type[Documented]:
    class Keywords(Documented):
        async def generate(self, **given: Any) -> Any:  # type: ignore[override]
            return f"{given['prompt']} {given['params']['top_k']}"

    return Keywords


@pytest.mark.parametrize("kind", [_only_two(), _other_names(), _other_order(), _some_keywords(), _keywords()])
def test_it_gets_only_the_arguments_its_signature_accepts(kind: type[Documented]) -> None:
    assert reply(make(kind), GenerationCall((Message.user("x"),), "m", Params(top_k=7))).text == "x 7"


def test_a_constructor_that_forgets_the_base_class_still_works() -> None:
    class Forgetful(Documented):
        def __init__(self, config: dict[str, Any], resource_manager: ResourceManager) -> None:
            self.config = config
            self.loads, self.asked = [], []

    assert reply(make(Forgetful, answer="fine")).text == "fine"


# ---- models --------------------------------------------------------------------------------------------------------


def test_the_model_is_loaded_once_and_its_loading_is_told() -> None:
    binding = make(answer="ok")
    first = asyncio.run(ask(binding))[1]
    assert isinstance(first[0][0], Progress) and first[0][0].kind == "load"

    async def twice() -> list[Batch]:
        other = make(answer="ok")
        await ask(other)
        batches = (await ask(other))[1]
        assert other.loads == ["m"]
        return batches

    assert not any(isinstance(event, Progress) for batch in asyncio.run(twice()) for event in batch)


def test_without_a_model_the_default_is_used_and_without_that_the_caller_is_asked() -> None:
    binding = make(answer="ok", default_model="d")
    assert reply(binding, GenerationCall((Message.user("x"),))).model == "d"
    with pytest.raises(InvalidRequest, match="default_model"):
        reply(make(answer="ok"), GenerationCall((Message.user("x"),)))


def test_a_model_that_cannot_be_loaded_is_the_callers_mistake() -> None:
    with pytest.raises(UnknownModel, match="missing"):
        reply(make(answer="ok"), GenerationCall((Message.user("x"),), "missing"))


def test_after_a_model_that_cannot_be_loaded_the_other_is_served_again() -> None:
    binding = make(answer="ok")

    async def work() -> None:
        await ask(binding)
        with pytest.raises(UnknownModel):
            await ask(binding, GenerationCall((Message.user("x"),), "missing"))
        assert (await ask(binding))[0].text == "ok"

    asyncio.run(work())
    assert binding.loads == ["m", "missing", "m"]


def test_nobodys_model_is_switched_while_it_runs() -> None:
    """A hundred requests for three models at once: each sees its own model loaded from beginning to end."""

    class OneAtATime(Documented):
        async def load_model(self, model_name: str) -> bool:
            self.loads.append(model_name)
            self.model_name = None
            await asyncio.sleep(0)
            self.model_name = model_name
            self._model_loaded = True
            return True

        async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
            seen = []
            for _ in range(3):
                seen.append(self.model_name)
                await asyncio.sleep(0)
            return {"text": f"{prompt} {set(seen)}"}

    binding = make(OneAtATime)

    async def one(number: int) -> None:
        model = f"m{number % 3}"
        got, _ = await ask(binding, GenerationCall((Message.user(str(number)),), model))
        assert (got.text, got.model) == (f"{number} {{'{model}'}}", model)

    async def all_at_once() -> None:
        await asyncio.gather(*(one(number) for number in range(100)))

    asyncio.run(asyncio.wait_for(all_at_once(), 20))


# ---- stopping ------------------------------------------------------------------------------------------------------


def test_stopping_closes_the_bindings_generator_and_frees_the_model() -> None:
    closed = asyncio.Event()

    class Endless(Documented):
        async def generate_stream(
            self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None
        ) -> AsyncIterator[Any]:
            try:
                while True:
                    yield "word "
                    await asyncio.sleep(0)
            finally:
                closed.set()

    async def work() -> None:
        binding = make(Endless, answer="ok")
        async with binding.open(STREAM) as batches:
            async for batch in batches:
                if any(isinstance(event, Progress) for event in batch):
                    continue
                break
        assert closed.is_set()
        assert (await ask(binding, GenerationCall((Message.user("x"),), "other")))[0].text == "ok"

    asyncio.run(asyncio.wait_for(work(), 10))


def test_optional_methods_say_that_they_are_not_there() -> None:
    binding = make(answer="ok")

    async def work(method: Callable[..., Awaitable[Any]], *given: Any) -> None:
        with pytest.raises(NotImplementedError):
            await method(*given)

    asyncio.run(work(binding.tokenize, "x"))
    asyncio.run(work(binding.detokenize, [1]))
    asyncio.run(work(binding.count_tokens, "x"))
    assert binding.supports_input_role("text", "anything")
    assert not binding.supports_input_role("image", "input_image")
    assert asyncio.run(binding.health_check())[0] is True
    assert binding.get_resource_requirements() == {"gpu_required": False, "estimated_vram_mb": 0}
