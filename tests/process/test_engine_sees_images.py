"""An image reaches the model of a llama.cpp engine, the right one, whatever else the engine does at the same time.

Model and projector have random weights: the answers mean nothing, but they depend on every token and every pixel that
the model has read. So an answer shows whether an image arrived, and which.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import Cancelled, InvalidRequest, ModelLoadFailed, UnsupportedFeature
from lollms_core.types import Batch, Embeddings, GenerationCall, ImagePart, Message, Params, Progress
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.llamacpp import LlamaCppEngine
from tests.support.engines import ask, asking, get, running, until
from tests.support.media_files import b64, gif, jpeg, png, png_chunk, png_claiming, wav, webp
from tests.support.raw_http import Answer, prompt
from tests.support.raw_http import ask as request
from tests.support.server import Served, running_server
from tests.support.tiny_gguf import write_random_llama
from tests.support.tiny_projector import TOKENS, write_random_projector

pytestmark = [pytest.mark.group("engine"), pytest.mark.group("gguf")]

WIDTH = 128
COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 20)]
RED, GREEN, BLUE, YELLOW = (png(16, 16, colour) for colour in COLOURS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    write_random_llama(path / "text.gguf", layers=2, width=WIDTH, feed_forward=256)
    write_random_projector(path / "eyes.gguf", width=WIDTH)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[LlamaCppEngine]:
    settings: dict[str, Any] = {"image_projector": folder / "eyes.gguf", "context_size": 4096, "threads": 1}
    with running(folder / "text.gguf", parallel=4, **settings) as it:
        it.ready().result(30)
        yield it


def seeing(*images: bytes, text: str = "What is it?", mime: str = "image/png", tokens: int = 12) -> GenerationCall:
    parts = [ImagePart(image, mime) for image in images]
    return GenerationCall((Message.user(text, parts),), params=Params(max_tokens=tokens, temperature=0.0), stream=True)


def text_of(engine: LlamaCppEngine, call: GenerationCall) -> str:
    return ask(engine, call).text


def test_the_engine_says_that_it_sees(engine: LlamaCppEngine) -> None:
    assert engine.model_info().supports_vision


def test_other_images_give_other_answers_and_the_same_one_the_same(engine: LlamaCppEngine) -> None:
    answers = [text_of(engine, seeing(image)) for image in (RED, GREEN, RED, BLUE)]
    assert answers[0] == answers[2]
    assert len(set(answers)) == 3
    assert text_of(engine, asking("What is it?", max_tokens=12, temperature=0.0)) not in answers


def test_an_image_takes_its_tokens(engine: LlamaCppEngine) -> None:
    def used(*images: bytes) -> int:
        usage = ask(engine, seeing(*images)).usage
        assert usage is not None and usage.prompt_tokens is not None
        return usage.prompt_tokens

    assert used(RED, GREEN) - used(RED) == used(RED) - used()
    assert used(RED) - used() >= TOKENS


@pytest.mark.parametrize(
    ("data", "mime"),
    [(RED, "image/png"), (jpeg(16, 16, 60), "image/jpeg"), (gif(4, 4), "image/gif"), (gif(4, 4, 3), "image/gif")],
    ids=["png", "jpeg", "gif", "animated gif"],
)
def test_formats_that_are_read(engine: LlamaCppEngine, data: bytes, mime: str) -> None:
    assert text_of(engine, seeing(data, mime=mime)) != text_of(engine, seeing())


def test_pixels_are_the_same_in_whatever_form_they_come(engine: LlamaCppEngine) -> None:
    deep = png(16, 16, COLOURS[0], depth=16)
    assert text_of(engine, seeing(deep)) == text_of(engine, seeing(RED))
    grey = png(16, 16, (60, 60, 60))
    assert text_of(engine, seeing(jpeg(16, 16, 60), mime="image/jpeg")) == text_of(engine, seeing(grey))
    assert text_of(engine, seeing(jpeg(16, 16, 60, components=4), mime="image/jpeg")) != text_of(engine, seeing())


def test_webp_is_refused_in_words_before_it_gets_to_another_program(engine: LlamaCppEngine) -> None:
    with pytest.raises(InvalidRequest, match=r"does not read image/webp.*image/png, image/jpeg, image/gif"):
        ask(engine, seeing(webp(), mime="image/webp"))


def test_an_image_that_cannot_be_decoded_is_the_callers_fault_and_hurts_nobody(engine: LlamaCppEngine) -> None:
    hopeless = RED[:33] + png_chunk(b"IDAT", b"no pixels") + png_chunk(b"IEND")
    pid = engine.pid
    with pytest.raises(InvalidRequest):
        ask(engine, seeing(hopeless))
    assert text_of(engine, seeing(RED)) != text_of(engine, seeing(GREEN))
    assert engine.pid == pid


def test_an_image_of_one_request_is_never_seen_by_another(engine: LlamaCppEngine) -> None:
    images = [RED, GREEN, BLUE, YELLOW]
    alone = [text_of(engine, seeing(image)) for image in images]
    assert len(set(alone)) == len(images)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda place: text_of(engine, seeing(images[place % 4])), range(40)))
    assert together == alone * 10


def test_a_conversation_goes_on_after_an_image(engine: LlamaCppEngine) -> None:
    params = Params(max_tokens=12, temperature=0.0)

    def later(*images: bytes) -> str:
        first = Message.user("Look.", [ImagePart(image, "image/png") for image in images])
        turns = (first, Message.assistant("Yes."), Message.user("What was it?"))
        return text_of(engine, GenerationCall(turns, params=params, stream=True))

    answers = [later(RED), later(GREEN), later(), later(RED)]
    assert answers[0] == answers[3]
    assert len(set(answers)) == 3


def test_long_prompts_with_images_take_turns_and_keep_their_images(folder: Path) -> None:
    words = " ".join(f"word{number}" for number in range(500))
    calls = [seeing(image, text=words) for image in (RED, GREEN, BLUE)]
    settings: dict[str, Any] = {"image_projector": folder / "eyes.gguf", "context_size": 8192, "threads": 1}
    with running(folder / "text.gguf", parallel=1, **settings) as one:
        alone = [text_of(one, call) for call in calls]
    stages: list[int] = [0, 0, 0]

    def work(place: int) -> str:
        def seen(batch: Batch) -> None:
            stages[place] += sum(isinstance(event, Progress) and event.kind == "prefill" for event in batch)

        return ask(three, calls[place], seen).text

    with running(folder / "text.gguf", parallel=3, **settings) as three:
        three.ready().result(30)
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(work, range(3)))
    assert together == alone
    assert min(stages) >= 2


def test_a_cancelled_image_leaves_its_slot(engine: LlamaCppEngine) -> None:
    cancel, begun = Cancel(), threading.Event()

    def work() -> None:
        with pytest.raises(Cancelled):
            ask(engine, seeing(RED, tokens=3000), lambda batch: begun.set(), cancel)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    cancel.set()
    thread.join(10)
    until(lambda: not any(slot["is_processing"] for slot in get(engine, "/slots")), what="idle slots")
    assert text_of(engine, seeing(RED)) == text_of(engine, seeing(RED))


def test_without_a_projector_images_are_refused_in_words(folder: Path) -> None:
    with running(folder / "text.gguf") as blind:
        with pytest.raises(UnsupportedFeature, match="image"):
            ask(blind, seeing(RED))
        assert not blind.model_info().supports_vision


def test_a_projector_of_another_model_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    other = write_random_projector(tmp_path / "other.gguf", width=WIDTH * 2)
    with running(folder / "text.gguf", image_projector=other) as wrong:
        with pytest.raises(ModelLoadFailed, match="cannot be loaded"):
            wrong.ready().result(30)


# ---- through the server ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    common = {"type": "llamacpp_binding", "default_model": str(folder / "text.gguf"), "n_ctx": 2048, "n_threads": 1}
    instances = {
        "eyes": {**common, "clip_model_path": str(folder / "eyes.gguf"), "n_parallel": 2},
        "blind": {**common, "n_parallel": 1, "embedding": True},
    }
    config = {"bindings_map": dict.fromkeys(instances, "llamacpp_binding"), "defaults": {"ttt_binding": "eyes"}}
    with running_server(None, config, instances) as served:
        yield served


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with serving(folder) as served:
        served.wait_until(lambda: served.services.manager.models == "ready", 30)
        yield served


def look(server: Served, data: str, mime: str | None = "image/png", **more: Any) -> Answer:
    body = prompt("What is it?", parameters={"max_tokens": 12, "temperature": 0.0}, **more)
    body["input_data"].append({"type": "image", "role": "input_image", "data": data, "mime_type": mime})
    return request(server.port, "POST", "/api/v1/generate", body, server.headers)


def said(answer: Answer) -> str:
    assert answer.status == 200, answer
    return str(answer.json()["output"][0]["data"])


def test_the_first_request_of_a_fresh_start_may_have_an_image(folder: Path, engine: LlamaCppEngine) -> None:
    with serving(folder) as fresh:
        assert said(look(fresh, b64(RED))) == text_of(engine, seeing(RED))
        assert said(look(fresh, b64(GREEN), "image/jpeg")) == text_of(engine, seeing(GREEN))


def test_the_server_says_which_of_its_models_see(server: Served) -> None:
    def info(instance: str) -> Any:
        return request(server.port, "GET", f"/api/v1/get_model_info/{instance}", None, server.headers).json()

    assert info("eyes")["supports_vision"] is True
    assert info("blind")["supports_vision"] is False


def test_images_for_a_model_that_does_not_see_are_refused(server: Served) -> None:
    answer = look(server, b64(RED), binding_name="blind")
    assert answer.status == 400
    assert "input_data[1]" in answer.json()["detail"]
    assert "does not take image" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b64(RED[:-9]), "cut off"),
        (b64(png_claiming(50_000, 50_000)), "40,000,000"),
        (b64(wav()), "audio/wav"),
        ("http://127.0.0.1:1/x.png", "fetches nothing"),
        (b64(webp()), "image/webp"),
    ],
    ids=["cut off", "a bomb", "a sound", "an address", "webp"],
)
def test_bad_images_never_reach_the_engine(server: Served, data: str, words: str) -> None:
    answer = look(server, data)
    assert answer.status == 400
    assert words in answer.json()["detail"]


def test_an_instance_may_also_turn_texts_into_vectors(server: Served) -> None:
    async def embed(instance: str, *texts: str) -> Embeddings:
        _, binding = await server.services.manager.for_request(instance, "ttt")
        return await binding.embed(texts)

    def vectors(instance: str, *texts: str) -> Embeddings:
        return asyncio.run_coroutine_threadsafe(embed(instance, *texts), server.loop).result(20)

    first, second, third = vectors("blind", "one text", "another", "one text").vectors
    assert len(first) == WIDTH
    assert first == pytest.approx(third, abs=1e-4)
    assert first != second
    with pytest.raises(UnsupportedFeature, match="embedding: true"):
        vectors("eyes", "x")


def test_the_tokens_that_begin_and_end_a_text_are_added_when_asked_for(server: Served) -> None:
    async def tokens(**more: bool) -> list[int]:
        _, binding = await server.services.manager.for_request("blind", "ttt")
        return list(await binding.tokenize("one text <|im_end|>", **more))

    def now(**more: bool) -> list[int]:
        return asyncio.run_coroutine_threadsafe(tokens(**more), server.loop).result(20)

    plain = now()
    assert len(plain) > 4  # the marker inside of the text is just text
    begun, ended = now(add_bos=True), now(add_eos=True)
    assert begun[1:] == plain == ended[:-1]
    assert begun[0] != ended[-1]
    assert now(add_bos=True, add_eos=True) == [begun[0], *plain, ended[-1]]
