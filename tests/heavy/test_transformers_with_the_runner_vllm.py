"""vLLM in a worker, with a stand-in for vLLM that computes with transformers: what it is told, and what is made of its
tokens. vLLM itself was not run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import Cancelled, ConfigError, UnsupportedFeature
from lollms_core.fold import ReplyFold
from lollms_core.types import Batch, GenerationCall, Message, Params, Reply, Tool
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.transformers_settings import TransformersSettings
from lollms_runtime.engines.vllm_engine import VllmModel
from tests.support import vllm_stand_in

pytestmark = [pytest.mark.group("torch"), pytest.mark.timeout(180)]

HF = Path(__file__).resolve().parents[2] / "nano" / "hf"
PARIS = "What is the capital of France?"
WEATHER = Tool(
    "get_weather", "Get the weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}}
)


def settings(**more: Any) -> dict[str, Any]:
    return TransformersSettings(model=str(HF), runner="vllm", **more).to_load()


@pytest.fixture(scope="module")
def model() -> Iterator[VllmModel]:
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        vllm_stand_in.install(patch)
        made = VllmModel()
        made.load(settings(), lambda batch: None, Cancel())
        yield made
        made.unload()
    os.environ.clear()
    os.environ.update(before)


def ask(model: VllmModel, call: GenerationCall) -> Reply:
    fold = ReplyFold()
    model.generate(call, fold.add, Cancel())
    return fold.done()


def asking(text: str, **params: Any) -> GenerationCall:
    return GenerationCall((Message.user(text),), params=Params(**params))


def test_the_answer_is_that_of_transformers(model: VllmModel) -> None:
    reply = ask(model, asking(PARIS, temperature=0.0))
    assert reply.text.strip() == "The capital of France is Paris." and reply.finish_reason == "stop"
    assert reply.usage is not None and reply.usage.completion_tokens
    assert model.info().context_size == 1024 and model.detokenize(model.tokenize("Hello", False)) == "Hello"


def test_it_is_told_what_was_asked(model: VllmModel) -> None:
    engine = model._here.model
    assert engine.args.trust_remote_code is False and engine.args.load_format == "safetensors"
    assert engine.args.model == engine.args.tokenizer == str(HF)
    reply = ask(
        model, asking("Hi", temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, seed=3, max_tokens=4, repeat_last_n=9)
    )
    told = engine.made[-1]
    assert (told.temperature, told.top_p, told.top_k, told.min_p, told.seed) == (0.7, 0.9, 5, 0.1, 3)
    assert told.max_tokens == 4 and told.detokenize is False and 2 in told.stop_token_ids
    assert [item.name for item in reply.receipt] == ["repeat_last_n"]


def test_what_nobody_set_is_as_the_model_has_it(model: VllmModel, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.05}
    for name, value in own.items():
        monkeypatch.setattr(model._here.generation, name, value)
    ask(model, asking("Hi", max_tokens=2, top_k=7))
    told = model._here.model.made[-1]
    assert (told.temperature, told.top_p, told.top_k, told.repetition_penalty) == (0.6, 0.95, 7, 1.05)
    ask(model, asking("Hi", max_tokens=2, temperature=0.0, repeat_penalty=1.2, seed=2**63 + 5))
    told = model._here.model.made[-1]
    assert (told.temperature, told.repetition_penalty, told.seed) == (0.0, 1.2, 5)
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_stop_strings_limits_and_tools_are_ours(model: VllmModel) -> None:
    stopped = ask(model, asking(PARIS, temperature=0.0, stop=("ce is Pa",)))
    assert stopped.text.strip() == "The capital of Fran" and stopped.finish_reason == "stop"
    assert ask(model, asking(PARIS, temperature=0.0, max_tokens=3)).finish_reason == "length"
    call = GenerationCall(
        (Message.user("What is the weather in Paris?"),), params=Params(temperature=0.0), tools=(WEATHER,)
    )
    assert [each.arguments for each in ask(model, call).tool_calls] == [{"city": "Paris"}]


def test_a_cancel_ends_the_request_there_too(model: VllmModel) -> None:
    cancel = Cancel()
    seen: list[Batch] = []

    def emit(batch: Batch) -> None:
        seen.append(batch)
        cancel.set()

    engine = model._here.model
    before = len(engine.aborted)
    with pytest.raises(Cancelled):
        model.generate(asking("Tell me a story.", temperature=1.5, max_tokens=900), emit, cancel)
    assert len(engine.aborted) == before + 1 and len(seen) <= 2


def test_what_it_cannot_do_is_refused(model: VllmModel) -> None:
    with pytest.raises(UnsupportedFeature):
        model.embed(["x"], lambda batch: None, Cancel())
    with pytest.raises(ConfigError, match="auto"):
        VllmModel().load(settings(device="cpu"), lambda batch: None, Cancel())
