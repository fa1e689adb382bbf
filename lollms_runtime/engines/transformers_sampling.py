"""From our parameters to those of transformers' `generate`, and what is not done as asked.

Temperature 0 means the likeliest token each time. Without any parameter that chooses among tokens, the model's own
`generation_config.json` decides. `repeat_penalty`, `presence_penalty` and `frequency_penalty` work as in llama.cpp: on
the last `repeat_last_n` tokens, those of the prompt included; transformers' own penalty looks at all of them.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from lollms_core.errors import ContextTooLong, InvalidRequest
from lollms_core.types import Params, ReceiptItem

__all__ = ["CEILING", "Penalties", "Sampling", "sampling_of"]

CEILING = 4096
"""Tokens of an answer where nobody set a limit."""

_WINDOW = 64  # tokens, llama.cpp's repeat_last_n
_COLD = 1e-4  # temperatures below it are 0: the likeliest token is taken, and nothing is divided by almost nothing
_PLAIN: dict[str, Any] = {
    # What a model's generation_config.json must not bring: other ways of generating, and forms of the result.
    "num_beams": 1,
    "num_beam_groups": None,
    "num_return_sequences": 1,
    "return_dict_in_generate": False,
    "output_scores": False,
    "output_logits": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "penalty_alpha": None,
    "dola_layers": None,
    "prompt_lookup_num_tokens": None,
    "assistant_early_exit": None,
    "use_mtp": False,
    "token_healing": False,
    "constraints": None,
    "force_words_ids": None,
    "stop_strings": None,
    "max_length": None,
    "max_time": None,
    "min_length": None,
    "min_new_tokens": None,
    "use_cache": True,
}


class Penalties(msgspec.Struct, frozen=True):
    """What makes tokens of the last `window` less likely; a window below 0 is everything."""

    repeat: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    window: int = _WINDOW

    @property
    def any(self) -> bool:
        """Whether they change anything."""
        return (self.repeat, self.presence, self.frequency) != (1.0, 0.0, 0.0) and self.window != 0


class Sampling(msgspec.Struct, frozen=True):
    """`fields` are for transformers' GenerationConfig; `max_tokens` is how long the answer may be."""

    fields: dict[str, Any]
    max_tokens: int
    penalties: Penalties
    stop: tuple[str, ...]
    seed: int | None
    receipt: tuple[ReceiptItem, ...]


def sampling_of(params: Params, prompt_tokens: int, context: int | None, *, samples: bool) -> Sampling:
    """The parameters of a call with so long a prompt. `samples`: whether the model chooses by chance if nobody says.

    Raises `ContextTooLong` when the prompt leaves no room for an answer, `InvalidRequest` for a number out of bounds.
    """
    _check(params)
    limit = CEILING if params.max_tokens is None else max(1, params.max_tokens)
    if context is not None:
        if prompt_tokens >= context:
            raise ContextTooLong(
                f"The prompt has {prompt_tokens:,} tokens, and the model's context has room for {context:,}, the "
                "answer included. Make the prompt shorter."
            )
        limit = min(limit, context - prompt_tokens)
    fields: dict[str, Any] = {**_PLAIN, "max_new_tokens": limit, **_choice(params, samples=samples)}
    penalties = Penalties(
        params.repeat_penalty or 1.0,  # 0 would divide by zero
        params.presence_penalty or 0.0,
        params.frequency_penalty or 0.0,
        _WINDOW if params.repeat_last_n is None else params.repeat_last_n,
    )
    if params.repeat_penalty is not None:
        fields["repetition_penalty"] = 1.0
    seed = None if params.seed is None or params.seed < 0 else params.seed
    return Sampling(fields, limit, penalties, params.stop or (), seed, _receipt(params))


def _check(params: Params) -> None:
    """On a graphics card such numbers would not give an error but break the process."""
    for name in ("temperature", "repeat_penalty", "presence_penalty", "frequency_penalty", "top_p", "min_p"):
        value = getattr(params, name)
        if value is not None and not math.isfinite(value):
            raise InvalidRequest(f"{name} is {value}; it must be a number.", param=name)
        if value is not None and not 0 <= value <= 1 and name in ("top_p", "min_p"):
            raise InvalidRequest(f"{name} is {value}; it must be from 0 to 1.", param=name)
    if params.repeat_penalty is not None and params.repeat_penalty < 0:
        raise InvalidRequest(
            f"repeat_penalty is {params.repeat_penalty}; it must not be below 0.", param="repeat_penalty"
        )


def _choice(params: Params, *, samples: bool) -> dict[str, Any]:
    """How the next token is chosen."""
    heat = params.temperature
    narrowed = any(each is not None for each in (params.top_p, params.top_k, params.min_p))
    if (heat is not None and heat < _COLD) or (heat is None and not (samples or narrowed)):
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}
    fields: dict[str, Any] = {"do_sample": True}
    if heat is not None:
        fields["temperature"] = float(heat)
    elif not samples:
        fields["temperature"] = 1.0
    for name, value in (("top_p", params.top_p), ("min_p", params.min_p)):
        if value is not None:
            fields[name] = float(value)
        elif not samples:
            fields[name] = None
    if params.top_k is not None:
        fields["top_k"] = max(0, params.top_k)
    elif not samples:
        fields["top_k"] = 0
    return fields


def _receipt(params: Params) -> tuple[ReceiptItem, ...]:
    """What has no effect here."""
    dropped = [name for name in ("n_threads", "ctx_size") if getattr(params, name) is not None]
    items = [ReceiptItem(name, "dropped", "it is set when the model is loaded") for name in dropped]
    items += [ReceiptItem(name, "dropped", "transformers does not know it") for name in params.extra]
    return tuple(items)
