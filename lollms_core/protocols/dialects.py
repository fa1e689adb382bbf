"""One row per provider that speaks the OpenAI chat protocol, more or less.

A provider is added by adding a row, and a row says only where it differs from `Dialect()`, whose defaults are what
every such endpoint understands. What a *model family* can do is no business of this table. The rows of the providers
are in `dialect_rows`, those of servers that people run themselves in `dialect_rows_local`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from lollms_core.protocols.dialect import COMMON, Dialect
from lollms_core.protocols.dialect_rows import AZURE_OPENAI, AZURE_OPENAI_V1, PROVIDERS
from lollms_core.protocols.dialect_rows_local import LOCAL_SERVERS
from lollms_core.protocols.image_limits import LLAMACPP_IMAGES, OPENAI_IMAGES
from lollms_core.protocols.schema_reduction_rules import OPENAI_SCHEMAS

__all__ = ["DIALECTS", "GENERIC", "LLAMACPP", "OPENAI", "Dialect", "dialect_at", "in_its_form"]

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
    strict_schemas=OPENAI_SCHEMAS,
    responses_path="/responses",
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

_USUAL_PORTS = (80, 443)


def _place(parts: SplitResult) -> tuple[str, int | None]:
    """Host and port of an address; None for a port that needs no mention."""
    return parts.hostname or "", None if parts.port in _USUAL_PORTS else parts.port


_PLACES: Mapping[tuple[str, int | None], Dialect] = {
    _place(urlsplit(row.address)): row for row in (OPENAI, *PROVIDERS) if row.address
}

_AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_AZURE_V1 = "/openai/v1"


def dialect_at(base_url: str) -> Dialect:
    """The row of whoever is at an address; `GENERIC` for one that no provider has, and for servers of one's own."""
    try:
        parts = urlsplit(base_url)
        host, port = _place(parts)
    except ValueError:  # whoever sends to it says what is wrong
        return GENERIC
    if host.endswith(_AZURE_HOSTS):
        path = parts.path.rstrip("/")
        return AZURE_OPENAI_V1 if path.endswith(_AZURE_V1) else GENERIC if path else AZURE_OPENAI
    return _PLACES.get((host, port), GENERIC)


def in_its_form(row: Dialect, base_url: str) -> Dialect:
    """The row of a provider in the form that an address has: Azure has a newer one, at addresses that say so."""
    newer = row is AZURE_OPENAI and base_url.rstrip("/").endswith(_AZURE_V1)
    return AZURE_OPENAI_V1 if newer else row
