"""One row per provider that speaks the OpenAI chat protocol, more or less.

A provider is added by adding a row, and a row says only where it differs from `Dialect()`, whose defaults are what
every such endpoint understands. What a *model family* can do is no business of this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from lollms_core.protocols.image_limits import GENERIC_IMAGES, LLAMACPP_IMAGES, OPENAI_IMAGES, ImageLimits

__all__ = ["DIALECTS", "GENERIC", "LLAMACPP", "OPENAI", "Dialect", "dialect_at"]

_COMMON: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
}


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider differs from the protocol's common core. The defaults are safe for an endpoint nobody knows.

    `address` is the provider's own base URL, with the version; `key_variable` the environment variable that holds the
    key for it; `docs` where the provider describes all this.

    `params`: the names of `Params` that the provider understands, each with its name there; any other parameter is
    dropped and listed in the receipt. `extras`: further parameters, of `Params.extra`, that may pass under their own
    name. `fixed`: fields sent with every request. `max_stops`: how many stop sequences are allowed (None: any number).
    `stream_usage`: whether it accepts `stream_options.include_usage`. `think_tags`: whether thoughts may come inside
    the text as `<think>...</think>`. `tools`, `images`, `schemas`: whether these can be asked for; where not, the call
    is refused, because leaving them out would change its meaning. `images` also says which ones are taken. `schemas` is
    `json_object` where a provider promises JSON but no form, which it is then told in words. `returns` are fields of an
    answer's message that the provider wants back with the message.

    `chat_path` and the others are appended to the base URL; `{model}` in them is the model's name. `query` names the
    options of the target that go into the query. `key_header` carries the key; `authorization` gets the prefix
    `Bearer`.
    """

    name: str
    address: str = ""
    key_variable: str = ""
    docs: str = ""
    params: Mapping[str, str] = msgspec.field(default_factory=lambda: _COMMON)
    extras: frozenset[str] = frozenset()
    fixed: Mapping[str, object] = msgspec.field(default_factory=dict)
    max_stops: int | None = None
    stream_usage: bool = True
    think_tags: bool = True
    tools: bool = True
    images: ImageLimits | Literal[False] = GENERIC_IMAGES
    schemas: Literal["json_schema", "json_object", "none"] = "json_schema"
    returns: tuple[str, ...] = ()
    chat_path: str = "/chat/completions"
    models_path: str = "/models"
    embeddings_path: str = "/embeddings"
    query: tuple[str, ...] = ()
    key_header: str = "authorization"


GENERIC = Dialect(name="openai-compatible")
"""Any endpoint that says it is OpenAI-compatible; the base URL includes the version (`.../v1`)."""

OPENAI = Dialect(
    name="openai",
    address="https://api.openai.com/v1",
    key_variable="OPENAI_API_KEY",
    docs="https://platform.openai.com/docs/api-reference/chat",
    params={**_COMMON, "max_tokens": "max_completion_tokens"},
    extras=frozenset({"reasoning_effort", "verbosity", "service_tier", "logit_bias", "user"}),
    max_stops=4,
    think_tags=False,
    images=OPENAI_IMAGES,
)
"""api.openai.com: `max_tokens` is deprecated there and refused by reasoning models."""

LLAMACPP = Dialect(
    name="llamacpp",
    params={
        **_COMMON,
        "top_k": "top_k",
        "min_p": "min_p",
        "repeat_penalty": "repeat_penalty",
        "repeat_last_n": "repeat_last_n",
    },
    extras=frozenset(
        {
            "typical_p",
            "dynatemp_range",
            "dynatemp_exponent",
            "mirostat",
            "mirostat_tau",
            "mirostat_eta",
            "xtc_probability",
            "xtc_threshold",
            "dry_multiplier",
            "dry_base",
            "dry_allowed_length",
            "dry_penalty_last_n",
            "top_n_sigma",
            "ignore_eos",
            "logit_bias",
        }
    ),
    fixed={"cache_prompt": True},
    images=LLAMACPP_IMAGES,
)
"""llama.cpp's own server (`llama-server`, xllamacpp); the base URL may be its root or end in `/v1`."""

DIALECTS: Mapping[str, Dialect] = {row.name: row for row in (GENERIC, OPENAI, LLAMACPP)}
"""All rows by name."""


def dialect_at(base_url: str) -> Dialect:
    """The row of whoever is at an address; `GENERIC` for one that no provider has."""
    host = urlsplit(base_url).hostname
    return next((row for row in DIALECTS.values() if row.address and urlsplit(row.address).hostname == host), GENERIC)
