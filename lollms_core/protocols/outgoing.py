"""What every request has in common: headers, JSON, and values that must not be sent."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from lollms_core.errors import ConfigError, InvalidRequest
from lollms_core.protocols.base import Target
from lollms_core.types import Params

__all__ = ["encode_json", "finite", "headers_for", "model_named"]


def headers_for(target: Target, accept: str, key_header: str) -> dict[str, str]:
    """The headers of every request: what is accepted, the target's own headers, and its key."""
    headers = {"accept": accept}
    if target.headers:
        headers.update((name.lower(), value) for name, value in target.headers.items())
    if target.key:
        if not (target.key.isascii() and target.key.isprintable()) or " " in target.key:
            raise ConfigError(
                "The key has a character that no key has, perhaps a line break or a blank that was copied with it. "
                "Set it again."
            )
        headers[key_header] = f"Bearer {target.key}" if key_header == "authorization" else target.key
    return headers


def encode_json(body: object) -> bytes:
    """JSON for a request. Raises `InvalidRequest` for what JSON or UTF-8 cannot hold."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise InvalidRequest(
            "The text has half of a surrogate pair in it (a character that was cut in two) and cannot be sent."
        ) from None
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidRequest(f"The request cannot be written as JSON: {error}") from None


def finite(params: Params) -> dict[str, Any]:
    """The parameters that were set. Raises `InvalidRequest` for NaN and infinities, which JSON would turn into null."""
    given = params.given()
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequest(f"{name} must be a finite number.", param=name)
    return given


def model_named(name: str, target: Target, who: str = "this provider") -> str:
    """The model to ask, where a backend has no default one; `who` it is where the target does not say.

    Raises `InvalidRequest` where neither the call nor the target names one.
    """
    model = name or target.model
    if not model:
        raise InvalidRequest(f"Name a model: {target.provider or who} has no default one.", param="model_name")
    return model
