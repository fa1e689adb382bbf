"""A documented binding gets all that was asked: items as they were sent, who asks, and the sizes of its model."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import EngineError, LollmsError
from lollms_core.text.tokens import estimate
from lollms_core.types import GenerationCall, ImagePart, Message, Params, Tool
from lollms_server.api.models import InputData
from lollms_server.core.bindings import Binding, Surroundings, TokenCount
from lollms_server.core.requests import RequestContext
from tests.support.third_party_binding import CALL, Documented, ask, make, reply

B64 = base64.b64encode(b"\x89PNG...").decode()


def asked_with(binding: Documented, call: GenerationCall, *items: InputData, **about: Any) -> dict[str, Any]:
    """What the binding got for a call that belongs to a request with these items."""

    async def work() -> None:
        context = RequestContext("r" * 16, generation_type="tti")
        context.items = items
        for name, value in about.items():
            setattr(context, name, value)
        async with context.working():
            await ask(binding, call)

    asyncio.run(work())
    return binding.asked[-1]


def item(kind: str, role: str, data: str, mime: str | None = None, **metadata: Any) -> InputData:
    return InputData(type=kind, role=role, data=data, mime_type=mime, metadata=metadata or None)  # type: ignore[arg-type]


ITEMS = (
    item("text", "system_context", "Be brief."),
    item("image", "style_reference", B64, "image/png", file="a.png"),
    item("text", "user_prompt", "Draw a cat."),
    item("text", "negative_prompt", "dogs"),
    item("audio", "voice_sample", B64, "audio/wav"),
    item("document", "source", "# Title", "text/markdown"),
    item("image", "input_image", B64, "image/png"),
)


def test_items_besides_the_conversation_come_as_they_were_sent() -> None:
    call = GenerationCall((Message.system("Be brief."), Message.user("Draw a cat.")), "m")
    media = asked_with(make(answer="ok"), call, *ITEMS)["media"]
    assert media == [
        {"type": "image", "role": "style_reference", "data": B64, "mime_type": "image/png",
         "metadata": {"file": "a.png"}},
        {"type": "text", "role": "negative_prompt", "data": "dogs", "mime_type": None, "metadata": {}},
        {"type": "audio", "role": "voice_sample", "data": B64, "mime_type": "audio/wav", "metadata": {}},
        {"type": "document", "role": "source", "data": "# Title", "mime_type": "text/markdown", "metadata": {}},
        {"type": "image", "role": "input_image", "data": B64, "mime_type": "image/png", "metadata": {}},
    ]  # fmt: skip
    assert (media[0].role, media[0].metadata["file"], media[1].data) == ("style_reference", "a.png", "dogs")
    assert media[0].model_dump() == media[0]
    with pytest.raises(AttributeError):
        _ = media[0].nothing


def test_a_call_that_asks_something_else_has_its_own_images() -> None:
    image = ImagePart(b"gif", "image/gif")
    media = asked_with(make(answer="ok"), GenerationCall((Message.user("Refined.", [image]),), "m"), *ITEMS)["media"]
    assert [(each["type"], each["mime_type"]) for each in media] == [("image", "image/gif")]


def test_what_a_binding_changes_in_its_input_changes_nothing_elsewhere() -> None:
    call = GenerationCall((Message.user("Draw a cat."),), "m")
    asked = asked_with(make(answer="ok"), call, *ITEMS)
    asked["media"][0]["metadata"]["file"] = "changed"
    assert (ITEMS[1].metadata or {})["file"] == "a.png"


def test_it_learns_who_asks_and_what_may_be_called() -> None:
    tool = Tool("f", "Does it.", {"type": "object"})
    call = GenerationCall((Message.user("x"),), "m", tools=(tool,), schema={"type": "object"})
    info = asked_with(make(answer="ok"), call, personality="artist", functions=("a.b",))["info"]
    assert (info["personality"], info["functions"], info["generation_type"]) == ("artist", ["a.b"], "tti")
    assert (info["request_id"], info["binding_instance_name"], info["model_name"]) == ("r" * 16, "mine", "m")
    function = {"name": "f", "description": "Does it.", "parameters": {"type": "object"}}
    assert info["tools"] == [{"type": "function", "function": function}]
    assert info["response_schema"] == {"type": "object"}
    plain = asked_with(make(answer="ok"), CALL)["info"]
    assert "tools" not in plain and "response_schema" not in plain
    assert (plain["personality"], plain["functions"]) == (None, [])


# ---- sizes ---------------------------------------------------------------------------------------------------------


class Sized(Documented):
    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        self.loads.append(f"info {model_name}")
        known: dict[str, dict[str, Any]] = self.config.get("models", {})
        return {"name": model_name, **known.get(str(model_name), {})}


def test_sizes_are_the_models_else_the_configurations_and_never_over_what_was_set() -> None:
    models = {
        "m": {"context_size": 99, "max_output_tokens": None},
        "n": {"context_size": "big", "max_output_tokens": 5},
    }
    binding: Any = make(Sized, answer="ok", models=models)
    binding.attach(Surroundings(Path("."), default_context_size=1111, default_max_output_tokens=222))

    async def work() -> list[Any]:
        for model, params in (("m", Params()), ("m", Params(max_tokens=7)), ("n", Params(ctx_size=8)), ("n", Params())):
            await ask(binding, GenerationCall((Message.user("x"),), model, params))
        return [each["params"] for each in binding.asked]

    assert asyncio.run(work()) == [
        {"context_size": 99, "max_tokens": 222},
        {"context_size": 99, "max_tokens": 7},
        {"context_size": 8, "max_tokens": 5},
        {"context_size": 1111, "max_tokens": 5},
    ]
    assert binding.loads == ["m", "info m", "n", "info n"]  # once for each loading


def test_without_a_configuration_the_documented_defaults_are_used() -> None:
    binding = make(answer="ok")
    reply(binding)
    assert binding.asked[0]["params"] == {"context_size": 4096, "max_tokens": 1024}


# ---- what a model takes --------------------------------------------------------------------------------------------


class SeesWhenLoaded(Documented):
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"] if self._model_loaded else ["text"]


def modalities(binding: Binding, *items: InputData, model: str = "m") -> list[str]:
    async def work() -> list[str]:
        context = RequestContext("r" * 16)
        context.items = items
        async with context.working():
            return list(await binding.get_model_input_modalities(model))

    return asyncio.run(work())


def test_the_first_image_after_a_start_is_taken() -> None:
    binding = make(SeesWhenLoaded)
    assert modalities(binding, ITEMS[2]) == ["text"]
    assert binding.loads == []
    assert modalities(binding, ITEMS[2], ITEMS[6]) == ["text", "image"]
    assert binding.loads == ["m"]


class SeesWithOne(Documented):
    def get_supported_input_modalities(self) -> list[str]:
        return ["text", "image"] if self.loads[-1:] == ["m"] else ["text"]


def test_what_one_model_takes_does_not_depend_on_who_asked_another_before() -> None:
    binding = make(SeesWithOne, answer="ok")

    async def work() -> None:
        context = RequestContext("r" * 16)
        context.items = ITEMS
        async with context.working():
            for model, expected in (("m", True), ("n", False), ("m", True), ("n", False)):
                assert ("image" in await binding.get_model_input_modalities(model)) == expected

    asyncio.run(work())


def test_a_model_that_cannot_be_loaded_says_so_and_without_a_model_nothing_is_loaded() -> None:
    with pytest.raises(LollmsError, match="could not be loaded"):
        modalities(make(SeesWhenLoaded), ITEMS[6], model="missing")
    assert modalities(make(SeesWhenLoaded), ITEMS[6], model="") == ["text"]


# ---- tokens --------------------------------------------------------------------------------------------------------


class Tokenizing(Documented):
    async def tokenize(self, text: str, add_bos: bool = False) -> list[int]:  # type: ignore[override]
        assert self._model_loaded
        return [1] * (len(text.split()) + add_bos)


class Counting(Documented):
    async def count_tokens(self, text: str, model_name: str | None = None) -> Any:  # type: ignore[override]
        return self.config.get("count", len(text))


class Refusing(Documented):
    async def tokenize(self, *given: Any, **named: Any) -> list[int]:
        raise NotImplementedError


def counted(binding: Binding, text: str = "one two", **more: Any) -> TokenCount:
    return asyncio.run(binding.token_count(text, **more))


def test_tokens_are_exact_where_the_binding_can_and_else_say_that_they_are_not() -> None:
    assert counted(make(Tokenizing), model_name="m", add_bos=True) == TokenCount(3, True)
    assert counted(make(Tokenizing, default_model="d"), add_eos=True) == TokenCount(2, True)
    assert counted(make(Counting), model_name="m") == TokenCount(7, True)
    for binding in (make(), make(Refusing)):
        assert counted(binding, model_name="m") == TokenCount(estimate("one two"), False)
    assert counted(make(), "word " * 20_000) == TokenCount(estimate("word " * 20_000), False)


@pytest.mark.parametrize("count", [-1, True, None, "7", 2.5])
def test_a_count_that_is_no_number_is_an_error(count: Any) -> None:
    with pytest.raises(EngineError):
        counted(make(Counting, count=count), model_name="m")


def test_a_model_stays_loaded_while_a_documented_method_uses_it() -> None:
    binding = make(Tokenizing, answer="ok")

    async def work() -> None:
        async with binding.model_ready("m") as name:
            assert name == "m"
            other = asyncio.create_task(ask(binding, GenerationCall((Message.user("x"),), "n")))
            for _ in range(20):
                await asyncio.sleep(0)
            assert binding.loads == ["m"]
            assert len(await binding.tokenize("a b")) == 2
        await other
        assert binding.loads == ["m", "n"]

    asyncio.run(asyncio.wait_for(work(), 5))


def test_loading_for_a_question_never_waits_for_somebody_who_waits_for_it() -> None:
    """One holds the card and wants in; the other is in, loading, and needs the card."""

    class Card(Documented):
        def get_resource_requirements(self, model_name: str | None = None) -> dict[str, Any]:
            return {"gpu_required": True}

        async def load_model(self, model_name: str) -> bool:
            await asyncio.sleep(0)
            async with self.resource_manager.acquire_gpu_resource():  # type: ignore[union-attr]
                return await super().load_model(model_name)

    async def work() -> None:
        binding = make(Card, answer="ok")
        manager = binding.resource_manager
        assert manager is not None

        async def generate(model: str) -> None:
            async with manager.acquire_gpu_resource(model):
                await ask(binding, GenerationCall((Message.user("x"),), model))

        async def look(model: str) -> None:
            async with binding.model_ready(model):
                await asyncio.sleep(0)

        await asyncio.gather(*(work(f"m{n % 3}") for n in range(12) for work in (look, generate)))

    asyncio.run(asyncio.wait_for(work(), 5))
