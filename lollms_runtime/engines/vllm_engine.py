"""vLLM in a worker, instead of transformers, on the same models: `runner: vllm` of a transformers engine.

Written from vLLM's public interface (`AsyncLLM`, `AsyncEngineArgs`, `SamplingParams`) and tested with a stand-in for
it, which computes with transformers; not run with vLLM itself. Folders, revisions and prompts are those of transformers
models, and so is the rule that no code of a model is run; vLLM is given tokens and gives tokens back.

A worker does one thing at a time, so this does not use what vLLM is best at, many requests at once. For that, let
`vllm serve` run and use the binding `vllm`.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from lollms_core.errors import ConfigError, EngineError, UnsupportedFeature
from lollms_core.types import Done, Embeddings, GenerationCall, ModelInfo, Params, ReceiptItem, Usage
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.transformers_answer import TokenAnswer, ids_of, prompt_for, stops_of
from lollms_runtime.engines.transformers_engine import TokenizerMethods
from lollms_runtime.engines.transformers_loading import Loaded, Read, loaded_of, read_model, refused
from lollms_runtime.engines.transformers_sampling import Sampling, sampling_of
from lollms_runtime.engines.worker_loop import Emit

__all__ = ["VllmModel"]

T = TypeVar("T")
_LOOK = 0.1  # seconds between two looks at whether an answer is still wanted
_BEAT = 5.0  # seconds between two signs of life


class VllmModel(TokenizerMethods):
    """One model in vLLM."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._count = 0

    def load(self, settings: dict[str, Any], emit: Emit, cancel: Cancel) -> ModelInfo:
        """See `transformers_loading.read_model`. Raises `ConfigError` for a device that vLLM does not choose itself."""
        if settings["device"] not in ("auto", "cuda"):
            raise ConfigError(f"device is {settings['device']!r}; vLLM chooses it, so it must be auto.")
        read = read_model(settings)
        self._loop = self._loop or asyncio.new_event_loop()
        try:
            engine = self._run(_made(read, settings))
        except Exception as error:  # each of its libraries has errors of its own
            raise refused(error, read.folder, settings["name"]) from error
        self._loaded = loaded_of(engine, read, settings, {"device": "auto", "dtype": settings["dtype"]})
        return self._loaded.info

    def unload(self) -> None:
        """Let go of the model and of vLLM's own processes."""
        if self._loaded is not None:
            self._loaded.model.shutdown()
            self._loaded = None
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def generate(self, call: GenerationCall, emit: Emit, cancel: Cancel) -> None:
        """Answer a call. Raises `ContextTooLong`, `InvalidRequest`, `UnsupportedFeature`."""
        here = self._here
        prompt = prompt_for(call, here)
        ids = ids_of(here, prompt)
        samples = bool(getattr(here.generation, "do_sample", False))
        sampling = sampling_of(call.params, len(ids), here.context, samples=samples)
        answer = TokenAnswer(here, stops_of(here, prompt, sampling), call, prompt)
        wanted = _sampling_params(call.params, sampling, here)
        self._run(self._answer(ids, wanted, answer, emit, cancel))
        usage = Usage(len(ids), answer.count, len(ids) + answer.count)
        receipt = (*prompt.receipt, *sampling.receipt, *_receipt(call.params))
        emit((*answer.close(), Done(answer.reason, usage, here.info.name, receipt)))

    async def _answer(self, ids: list[int], wanted: Any, answer: TokenAnswer, emit: Emit, cancel: Cancel) -> None:
        self._count += 1
        number, said = f"request-{self._count}", time.monotonic()
        engine = self._here.model
        outputs = engine.generate({"prompt_token_ids": ids}, wanted, number)
        try:
            coming = asyncio.ensure_future(anext(outputs))
            while not answer.over:
                done, _ = await asyncio.wait({coming}, timeout=_LOOK)
                cancel.check()
                if not done:
                    if time.monotonic() - said > _BEAT:
                        said = time.monotonic()
                        emit(())
                    continue
                output = coming.result()
                for token in output.outputs[0].token_ids:
                    if events := answer.add(int(token)):
                        emit(events)
                    if answer.over:
                        break
                if output.finished:
                    return
                coming = asyncio.ensure_future(anext(outputs))
        finally:
            coming.cancel()
            await asyncio.wait({coming})
            await outputs.aclose()
            await engine.abort(number)

    def embed(self, texts: Sequence[str], emit: Emit, cancel: Cancel) -> Embeddings:
        """Raises `UnsupportedFeature`: in vLLM a model either generates or embeds."""
        raise UnsupportedFeature("vLLM runs this model for texts, not for embeddings. Use the runner transformers.")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise EngineError("No model is loaded.")
        return self._loop.run_until_complete(work)


async def _made(read: Read, settings: dict[str, Any]) -> Any:
    arguments: Any = importlib.import_module("vllm.engine.arg_utils")
    engines: Any = importlib.import_module("vllm.v1.engine.async_llm")
    folder = str(read.folder)
    given = {
        "model": folder,
        "tokenizer": folder,
        "trust_remote_code": False,
        "dtype": settings["dtype"],
        "max_model_len": settings["context_size"],
        "load_format": "auto" if settings["allow_pickle"] else "safetensors",
    }
    if settings["quantisation"]:
        if settings["quantisation"] != "4bit":
            raise EngineError("vLLM quantises to 4bit while it loads, and to nothing else.")
        given["quantization"] = given["load_format"] = "bitsandbytes"
    return engines.AsyncLLM.from_engine_args(arguments.AsyncEngineArgs(**given))


def _sampling_params(params: Params, sampling: Sampling, here: Loaded) -> Any:
    """vLLM's own parameters; penalties are its own too, on all tokens. What nobody set is as the model has it."""
    module: Any = importlib.import_module("vllm.sampling_params")
    own = {name: getattr(here.generation, name, None) for name in ("temperature", "top_p", "top_k", "min_p")}
    fields = {**own, **sampling.fields}
    repeat = params.repeat_penalty
    if repeat is None:
        repeat = getattr(here.generation, "repetition_penalty", None)
    given: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "seed": None if sampling.seed is None else sampling.seed % 2**63,
        "stop_token_ids": list(here.ends),
        "detokenize": False,
        "output_kind": module.RequestOutputKind.DELTA,
        "repetition_penalty": repeat or 1.0,
        "presence_penalty": params.presence_penalty or 0.0,
        "frequency_penalty": params.frequency_penalty or 0.0,
        "temperature": 0.0,
    }
    if fields["do_sample"]:
        given["temperature"] = fields.get("temperature") or 1.0
        given |= {name: fields[name] for name in ("top_p", "top_k", "min_p") if fields.get(name) is not None}
    return module.SamplingParams(**given)


def _receipt(params: Params) -> tuple[ReceiptItem, ...]:
    if params.repeat_last_n is None:
        return ()
    return (ReceiptItem("repeat_last_n", "dropped", "vLLM's penalties look at all tokens"),)
