"""Generation parameters under all their names.

A parameter that nobody set is not sent, so that the model's, the server's or a personality's own value is used. Values
are checked here, where the mistake was made, instead of in a reply of some backend.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

from lollms_core.errors import InvalidRequest
from lollms_core.types import Params

__all__ = ["checked_params"]

_NO_LIMIT = -1  # of n_predict, by tradition


class _Rule(NamedTuple):
    name: str
    kind: type[int] | type[float]
    least: float
    most: float


_RULES: Mapping[str, _Rule] = {
    "n_predict": _Rule("max_tokens", int, 1, 10_000_000),
    "max_tokens": _Rule("max_tokens", int, 1, 10_000_000),
    "temperature": _Rule("temperature", float, 0, 100),
    "top_p": _Rule("top_p", float, 0, 1),
    "top_k": _Rule("top_k", int, -1, 10_000_000),
    "min_p": _Rule("min_p", float, 0, 1),
    "repeat_penalty": _Rule("repeat_penalty", float, 0, 100),
    "repeat_last_n": _Rule("repeat_last_n", int, -1, 10_000_000),
    "presence_penalty": _Rule("presence_penalty", float, -100, 100),
    "frequency_penalty": _Rule("frequency_penalty", float, -100, 100),
    "seed": _Rule("seed", int, -(2**63), 2**64 - 1),
    "n_threads": _Rule("n_threads", int, 1, 4096),
    "ctx_size": _Rule("ctx_size", int, 1, 1_000_000_000),
}


def checked_params(given: Mapping[str, Any]) -> Params:
    """Turn parameters by name (`n_predict` and `max_tokens` are one) into `Params`; None means not set.

    Names that are not known stand in `extra` unchanged. An `n_predict` of -1 means "no limit of mine", as in llama.cpp,
    and is not sent, so the backend's own limit holds. Raises `InvalidRequest` naming the parameter for a wrong type or
    a value out of bounds; the bounds are those of the server.
    """
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name == "stop":
            known["stop"] = _stops(value)
        elif rule := _RULES.get(name):
            number = _number(name, value, rule.kind)
            if name == "n_predict" and number == _NO_LIMIT:
                continue
            if not rule.least <= number <= rule.most:
                also = ", or -1 for no limit" if name == "n_predict" else ""
                raise InvalidRequest(
                    f"{name} is {value!r}; it must lie between {rule.least} and {rule.most}{also}.", param=name
                )
            known[rule.name] = number
        else:
            extra[name] = value
    return Params(**known, extra=extra)


def _number(name: str, value: Any, kind: type[int] | type[float]) -> float:
    """The value as a plain number; numbers of other libraries and whole floats for int are fine, text is not."""
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        if kind is float:
            return float(value)
        return int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    except (TypeError, ValueError, OverflowError):
        wanted = "a whole number" if kind is int else "a number"
        raise InvalidRequest(f"{name} is {value!r}; it must be {wanted}.", param=name) from None


def _stops(value: Any) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else None
    if stops is None or not all(isinstance(each, str) and each for each in stops):
        raise InvalidRequest(f"stop is {value!r}; it must be a text or a list of texts, none empty.", param="stop")
    return stops
