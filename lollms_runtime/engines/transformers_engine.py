"""Models of Hugging Face's transformers, as they run in a worker (see `worker_loop.Worked`).

The library's own `generate` does the work, so that every kind of model it knows can be used. We look in after each
token, by a stopping criterion, and before each layer, by a hook; so a request stops at the next token, or in the middle
of a long prompt, which is read 256 tokens at a time. What comes of the tokens is decided here: text, thoughts, calls of
tools, and where to stop.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import time
from collections.abc import Iterator, Sequence
from typing import Any

from lollms_core.errors import ContextTooLong, EngineError, InvalidRequest
from lollms_core.types import Batch, Done, Embeddings, GenerationCall, ModelInfo, Usage
from lollms_runtime.cancel import Cancel
from lollms_runtime.engines.transformers_answer import TokenAnswer, ids_of, prompt_for, stops_of
from lollms_runtime.engines.transformers_loading import Loaded, load
from lollms_runtime.engines.transformers_prompt import Prompt
from lollms_runtime.engines.transformers_sampling import Penalties, Sampling, sampling_of
from lollms_runtime.engines.worker_loop import Emit

__all__ = ["TokenizerMethods", "TransformersModel"]

_STAGE = 256  # tokens of a prompt that are read at once
_BEAT = 5.0  # seconds between two signs of life


class TokenizerMethods:
    """What needs only the tokenizer of a loaded model."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None

    @property
    def _here(self) -> Loaded:
        if self._loaded is None:
            raise EngineError("No model is loaded.")
        return self._loaded

    def info(self) -> ModelInfo:
        """What is known of the model."""
        return self._here.info

    def tokenize(self, text: str, markers: bool) -> list[int]:
        """See `Worked.tokenize`."""
        more = {} if markers else {"split_special_tokens": True}
        ids: list[int] = self._here.tokenizer(text, add_special_tokens=False, **more)["input_ids"]
        return ids

    def detokenize(self, tokens: Sequence[int]) -> str:
        """See `Worked.detokenize`. Raises `InvalidRequest` for a number that is no token."""
        tokenizer = self._here.tokenizer
        if any(not 0 <= token < len(tokenizer) for token in tokens):
            raise InvalidRequest(f"A token of this model is a number from 0 to {len(tokenizer) - 1}.", param="tokens")
        text: str = tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


class TransformersModel(TokenizerMethods):
    """One model of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self._torch: Any = None

    def load(self, settings: dict[str, Any], emit: Emit, cancel: Cancel) -> ModelInfo:
        """See `transformers_loading.load`."""
        self._loaded = load(settings)
        self._torch = importlib.import_module("torch")
        return self._loaded.info

    def unload(self) -> None:
        """Let go of the model; a graphics card gets its memory back."""
        self._loaded = None
        if self._torch is not None and self._torch.cuda.is_available():
            self._torch.cuda.empty_cache()

    # ---- generation

    def generate(self, call: GenerationCall, emit: Emit, cancel: Cancel) -> None:
        """Answer a call. Raises `ContextTooLong`, `InvalidRequest`, `UnsupportedFeature`."""
        here = self._here
        prompt = prompt_for(call, here)
        ids = ids_of(here, prompt)
        samples = bool(getattr(here.generation, "do_sample", False))
        sampling = sampling_of(call.params, len(ids), here.context, samples=samples)
        answer = TokenAnswer(here, stops_of(here, prompt, sampling), call, prompt)
        look = _Look(emit, cancel, answer)
        self._seed(sampling.seed)
        with _watched(here.model, look), self._torch.inference_mode():
            tokens = self._torch.tensor([ids], device=here.model.device)
            here.model.generate(
                inputs=tokens,
                attention_mask=self._torch.ones_like(tokens),
                generation_config=self._config(sampling, len(ids)),
                logits_processor=[_Penalty(self._torch, sampling.penalties)] if sampling.penalties.any else None,
                stopping_criteria=[_AfterToken(self._torch, look)],
            )
        usage = Usage(len(ids), answer.count, len(ids) + answer.count)
        receipt = (*prompt.receipt, *sampling.receipt)
        emit((*answer.close(), Done(answer.reason, usage, here.info.name, receipt)))

    def _config(self, sampling: Sampling, prompt_tokens: int) -> Any:
        here = self._here
        config = copy.deepcopy(here.generation)
        pad = here.tokenizer.pad_token_id
        config.update(
            **sampling.fields,
            eos_token_id=list(here.ends) or None,
            pad_token_id=pad if pad is not None else next(iter(here.ends), None),
            prefill_chunk_size=_STAGE if prompt_tokens > _STAGE and _has_cache(here.model) else None,
        )
        return config

    def _seed(self, seed: int | None) -> None:
        """The same seed gives the same answer; without one no two answers are alike."""
        if seed is None:
            self._torch.seed()
        else:
            self._torch.manual_seed(seed % 2**63)

    def embed(self, texts: Sequence[str], emit: Emit, cancel: Cancel) -> Embeddings:
        """The mean of the last hidden states of each text's tokens, of length 1. Raises `ContextTooLong`."""
        here, torch = self._here, self._torch
        vectors, count = [], 0
        look = _Look(emit, cancel, None)
        with _watched(here.model, look), torch.inference_mode():
            for text in texts:
                ids = ids_of(here, Prompt(text, markers=True))
                if here.context is not None and len(ids) > here.context:
                    raise ContextTooLong(
                        f"A text to embed has {len(ids):,} tokens; the model reads at most {here.context:,}."
                    )
                count += len(ids)
                tokens = torch.tensor([ids], device=here.model.device)
                states = here.model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
                mean = states[0].float().mean(dim=0)
                vectors.append(tuple(torch.nn.functional.normalize(mean, dim=0).tolist()))
        return Embeddings(tuple(vectors), here.info.name, Usage(count, None, count))


class _Look:
    """Looks in on the work: is it wanted any more, and does the parent know that it goes on?"""

    def __init__(self, emit: Emit, cancel: Cancel, answer: TokenAnswer | None) -> None:
        self._emit, self._cancel, self.answer = emit, cancel, answer
        self._said = time.monotonic()

    def check(self, *_: Any) -> None:
        """Raises `Cancelled`."""
        self._cancel.check()
        now = time.monotonic()
        if now - self._said > _BEAT:
            self.say(())

    def say(self, batch: Batch) -> None:
        self._said = time.monotonic()
        self._emit(batch)


class _AfterToken:
    """A stopping criterion of transformers, which is called with all tokens after each new one."""

    def __init__(self, torch: Any, look: _Look) -> None:
        self._torch, self._look = torch, look

    def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
        self._look.check()
        answer = self._look.answer
        over = False
        if answer is not None:
            if events := answer.add(int(input_ids[0, -1])):
                self._look.say(events)
            over = answer.over
        return self._torch.full((input_ids.shape[0],), over, dtype=self._torch.bool, device=input_ids.device)


class _Penalty:
    """A logits processor of transformers: makes tokens less likely that came lately, as llama.cpp does."""

    def __init__(self, torch: Any, penalties: Penalties) -> None:
        self._torch, self._penalties = torch, penalties

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        how = self._penalties
        lately = input_ids[0] if how.window < 0 else input_ids[0, -how.window :]
        tokens, counts = self._torch.unique(lately, return_counts=True)
        found = scores[0, tokens]
        found = self._torch.where(found > 0, found / how.repeat, found * how.repeat)
        scores = scores.clone()
        scores[0, tokens] = found - counts * how.frequency - how.presence
        return scores


@contextlib.contextmanager
def _watched(model: Any, look: _Look) -> Iterator[None]:
    """While the block runs, `look` is taken before each layer."""
    layers = [layer for each in model.modules() if type(each).__name__ == "ModuleList" for layer in each]
    hooks = [layer.register_forward_pre_hook(look.check) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _has_cache(model: Any) -> bool:
    """Whether it keeps what it has read as keys and values; others (Mamba, RWKV) read a prompt in one go."""
    return "past_key_values" in inspect.signature(model.forward).parameters
