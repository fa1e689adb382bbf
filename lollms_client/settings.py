"""What a client is set up with: names and numbers of its constructor that are not the binding's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lollms_client.lollms_types import ELF_GENERATION_FORMAT

__all__ = ["DEFAULTS", "OLDER_GUIDE", "for_binding", "older_address"]

_MODALITIES = ("tts", "tti", "stt", "ttv", "ttm", "mcp")
DEFAULTS = (
    "ctx_size",
    "n_predict",
    "temperature",
    "top_k",
    "top_p",
    "repeat_penalty",
    "repeat_last_n",
    "seed",
    "n_threads",
)

OLDER_GUIDE: Mapping[str, Any] = {
    "ctx_size": 32000,
    "n_predict": 4096,
    "temperature": 0.1,
    "top_k": 50,
    "top_p": 0.95,
    "n_threads": 8,
}
"""The defaults of the older client, used with `default_generation_mode`; without its `repeat_penalty`, which is below 1
and would make a model repeat itself."""


def older_address(mode: ELF_GENERATION_FORMAT, host_address: str | None) -> str | None:
    """The older client added the version itself to the address of an OpenAI-compatible server."""
    if mode is ELF_GENERATION_FORMAT.OPENAI and host_address and host_address.count("/") <= 2:
        return f"{host_address}/v1"
    return host_address


def for_binding(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller gave that is for the binding. Says which bindings of other kinds were asked for in vain."""
    log = logging.getLogger("lollms_client")
    modal = {f"{each}_{part}" for each in _MODALITIES for part in ("binding_name", "bindings_dir", "binding_config")}
    for name, value in kwargs.items():
        if name in modal and name.endswith("_binding_name") and value:
            log.warning("There is no %s binding %r here; the attribute stays None.", name.split("_")[0], value)
    return {name: value for name, value in kwargs.items() if name not in modal}
