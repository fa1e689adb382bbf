"""One row per provider that speaks the OpenAI chat protocol, more or less.

A provider is added by adding a row, and a row says only where it differs from `Dialect()`, whose defaults are what
every such endpoint understands. What a *model family* can do is no business of this table. The rows of the providers
are in `dialect_rows`, those of servers that people run themselves in `dialect_rows_local`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from lollms_core.protocols.dialect import COMMON, Dialect
from lollms_core.protocols.dialect_rows import PROVIDERS
from lollms_core.protocols.dialect_rows_local import LOCAL_SERVERS
from lollms_core.protocols.image_limits import LLAMACPP_IMAGES, OPENAI_IMAGES

__all__ = ["DIALECTS", "GENERIC", "LLAMACPP", "OPENAI", "Dialect", "dialect_at"]

GENERIC = Dialect(name="openai-compatible")
"""Any endpoint that says it is OpenAI-compatible; the base URL includes the version (`.../v1`)."""

OPENAI = Dialect(
    name="openai",
    address="https://api.openai.com/v1",
    key_variable="OPENAI_API_KEY",
    docs="https://platform.openai.com/docs/api-reference/chat",
    params={**COMMON, "max_tokens": "max_completion_tokens"},
    extras=frozenset({"reasoning_effort", "verbosity", "service_tier", "logit_bias", "user"}),
    max_stops=4,
    think_tags=False,
    images=OPENAI_IMAGES,
)
"""api.openai.com: `max_tokens` is deprecated there and refused by reasoning models."""

LLAMACPP = Dialect(
    name="llamacpp",
    params={
        **COMMON,
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

DIALECTS: Mapping[str, Dialect] = {row.name: row for row in (GENERIC, OPENAI, LLAMACPP, *PROVIDERS, *LOCAL_SERVERS)}
"""All rows by name."""

_HOSTS: Mapping[str, Dialect] = {
    host: row for row in (OPENAI, *PROVIDERS) if (host := urlsplit(row.address).hostname) is not None
}


def dialect_at(base_url: str) -> Dialect:
    """The row of whoever is at an address; `GENERIC` for one that no provider has, and for servers of one's own."""
    try:
        host = urlsplit(base_url).hostname
    except ValueError:  # whoever sends to it says what is wrong
        return GENERIC
    return _HOSTS.get(host or "", GENERIC)
